"""Influence: how much each prediction depends on each earlier input, by differentiation.

What ``predict`` computes is differentiated as it is, batch by batch, through the state that is
carried from one to the next (``jacobians``), and the batches' derivatives are multiplied along
each lane (``propagation``). Nobody asks a layer whether it is stateful: where nothing flows, the
derivative is zero, exactly. What flows less than 1e-45 within a batch is zero in float32, too.
"""

import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

import jax
import keras
import numpy as np

from legato._analysis.jacobians import Derivatives, DifferentiatedRun
from legato._analysis.propagation import BatchJacobians, Propagation
from legato._errors import InputError
from legato._execution.callbacks import Progress
from legato._execution.data_adapter import DataAdapter
from legato._models.model import Model, Sequential
from legato._platform import keras_private
from legato._platform.wording import duration
from legato._recurrent.model_state import ModelState
from legato._recurrent.state import State

TINY = 1e-30  # below it, float32 soon makes a derivative zero
MOST_BYTES = 4 * 2**30  # of a map and what it takes to find it


@dataclass(frozen=True, eq=False)
class Influence:
    """How much each prediction depends on each input.

    Attributes:
        matrix: (predictions, inputs), float64, read-only: the Frobenius norm of the derivative of
            the one by the other, over features and outputs (and over the time steps of a sample
            that are not told apart). Exactly 0.0 where nothing flows.
        predictions: names of the rows.
        inputs: names of the columns.

    Example:
        >>> import legato, numpy as np
        >>> model = legato.Sequential([legato.layers.Input((1, 1)), legato.layers.GRU(2)])
        >>> legato.influence(model, np.ones((3, 1, 1)), batch_size=1).reach().tolist()
        [0, 0, 0]
    """

    matrix: np.ndarray
    predictions: tuple[str, ...]
    inputs: tuple[str, ...]

    def __post_init__(self):
        self.matrix.flags.writeable = False

    @property
    def own(self) -> np.ndarray:
        """For each prediction, the last input of its own sample: its column, (predictions,)."""
        rows, columns = self.matrix.shape
        return (np.arange(rows) + 1) * columns // rows - 1

    def reach(self, share: float = 0.01) -> np.ndarray:
        """How many inputs back each prediction looks, (predictions,).

        Args:
            share: of the largest influence on that prediction, from which on an input counts.
        """
        largest = self.matrix.max(axis=1, keepdims=True)
        counts = (self.matrix >= share * largest) & (self.matrix > 0)
        return np.where(counts.any(axis=1), np.maximum(self.own - counts.argmax(axis=1), 0), 0)

    def table(self, share: float = 0.01) -> list[dict]:
        """A line a prediction, in plain numbers: what it owes to its own last input, to all that
        came before that, and how many inputs back it looks."""
        rows = zip(self.predictions, self.matrix, self.own, self.reach(share), strict=True)
        return [
            {
                "prediction": name,
                "own": float(row[at]),
                "earlier": float(np.linalg.norm(row[:at])),
                "reach": int(reach),
            }
            for name, row, at, reach in rows
        ]


