"""Files of streams: each one's state, last answer and number of steps, and whose weights made them.

A file is safetensors, written whole or not at all, with a checksum (``array_files``). A state fits
only the weights that made it, so a file of other weights or other shapes of states is refused. The
names are an array of bytes: safetensors takes no more than 100 MB of other metadata.
While a pool is kept in a file, changes that are not in the file yet are in a log beside it, and the
file's mark says which (``log_store``): without its log it is at an old point, and refused.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary, ref

import numpy as np

from legato._errors import OutputError, StateError
from legato._platform import keras_variables
from legato._platform.array_files import (
    NO_MARK,
    decode_arrays,
    encode_arrays,
    mark_file,
    mark_of,
    read_arrays,
    write_arrays,
)
from legato._streams.step import ModelStep
from legato._streams.store import StreamRecords, checked_name

FORMAT = "legato.streams"
KEPT: WeakValueDictionary[Path, Any] = WeakValueDictionary()  # files of open pools → their stores
_DIGITS_SHOWN = 12  # of a fingerprint, in messages


class Fingerprint:
    """A digest of a model's weights, the same in every process; computed anew when they change."""

    def __init__(self, model):
        self._model = model
        self._known: tuple[str, list] = "", []  # the digest, and the values that it is of

    def __call__(self) -> str:
        """64 hexadecimal digits: SHA-256 of the weights' shapes, dtypes and bits, in order."""
        with self._model._model_lock.values:
            values = keras_variables.values_of(self._model.weights)
        digest, seen = self._known
        if len(values) != len(seen) or any(
            known() is not value for known, value in zip(seen, values, strict=True)
        ):
            sha = hashlib.sha256()
            for value in map(np.asarray, values):
                sha.update(f"{value.shape} {value.dtype} ".encode())
                sha.update(value.tobytes())
            digest = sha.hexdigest()
            self._known = digest, list(map(ref, values))
        return digest


