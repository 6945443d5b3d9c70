"""Tensors of the Open Inference Protocol (v2): as JSON, or as bytes after the JSON part.

Source: the KServe specification of the protocol, and Triton's binary tensor data extension.
"""

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import msgspec
import numpy as np

from legato._errors import InputError
from legato._platform.checks import parse_count
from legato._serve.response_bodies import OutputTensor
from legato._serve.row_codecs import check_no_booleans

_TYPES = {
    "BOOL": np.dtype(bool),
    "UINT8": np.dtype("uint8"),
    "UINT16": np.dtype("uint16"),
    "UINT32": np.dtype("uint32"),
    "UINT64": np.dtype("uint64"),
    "INT8": np.dtype("int8"),
    "INT16": np.dtype("int16"),
    "INT32": np.dtype("int32"),
    "INT64": np.dtype("int64"),
    "FP16": np.dtype("float16"),
    "FP32": np.dtype("float32"),
    "FP64": np.dtype("float64"),
    "BF16": np.dtype(jnp.bfloat16),
}
_NAMES = {dtype: name for name, dtype in _TYPES.items()}
_MOST_AXES = 32


class InferInput(msgspec.Struct):
    """A tensor of a request; ``data`` is missing where its bytes follow the JSON part."""

    name: str
    shape: list[int]
    datatype: str
    parameters: dict[str, Any] = {}
    data: Any = None


class InferOutput(msgspec.Struct):
    """A tensor that a request asks for."""

    name: str
    parameters: dict[str, Any] = {}


class InferRequest(msgspec.Struct):
    """The JSON part of a request."""

    inputs: list[InferInput]
    id: str = ""
    parameters: dict[str, Any] = {}
    outputs: list[InferOutput] = []


def type_name(dtype: Any) -> str:
    """The protocol's name of a dtype."""
    return _NAMES[jnp.dtype(dtype)]


def read_tensors(request: InferRequest, binary: memoryview) -> dict[str, np.ndarray]:
    """The arrays of a request, by name.

    Args:
        request: its JSON part.
        binary: the bytes after it.

    Raises:
        InputError: a tensor does not have the shape, type or size that it says.
    """
    arrays, at = {}, 0
    for given in request.inputs:
        dtype = _TYPES.get(given.datatype)
        if dtype is None:
            raise InputError(
                f"The input {given.name!r} has datatype {given.datatype!r}; one of "
                f"{', '.join(_TYPES)} was expected."
            )
        if given.name in arrays:
            raise InputError(f"The input {given.name!r} came twice.")
        if len(given.shape) > _MOST_AXES or min(given.shape, default=0) < 0:
            raise InputError(f"The input {given.name!r} has shape {given.shape}, which is none.")
        size = given.parameters.get("binary_data_size")
        if size is None:
            array = _read_json(given, dtype)
        else:
            if not isinstance(size, int) or isinstance(size, bool) or size < 0:
                raise InputError(f"binary_data_size is {size!r}; a number of bytes was expected.")
            if size != dtype.itemsize * _count(given.shape) or at + size > len(binary):
                raise InputError(
                    f"The input {given.name!r} of shape {given.shape} and type {given.datatype} "
                    f"takes {dtype.itemsize * _count(given.shape):,} bytes; {size:,} were named, "
                    f"and {max(0, len(binary) - at):,} are left of the request."
                )
            array, at = np.frombuffer(binary[at : at + size], dtype), at + size
        arrays[given.name] = array.reshape(given.shape)
    return arrays


def _count(shape: Sequence[int]) -> int:
    count = 1
    for each in shape:
        count *= each
    return count


def _read_json(given: InferInput, dtype: np.dtype) -> np.ndarray:
    if given.data is None:
        raise InputError(f"The input {given.name!r} has neither data nor binary_data_size.")
    try:
        array = np.asarray(given.data)
        if array.dtype.kind not in "fiub" or (dtype.kind in "iu" and array.dtype.kind == "f"):
            raise ValueError
        with np.errstate(over="ignore"):
            made = array.astype(dtype)
        if dtype.kind in "iu" and not np.array_equal(made, array):
            raise ValueError
        check_no_booleans(given.data, [made])
    except (InputError, ValueError, TypeError, OverflowError, RecursionError):
        raise InputError(
            f"The data of the input {given.name!r} are no numbers of type {given.datatype}, or "
            "their lists have unlike lengths."
        ) from None
    if made.size != _count(given.shape):
        raise InputError(
            f"The input {given.name!r} has shape {given.shape}, which is {_count(given.shape):,} "
            f"numbers; {made.size:,} came."
        )
    return made


def write_tensors(
    outputs: dict[str, np.ndarray], request: InferRequest
) -> tuple[list[OutputTensor], list[bytes]]:
    """The tensors of a response, and the bytes of those that follow its JSON part.

    Args:
        outputs: by name.
        request: says which are wanted, and which of them as bytes.

    Raises:
        InputError: an output is asked for that the model has not.
    """
    wanted = {each.name: each.parameters for each in request.outputs}
    for name in wanted:
        if name not in outputs:
            raise InputError(
                f"There is no output {name!r}; the model has {', '.join(map(repr, outputs))}."
            )
    all_binary = bool(request.parameters.get("binary_data_output"))
    tensors, binary = [], []
    for name, array in outputs.items():
        if wanted and name not in wanted:
            continue
        made = OutputTensor(name=name, datatype=type_name(array.dtype), shape=list(array.shape))
        if wanted.get(name, {}).get("binary_data", all_binary):
            binary.append(np.ascontiguousarray(array).tobytes())
            made.parameters = {"binary_data_size": len(binary[-1])}
        else:
            made.data = array.ravel()
        tensors.append(made)
    return tensors, binary


def read_request(body: bytes, head_length: str | None) -> tuple[InferRequest, memoryview]:
    """A request's JSON part, and the bytes after it.

    Args:
        body: of the request.
        head_length: the header ``Inference-Header-Content-Length``.

    Raises:
        InputError: it is no such request.
    """
    length = len(body)
    if head_length is not None:
        named = parse_count(head_length)
        if named is None or named > length:
            raise InputError(
                f"Inference-Header-Content-Length is {head_length!r}; a number of bytes up to "
                f"{length:,}, the length of the body, was expected."
            )
        length = named
    view = memoryview(body)
    return decode_json(view[:length], InferRequest), view[length:]


def decode_json(content: Any, into: Any) -> Any:
    """JSON as a value of a type.

    Raises:
        InputError: it is no JSON, or of another form.
    """
    try:
        return msgspec.json.decode(content, type=into)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(f"The body is not as expected: {error}.") from None


def encode_json(value: Any) -> bytes:
    """A value as JSON: arrays as nested lists, NaN and infinity as null.

    Numbers of float32 are written as float64, whose digits read back to the same float32.
    """
    return msgspec.json.encode(value, enc_hook=_lists)


def _lists(array: np.ndarray) -> list:
    return array.tolist()
