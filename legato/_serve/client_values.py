"""What a client sends and gets: steps as JSON, answers as arrays, names as parts of addresses."""

import json
from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple
from urllib.parse import quote

import numpy as np

from legato._errors import InputError

_TYPES = {"FP16": "float16", "FP32": "float32", "FP64": "float64"}  # others are NumPy's names


class Output(NamedTuple):
    """An output of a model: the protocol's name of its dtype, and the number of axes of an answer
    to one step."""

    type: str
    axes: int


def quoted_name(name: str) -> str:
    """A name as one segment of a path; dots too, since "." and ".." mean something there."""
    try:
        return quote(name, safe="").replace(".", "%2E")
    except (TypeError, UnicodeEncodeError):
        raise InputError(f"{name!r} is no name: a text was expected.") from None


def encode_body(body: Any) -> bytes:
    """A request's body.

    Raises:
        InputError: it has something that is no number, or NaN or infinity.
    """
    try:
        return json.dumps(body, default=_plain, allow_nan=False).encode()
    except ValueError as error:
        raise InputError(
            f"x cannot be sent ({error}): every number must be finite. The stream has not moved: "
            "fill the gap, or mask that step with keras.layers.Masking."
        ) from None
    except (TypeError, RecursionError) as error:
        raise InputError(f"x cannot be sent ({error}): numbers or rows were expected.") from None


def _plain(value: Any) -> Any:
    """Arrays of any library as lists, and mappings as dictionaries."""
    if isinstance(value, Mapping):
        return dict(value)
    if not hasattr(value, "__array__"):
        raise TypeError(f"a {type(value).__name__}")
    return np.asarray(value).tolist()


def decode_answers(y: Any, outputs: Iterator[Output], count: int, every: bool) -> Any:
    """Answers as arrays, nested as the model's outputs: by name, or ``count`` in a list.

    Args:
        y: lists of numbers; None stands for NaN.
        outputs: the model's, in order.
        count: of outputs.
        every: whether the answers to all of several steps are wanted, or only the last.
    """
    if isinstance(y, dict):
        return {name: decode_answers(y[name], outputs, 1, every) for name in sorted(y)}
    if count > 1:
        return [decode_answers(each, outputs, 1, every) for each in y]
    output = next(outputs)
    array = np.array(y, _dtype(output.type))
    return array if every or array.ndim <= output.axes else array[-1]


def _dtype(name: str) -> Any:
    """The dtype that the protocol names so."""
    if name == "BF16":
        import ml_dtypes

        return ml_dtypes.bfloat16
    return _TYPES.get(name, name.lower())
