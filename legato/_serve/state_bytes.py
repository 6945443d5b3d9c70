"""A stream's state as bytes that a client may keep: the content of a file of ``Stream.save``."""

import base64
import binascii

import numpy as np

from legato._errors import StateError
from legato._streams.store import StreamRecords
from legato._streams.stream_files import StreamFile

MOST_STEPS = 2**62  # that a stream may have been fed: more can be counted from there on


def encode_state(files: StreamFile, row: bytes, steps: int) -> bytes:
    """A state as the content of a file.

    Args:
        files: of the streams of the model.
        row: bytes of the carried state.
        steps: how many the stream was fed.
    """
    rows = np.frombuffer(row, files.blank.dtype)[None]
    return files.encode(StreamRecords([""], rows, np.array([steps])))


def decode_state(content: bytes, files: StreamFile, other_weights: bool) -> tuple[bytes, int]:
    """The row and the number of steps of a state that ``encode_state`` or ``Stream.save`` wrote.

    Args:
        content: as it came.
        files: of the streams of the model.
        other_weights: whether the state of other weights is taken, if it fits.

    Raises:
        StateError: it is none, or another model's.
    """
    records = files.decode(content, "The state", other_weights=True)
    weights = files.fingerprint()
    if records.weights != weights and not other_weights:
        raise StateError(
            f"This state was made by other weights, {records.weights[:12]}, than the model's, "
            f"{weights[:12]}: it means nothing to them."
        )
    if len(records.names) != 1:
        raise StateError(f"The state is of {len(records.names)} streams; that of one was expected.")
    if records.steps[0] > MOST_STEPS:
        raise StateError(f"The state says that it was fed {records.steps[0]:,} steps, too many.")
    return records.rows[0, : len(files.blank)].tobytes(), int(records.steps[0])


def to_text(content: bytes) -> str:
    """Bytes in base64."""
    return base64.b64encode(content).decode()


def from_text(text: str) -> bytes:
    """Bytes of a text in base64.

    Raises:
        StateError: it is none.
    """
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise StateError("The state is no text in base64: send it as the server gave it.") from None