def influence(
    model,
    X,
    *,
    batch_size: int | None = None,
    starts=None,
    outputs: int | None = None,
    steps: bool = False,
    state: State | None = None,
    names: Sequence[str] | None = None,
    verbose: int | str = "auto",
) -> Influence:
    """How much each prediction depends on each earlier input.

    What ``model.predict(X, batch_size, starts=starts)`` computes, differentiated through the state
    that it carries from batch to batch. The model is left as it was.

    Args:
        model: a ``legato.Model`` or ``legato.Sequential``.
        X: floating point inputs, (samples, …), in order.
        batch_size, starts: as in ``predict``.
        outputs: an index on the last axis of the outputs; None for all of them together.
        steps: whether time steps are told apart: a column for each time step of each sample, and a
            row too if the outputs are in time. False: a row and a column a sample.
        state: what the model shall remember at first, such as ``model.states``. Default: nothing.
        names: of the samples. Default: their numbers from 0.
        verbose: 1 shows progress on standard error, "auto" at a terminal and if it takes more than
            two seconds, 0 never.

    Raises:
        InputError: integer inputs, which have no derivative; data as ``predict`` refuses them; a
            map that would take too much memory, with what it would cost.
        StateError: ``state`` is another model's, or of another number of rows.
        UnsupportedError: ``predict`` changes something else than recurrent state.

    Example:
        >>> import legato, numpy as np
        >>> model = legato.Sequential([legato.layers.Input((1, 1)),
        ...                            legato.layers.GRU(2, stateful=True)])
        >>> map = legato.influence(model, np.ones((3, 1, 1)), batch_size=1)
        >>> (map.matrix > 0).astype(int).tolist()
        [[1, 0, 0], [1, 1, 0], [1, 1, 1]]
    """
    if not isinstance(model, (Model, Sequential)):
        raise InputError(
            f"A legato.Model or legato.Sequential was expected, and {type(model).__name__} came. "
            "legato.load_model opens the file of any Keras model."
        )
    engine = model._engine
    held = DataAdapter(engine).held(X, batch_size, starts)
    _check_embeds_nothing(model)
    named = _names(names, held.samples.count)
    memory = _memory(engine, state, held.rows)
    samples = held.samples._replace(x=_floating(engine, held.samples.x))
    path = DifferentiatedRun(engine, samples, held.rows, memory, outputs, steps)
    _check_cost(path, samples.count)
    progress = Progress(verbose, 1, path.batches, patience_s=2.0, stream=sys.stderr)
    matrix = _mapped(path, progress)[: samples.count * path.leaving.parts]
    matrix = matrix[:, : samples.count * path.entering.parts]
    progress.end()
    _warn_of_underflow(matrix, path)
    rows, columns = (_by_step(named, each.parts) for each in (path.leaving, path.entering))
    return Influence(matrix, rows, columns)


# What came.


def _check_embeds_nothing(model) -> None:
    for layer in keras_private.flatten_layers(model):
        if isinstance(layer, keras.layers.Embedding):
            raise InputError(
                f"Layer {layer.name!r} embeds integers, and a prediction has no derivative by an "
                "integer. Put a model without it together, of the layers behind it, and give that "
                "the embedded inputs: X = embedding(numbers)."
            )


def _floating(engine: ModelState, x):
    """Inputs as floating point, which a model converts them to anyway if it says so.

    Raises:
        InputError: it takes integers.
    """
    takes = [str(each.dtype) for each in engine.inputs or []]

    def read(each):
        if jax.numpy.issubdtype(each.dtype, np.floating):
            return each
        if not takes or not all(dtype.startswith(("float", "bfloat")) for dtype in takes):
            raise InputError(
                f"X holds {each.dtype} values, and a prediction has no derivative by an integer. "
                "Give floating point inputs, such as one-hot vectors: X.astype('float32')."
            )
        return each.astype(keras.config.floatx())

    return jax.tree.map(read, x)


def _names(names: Sequence[str] | None, samples: int) -> tuple[str, ...]:
    named = tuple(map(str, range(samples) if names is None else names))
    if len(named) != samples:
        raise InputError(f"{len(named)} names came for {samples} samples; one each was expected.")
    return named


def _by_step(names: tuple[str, ...], steps: int) -> tuple[str, ...]:
    """Names of time steps: ``sample:step``, the step alone if there is one sample."""
    if steps == 1:
        return names
    if len(names) == 1:
        return tuple(map(str, range(steps)))
    return tuple(f"{name}:{step}" for name in names for step in range(steps))


def _memory(engine: ModelState, state: State | None, rows: int) -> list:
    """What to begin with."""
    if state is None:
        return engine.memory_values(rows, fresh=True)
    variables = [each for memory in engine.memories for each in memory.variables]
    before = keras_private.values_of(variables)
    try:
        engine.set_state(state)
        return engine.memory_values(rows)
    finally:
        engine.set_memory_values(before)


# The map.


