"""Files of streams: carried state, last answer and steps of each, and a fingerprint of the weights.

A file is safetensors, written whole or not at all, with a checksum (``array_files``). A state fits
only the weights that made it, so a file of other weights or other shapes of states is refused.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from weakref import ref

import numpy as np

from legato._errors import StateError
from legato._platform import keras_private
from legato._platform.array_files import read_arrays, write_arrays
from legato._streams.step import ModelStep
from legato._streams.store import StreamRecords

FORMAT = "legato.streams.1"
_DIGITS_SHOWN = 12  # of a fingerprint, in messages


class Fingerprint:
    """A digest of a model's weights, the same in every process; computed anew when they change."""

    def __init__(self, model):
        self._model = model
        self._digest: str = ""
        self._seen: list = []

    def __call__(self) -> str:
        """64 hexadecimal digits: SHA-256 of the weights' shapes, dtypes and bits, in order."""
        values = keras_private.values_of(self._model.weights)
        if len(values) != len(self._seen) or any(
            known() is not value for known, value in zip(self._seen, values, strict=True)
        ):
            digest = hashlib.sha256()
            for value in map(np.asarray, values):
                digest.update(f"{value.shape} {value.dtype} ".encode())
                digest.update(value.tobytes())
            self._digest, self._seen = digest.hexdigest(), list(map(ref, values))
        return self._digest


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
        arrays = {"rows": np.ascontiguousarray(records.rows), "steps": records.steps}
        names, carried = map(json.dumps, (records.names, self._model_step.carried))
        weights = self.fingerprint()
        write_arrays(path, FORMAT, arrays, names=names, carried=carried, weights=weights)

    def read(self, path: str | os.PathLike, other_weights: bool = False) -> StreamRecords:
        """Read records that ``write`` wrote, to the bit.

        Args:
            path: of the file.
            other_weights: whether streams of other weights are taken, if their states fit.

        Raises:
            StateError: no such file, a damaged one, or streams that are not this model's.
        """
        arrays, about = read_arrays(path, FORMAT, "stream")
        came, own = json.loads(about["carried"]), self._model_step.carried
        if came != own:
            raise StateError(
                f"{path} holds streams that carry {_listed(came)}, and streams of this model carry "
                f"{_listed(own)}: it is another model's, or one's with another window."
            )
        theirs, own = about["weights"], self.fingerprint()
        if theirs != own and not other_weights:
            raise StateError(
                f"{path} was written with other weights: theirs are {theirs[:_DIGITS_SHOWN]}, this "
                f"model's {own[:_DIGITS_SHOWN]}. What a stream carries means something only to the "
                "weights that made it: load the model it was written with, or take it all the same "
                "with other_weights=True."
            )
        names = json.loads(about["names"])
        return StreamRecords(names, arrays["rows"], arrays["steps"], theirs)


def _listed(carried: Iterable) -> str:
    """Names, dtypes and shapes of carried arrays, for messages."""
    return ", ".join(f"{name} {dtype}{tuple(shape)}" for name, shape, dtype in carried)
