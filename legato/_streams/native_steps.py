"""Steps of a model in C++, without JAX: for chains of recurrent and dense layers in float32.

``describe_chain`` says which models those are. ``NativeSteps`` packs the weights when they are
first used, and again whenever they changed.
"""

from typing import Any

import jax
import jax.numpy as jnp
import keras
import numpy as np

from legato._platform import keras_private, keras_variables
from legato._recurrent import native_kernel, stateful_layers
from legato._recurrent.kernels import native_name
from legato._recurrent.native_chain import ACTIVATIONS, NativeChain, Operation
from legato._streams.sampling import Sampler
from legato._streams.step import ModelStep

_STEPS = 4096  # most steps of a call, which Ctrl-C cannot interrupt
_MAX_TABLE = 2**20  # most numbers of a table of encoded classes
_MAX_TABLES = 16  # most tables that are kept

_ACTIVATIONS = [(getattr(keras.activations, name), name) for name in ACTIVATIONS]
_RECURRENT = tuple(getattr(stateful_layers, name) for name in ("LSTM", "GRU", "SimpleRNN", "RNN"))
_WITHOUT_EFFECT = (keras.layers.Dropout, keras.layers.GaussianNoise, keras.layers.Identity)

Described = tuple[Operation, list[Any]]  # with the variables whose values it takes; None for none


def describe_chain(model_step: ModelStep) -> list[Described] | None:
    """The layers of a model as a chain of native operations; None if it is no such chain.

    It must be ``legato.Sequential``, or a functional model in which each layer takes the output of
    the one before, with nothing overridden, of float32 throughout: recurrent layers of Keras's
    cells with their default activations, dense layers, and usual activations.
    """
    ops, step = _operations(model_step), model_step
    if ops is None or step.window is not None:
        return None
    (given,) = step.step_inputs.inputs
    if given.dtype != "float32" or not given.in_time or len(given.shape) != 1:
        return None
    chain, width, state = [], given.shape[0], 0
    if width is None:
        return None
    for layer in ops:
        described = _described(layer, width, state)
        if described is None:
            return None
        operation, _ = described
        chain.append(described)
        if type(layer) in _RECURRENT:
            state += operation.units * (2 if operation.kind == "lstm" else 1) + 1
        width = operation.units
    return chain if chain and state == step.width and _matches(step, ops) else None


def _operations(model_step: ModelStep) -> list | None:
    """The layers of a chain, those without effect left out; None if the model is none."""
    graph = keras_private.graph_of(model_step.model)
    plain = type(model_step.model).predict_step is keras.Model.predict_step
    if graph is None or not plain or len(graph.inputs) != 1 or len(graph.outputs) != 1:
        return None
    visited: list = []

    def visit(layer, *given, **options):
        """Append the layer, or None if it takes or gives anything else; its value is its number."""
        value, *others = [*given, *options.values()] or [None]
        alone = all(each is None or each is False for each in others)
        several = isinstance(layer.output, (list, tuple))
        fits = value == len(visited) and alone and not several
        visited.append(layer if fits else None)
        return [len(visited)] * len(layer.output) if several else len(visited)

    if keras_private.walk_graph(graph, [0], visit) != [len(visited)] or None in visited:
        return None
    return [each for each in visited if type(each) not in _WITHOUT_EFFECT]


def _described(layer: Any, width: int, state: int) -> Described | None:
    if type(layer) in _RECURRENT and _is_float32(layer) and _is_float32(layer.cell):
        return _described_cell(layer.cell, width, state)
    if type(layer) in (keras.layers.Dense, keras.layers.Activation) and _is_float32(layer):
        return _described_dense(layer, width)
    return None


def _is_float32(layer: Any) -> bool:
    return layer.compute_dtype == layer.variable_dtype == "float32"


def _described_dense(layer: Any, width: int) -> Described | None:
    """A dense layer, or an activation alone."""
    activation = next((name for each, name in _ACTIVATIONS if each is layer.activation), None)
    if activation is None:
        return None
    if isinstance(layer, keras.layers.Activation):
        return Operation("activation", width, width, activation), []
    if layer.quantization_mode is not None or layer.lora_enabled:
        return None
    return Operation("dense", width, layer.units, activation), [layer.kernel, layer.bias]


