"""Reads and checks inputs, targets and weights: NumPy arrays whose axis 0 is the sample.

Accepted are arrays and tensors of any framework, nested lists, data frames and whatever else NumPy
reads, and dictionaries, tuples and lists of these for models with several inputs or outputs.
Double precision and bfloat16 are converted to Keras's float type, sparse arrays are made dense.
Big-endian arrays become native, and integers beyond 32 bits the float type where it has them.
"""

import math
from typing import Any, NamedTuple

import jax
import keras
import numpy as np

from legato._errors import InputError, UnsupportedError
from legato._platform import keras_private
from legato._platform.jax_arrays import as_jax_keeps, check_is_numeric
from legato._platform.large_arrays import for_jax
from legato._platform.plain_arrays import check_keeps_meaning

_DENSE = ("toarray", "todense")  # how sparse arrays of SciPy and of JAX are made dense


class SampleArrays(NamedTuple):
    """Arrays with the sample on axis 0.

    Attributes:
        x: inputs: an array, or a structure of arrays.
        y: targets, likewise; None where there are none.
        weight: sample weights, likewise, or None.
        starts: booleans (samples,): the sample begins a new sequence; None if none does.
        count: number of samples.
    """

    x: Any
    y: Any
    weight: Any
    starts: np.ndarray | None
    count: int

    @property
    def packed(self) -> Any:
        """``(x,)``, ``(x, y)`` or ``(x, y, weight)``, as Keras's steps take a batch."""
        if self.y is None:
            return (self.x,)
        return (self.x, self.y) if self.weight is None else (self.x, self.y, self.weight)

    @property
    def shapes(self) -> tuple:
        """The structure, shapes and dtypes of the arrays, for which programs are compiled."""
        leaves, structure = jax.tree.flatten(self[:4])
        return (structure, *[(leaf.shape, leaf.dtype) for leaf in leaves])

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(leaf.nbytes for leaf in jax.tree.leaves(self[:4]))

    def on_device(self) -> "SampleArrays":
        """The same arrays in the device's memory."""
        return SampleArrays(*jax.device_put(for_jax(self[:4])), count=self.count)

    def take(self, rows) -> "SampleArrays":
        """The samples at some indices, or in a slice."""
        part = jax.tree.map(lambda each: each[rows], (self.x, self.y, self.weight, self.starts))
        return SampleArrays(*part, count=len(jax.tree.leaves(part[0])[0]))


def yields_batches(x) -> bool:
    """Whether this is a source of batches, not data as a whole."""
    if isinstance(x, (dict, list, tuple, str, bytes)) or _is_array_like(x):
        return False
    return any(hasattr(x, name) for name in ("__next__", "__iter__", "__getitem__"))


def read_samples(
    x, y=None, weight=None, starts=None, inputs: list | None = None, check_values: bool = True
) -> SampleArrays:
    """Read and check a verb's data.

    Args:
        x, y, weight: as the user gave them.
        starts: one boolean a sample, or None.
        inputs: the model's input tensors, flat; None while they are not known.
        check_values: whether NaN and infinity are refused.

    Raises:
        InputError: empty data, different lengths, NaN or infinity, a shape the model cannot take.
        UnsupportedError: a value that NumPy does not read as an array.
    """
    several = None if inputs is None else len(inputs) > 1
    x = read_array("x", x) if x is None else _read("x", x, several)
    y = None if y is None else _read("y", y, several=None)
    weight = None if weight is None else _read("sample_weight", weight, several=None)
    starts = None if starts is None else _read_flags(starts)
    parts = {"x": x, "y": y, "sample_weight": weight, "starts": starts}
    leaves = jax.tree.leaves(parts)
    counts = {len(leaf) for leaf in leaves}
    if len(counts) != 1 or 0 in counts:
        raise InputError(_uneven(parts))
    if inputs is not None:
        check_shapes(x, inputs)
    _check_has_steps(x, inputs)
    if check_values and not all(map(_is_finite, leaves)):
        raise InputError(_not_finite(parts))
    return SampleArrays(x, y, weight, starts, counts.pop())


