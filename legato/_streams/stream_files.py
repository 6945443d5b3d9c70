"""Files of streams: what each carries, its last answer and its steps, and whose weights they are.

Safetensors, written whole or not at all, with a checksum (``atomic_files``). A state means
something only to the weights that made it, so a file names them by a fingerprint, and says what is
carried.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple
from weakref import ref

import numpy as np

from legato._errors import OutputError, StateError
from legato._platform import keras_private
from legato._platform.atomic_files import read_arrays, write_arrays
from legato._streams.step import ModelStep

FORM = "legato.streams.1"
SHOWN = 12  # digits of a fingerprint that a message shows

Name = str | int


class StreamRecords(NamedTuple):
    """Streams as a file has them.

    Attributes:
        names: of the streams; a stream by itself is named "".
        rows: (streams, words), what each carries, and its last answer if that was kept.
        steps: (streams,), how many each has seen.
        weights: the fingerprint of those that they were written with; "" if they were not yet.
    """

    names: list[Name]
    rows: np.ndarray
    steps: np.ndarray
    weights: str = ""


class Fingerprint:
    """A short name for the weights of a model; the same weights have the same, anywhere."""

    def __init__(self, model):
        self._model = model
        self._known: str = ""
        self._of: list = []

    def __call__(self) -> str:
        """64 hexadecimal digits: SHA-256 of the weights' shapes, dtypes and bits, in order."""
        values = keras_private.values_of(self._model.weights)
        if len(values) != len(self._of) or any(
            seen() is not value for seen, value in zip(self._of, values, strict=True)
        ):
            digest = hashlib.sha256()
            for value in map(np.asarray, values):
                digest.update(f"{value.shape} {value.dtype} ".encode())
                digest.update(value.tobytes())
            self._known, self._of = digest.hexdigest(), list(map(ref, values))
        return self._known


class StreamFile:
    """Files of the streams of one model.

    Args:
        one: the model's step.
    """

    def __init__(self, one: ModelStep):
        self._one = one
        self.fingerprint = Fingerprint(one.model)

    def write(self, path: str | os.PathLike, kept: StreamRecords) -> None:
        """Write streams to a file.

        Raises:
            OutputError: the folder is missing or cannot be written.
        """
        arrays = {"rows": np.ascontiguousarray(kept.rows), "steps": kept.steps}
        about = {"names": kept.names, "carried": self._one.carried}
        told = {name: json.dumps(each) for name, each in about.items()}
        write_arrays(path, FORM, arrays, **told, weights=self.fingerprint())

    def read(self, path: str | os.PathLike, other_weights: bool = False) -> StreamRecords:
        """Read streams that ``write`` wrote, to the bit.

        Args:
            path: of the file.
            other_weights: whether streams of other weights are taken, if what they carry fits.

        Raises:
            StateError: no such file, a damaged one, or streams that are not this model's.
        """
        arrays, about = read_arrays(path, FORM, "stream")
        came, own = json.loads(about["carried"]), self._one.carried
        if came != own:
            raise StateError(
                f"{path} holds streams that carry {_listed(came)}, and streams of this model carry "
                f"{_listed(own)}: it is another model's, or one's with another window."
            )
        if about["weights"] != self.fingerprint() and not other_weights:
            raise StateError(
                f"{path} was written with other weights: theirs are {about['weights'][:SHOWN]}, "
                f"this model's {self.fingerprint()[:SHOWN]}. What a stream carries means something "
                "only to the weights that made it: load the model it was written with, or take it "
                "all the same with other_weights=True."
            )
        names = json.loads(about["names"])
        return StreamRecords(names, arrays["rows"], arrays["steps"], about["weights"])


class FolderStore:
    """Where streams are that were moved out of memory, a file each.

    Args:
        path: of the folder; made if it is missing.

    Raises:
        OutputError: it cannot be.
    """

    def __init__(self, path: str | os.PathLike):
        self._path = Path(path)
        try:
            self._path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"The folder {path} cannot be made ({error.strerror or error}). Name another."
            ) from error

    def file(self, name: Name) -> Path:
        """Where a stream's file is; a name that holds slashes or worse is no path."""
        return self._path / f"{hashlib.sha256(repr(name).encode()).hexdigest()[:32]}.state"


def _listed(carried: Iterable) -> str:
    return ", ".join(f"{name} {dtype}{tuple(shape)}" for name, shape, dtype in carried)
