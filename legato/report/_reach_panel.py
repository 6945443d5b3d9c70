"""How far back predictions look: influence of the steps before, measured on the data and drawn.

The derivative of a prediction by each earlier input, in standard deviations of that input, as
``legato.influence`` computes it; relative to the largest, over several predictions.
"""

import warnings
from typing import Any, NamedTuple

import keras
import numpy as np
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

import legato
from legato import InputError, LegatoError, Sequences, Trained
from legato.report._panels import COOL, MUTED, WARM, Panel, label_axes, style_axes, title_axes

PREDICTIONS = 12  # whose influence is averaged
CHUNK, STEPS = 8, 128  # time steps of a sample, and in all, of a network that carries its state
SHARES = (0.5, 0.9)  # of the influence, whose reach is said
NEARLY_ALL = 0.99  # of the influence, up to which steps back are drawn
LEAST_SHOWN, MAX_SHOWN = 12, 400  # steps back


class Reach(NamedTuple):
    """Influence by steps back.

    Attributes:
        profile: (steps back,), the share of each; that of the last known step first. Sum 1.
        low, high: (steps back,), the smallest and the largest share over the predictions.
        predictions: number of predictions.
        is_cut: whether earlier steps may have an influence that was not measured.
    """

    profile: np.ndarray
    low: np.ndarray
    high: np.ndarray
    predictions: int
    is_cut: bool

    def steps_for(self, share: float) -> int:
        """The number of last steps that have such a share of the influence."""
        return int(np.searchsorted(np.cumsum(self.profile), share - 1e-9)) + 1

    @property
    def sentence(self) -> str:
        """What the profile shows."""
        half, most = (self.steps_for(each) for each in SHARES)
        largest = int(self.profile.argmax())
        where = "the last known step" if largest == 0 else f"the step {largest:,} before the last"
        return (
            f"half of the influence is in the last {_steps(half)}, nine tenths in the last "
            f"{_steps(most)} of {len(self.profile):,}; {where} has the largest, "
            f"{100 * self.profile[largest]:.0f} %."
        )


def _steps(count: int) -> str:
    return "step" if count == 1 else f"{count:,} steps"


def measure_reach(trained: Trained, sequences: Sequences, output: int | None = None) -> Reach:
    """Measure the influence of the steps before, on the longest sequence.

    Args:
        trained: the model.
        sequences: the data.
        output: the index of an output; None: of all outputs together.

    Raises:
        InputError: the inputs are labels, or the sequence is too short.
    """
    inputs = trained.task.inputs
    numeric = [at for at, each in enumerate(inputs) if each.is_numeric]
    if not numeric:
        raise InputError(
            "The inputs are labels, and a prediction has no derivative by a label, so how far "
            "back it looks is not measured."
        )
    values = trained.inputs_of(sequences, lenient=True)
    longest = int(sequences.lengths.argmax())
    own = values[sequences.offsets[longest] : sequences.offsets[longest + 1]]
    scale = np.ones(len(inputs), "float32")
    spread = values[:, numeric].std(0)
    scale[numeric] = np.where(spread > 0, spread, 1.0)
    if trained.shape.stateful:
        return _of_carried_state(trained, own, scale, output)
    if trained.task.whole:
        alike = np.flatnonzero(sequences.lengths == len(own))[:PREDICTIONS]
        offsets = sequences.offsets
        samples = np.stack([values[offsets[at] : offsets[at + 1]] for at in alike])
        return _of_samples(trained, samples[:, -trained.shape.steps :], scale, output)
    return _of_windows(trained, own, scale, output)


