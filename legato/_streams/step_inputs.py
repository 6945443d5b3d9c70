"""The inputs of a stream: their shapes, and conversion of a user's arrays to steps.

A model takes samples, (time steps, …) for each input; a stream is fed steps, without the time axis.
An input without a time axis is given once with every feed. A model none of whose inputs has a time
axis is fed whole samples: each is a step.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np

from legato._errors import InputError, StateError
from legato._execution.samples import check_range, read_array
from legato._platform.jax_arrays import as_jax_keeps
from legato._platform.plain_arrays import check_keeps_meaning
from legato._recurrent.model_state import ModelState

FEW_NUMBERS = 64  # numbers that Python checks as quickly as NumPy


@dataclass(frozen=True)
class Input:
    """One input of a model.

    Attributes:
        name: of the input.
        shape: of one step; None for an axis of any size.
        dtype: of its numbers.
        by_step: whether every step has its own value; else there is one value for a whole feed.
        in_time: whether the model takes a time axis that a step lacks.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str
    by_step: bool = True
    in_time: bool = True

    def is_step(self, shape: tuple[int, ...]) -> bool:
        """Whether an array of this shape is one step."""
        return len(shape) == len(self.shape) and all(
            expected in (None, came) for expected, came in zip(self.shape, shape, strict=True)
        )

    def sample(self, steps: int, rows: int = 1) -> np.ndarray:
        """Random samples (rows, …) of this input, to trace with; axes of any size have length 1."""
        axes = [each or 1 for each in self.shape]
        if self.in_time:
            axes = [steps, *axes]
        if np.dtype(self.dtype).kind != "f":
            return np.ones((rows, *axes), self.dtype)
        rng = np.random.default_rng(0)
        return rng.uniform(0.1, 0.9, (rows, *axes)).astype(self.dtype)

    def __str__(self) -> str:
        axes = ", ".join("any" if each is None else str(each) for each in self.shape)
        return f"({axes}{',' * (len(self.shape) == 1)})"


def inputs_of(model_state: ModelState) -> tuple[list[Input], int | None]:
    """A model's inputs in Keras's order, and the time steps of a sample.

    Returns:
        The number is None where samples may have any, or no input has a time axis.

    Raises:
        StateError: the model is not built, so its inputs are unknown.
    """
    model = model_state.model
    if not model.built:
        raise StateError(
            f"Model {model.name!r} is not built yet, so the shape of a step is unknown: build "
            "it first, by model.build(input_shape) or by running it once."
        )
    if model_state.inputs is None:
        return _inputs_built_for(model), None
    axes = [
        (tensor.name, tuple(tensor.shape[1:]), str(tensor.dtype)) for tensor in model_state.inputs
    ]
    in_time = [bool(shape) and shape[0] is None for _, shape, _ in axes]
    if not any(in_time):
        in_time = [
            len(shape) > 1 or (bool(shape) and np.dtype(dtype).kind in "iu")
            for _, shape, dtype in axes
        ]
    lengths = {shape[0] for (_, shape, _), timed in zip(axes, in_time, strict=True) if timed}
    if len(lengths) != 1:
        return [Input(*each, in_time=False) for each in axes], None
    inputs = [
        Input(name, shape[timed:], dtype, by_step=timed, in_time=timed)
        for (name, shape, dtype), timed in zip(axes, in_time, strict=True)
    ]
    return inputs, lengths.pop()


def _inputs_built_for(model) -> list[Input]:
    """Inputs of a subclassed model, from the shapes that it was built for."""
    shapes = (model.get_build_config() or {}).get("input_shape")
    if shapes is None:
        raise StateError(
            f"The inputs of model {model.name!r} are unknown: its call has several arguments. "
            "Make it a functional model, legato.Model(inputs, outputs)."
        )
    several = not shapes or isinstance(shapes[0], (list, tuple))
    dtype = keras.config.floatx()
    return [
        Input(f"input {at}", tuple(shape[2:]), dtype)
        for at, shape in enumerate(shapes if several else [shapes])
    ]


