"""Backups of a training run, from which an interrupted run continues with bit-identical results.

``keras.callbacks.BackupAndRestore`` keeps the weights, the optimizer and the number of the epoch. A
run depends on more: the recurrent state and the state the run began with, the random state (sample
orders, dropout), and the counters of other callbacks, such as the epochs without improvement. All
of it goes into one file, written atomically, so that a run that is killed at any moment leaves a
complete one. ``fit`` changes the class of Keras's callback to the one below. A backup that
plain Keras made is restored as Keras does.

Limits: random generators other than Python's, NumPy's and Keras's are not restored, and a generator
of data that never ends continues from where it is.
"""

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from legato._errors import StateError
from legato._platform.array_files import read_arrays, write_arrays
from legato._platform.atomic_files import make_folder
from legato._platform.checks import is_count
from legato._platform.input_files import refusing_damage
from legato._platform.random_state import (
    check_random_state,
    global_random_state,
    restore_random_state,
)

_FORMAT = "legato.training"
# Keras sets the sign of min_delta anew in each run; a restored value would get it twice.
_NOT_RESTORED = {"min_delta"}


class BackupAndRestore(keras.callbacks.BackupAndRestore):
    """Keras's callback, keeping everything that a run depends on."""

    training: Any = None  # the FitLoop, which sets it
    _found: dict | None = None  # the content of the file
    _due = False

    @property
    def path(self) -> Path:
        """The file of the backup."""
        return Path(self.backup_dir) / "training.safetensors"

    def restore_callbacks(self, others: list) -> int:
        """Restore callbacks and random state, after every ``on_train_begin``.

        Args:
            others: the other callbacks.

        Returns:
            The batch within the epoch at which training resumes.
        """
        self._others = others
        self._before = [dict(vars(each)) for each in others]
        found, self._found = self._found, None
        if found is None:
            return 0
        saved: dict[str, list] = {}  # attributes by class; callbacks may have been removed or added
        for kind, changes in found["callbacks"]:
            saved.setdefault(kind, []).append(changes)
        for callback in others:
            if saved.get(_kind(callback)):
                vars(callback).update(saved[_kind(callback)].pop(0))
        restore_random_state(found["random"])
        return found["step"]

    def _save_model(self):
        # Keras calls it at the end of the epoch or batch that `save_freq` selects. Callbacks later
        # in the list are not called yet: wait for them.
        self._due = True

    def on_train_end(self, logs=None):
        if self.training.writes_backups:
            super().on_train_end(logs)

    def write_if_due(self) -> None:
        """Write the file if it is due; the run calls it after all callbacks."""
        if not self._due:
            return
        self._due = False
        by_batch = self.save_freq != "epoch"
        content = self.training.backup_content(global_random_state(), by_batch) | {
            "epoch": self._current_epoch,
            "step": self._last_batch_seen + 1 if by_batch else 0,
            "callbacks": [
                [_kind(each), _changes(each, before)]
                for each, before in zip(self._others, self._before, strict=True)
            ],
        }
        if not self.training.writes_backups:
            return
        make_folder(self.path.parent)
        arrays: dict[str, np.ndarray] = {}
        packed = json.dumps(_pack(content, arrays))
        write_arrays(self.path, _FORMAT, arrays, content=packed)

    def _load_model(self):
        # Keras calls it when the run begins.
        if not self.path.exists():
            return self._load_model_of_keras()
        found = read_arrays(self.path, _FORMAT, "backup", _decode)
        if not self.training.restore(found):
            raise StateError(
                f"{self.path} was made by training another model: its variables have other shapes. "
                "Give this run a backup_dir of its own, or delete that one to begin anew."
            )
        model: Any = self.model
        model._initial_epoch = self._current_epoch = found["epoch"]
        self._last_batch_seen = found["step"] - 1
        self._found = found
        return None

    def _load_model_of_keras(self):
        """Restore a backup that plain Keras made, if there is one."""
        model: Any = self.model
        if not model.built:
            return super()._load_model()  # says what to do
        with refusing_damage(self.backup_dir, "backup", "delete the folder to begin anew."):
            return super()._load_model()


def _decode(arrays: dict[str, np.ndarray], about: dict[str, str]) -> dict[str, Any]:
    """The content of a backup of the arrays and metadata of its file.

    Raises:
        ValueError, LookupError, TypeError: they do not fit together.
    """
    used: list[str] = []
    found = _unpack(json.loads(about["content"]), arrays, used)
    if sorted(used) != sorted(arrays):
        raise ValueError("its content does not name each of its arrays once")
    if found.keys() != {"variables", "first", "random", "logs", "epoch", "step", "callbacks"}:
        raise ValueError(f"its content is {', '.join(found)}")
    if not all(is_count(found[name], 0) for name in ("epoch", "step")):
        raise ValueError("its epoch and step are no numbers")
    if not all(isinstance(each, np.ndarray) for each in [*found["variables"], *found["first"]]):
        raise ValueError("its variables are no arrays")
    if not all(isinstance(each, dict) for each in (found["logs"], found["random"])):
        raise ValueError("its logs or its random state are no mappings")
    if not all(
        isinstance(kind, str) and isinstance(changes, dict) for kind, changes in found["callbacks"]
    ):
        raise ValueError("its callbacks are no names with attributes")
    check_random_state(found["random"])
    return found


def upgrade_backup(callback) -> None:
    """Replace the class of Keras's callback by the one above, which saves all a run depends on."""
    if type(callback) is keras.callbacks.BackupAndRestore:
        callback.__class__ = BackupAndRestore


def _kind(callback) -> str:
    return f"{type(callback).__module__}.{type(callback).__qualname__}"


def _changes(callback, before: dict) -> dict:
    """The attributes with numbers or arrays that a callback has set since the run began."""
    return {
        name: value
        for name, value in vars(callback).items()
        if name not in _NOT_RESTORED and _is_plain(value)
        if not (name in before and before[name] is value)
    }


def _is_plain(value) -> bool:
    if isinstance(value, list):
        return bool(value) and all(isinstance(each, np.ndarray) for each in value)
    return value is None or isinstance(value, (bool, int, float, str, np.generic, np.ndarray))


def _pack(value, arrays: dict[str, np.ndarray]):
    """A value for JSON: each array moves to ``arrays`` under a key, which stays in its place."""
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


def _unpack(value, arrays: dict[str, np.ndarray], used: list[str]) -> Any:
    """The value that ``_pack`` was given; appends the keys of its arrays to ``used``."""
    if isinstance(value, dict):
        if value.keys() == {"array"}:
            used.append(value["array"])
            return arrays[value["array"]]
        return {name: _unpack(each, arrays, used) for name, each in value.items()}
    if isinstance(value, list):
        return [_unpack(each, arrays, used) for each in value]
    return value