class StreamFile:
    """Reads and writes files of the streams of one model.

    Args:
        model_step: of the model.

    Attributes:
        fingerprint: gives that of the model's weights.
        blank: (width,), the carried state of a stream that was fed nothing.
    """

    def __init__(self, model_step: ModelStep):
        self._model_step = model_step
        self.fingerprint = Fingerprint(model_step.model)
        self.blank: np.ndarray = model_step.blank[0, : model_step.width]

    def write(self, path: str | os.PathLike, records: StreamRecords) -> None:
        """Write records to a file, whole or not at all.

        Raises:
            OutputError: the folder is missing or cannot be written.
        """
        arrays, about = self._content(records)
        write_arrays(path, FORMAT, arrays, **about)

    def encode(self, records: StreamRecords) -> bytes:
        """The content of the file that ``write`` writes."""
        arrays, about = self._content(records)
        return encode_arrays(FORMAT, arrays, **about)

    def _content(self, records: StreamRecords) -> tuple[dict[str, np.ndarray], dict[str, str]]:
        """Arrays and metadata of a file."""
        arrays = {
            "names": np.frombuffer(json.dumps(records.names).encode(), np.uint8),
            "rows": np.ascontiguousarray(records.rows),
            "steps": np.asarray(records.steps, np.int64),
        }
        carried = json.dumps(self._model_step.carried)
        return arrays, {"carried": carried, "weights": self.fingerprint(), "mark": NO_MARK}

    def mark(self, path: str | os.PathLike, log: str) -> None:
        """Mark a file as one that a log follows.

        Args:
            path: of the file.
            log: which log: 32 hexadecimal digits.

        Raises:
            OutputError: it cannot be written, or another log follows it already.
        """
        try:
            mark_file(path, log)
        except StateError as error:
            raise OutputError(
                f"{path} is open in another pool under another name, or was replaced. Close that "
                "pool, or keep these streams in a file of their own."
            ) from error
        except (OSError, ValueError) as error:
            raise OutputError(
                f"{path} cannot be written ({error}), so this change was not made."
            ) from error

    def read(
        self, path: str | os.PathLike, other_weights: bool = False, without_log: bool = False
    ) -> StreamRecords:
        """Read records that ``write`` wrote, to the bit.

        Args:
            path: of the file.
            other_weights: whether streams of other weights are taken, if their states fit.
            without_log: whether a file is read that has later changes in a log.

        Raises:
            StateError: no such file, a damaged one, one that a log follows, or streams that are not
                this model's.
        """
        decode = partial(self._records, path, other_weights, without_log)
        return read_arrays(path, FORMAT, "stream", decode)

    def decode(self, content: bytes, shown: str, other_weights: bool = False) -> StreamRecords:
        """As ``read``, from the content of a file, which messages call ``shown``."""
        decode = partial(self._records, shown, other_weights, False)
        return decode_arrays(content, shown, FORMAT, "stream", decode)

    def _records(
        self,
        shown: Any,
        other_weights: bool,
        without_log: bool,
        arrays: dict[str, np.ndarray],
        about: dict[str, str],
    ) -> StreamRecords:
        """Records of the arrays and the metadata of a file; see ``read``."""
        own, weights = self._model_step.carried, self.fingerprint()
        came, theirs = json.loads(about["carried"]), about["weights"]
        if came != own:
            raise StateError(
                f"{shown} holds streams that carry {_listed(came)}, and streams of this model "
                f"carry {_listed(own)}: it is another model's, or one's with another window."
            )
        if theirs != weights and not other_weights:
            raise StateError(
                f"{shown} was written with other weights: theirs are {theirs[:_DIGITS_SHOWN]}, "
                f"this model's {weights[:_DIGITS_SHOWN]}. What a stream carries means "
                "something only to the weights that made it: load the model it was written "
                "with, or take it all the same with other_weights=True."
            )
        log = mark_of(about)
        if log and not without_log:
            raise StateError(
                f"{shown} was copied, or is in use: later changes of its streams are in the log "
                "of its pool, not in it. Open it with its log, by model.streams(file=...), or "
                "take the streams as they were before these changes, by "
                "model.streams().load(path, without_log=True)."
            )
        names = arrays["names"].tobytes() if "names" in arrays else about["names"]
        records = StreamRecords(json.loads(names), arrays["rows"], arrays["steps"], theirs, log)
        self._check(records)
        return records

    def _check(self, records: StreamRecords) -> None:
        """Check records that were read: each name once, and a state and a count for each.

        Raises:
            ValueError: they are otherwise.
            InputError: a name is no name.
        """
        names, rows, steps, *_ = records
        blank = self._model_step.blank[0]
        if not isinstance(names, list) or len(set(map(checked_name, names))) != len(names):
            raise ValueError("a name comes twice")
        if steps.shape != (len(names),) or steps.dtype != np.int64 or (steps < 0).any():
            raise ValueError(f"it has no number of steps for each of {len(names)} names")
        widths = len(self.blank), len(blank)  # without the last answer, and with it
        if rows.shape not in [(len(names), width) for width in widths] or rows.dtype != blank.dtype:
            raise ValueError(f"it has no state for each of {len(names)} names")


def check_is_not_kept(path: str | os.PathLike) -> None:
    """Refuse to save over a file, or a log, that an open pool of this process writes to.

    Raises:
        OutputError: it is one.
    """
    if Path(os.path.realpath(path)) in KEPT:
        raise OutputError(
            f"{path} belongs to an open pool, which keeps its streams there by itself: every "
            "answered feed is in it. Close the pool so that all is in the one file, or save "
            "elsewhere."
        )


def _listed(carried: Iterable) -> str:
    """Names, dtypes and shapes of carried arrays, for messages."""
    return ", ".join(f"{name} {dtype}{tuple(shape)}" for name, shape, dtype in carried)