def _described_cell(cell: Any, width: int, state: int) -> Described | None:
    kind = native_name(cell)
    if kind is None:
        return None
    weights = [cell.kernel, cell.recurrent_kernel, cell.bias]
    return Operation(kind, width, cell.units, state=state), weights


def _matches(step: ModelStep, ops: list) -> bool:
    """Whether carried states and answer lie in a row as the chain has them."""
    carried = [layer for layer in ops if type(layer) in _RECURRENT]
    dtypes = {kind for _, _, kind in step.carried} - {"bool"}
    return step.carried_layers == carried and dtypes == {"float32"}


class NativeSteps:
    """The native steps of a model.

    Args:
        chain: from ``describe_chain``.
        model_step: of the model.
    """

    def __init__(self, chain: list[Described], model_step: ModelStep):
        self._model_step, self._variables = model_step, model_step.variables
        self._operations = [operation for operation, _ in chain]
        places = {id(each): at for at, each in enumerate(model_step.variables)}
        self._places = [
            [None if each is None else places[id(each)] for each in variables]
            for _, variables in chain
        ]
        self._packed: tuple[list, NativeChain | None] = [], None
        self._tables: dict[Any, np.ndarray] = {}

    @classmethod
    def of(cls, model_step: ModelStep) -> "NativeSteps | None":
        """The native steps of a model; None if it has none, or the library is unavailable."""
        if native_kernel.unavailable():
            return None
        chain = describe_chain(model_step)
        return None if chain is None else cls(chain, model_step)

    def _chain(self) -> NativeChain:
        """The layers with the model's current weights."""
        known, chain = self._packed
        if chain is None or not keras_variables.have_values(self._variables, known):
            known = self._model_step.weights()
            arrays = [
                [None if at is None else np.asarray(known[at]) for at in each]
                for each in self._places
            ]
            chain = NativeChain(self._operations, arrays, self._model_step.width)
            self._packed = known, chain
        return chain

    def step_one_row(self, rows, xs: tuple[np.ndarray]) -> np.ndarray:
        """See ``CompiledSteps.step_one_row``."""
        return self._chain().step_one_row(rows, xs[0])

    def step(self, rows: np.ndarray, x: np.ndarray) -> np.ndarray:
        """See ``CompiledSteps.step``."""
        return self._chain().run(rows, x[:, None])[0]

    def advance(
        self,
        rows,
        x: np.ndarray,
        counts: np.ndarray,
        starts: np.ndarray | None,
        emit_from: int | None,
    ) -> tuple[np.ndarray, np.ndarray]:
        """See ``CompiledSteps.advance``; emits each row from ``emit_from`` on, None for nothing."""
        chain, parts = self._chain(), []
        for begin in range(0, max(int(counts.max(initial=0)), 1), _STEPS):
            part = slice(begin, begin + _STEPS)
            begun = None if starts is None else starts[:, part]
            rows, emitted = chain.run(rows, x[:, part], counts - begin, begun, emit_from)
            parts.append(rows[None, :, :0] if emitted is None else emitted)
        return rows, parts[0] if len(parts) == 1 else np.concatenate(parts)

    # Generation.

    def generate(self, rows, sampler: Sampler, count: int) -> tuple[np.ndarray, np.ndarray] | None:
        """See ``CompiledSteps.generate``; None where only a compiled loop can choose or encode."""
        classes, features = self._operations[-1].units, self._operations[0].inputs
        table = None
        if sampler.takes_likeliest and classes * features <= _MAX_TABLE:
            table = self._table(sampler, classes)
        elif not (sampler.feeds_answer and classes == features):
            return None
        chain, parts = self._chain(), []
        for begin in range(0, count, _STEPS):
            rows, chosen = chain.generate(rows, min(_STEPS, count - begin), table)
            parts.append(chosen)
        choices = np.concatenate(parts)
        return rows, choices if table is None else choices.astype(jnp.arange(1).dtype)

    def _table(self, sampler: Sampler, classes: int) -> np.ndarray:
        """What ``sampler`` feeds for each class, (classes, inputs)."""
        key = sampler.key
        if key is not None and key in self._tables:
            return self._tables[key]
        # As the compiled loop does, it traces the function once, and all for one class at a time.
        table = np.asarray(jax.lax.map(sampler.encode, jnp.arange(classes)))
        if key is not None:
            if len(self._tables) >= _MAX_TABLES:
                self._tables.clear()
            self._tables[key] = table
        return table