def _of_carried_state(
    trained: Trained, values: np.ndarray, scale: np.ndarray, output: int | None
) -> Reach:
    """The influence on the last predictions of a run that carries its state."""
    steps = min(len(values), STEPS)
    if steps < 2:
        raise InputError(f"How far back it looks takes 2 steps, and there is {steps}.")
    chunk = max(size for size in range(1, CHUNK + 1) if steps % size == 0)
    samples = (values[-steps:] / scale).reshape(-1, chunk, len(scale))
    matrix = _influence(trained, samples, scale, output)
    count = 1 if trained.task.whole else min(PREDICTIONS, steps // 2)
    back = steps - count + 1
    rows = range(steps - count, steps)
    profiles = np.array([matrix[row, row - back + 1 : row + 1][::-1] for row in rows])
    return _reach_of(profiles, is_cut=back < len(values))


def _of_windows(
    trained: Trained, values: np.ndarray, scale: np.ndarray, output: int | None
) -> Reach:
    """The influence within windows of the length that the model sees."""
    window = min(trained.shape.steps, len(values))
    if len(values) < 2:
        raise InputError("How far back it looks takes 2 steps or more.")
    horizon = trained.task.horizon if trained.task.known else 0
    last = max(window, len(values) - horizon)  # of which the columns known ahead are there
    ends = np.unique(np.linspace(window, last, PREDICTIONS).astype(int))
    samples = np.stack([values[end - window : end] for end in ends])
    ahead = None
    if trained.task.known:
        ahead = trained.known_after(values, ends - 1, np.full(len(ends), len(values)), horizon)
    return _of_samples(trained, samples, scale, output, ahead)


def _of_samples(
    trained: Trained,
    samples: np.ndarray,
    scale: np.ndarray,
    output: int | None,
    ahead: np.ndarray | None = None,
) -> Reach:
    """The influence within samples (samples, time steps, inputs) on the prediction of each."""
    window = samples.shape[1]
    matrix = _influence(trained, samples / scale, scale, output, ahead)
    each = len(matrix) // len(samples)  # rows of a sample: one, or one a step
    profiles = [
        matrix[(at + 1) * each - 1, at * window : (at + 1) * window][::-1]
        for at in range(len(samples))
    ]
    return _reach_of(np.array(profiles), is_cut=False)


def _influence(
    trained: Trained,
    samples: np.ndarray,
    scale: np.ndarray,
    output: int | None,
    ahead: np.ndarray | None = None,
) -> np.ndarray:
    """The influence of each step on the outputs, of inputs in standard deviations.

    What is known ahead, (samples, horizon, known), is held as it is: it comes beside the inputs of
    the last step, where no derivative is taken by it.
    """
    model, width = trained.model, len(scale)
    if ahead is None:
        shape = samples.shape[1:] if model.input_shape[1] is not None else (None, width)
        inputs = keras.Input(shape)
        scaled = legato.Model(inputs, model(inputs * scale))
    else:
        beside = np.repeat(ahead.reshape(len(ahead), 1, -1), samples.shape[1], axis=1)
        samples = np.concatenate([samples, beside], axis=-1)
        inputs: Any = keras.Input(samples.shape[1:])
        held = keras.ops.stop_gradient(inputs[:, -1, width:])
        known = keras.layers.Reshape(ahead.shape[1:])(held)
        scaled = legato.Model(inputs, model([inputs[..., :width] * scale, known]))
    kept = model.states
    try:
        model.reset_states()
        with warnings.catch_warnings(action="ignore", category=UserWarning):  # of underflow
            batch = 1 if trained.shape.stateful else len(samples)
            samples = samples.astype("float32")
            options = {"batch_size": batch, "outputs": output, "steps": True, "verbose": 0}
            found = legato.influence(scaled, samples, **options)
    finally:
        model.states = kept
    return found.matrix


def _reach_of(profiles: np.ndarray, is_cut: bool) -> Reach:
    """The reach of profiles (predictions, steps back)."""
    totals = profiles.sum(1, keepdims=True)
    if not (totals > 0).any():
        raise InputError("No step before has an influence: the predictions do not depend on them.")
    shares = (profiles / np.where(totals > 0, totals, 1.0))[totals[:, 0] > 0]
    mean = shares.mean(0)
    return Reach(mean / mean.sum(), shares.min(0), shares.max(0), len(shares), is_cut)


def reach_panel(reaches: dict[str, Reach], season: int | None) -> Panel:
    """The share of the influence by steps back, with seasons marked.

    Args:
        reaches: one or two, by the steps ahead that they are about.
        season: time steps of the season; None: none.
    """
    most = max(each.steps_for(NEARLY_ALL) for each in reaches.values())
    longest = max(len(each.profile) for each in reaches.values())
    count = min(max(most, (season or 0) + 1, LEAST_SHOWN), longest, MAX_SHOWN)
    back = np.arange(count)
    colours = dict(zip(reaches, (COOL, WARM), strict=False))

    def draw(fig: FigureBase) -> None:
        axes = fig.subplots()
        if season and season > 1:
            for mark in range(season - 1, count, season):
                axes.axvline(-mark, color=MUTED, lw=0.5, ls=(0, (1, 2)))
        for name, each in reaches.items():
            low, high, mean = (100 * part[:count] for part in (each.low, each.high, each.profile))
            axes.fill_between(-back, low, high, color=colours[name], alpha=0.25, lw=0)
            axes.plot(-back, mean, ".-", color=colours[name], lw=1, ms=3 if count <= 100 else 1)
        style_axes(axes, "left", "bottom")
        axes.set_ylim(bottom=0)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        label_axes(axes, "steps before the last known one", "share of the influence, %")
        title_axes(axes, "", f"dotted: seasons of {season}" if season and season > 1 else "")

    words = " ".join(f"Of {name}, {each.sentence}" for name, each in reaches.items())
    title = "How far back it looks"
    return Panel("reach", title, f"Influence by steps back. {words}", 2.3, draw)


def try_reaches(trained: Trained, sequences: Sequences) -> dict[str, Reach] | str:
    """The reach of the predictions, or the sentence that says why there is none.

    Of forecasts of several steps, that of the next and that of the last step ahead, of the first
    target.
    """
    outputs: dict[str, int | None] = {"the predictions": None}
    if trained.task.kind == "forecast" and trained.task.horizon > 1:
        last = (trained.task.horizon - 1) * len(trained.task.targets)
        outputs = {"the next step": 0, f"step {trained.task.horizon} ahead": last}
    try:
        return {name: measure_reach(trained, sequences, at) for name, at in outputs.items()}
    except LegatoError as error:
        return str(error)
