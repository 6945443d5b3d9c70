"""Influence of each earlier input on each prediction, by automatic differentiation.

The function that ``predict`` computes is differentiated batch by batch (``jacobians``), and the
batches' Jacobians are multiplied along each lane (``propagation``). The layers' ``stateful`` is not
read: where no information flows, the derivative is exactly zero. Limits: within a batch derivatives
below 1e-45 are zero in float32, too; the map is refused above ``MAX_BYTES``.
"""

import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from time import perf_counter

import jax
import keras
import numpy as np

from legato._analysis.jacobians import BlockJacobians, DifferentiatedRun
from legato._analysis.propagation import BatchJacobians, Propagation
from legato._errors import InputError
from legato._execution.data_adapter import DataAdapter
from legato._execution.progress import Progress
from legato._models.model import Model, Sequential
from legato._platform import keras_private, keras_variables
from legato._platform.output_streams import OutputStream
from legato._platform.wording import duration
from legato._recurrent.model_state import ModelState
from legato._recurrent.state import State

TINY = 1e-30  # derivatives below this are about to become zero in float32
MAX_BYTES = 4 * 2**30  # largest memory of a map and its computation


@dataclass(frozen=True, eq=False)
class Influence:
    """The influence of each input on each prediction.

    Attributes:
        matrix: (predictions, inputs), float64, read-only: Frobenius norm of the derivative of the
            prediction by the input, over features, outputs and, unless ``steps=True``, time steps.
            Exactly 0.0 where no information flows.
        predictions: names of the rows.
        inputs: names of the columns.

    Examples:
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
        """The column of the last input of each prediction's own sample, (predictions,)."""
        rows, columns = self.matrix.shape
        return (np.arange(rows) + 1) * columns // rows - 1

    def reach(self, share: float = 0.01) -> np.ndarray:
        """The number of inputs back to the earliest one that matters, (predictions,).

        Args:
            share: smallest influence that counts, as a share of the largest on that prediction.
        """
        largest = self.matrix.max(axis=1, keepdims=True)
        counts = (self.matrix >= share * largest) & (self.matrix > 0)
        return np.where(counts.any(axis=1), np.maximum(self.own - counts.argmax(axis=1), 0), 0)

    def table(self, share: float = 0.01) -> list[dict]:
        """One row per prediction: its name, the influence of its own last input (``own``), of all
        inputs before that (``earlier``), and its ``reach``."""
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
    """Compute how much each prediction depends on each earlier input.

    Differentiates ``model.predict(X, batch_size, starts=starts)``, through the state that is
    carried from batch to batch. The model is left as it was.

    Args:
        model: a ``legato.Model`` or ``legato.Sequential``.
        X: floating point inputs, (samples, …), in order.
        batch_size, starts: as in ``predict``.
        outputs: an index on the last axis of the outputs. Default: all of them together.
        steps: whether to have a column for each time step of each sample, and a row if the outputs
            are in time too. Default: a row and a column per sample.
        state: initial state of the run, such as ``model.states``. Default: the initial state of
            the layers.
        names: names of the samples. Default: their numbers from 0.
        verbose: 1 shows progress on standard error, 0 does not; ``"auto"`` does at a terminal, if
            it takes more than two seconds.

    Raises:
        InputError: integer inputs, which have no derivative; data that ``predict`` refuses; a map
            that would take too much memory (the message says how much, and how long).
        StateError: ``state`` is another model's, or has another number of rows.
        UnsupportedError: ``predict`` changes other variables than recurrent state.

    Examples:
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
    model_state = model._model_state
    data = DataAdapter(model_state).whole_data(X, batch_size, starts)
    _check_no_embedding(model)
    sample_names = _sample_names(names, data.samples.count)
    memory = _initial_memory(model_state, state, data.rows)
    samples = data.samples._replace(x=_as_floats(model_state, data.samples.x))
    run = DifferentiatedRun(model_state, samples, data.rows, memory, outputs, steps)
    _check_cost(run, samples.count)
    progress = Progress(verbose, 1, run.batches, patience_s=2.0, stream=OutputStream(sys.stderr))
    matrix = _influence_matrix(run, progress)
    matrix = matrix[: samples.count * run.output_axis.entries]
    matrix = matrix[:, : samples.count * run.input_axis.entries]
    progress.end()
    _warn_of_underflow(matrix, run)
    axes = run.output_axis, run.input_axis
    rows, columns = (_entry_names(sample_names, each.entries) for each in axes)
    return Influence(matrix, rows, columns)


# The arguments.


def _check_no_embedding(model) -> None:
    for layer in keras_private.flatten_layers(model):
        if isinstance(layer, keras.layers.Embedding):
            raise InputError(
                f"Layer {layer.name!r} embeds integers, and a prediction has no derivative by an "
                "integer. Make a model of the layers behind it, and give it the embedded inputs: "
                "X = embedding(numbers)."
            )


def _as_floats(model_state: ModelState, x):
    """Inputs as floating point, if the model's declared inputs are.

    Raises:
        InputError: integers for a model that does not declare floating point inputs.
    """
    declared = [str(each.dtype) for each in model_state.inputs or []]

    def as_float(each):
        if jax.numpy.issubdtype(each.dtype, np.floating):
            return each
        if not declared or not all(dtype.startswith(("float", "bfloat")) for dtype in declared):
            raise InputError(
                f"X holds {each.dtype} values, and a prediction has no derivative by an integer. "
                "Give floating point inputs, such as one-hot vectors: X.astype('float32')."
            )
        return each.astype(keras.config.floatx())

    return jax.tree.map(as_float, x)


def _sample_names(names: Sequence[str] | None, samples: int) -> tuple[str, ...]:
    sample_names = tuple(map(str, range(samples) if names is None else names))
    if len(sample_names) != samples:
        count = len(sample_names)
        raise InputError(f"{count} names came for {samples} samples; one each was expected.")
    return sample_names


def _entry_names(names: tuple[str, ...], steps: int) -> tuple[str, ...]:
    """Names of entries: of samples, or of their time steps, ``sample:step``.

    Of one sample, the time steps' numbers alone.
    """
    if steps == 1:
        return names
    if len(names) == 1:
        return tuple(map(str, range(steps)))
    return tuple(f"{name}:{step}" for name in names for step in range(steps))


def _initial_memory(model_state: ModelState, state: State | None, rows: int) -> list:
    """Values of the memory variables for a state, or for the initial state."""
    if state is None:
        return model_state.memory_values(rows, fresh=True)
    variables = [each for memory in model_state.memories for each in memory.variables]

    def values() -> list:
        before = keras_variables.values_of(variables)
        try:
            model_state.set_state(state)
            return model_state.memory_values(rows)
        finally:
            model_state.set_memory_values(before)

    return model_state.lock.run("influence", values)


# The map.


def _influence_matrix(run: DifferentiatedRun, progress: Progress) -> np.ndarray:
    """The whole matrix, with entries also for the samples that a smaller last batch lacks.

    Where samples have fewer outputs than inputs, everything is transposed and runs from the last
    batch to the first, so that ``Propagation`` carries derivatives of outputs instead of inputs.
    """
    lanes, batches = run.lanes, run.batches
    output_axis = run.output_axis.repeated(run.lane_samples)
    input_axis = run.input_axis.repeated(run.lane_samples)
    rows, columns = output_axis.entries, input_axis.entries
    matrix = view = np.zeros((batches, lanes, rows, batches, lanes, columns))
    backward = len(run.output_axis.entry) < len(run.input_axis.entry)
    if backward:
        view = matrix.transpose(3, 4, 5, 0, 1, 2)[::-1, :, :, ::-1]
        output_axis, input_axis = input_axis, output_axis
    state = run.lane_samples * run.state
    sizes = state, len(input_axis.entry), len(output_axis.entry)
    propagation = Propagation(lanes, *sizes, batches if run.carries else 0)
    every, at = np.arange(lanes), 0
    for block in run.blocks(backward):
        for jacobians, direct in _batch_jacobians(block, backward):
            view[at, every, :, at, every] = direct
            if run.carries:
                first, norms = propagation.advance(jacobians, output_axis, input_axis)
                view[at, every, :, first:at, every] = norms
            at += 1
            progress.steps(0, at)
    return matrix.reshape(batches * lanes * rows, batches * lanes * columns)


def _batch_jacobians(
    block: BlockJacobians, backward: bool
) -> Iterator[tuple[BatchJacobians, np.ndarray]]:
    """The Jacobians of each batch of a block, with its direct norms; transposed if ``backward``."""
    transition, input_gain, output_gain, direct = block[2:]
    if backward:
        transition, input_gain, output_gain, direct = (
            each[::-1].swapaxes(2, 3) for each in (transition, output_gain, input_gain, direct)
        )
    for at, norms in enumerate(direct):
        yield BatchJacobians(transition[at], input_gain[at], output_gain[at]), norms


def _warn_of_underflow(matrix: np.ndarray, run: DifferentiatedRun) -> None:
    """Warn of zeros within a sample that may be due to the range of float32."""
    sample = np.arange(len(matrix)) // run.output_axis.entries
    steps = run.input_axis.entries
    for at in np.unique(sample) if steps > 1 else ():
        within = matrix[sample == at, at * steps : (at + 1) * steps]
        if (within == 0).any() and within.min(initial=1.0, where=within > 0) < TINY:
            warnings.warn(
                f"Within sample {at} influence falls below {TINY:g}, and below 1e-38 float32 makes "
                "it 0: zeros there need not mean that nothing flows. Cut into samples of fewer "
                "time steps, with state carried (stateful=True), they do.",
                stacklevel=3,
            )
            return


def _check_cost(run: DifferentiatedRun, samples: int) -> None:
    """Refuse a map that would take too much memory.

    Raises:
        InputError: with the memory and time it would take, and how to ask for less.
    """
    fewer_numbers, more_numbers = sorted(map(len, (run.output_axis.entry, run.input_axis.entry)))
    matrix = samples**2 * run.output_axis.entries * run.input_axis.entries
    propagated = 2 * samples * run.lane_samples * fewer_numbers * (run.state + more_numbers)
    if run.batch_bytes > MAX_BYTES:
        raise InputError(
            f"The Jacobian of a batch would take {run.batch_bytes / 2**30:,.1f} GiB: "
            f"{run.lanes * run.lane_samples:,} rows with {run.state:,} numbers of state each; at "
            f"most {MAX_BYTES / 2**30:.0f} GiB are taken. Ask for a smaller batch_size, or for "
            "one output with outputs=…."
        )
    memory_bytes = 8 * (matrix + propagated * run.carries) + run.batch_bytes
    if memory_bytes <= MAX_BYTES:
        return
    fewer = max(1, int(samples * (MAX_BYTES / memory_bytes) ** 0.5))
    or_samples = ", or leave out steps=True" if run.input_axis.entries > 1 else ""
    raise InputError(
        f"A map of {samples:,} samples would take {memory_bytes / 2**30:,.1f} GiB, and about "
        f"{duration(_estimated_seconds(run))}; at most {MAX_BYTES / 2**30:.0f} GiB are taken. Ask "
        f"for fewer samples, X[:{fewer}]{or_samples}."
    )


def _estimated_seconds(run: DifferentiatedRun) -> float:
    """The time that the map would take, from a few batches and a matrix product."""
    end = min(16, max(run.batches - 1, 1), max(1, MAX_BYTES // run.batch_bytes))
    run.jacobians(0, end)  # compiles
    began = perf_counter()
    run.jacobians(0, end)
    batch_seconds = (perf_counter() - began) / end
    square = np.ones((512, 512))
    np.matmul(square, square)
    began = perf_counter()
    for _ in range(5):
        np.matmul(square, square)
    products_per_s = 5 * 512**3 / (perf_counter() - began)
    numbers = (run.lane_samples * len(each.entry) for each in (run.output_axis, run.input_axis))
    fewer_numbers, more_numbers = sorted(numbers)
    state = run.lane_samples * run.state
    products = run.batches**2 / 2 * run.lanes * state * fewer_numbers * (state + more_numbers)
    return run.batches * batch_seconds + products * run.carries / products_per_s
