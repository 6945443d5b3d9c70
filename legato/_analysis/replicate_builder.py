"""Builds one model per seed and checks that all have the same structure.

The user's function is called as after ``keras.utils.set_random_seed(seed)``. Because all models run
the programs that the first one compiled, each is compared with the first: shapes of variables,
configurations of layers and optimizer, and arrays that layers keep as attributes must be equal;
initial weights must differ.

Limits: a seed may decide nothing but the values of variables. Values that a function has closed
over, such as a loss function's, are not compared; all models use the first one's.
"""

import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import keras
import numpy as np

from legato._errors import InputError
from legato._execution.compiled_loop import LoopValues
from legato._execution.program_cache import ProgramCache
from legato._execution.samples import SampleArrays
from legato._models.model import Model, Sequential
from legato._platform import keras_private, keras_variables
from legato._platform.jax_arrays import copy_to_jax
from legato._platform.random_state import copy_numpy_generator, temporary_seed


class ModelContent(NamedTuple):
    """The values of a model's variables, on the host.

    Attributes:
        values: values of the variables, without those of metrics.
        memory: for each recurrent layer with a memory, the values of its variables.
    """

    values: LoopValues
    memory: list[list]

    @property
    def nbytes(self) -> int:
        return sum(each.nbytes for each in jax.tree.leaves(self))


class ReplicateStart(NamedTuple):
    """The initial values of a replicate.

    Attributes:
        seed: its random seed.
        content: values of its model, untrained.
        orders: random generator of its sample orders.
    """

    seed: int
    content: ModelContent
    orders: np.random.RandomState


class ReplicateBuilder:
    """Builds the model of a seed, with the initial values of its training.

    Args:
        build: the user's function.
        X, y: the data, whose shapes build models that declare no input shape.
    """

    def __init__(self, build: Callable, X, y):
        self._build, self._data = build, (X, y)
        self._takes_seed = _takes_seed(build)
        self._sample: SampleArrays | None = None

    def __call__(self, seed: int, whole: bool = False) -> tuple[Any, ReplicateStart]:
        """The model, with weights and optimizer variables made, and its initial values.

        Args:
            seed: random seed of the replicate.
            whole: whether to make the variables of metrics as well.
        """
        with temporary_seed(seed):
            model = self._build(seed) if self._takes_seed else self._build()
            _check_model(model, seed)
            self.finish(model, whole)
            orders = copy_numpy_generator()
        return model, ReplicateStart(seed, model_content(model), orders)

    def finish(self, model, whole: bool = True) -> None:
        """Make the missing variables, if ``whole`` those of metrics too, which take longest."""
        model._model_state.adopt()
        built = model.built and all(each.built for each in keras_private.flatten_layers(model))
        if whole or not built:
            if self._sample is None:
                self._sample = model._data_adapter.samples(*self._data).take(slice(1))
                self._data = None, None
            model._data_adapter.build_for(self._sample)
        elif not model.optimizer.built:
            model.optimizer.build(model.trainable_variables)


def _takes_seed(build: Callable) -> bool:
    try:
        parameters = inspect.signature(build).parameters.values()
    except (TypeError, ValueError):  # made in C
        return False
    return any(
        each.name == "seed" or each.default is each.empty
        for each in parameters
        if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)
    )


def _check_model(model, seed: int) -> None:
    if not isinstance(model, (Model, Sequential)):
        raise InputError(
            f"build gave {type(model).__name__} for seed {seed}; a compiled legato.Sequential or "
            "legato.Model was expected. Does it end with `return model`?"
        )
    if not model.compiled:
        raise InputError(
            f"build gave a model that is not compiled for seed {seed}: call model.compile(loss=…, "
            "optimizer=…) in it before it returns the model."
        )


def model_content(model) -> ModelContent:
    """The values of a model's variables, copied to the host."""
    model_state = model._model_state
    variables = ProgramCache(model_state).variables("train")._replace(metrics=[])
    values = [[np.asarray(each) for each in keras_variables.values_of(part)] for part in variables]
    memory = [
        [np.asarray(each) for each in keras_variables.values_of(memory.variables)]
        for memory in model_state.memories
    ]
    return ModelContent(LoopValues(*values), memory)


def set_model_content(model, content: ModelContent) -> None:
    """Set a model's variables to the values of another one of the same structure."""
    model_state = model._model_state
    variables = ProgramCache(model_state).variables("train")._replace(metrics=[])
    for own, values in zip(variables, content.values, strict=True):
        keras_variables.set_values(own, map(copy_to_jax, values))
    for memory, values in zip(model_state.memories, content.memory, strict=True):
        memory.set_values(list(map(copy_to_jax, values)))


def model_configuration(model) -> list:
    """The configurations of a model's layers and optimizer, and the arrays that its layers keep.

    Everything besides variables that decides its computation, as far as it can be compared.
    """
    layers = keras_private.flatten_layers(model)
    parts = [each for each in layers if not isinstance(each, keras.Model)]
    parts.append(model.optimizer)
    configurations = [(type(each).__name__, _configuration(each)) for each in parts]
    return configurations + [(type(each).__name__, _array_attributes(each)) for each in layers]


def _array_attributes(layer) -> list:
    """A layer's attributes that are plain arrays, which are constants of a compiled program."""
    arrays = [each for each in vars(layer).values() if isinstance(each, (np.ndarray, jax.Array))]
    return [(str(each.dtype), each.shape, np.asarray(each).tobytes()) for each in arrays]


def _configuration(part) -> Any:
    try:
        return _comparable(part.get_config())
    except NotImplementedError:  # a user's layer need not have one
        return None


def _comparable(value) -> Any:
    """A configuration without names, seeds and objects, which differ between equal models."""
    if isinstance(value, dict):
        skipped = ("name", "seed")
        return {name: _comparable(each) for name, each in value.items() if name not in skipped}
    if isinstance(value, (list, tuple)):
        return [_comparable(each) for each in value]
    return value if isinstance(value, (bool, int, float, str)) else None


def check_same_structure(
    first: ReplicateStart,
    other: ReplicateStart,
    first_configuration: list,
    other_configuration: list,
) -> None:
    """Refuse models of different structure, or with the same initial weights.

    Raises:
        InputError: one program cannot run both, or the seed decides nothing.
    """
    seeds = f"seeds {first.seed} and {other.seed}"
    values = first.content.values, other.content.values
    shapes, others = ([each.shape for each in jax.tree.leaves(each)] for each in values)
    if shapes != others:
        pairs = zip(shapes, others, strict=False)
        differing = next((pair for pair in pairs if pair[0] != pair[1]), None)
        counts = f"{len(shapes)} and {len(others)} variables"
        difference = counts if differing is None else f"{differing[0]} and {differing[1]}"
        raise InputError(
            f"build gave models of different shapes for {seeds}: {difference}. Replicates differ "
            "in their random numbers only: let the seed decide nothing else."
        )
    if first_configuration != other_configuration:
        pairs = zip(first_configuration, other_configuration, strict=False)
        which = next((pair[0][0] for pair in pairs if pair[0] != pair[1]), "a layer")
        raise InputError(
            f"build gave models with different settings for {seeds}: their {which} differs. "
            "Replicates differ in their random numbers only: let the seed decide nothing else."
        )
    if all(map(np.array_equal, *(each.trainable for each in values))):
        raise InputError(
            f"build ignores its seed: it gave {seeds} the same initial weights. It is called under "
            "keras.utils.set_random_seed(seed): set no seed in it, give initializers none or one "
            "that depends on build's argument, and load no weights there."
        )