def _read(name: str, value, several: bool | None):
    """A value as an array, or as a structure of arrays.

    Args:
        name: for messages.
        value: as the user gave it.
        several: whether a list has one entry for each input; None: it has if all entries are
            arrays.
    """
    if value is None:
        return None  # an optional input that was left out
    if isinstance(value, dict):
        return {key: _read(f"{name}[{key!r}]", each, several) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        if several is None:
            several = bool(value) and all(hasattr(each, "shape") for each in value)
        elif not several and len(value) == 1 and (value[0] is None or hasattr(value[0], "shape")):
            return _read(name, value[0], several)  # Keras takes [x] for x
        if several:
            parts = [_read(f"{name}[{at}]", each, False) for at, each in enumerate(value)]
            return tuple(parts) if isinstance(value, tuple) else parts
    return read_array(name, value)


def _is_array_like(value) -> bool:
    """Whether ``_as_array`` can read a value; nothing is converted."""
    names = ("__array__", *_DENSE)
    return any(hasattr(value, name) for name in names) or type(value).__name__ == "SparseTensor"


def _as_array(value):
    """An array-like value as ``numpy.asarray`` reads it; None if it is not array-like."""
    if type(value) is np.ndarray:
        return value
    if hasattr(value, "detach"):  # PyTorch: off the graph and off the device
        value = value.detach().cpu()
        return value.float() if str(value.dtype) == "torch.bfloat16" else value
    for dense in _DENSE:
        if hasattr(value, dense):
            return getattr(value, dense)()
    if type(value).__name__ == "SparseTensor":  # TensorFlow
        dense = np.zeros(tuple(value.dense_shape), value.dtype.as_numpy_dtype)
        dense[tuple(np.asarray(value.indices).T)] = value.values
        return dense
    return value if hasattr(value, "__array__") else None


def read_array(name: str, value) -> np.ndarray:
    """A value as one NumPy array of numbers.

    Raises:
        InputError: it cannot be converted to one array of numbers, or not without loss: it has
            masked values, a unit, or integers beyond 32 bits that the float type does not have.
        UnsupportedError: it is not array-like.
    """
    check_keeps_meaning(name, value)
    listed = isinstance(value, (list, tuple, int, float))
    given = value if listed else _as_array(value)
    if given is None:
        raise UnsupportedError(
            f"{name} is a {type(value).__module__}.{type(value).__qualname__}. Arrays were "
            "expected here: anything numpy.asarray reads."
        )
    try:
        array = np.asarray(given)
    except ValueError as error:
        raise InputError(
            f"{name} cannot be made into one array ({error}). Its parts must have equal shapes: "
            "pad shorter sequences with keras.utils.pad_sequences."
        ) from error
    if array.dtype == object and hasattr(value, "columns"):  # a frame of nullable numbers
        array = _numbers(name, value)
    check_is_numeric(name, array)
    if array.ndim == 0:
        raise InputError(f"{name} is a single number, {array}; axis 0 must be the sample.")
    array = as_jax_keeps(name, array, keras.config.floatx())
    if array.dtype == np.float64 or array.dtype.kind == "V":
        with np.errstate(over="ignore"):  # overflow gives infinity, which is reported later
            array = array.astype(keras.config.floatx())
    return array


def _numbers(name: str, frame) -> np.ndarray:
    """A frame whose columns are not all of one plain type, as numbers; NaN where one is missing.

    Raises:
        InputError: a column holds something else.
    """
    columns = []
    for column in frame.columns:
        try:
            columns.append(np.asarray(frame[column], float))
        except (TypeError, ValueError) as error:
            raise InputError(
                f"Column {column!r} of {name} holds something else than numbers ({error}). Encode "
                "text as integers first, or drop the column."
            ) from error
    return np.stack(columns, axis=1)


def _read_flags(starts) -> np.ndarray:
    check_keeps_meaning("starts", starts)
    flags = np.asarray(starts)
    is_number = flags.dtype.kind in "iuf"
    if flags.ndim != 1 or not (flags.dtype == bool or (is_number and np.isin(flags, (0, 1)).all())):
        raise InputError(
            f"starts has shape {flags.shape} and dtype {flags.dtype}; one boolean a sample was "
            "expected, True where a sample begins a new sequence."
        )
    return flags.astype(bool)


def _uneven(parts: dict) -> str:
    """The message for arrays with no samples or different numbers of samples."""
    lengths = {
        name: sorted({len(leaf) for leaf in jax.tree.leaves(part)})
        for name, part in parts.items()
        if part is not None
    }
    if len({length for each in lengths.values() for length in each}) <= 1:
        return "The data are empty: x has no samples. At least one is needed."
    counts = ", ".join(f"{name} has {' and '.join(map(str, n))}" for name, n in lengths.items())
    return f"The data differ in their number of samples: {counts}. Axis 0 is the sample."


def _is_finite(array: np.ndarray) -> bool:
    return array.dtype.kind != "f" or bool(np.isfinite(array).all())


def _not_finite(parts: dict) -> str:
    """The message for data that have NaN or infinity: where the first one is."""
    for path, leaf in jax.tree.leaves_with_path(parts):
        if not _is_finite(leaf):
            bad = np.argwhere(~np.isfinite(leaf))
            first = tuple(map(int, bad[0]))
            name = path[0].key + jax.tree_util.keystr(path[1:])
            return (
                f"{name}[{', '.join(map(str, first))}] is {leaf[first]}, and {len(bad) - 1} other "
                "values of it are NaN or infinite. Every value must be finite: drop such samples, "
                "or fill them and mask those steps with keras.layers.Masking."
            )
    raise AssertionError("every value is finite")


def check_shapes(x, inputs: list) -> None:
    """Compare each input array with the model's input tensor of the same place.

    Raises:
        InputError: the number of arrays, their rank, an axis or the size of an index does not fit.
    """
    if isinstance(x, np.ndarray) and len(inputs) == 1 and _fits(x.shape[1:], inputs[0].shape[1:]):
        check_range(x, inputs[0])
        return
    named = _names_inputs(x, inputs)
    ordered = [x[each.name] for each in inputs] if named else keras.tree.flatten(x)
    if len(ordered) != len(inputs):
        names = ", ".join(each.name for each in inputs)
        raise InputError(
            f"x has {len(ordered)} arrays, but the model has {len(inputs)} inputs: {names}."
        )
    for leaf, tensor in zip(ordered, inputs, strict=True):
        if leaf is None and not keras_private.is_optional(tensor):
            raise InputError(
                f"x is None for the model's input {tensor.name!r}, which is not optional. Give an "
                "array, or make the input with keras.Input(..., optional=True)."
            )
        if leaf is not None and not _fits(leaf.shape[1:], tensor.shape[1:]):
            raise InputError(
                f"x has shape {leaf.shape}, but the model's input {tensor.name!r} takes "
                f"{_readable(tensor.shape)}. {_remedy(leaf.shape, tensor.shape)}"
            )
        if leaf is not None:
            check_range(leaf, tensor)


def _check_has_steps(x, inputs: list | None) -> None:
    """Refuse samples without time steps, at which Keras fails in one of many ways.

    Raises:
        InputError: an array has none, and the model's input, if it is known, declares no such axis.
    """
    declared = {tensor.shape[1:2] for tensor in inputs or ()}
    for leaf in jax.tree.leaves(x):
        is_sequence = inputs is not None or leaf.ndim > 2 or leaf.dtype.kind in "iu"
        if is_sequence and leaf.shape[1:2] == (0,) and (0,) not in declared:
            raise InputError(
                f"x has shape {leaf.shape}: its samples have no time steps (axis 1). At least one "
                "is needed: leave out what is empty."
            )


def needs_range(inputs: list | None) -> bool:
    """Whether ``check_range`` looks at the values for any of these input tensors."""
    kept = [jax.dtypes.canonicalize_dtype(str(each.dtype)) for each in inputs or []]
    return any(each.kind in "iu" or each == np.float16 for each in kept)


def check_range(array: np.ndarray, tensor) -> None:
    """Refuse numbers beyond the type of an input of integers or of float16.

    They would wrap, or become infinite. JAX keeps a type of 64 bits as one of 32.

    Args:
        array: numbers; of integers beyond 32 bits ``as_jax_keeps`` made floats.
        tensor: the input, with its name and dtype.

    Raises:
        InputError: a number is.
    """
    if array.dtype.kind not in "fiu" or not array.size or not needs_range([tensor]):
        return
    declared = str(tensor.dtype)
    kept = jax.dtypes.canonicalize_dtype(declared)
    is_integer = kept.kind in "iu"
    if array.dtype.kind in "iu" and np.can_cast(array.dtype, kept):
        return
    limits = np.iinfo(kept) if is_integer else np.finfo(kept)
    if array.dtype.kind == "f":
        array = array.astype(np.float64)  # float32 would round the limits
    least, most = array.min(), array.max()
    if least < limits.min:
        beyond = least
    elif most > limits.max:
        beyond = most
    else:
        return
    came = f"{beyond:.0f}" if array.dtype.kind == "f" else str(beyond)
    numbers = "integers" if is_integer else "numbers"
    as_kept = "" if kept == declared else f" (kept as {kept})"
    raise InputError(
        f"x holds {came}, and the model's input {tensor.name!r} takes {numbers} of type {declared}"
        f"{as_kept}, from {limits.min:.0f} to {limits.max:.0f}."
    )


def _names_inputs(x, inputs: list) -> bool:
    """Whether x is a dictionary that has every input under its name.

    Raises:
        InputError: Keras would confuse an entry that is no input with one that is.
    """
    names = sorted(each.name for each in inputs)
    if not isinstance(x, dict) or not set(names) <= set(x):
        return False
    taken = sorted(x)[: len(names)]
    if taken != names:
        raise InputError(
            f"x has the entries {', '.join(sorted(x))}, but the model has {len(names)} inputs: "
            f"{', '.join(names)}. Keras takes entries in alphabetical order, and would mistake "
            f"{next(each for each in taken if each not in names)!r} for an input: leave it out."
        )
    return True


def _fits(came: tuple, expected: tuple) -> bool:
    """Whether a sample's axes and features fit; as in Keras, a last axis of 1 may come or go.

    Other axes are left to the layers: a recurrent one takes any number of time steps.
    """
    if len(came) == len(expected) + 1 and came[-1] == 1:
        came = came[:-1]
    if len(came) == len(expected) - 1 and expected[-1] == 1:
        came = (*came, 1)
    return len(came) == len(expected) and (not came or expected[-1] in (None, came[-1]))


def _readable(shape: tuple) -> str:
    axes = ["samples", *("any" if axis is None else str(axis) for axis in shape[1:])]
    return f"({', '.join(axes)})"


def _remedy(came: tuple, expected: tuple) -> str:
    if len(came) != len(expected):
        wanted = "(samples, time steps, features)" if len(expected) == 3 else _readable(expected)
        return f"It has {len(came)} axes for {len(expected)}: numpy.reshape(x, {wanted})."
    return f"Its last axis has {came[-1]} features for {expected[-1]}."


def class_weights(y, weights: dict) -> np.ndarray:
    """One sample weight for each target, by its class.

    Args:
        y: class indices, (samples,) or (samples, 1), or one-hot rows (samples, classes).
        weights: class index → weight; a class that is missing weighs 1.

    Raises:
        InputError: y is not one array of classes, or the weights are no dictionary.
    """
    if not hasattr(weights, "get"):
        raise InputError(
            f"class_weight is {weights!r}; a dictionary from class index to weight was expected."
        )
    if not isinstance(y, np.ndarray) or y.ndim > 2:
        raise InputError(
            "class_weight needs one target of shape (samples,) or (samples, classes); "
            "give sample_weight instead."
        )
    classes = y.argmax(-1) if y.ndim == 2 and y.shape[1] > 1 else np.rint(y.reshape(-1)).astype(int)
    found, places = np.unique(classes, return_inverse=True)
    table = [_class_weight(weights, int(index)) for index in found]
    return np.array(table, keras.config.floatx())[places]


def _class_weight(weights: dict, index: int) -> float:
    """The weight of a class.

    Raises:
        InputError: it is no finite number.
    """
    weight = weights.get(index, 1.0)
    check_keeps_meaning(f"class_weight[{index}]", weight)
    try:
        number = math.nan if isinstance(weight, (str, bytes)) else float(weight)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        raise InputError(f"class_weight[{index}] is {weight!r}; a finite number was expected.")
    return number
