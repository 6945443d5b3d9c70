"""A stream's state as bytes that a client may keep: safetensors, with the model's fingerprint."""

import base64
import binascii
from typing import Any

import numpy as np

from legato._errors import StateError

_FORMAT = "legato.state.1"


def encode_state(row: bytes, steps: int, weights: str, dtype: Any) -> bytes:
    """A state as safetensors.

    Args:
        row: bytes of the carried state.
        steps: how many the stream was fed.
        weights: fingerprint of the weights that made it.
        dtype: of the state's numbers.
    """
    from safetensors.numpy import save

    arrays = {
        "state": np.frombuffer(row, dtype),
        "steps": np.array([steps], np.int64),
        "weights": np.frombuffer(bytes.fromhex(weights), np.uint8),
    }
    return save(arrays, metadata={"format": _FORMAT})


def decode_state(content: bytes, blank: np.ndarray, weights: str | None) -> tuple[bytes, int]:
    """The row and the number of steps of a state that ``encode_state`` wrote.

    Args:
        content: as it came.
        blank: the state of a stream that was fed nothing.
        weights: fingerprint that it must have; None: any.

    Raises:
        StateError: it is none, or another model's.
    """
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays = load(content)
        row, steps, theirs = arrays["state"], arrays["steps"], arrays["weights"].tobytes().hex()
        if steps.shape != (1,) or steps.dtype != np.int64 or steps[0] < 0:
            raise ValueError
    except (SafetensorError, KeyError, ValueError, TypeError):
        raise StateError(
            "This is no state of a stream, or a damaged one: send what the server gave, as it was."
        ) from None
    if weights is not None and theirs != weights:
        raise StateError(
            f"This state was made by other weights, {theirs[:12]}, than the model's, "
            f"{weights[:12]}: it means nothing to them."
        )
    if row.shape != blank.shape or row.dtype != blank.dtype:
        raise StateError(
            f"This state has {row.size} numbers of type {row.dtype}, and the model's streams carry "
            f"{blank.size} of type {blank.dtype}: it is another model's."
        )
    return row.tobytes(), int(steps[0])


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