def whole_sample_inputs(inputs: Sequence[Input], steps: int) -> list[Input]:
    """The inputs of a model whose step is a whole sample of so many time steps."""
    return [
        replace(each, shape=(steps, *each.shape), in_time=False) if each.in_time else each
        for each in inputs
    ]


class StepInputs:
    """Converts the input of a feed to arrays.

    Args:
        inputs: the model's.
        structure: how Keras nests them; one tensor if there is one.
    """

    def __init__(self, inputs: Sequence[Input], structure: Any):
        self.inputs = list(inputs)
        self._structure = structure
        self._first = next(each for each in inputs if each.by_step)
        self._shape, self._dtype = self._first.shape, np.dtype(self._first.dtype)
        self._is_plain = self._dtype.kind == "f" or self._dtype.itemsize < np.int64().itemsize

    def read(self, x) -> tuple[tuple[np.ndarray, ...], int | None]:
        """One step, or several.

        Args:
            x: numbers of the shape of a step, or (steps, *shape of a step); of a model with
                several inputs a list, tuple or dictionary of those, where an input without time
                axis has no steps.

        Returns:
            An array for each input, and the number of steps; None if it was one step.

        Raises:
            InputError: a shape that does not fit, or NaN or infinity.
            UnsupportedError: something that is not arrays.
        """
        if len(self.inputs) == 1:
            is_plain = self._is_plain and type(x) is np.ndarray and x.dtype is self._dtype
            if is_plain and x.shape == self._shape:
                if not _is_finite(x):
                    self._check_finite(self._first, x)
                return (x,), None
            array, steps = self._read(self._first, x)
            return (array,), steps
        parts = self._parts(x)
        first = parts[self.inputs.index(self._first)]
        _, steps = self._read(self._first, first)
        arrays = [self._read(each, part)[0] for each, part in zip(self.inputs, parts, strict=True)]
        for each, array in zip(self.inputs, arrays, strict=True):
            came = len(array) if each.by_step and not each.is_step(array.shape) else None
            if each.by_step and came != steps:
                raise InputError(
                    f"The inputs have different numbers of steps: {self._first.name!r} "
                    f"{_counted(steps)}, {each.name!r} {_counted(came)}."
                )
        return tuple(arrays), steps

    def read_several(self, x) -> tuple[tuple[np.ndarray, ...], int]:
        """As ``read``; a bare step has the number 1 and an axis of steps."""
        arrays, steps = self.read(x)
        if steps is not None:
            return arrays, steps
        pairs = zip(self.inputs, arrays, strict=True)
        return tuple(array[None] if each.by_step else array for each, array in pairs), 1

    def stack_single_steps(self, steps: list) -> np.ndarray | None:
        """Stack one step of each of several streams; None where ``read`` has to check each."""
        if len(self.inputs) > 1 or self._dtype.kind != "f" or not steps:
            return None
        try:
            check_keeps_meaning("x", steps)
            array = np.asarray(steps)
            if array.dtype.kind not in "fiub":  # text or dates, say, that NumPy would convert
                return None
            with np.errstate(over="ignore"):
                array = array.astype(self._dtype, copy=False)
                # Beyond 32 bits an integer may not be exact, and NaN and infinity are refused.
                fits = self._first.is_step(array.shape[1:]) and (np.abs(array) < 2**31).all()
        except (TypeError, ValueError):  # an InputError too
            return None
        return array if fits else None

    def _parts(self, x) -> list:
        """The given arrays in the inputs' order."""
        names = [each.name for each in self.inputs]
        if isinstance(x, dict) and set(x) == set(names):
            return [x[name] for name in names]
        keyed = isinstance(x, dict) and isinstance(self._structure, dict)
        if keyed and set(x) == set(self._structure):
            return [x[key] for key in sorted(x)]  # as Keras flattens dictionaries
        if isinstance(x, (list, tuple)) and len(x) == len(names):
            return list(x)
        came = f"a {type(x).__name__}"
        if isinstance(x, dict):
            came = f"a dictionary of {', '.join(map(repr, x))}"
        elif isinstance(x, (list, tuple)):
            came = f"{len(x)} of them"
        raise InputError(
            f"The model has {len(names)} inputs, {', '.join(map(repr, names))}, and {came} came: "
            "give a list of one array for each, in this order, or a dictionary by these names."
        )

    def _read(self, given: Input, x) -> tuple[np.ndarray, int | None]:
        number = np.isscalar(x) or (isinstance(x, np.ndarray) and x.ndim == 0)
        name = "x" if len(self.inputs) == 1 else f"x for the input {given.name!r}"
        array = _read_number(name, x) if number else read_array(name, x)
        if array.dtype.kind not in "fiubV":
            raise InputError(f"x is {x!r}; numbers were expected.")
        shape = array.shape
        steps: int | None = None
        if not given.is_step(shape):
            if given.shape[-1:] == (1,) and given.is_step((*shape, 1)):
                array = array[..., None]
            elif given.by_step and given.is_step(shape[1:]) and shape:
                steps = len(array)
            elif given.by_step and given.shape[-1:] == (1,) and given.is_step((*shape[1:], 1)):
                array, steps = array[..., None], len(array)
            else:
                raise InputError(_shape_message(given, shape, len(self.inputs)))
        if np.dtype(given.dtype).kind == "f":  # a cast would make it infinite
            check_range(array, given)
        array = _cast(given, array) if array.dtype != given.dtype else array
        check_range(array, given)
        self._check_finite(given, array)
        return array, steps

    @staticmethod
    def _check_finite(given: Input, array: np.ndarray) -> None:
        if array.dtype.kind in "fV" and not _is_finite(array):
            where = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
            of = "x" if not where else f"x[{', '.join(map(str, where))}]"
            raise InputError(
                f"{of} for the input {given.name!r} is {array[where]}: every number must be "
                "finite. The stream has not moved: fill the gap, or mask that step with "
                "keras.layers.Masking."
            )