def _mapped(path: DifferentiatedRun, progress: Progress) -> np.ndarray:
    """All of it, with room for as many samples in the last batch as in the others."""
    lanes, batches = path.lanes, path.batches
    sides = [each.times(path.together) for each in (path.leaving, path.entering)]
    rows, columns = (each.parts for each in sides)
    matrix = turned = np.zeros((batches, lanes, rows, batches, lanes, columns))
    backward = _backward(path)
    if backward:  # all is transposed: predictions are taken along, from the last to the first
        turned = matrix.transpose(3, 4, 5, 0, 1, 2)[::-1, :, :, ::-1]
        sides.reverse()
    left, entered = sides
    state = path.together * path.state
    carries = path.carries
    flow = Propagation(lanes, state, len(entered.part), len(left.part), batches if carries else 0)
    every, at = np.arange(lanes), 0
    for block in path.blocks(backward):
        for slopes, own in _each(block, backward):
            turned[at, every, :, at, every] = own
            if carries:
                first, sizes = flow.go_by(slopes, left.summed, entered.summed)
                turned[at, every, :, first:at, every] = sizes
            at += 1
            progress.steps(0, at)
    return matrix.reshape(batches * lanes * rows, batches * lanes * columns)


def _warn_of_underflow(matrix: np.ndarray, path: DifferentiatedRun) -> None:
    """Say so where zeros within a sample may be what float32 made of something."""
    sample = np.arange(len(matrix)) // path.leaving.parts
    of_steps = path.entering.parts
    for at in np.unique(sample) if of_steps > 1 else ():
        own = matrix[sample == at, at * of_steps : (at + 1) * of_steps]
        if (own == 0).any() and own.min(initial=1.0, where=own > 0) < TINY:
            warnings.warn(
                f"Within sample {at} influence falls below {TINY:g}, and from 1e-38 on float32 "
                "makes it 0: zeros there need not mean that nothing flows. Cut into samples of "
                "fewer time steps, carried on by stateful=True, they do.",
                stacklevel=3,
            )
            return


def _backward(path: DifferentiatedRun) -> bool:
    """Whether a sample has fewer outputs than inputs, so that they are the ones to take along."""
    return len(path.leaving.part) < len(path.entering.part)


def _each(block: Derivatives, backward: bool) -> Iterator[tuple[BatchJacobians, np.ndarray]]:
    """The batches of a block as they go by, each with the sizes of its own."""
    carried, written, read, own = block[2:]
    if backward:
        turned = (each[::-1].swapaxes(2, 3) for each in (carried, read, written, own))
        carried, written, read, own = turned
    for at, each in enumerate(own):
        yield BatchJacobians(carried[at], written[at], read[at]), each


def _check_cost(path: DifferentiatedRun, samples: int) -> None:
    """Refuse what would take too much memory.

    Raises:
        InputError: with what it would cost, and how to ask for less.
    """
    entries, others = sorted(len(each.part) for each in (path.leaving, path.entering))
    cells = samples**2 * path.leaving.parts * path.entering.parts
    carried = 2 * samples * path.together * entries * (path.state + others)
    taken = 8 * (cells + carried * path.carries)
    if taken <= MOST_BYTES:
        return
    fewer = max(1, int(samples * (MOST_BYTES / taken) ** 0.5))
    or_samples = ", or leave out steps=True" if path.entering.parts > 1 else ""
    raise InputError(
        f"A map of {samples:,} samples would take {taken / 2**30:,.1f} GiB, and about "
        f"{duration(_seconds(path))}; at most {MOST_BYTES / 2**30:.0f} GiB are taken. Ask for "
        f"fewer samples, X[:{fewer}]{or_samples}."
    )


def _seconds(path: DifferentiatedRun) -> float:
    """How long the map would take, by timing a part of it."""
    end = min(16, max(path.batches - 1, 1))
    path.derivatives(0, end)  # which compiles
    began = perf_counter()
    path.derivatives(0, end)
    each = (perf_counter() - began) / end
    side = np.ones((512, 512))
    np.matmul(side, side)
    began = perf_counter()
    for _ in range(5):
        np.matmul(side, side)
    rate = 5 * 512**3 / (perf_counter() - began)
    entries, others = sorted(path.together * len(p.part) for p in (path.leaving, path.entering))
    state = path.together * path.state
    products = path.batches**2 / 2 * path.lanes * state * entries * (state + others)
    return path.batches * each + products * path.carries / rate
