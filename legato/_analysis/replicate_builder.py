"""Models that one function builds under several seeds: alike in all but their variables' values.

The function is called as after ``keras.utils.set_random_seed(seed)``. What comes is compared with
what came for the first seed, because all of them are run by what one has compiled: shapes, settings
of layers and of the optimizer, arrays that layers keep beside their variables; and weights, which
have to differ.

Limits: what a seed decides must be in the variables. What a function has closed over, such as a
loss's, is the first model's for all, and is not seen here.
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
from legato._platform import keras_private
from legato._platform.random_state import copy_numpy_generator, temporary_seed


class ModelContent(NamedTuple):
    """All that is in a model's variables.

    Attributes:
        values: the variables' values, the metrics' left out.
        memory: what each of its memories holds.
    """

    values: LoopValues
    memory: list[list]

    @property
    def nbytes(self) -> int:
        return sum(each.nbytes for each in jax.tree.leaves(self))


class Start(NamedTuple):
    """What a replicate begins with.

    Attributes:
        seed: which.
        content: of its model, untrained.
        orders: what draws its sample orders.
    """

    seed: int
    content: ModelContent
    orders: np.random.RandomState


class ReplicateBuilder:
    """Makes the model of a seed, and what its training begins with.

    Args:
        build: the user's function.
        X, y: the data, for models that only data build.
    """

    def __init__(self, build: Callable, X, y):
        self._build, self._data = build, (X, y)
        self._takes_seed = _takes_seed(build)
        self._sample: SampleArrays | None = None

    def __call__(self, seed: int, whole: bool = False) -> tuple[Any, Start]:
        """The model, its weights and its optimizer's variables there, and its beginning.

        Args:
            seed: whose.
            whole: whether its metrics' variables are wanted as well.
        """
        with temporary_seed(seed):
            model = self._build(seed) if self._takes_seed else self._build()
            _check_model(model, seed)
            self.finish(model, whole)
            orders = copy_numpy_generator()
        return model, Start(seed, content_of(model), orders)

    def finish(self, model, whole: bool = True) -> None:
        """Make the variables that are missing; the metrics' take longest, and few need them."""
        model._engine.adopt()
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


def content_of(model) -> ModelContent:
    """What is in a model's variables, on the host."""
    engine = model._engine
    variables = ProgramCache(engine).variables("train")._replace(metrics=[])
    values = [[np.asarray(each) for each in keras_private.values_of(part)] for part in variables]
    memory = [
        [np.asarray(each) for each in keras_private.values_of(memory.variables)]
        for memory in engine.memories
    ]
    return ModelContent(LoopValues(*values), memory)


def put(model, content: ModelContent) -> None:
    """Let a model hold what another one of its kind held."""
    engine = model._engine
    variables = ProgramCache(engine).variables("train")._replace(metrics=[])
    for own, values in zip(variables, content.values, strict=True):
        keras_private.set_values(own, map(jax.numpy.asarray, values))
    for memory, values in zip(engine.memories, content.memory, strict=True):
        memory.set_values(list(map(jax.numpy.asarray, values)))


def settings_of(model) -> list:
    """What decides a model's computation beside its variables, as far as it can be seen."""
    layers = keras_private.flatten_layers(model)
    parts = [each for each in layers if not isinstance(each, keras.Model)]
    found = [(type(each).__name__, _setting(each)) for each in [*parts, model.optimizer]]
    return found + [(type(each).__name__, _arrays(each)) for each in layers]


def _arrays(layer) -> list:
    """What a layer keeps as plain arrays, which are constants of what is compiled."""
    kept = [each for each in vars(layer).values() if isinstance(each, (np.ndarray, jax.Array))]
    return [(str(each.dtype), each.shape, np.asarray(each).tobytes()) for each in kept]


def _setting(part) -> Any:
    try:
        return _plain(part.get_config())
    except NotImplementedError:  # a layer of the user's own need not have any
        return None


def _plain(value) -> Any:
    """A configuration without names, seeds, and objects that no two models share."""
    if isinstance(value, dict):
        skipped = ("name", "seed")
        return {name: _plain(each) for name, each in value.items() if name not in skipped}
    if isinstance(value, (list, tuple)):
        return [_plain(each) for each in value]
    return value if isinstance(value, (bool, int, float, str)) else None


def check_alike(first: Start, other: Start, settings: list, others: list) -> None:
    """Refuse models that one program cannot run, or that the seed did not tell apart."""
    seeds = f"seeds {first.seed} and {other.seed}"
    mine, theirs = first.content.values, other.content.values
    shapes, came = ([each.shape for each in jax.tree.leaves(values)] for values in (mine, theirs))
    if shapes != came:
        at = next((pair for pair in zip(shapes, came, strict=False) if pair[0] != pair[1]), None)
        how = f"{len(shapes)} and {len(came)} variables" if at is None else f"{at[0]} and {at[1]}"
        raise InputError(
            f"build gave models of different shapes for {seeds}: {how}. Replicates differ in "
            "their random numbers only: let the seed decide nothing else."
        )
    if settings != others:
        which = next((a[0] for a, b in zip(settings, others, strict=False) if a != b), "a layer")
        raise InputError(
            f"build gave models with different settings for {seeds}: their {which} differs. "
            "Replicates differ in their random numbers only: let the seed decide nothing else."
        )
    if all(map(np.array_equal, mine.trainable, theirs.trainable)):
        raise InputError(
            f"build ignores its seed: it gave {seeds} the same initial weights. It is called under "
            "keras.utils.set_random_seed(seed): set no seed in it, give initializers none or one "
            "that depends on build's argument, and load no weights there."
        )