def _read_number(name: str, x) -> np.ndarray:
    """One number as an array without axes."""
    check_keeps_meaning(name, x)
    array = np.asarray(x)
    return as_jax_keeps(name, array, keras.config.floatx()) if array.dtype.kind in "fiu" else array


def _is_finite(array: np.ndarray) -> bool:
    few = array.size <= FEW_NUMBERS and array.dtype.kind == "f"
    if few and math.isfinite(sum(array.ravel().tolist())):  # at a quarter of the cost
        return True
    return bool(np.isfinite(array).all())  # the sum of large numbers may overflow


def _cast(given: Input, array: np.ndarray) -> np.ndarray:
    """An array in the input's dtype.

    Raises:
        InputError: numbers that are not whole where whole ones are taken.
    """
    into = np.dtype(given.dtype)
    if into.kind in "iu" and array.dtype.kind in "fiu":
        with np.errstate(invalid="ignore"):
            whole = array.astype(into)
        if not np.array_equal(whole, array):  # NaN too
            raise InputError(
                f"x holds {array[whole != array].flat[0]}, and the input {given.name!r} takes "
                f"whole numbers of type {into}."
            )
        return whole
    with np.errstate(over="ignore"):
        return array.astype(into)


def _shape_message(given: Input, shape: tuple, count: int) -> str:
    of = f"x for the input {given.name!r}" if count > 1 else "x"
    if not given.by_step:
        return f"{of} has shape {shape}; it has no steps, and {given} was expected."
    axes = ", ".join(["steps", *("any" if each is None else str(each) for each in given.shape)])
    unit = "one step" if given.in_time else "one sample, which is a step here"
    return (
        f"{of} has shape {shape}; {unit} is {given}, and several are ({axes}). A stream is one "
        "sequence: it has no axis of rows."
    )


def _counted(steps: int | None) -> str:
    return "one step" if steps is None else f"{steps} steps"
