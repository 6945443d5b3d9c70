"""A training run that was stopped goes on as if it never had been, to the bit.

``keras.callbacks.BackupAndRestore`` keeps the weights, the optimizer and the number of the epoch. A
run depends on more: what the recurrent layers remember and began with, the random numbers still to
be drawn (sample orders, dropout), and what other callbacks have counted, such as how long the loss
has not improved. All of it goes into one file, written whole or not at all, so that a run killed at
any moment finds a whole one. Keras's callback is adopted in ``fit``: the very object becomes the
class below. A backup that plain Keras made is taken up as Keras does.

Limits: a source of random numbers that is neither Python's, NumPy's nor Keras's is not known here,
and data that go on and on, like a generator's, begin where they are.
"""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from legato._errors import StateError
from legato._platform.atomic_files import read_arrays, write_arrays
from legato._platform.random_state import global_random_state, restore_random_state

_FORMAT = "legato.training.1"
_WORKED_OUT = {"min_delta"}  # Keras's callbacks give it its sign in their first epoch, each run


class BackupAndRestore(keras.callbacks.BackupAndRestore):
    """Keras's callback, keeping everything that a run depends on."""

    training: Any = None  # the run; it says so before it begins
    _found: dict | None = None  # what was kept of a run that was stopped
    _due = False

    @property
    def path(self) -> Path:
        """The file that is kept."""
        return Path(self.backup_dir) / "training.safetensors"

    def begun(self, others: list) -> int:
        """Take up what was kept, now that every callback has begun.

        Args:
            others: the other callbacks.

        Returns:
            The step of its epoch that the run goes on with.
        """
        self._others = others
        self._before = [dict(vars(each)) for each in others]
        found, self._found = self._found, None
        if found is None:
            return 0
        counted: dict[str, list] = {}  # of callbacks that may be gone; others may be new
        for kind, changes in found["callbacks"]:
            counted.setdefault(kind, []).append(changes)
        for callback in others:
            if counted.get(_kind(callback)):
                vars(callback).update(counted[_kind(callback)].pop(0))
        restore_random_state(found["random"])
        return found["step"]

    def _save_model(self):
        # Keras calls it when the epoch or the batch has ended that `save_freq` names. Callbacks
        # further down the list have not heard of that yet: wait for them.
        self._due = True

    def keep(self) -> None:
        """Write the file if it is due; for the run to call when all callbacks have been told."""
        if not self._due:
            return
        self._due = False
        by_batch = self.save_freq != "epoch"
        content = self.training.content(global_random_state(), by_batch) | {
            "epoch": self._current_epoch,
            "step": self._last_batch_seen + 1 if by_batch else 0,
            "callbacks": [
                [_kind(each), _changes(each, before)]
                for each, before in zip(self._others, self._before, strict=True)
            ],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        arrays: dict[str, np.ndarray] = {}
        packed = json.dumps(_pack(content, arrays))
        write_arrays(self.path, _FORMAT, arrays, content=packed)

    def _load_model(self):
        # Keras calls it when the run begins.
        if not self.path.exists():
            return super()._load_model()
        arrays, about = read_arrays(self.path, _FORMAT, "backup")
        found = _unpack(json.loads(about["content"]), arrays)
        if not self.training.take_up(found):
            raise StateError(
                f"{self.path} keeps a run of another model: its variables have other shapes. Give "
                "this run a backup_dir of its own, or delete that one to begin anew."
            )
        model: Any = self.model
        model._initial_epoch = self._current_epoch = found["epoch"]
        self._last_batch_seen = found["step"] - 1
        self._found = found
        return None


def adopt(callback) -> None:
    """Let a ``BackupAndRestore`` of Keras keep everything that a run depends on."""
    if type(callback) is keras.callbacks.BackupAndRestore:
        callback.__class__ = BackupAndRestore


def _kind(callback) -> str:
    return f"{type(callback).__module__}.{type(callback).__qualname__}"


def _changes(callback, before: dict) -> dict:
    """Numbers and arrays a callback has put into its attributes since the run began."""
    return {
        name: value
        for name, value in vars(callback).items()
        if name not in _WORKED_OUT and _is_plain(value)
        if not (name in before and before[name] is value)
    }


def _is_plain(value) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(each, np.ndarray) for each in value)
    return value is None or isinstance(value, (bool, int, float, str, np.generic, np.ndarray))


def _pack(value, arrays: dict[str, np.ndarray]):
    """A value as JSON has them, its arrays put aside under numbers."""
    if isinstance(value, dict):
        return {name: _pack(each, arrays) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_pack(each, arrays) for each in value]
    if isinstance(value, np.generic):
        return value.item()
    if hasattr(value, "__array__"):
        name = str(len(arrays))
        arrays[name] = np.asarray(value)
        return {"array": name}
    return value


def _unpack(value, arrays: dict[str, np.ndarray]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"array"}:
            return arrays[value["array"]]
        return {name: _unpack(each, arrays) for name, each in value.items()}
    if isinstance(value, list):
        return [_unpack(each, arrays) for each in value]
    return value
