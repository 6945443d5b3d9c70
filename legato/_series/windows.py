"""Windows: frames sequences as samples and targets, in every common framing.

A framing is defined by the last input step of each sample and its number of input steps; samples
and targets are then gathered by the indices of their steps. Sliding windows as time steps or as
features and random runs are the framings of a tutorial of 2016 (J. Brownlee, *Understanding
Stateful LSTM Recurrent Neural Networks in Python with Keras*); horizon, gap and stride are
time-series practice.

Limits: samples are copies, up to ``window`` times the size of the sequence where they overlap. A
stateful model takes consecutive chunks instead: see ``legato.Lanes``.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from legato._errors import InputError
from legato._platform.checks import check_count, is_count
from legato._platform.padding import broadcast_padding
from legato._platform.plain_arrays import check_keeps_meaning
from legato._platform.wording import counted

Layout = Literal["steps", "features", "prefix", "runs"]
At = Literal["last", "every"]
Spans = tuple[
    np.ndarray, np.ndarray
]  # the last input step of each sample, and its number of input steps


@dataclass(frozen=True, eq=False)
class Frames:
    """Samples, their targets, and the positions of both in the sequence.

    Attributes:
        x: inputs (samples, window, features); of the layout ``"features"`` (samples, 1,
            window * features).
        y: targets (samples, horizon * targets), or at every step (samples, window,
            horizon * targets); 0 at padded steps.
        weights: float32 (samples,), all 1, or at every step (samples, window), 0 at padded ones.
        index: (samples, window) the step of the sequence of each input step; -1 for padding.
        target_index: (samples, horizon), or at every step (samples, window, horizon), likewise.
        which: (samples,) the index of the sequence of each sample.

    Examples:
        >>> import legato
        >>> frames = legato.frame(range(6), window=3)
        >>> frames.x.shape, frames.y.ravel().tolist(), frames.index.tolist()
        ((3, 3, 1), [3, 4, 5], [[0, 1, 2], [1, 2, 3], [2, 3, 4]])
    """

    x: np.ndarray
    y: np.ndarray
    weights: np.ndarray
    index: np.ndarray
    target_index: np.ndarray
    which: np.ndarray


def frame(
    sequence,
    *,
    window: int | None = 1,
    horizon: int = 1,
    gap: int = 0,
    stride: int = 1,
    targets: Sequence[int] | None = None,
    layout: Layout = "steps",
    at: At = "last",
    runs: int | None = None,
    seed: int | None = None,
    pad=0.0,
) -> Frames:
    """Cut a sequence, or several, into samples and targets.

    A sample whose last input step is t has the targets t + gap + 1 … t + gap + horizon. Of the six
    steps 0 1 2 3 4 5, with · for padding:

    | arguments                              | samples → targets                       |
    |----------------------------------------|-----------------------------------------|
    | window=1                               | 0→1  1→2  2→3  3→4  4→5                 |
    | window=3                               | 012→3  123→4  234→5                     |
    | window=3, layout="features"            | 012→3  123→4  234→5                     |
    | window=3, horizon=2                    | 012→34  123→45                          |
    | window=2, gap=1                        | 01→3  12→4  23→5                        |
    | window=2, stride=2                     | 01→2  23→4                              |
    | window=3, layout="prefix"              | ··0→1  ·01→2  012→3  123→4  234→5       |
    | window=None, layout="prefix", stride=2 | ····0→1  ··012→3  01234→5               |
    | window=3, stride=3, at="every"         | 012→1,2,3                               |
    | window=2, horizon=2, at="every"        | 01→12,23  12→23,34  23→34,45            |
    | window=2, layout="prefix", at="every"  | ·0→·,1  01→1,2  12→2,3  23→3,4  34→4,5  |

    Args:
        sequence: numbers (time steps,) or (time steps, features), one sequence; or a list of
            those; no sample crosses from one to the next.
        window: input steps of a sample. None, with ``"prefix"`` only: as many as the longest has.
        horizon: number of steps that are predicted.
        gap: steps left out between the last input and the first target.
        stride: steps from one sample to the next.
        targets: indices of the columns that are predicted; None for all.
        layout: ``"steps"``: a window as time steps; ``"features"``: a window as the features of
            one time step, the oldest step first; ``"prefix"``: all steps so far, or the last
            ``window`` of them; ``"runs"``: random runs of 1 to ``window`` steps that end anywhere.
            The last two are padded on the left.
        at: ``"last"``: targets after the last input step; ``"every"``: after every one.
        runs: number of random runs of each sequence; with ``"runs"`` only.
        seed: random seed of the runs; with ``"runs"`` only.
        pad: the value of padded steps: a number, or an array (features,).

    Returns:
        The samples, in order; of several sequences, one sequence's after the other's. Targets of a
        sample are step by step: all columns of the first step, then of the next.

    Raises:
        InputError: a sequence is too short for one sample, or has NaN, infinity, text or another
            rank; an argument is out of its range or does not go with the layout.

    Examples:
        >>> from legato import frame
        >>> frames = frame([10, 11, 12, 13, 14, 15], window=3, horizon=2)
        >>> frames.x.shape
        (2, 3, 1)
        >>> frames.y
        array([[13, 14],
               [14, 15]])
    """
    _check_counts(window, horizon, gap, stride)
    _check_layout(layout, at, window, stride, runs, seed)
    sequences = _check_sequences(sequence)
    values = np.concatenate(sequences)
    columns = _check_targets(targets, values.shape[1])

    ahead = gap + horizon
    least = (window or 1) + ahead if layout in ("steps", "features") else 1 + ahead
    framing = f"layout={layout!r} with window={window}, gap={gap} and horizon={horizon}"
    _check_lengths(sequences, least, framing)
    spans = _span_function(layout, window, stride, runs, seed)
    each = [spans(len(one) - ahead) for one in sequences]
    ends, counts = (np.concatenate(parts) for parts in zip(*each, strict=True))
    which = np.repeat(np.arange(len(sequences)), [len(part) for part, _ in each])

    back = np.arange(-(window or int(counts.max())), 0) + 1
    index = np.where(-back < counts[:, None], ends[:, None] + back, -1)
    last = index[..., None] if at == "every" else ends[:, None]
    target_index = np.where(last < 0, -1, last + np.arange(gap + 1, ahead + 1))

    first = np.cumsum([0, *map(len, sequences[:-1])])[which]
    x = _gather_steps(values, index, first, broadcast_padding(pad, values))
    y = _gather_steps(values[:, columns], target_index, first, np.zeros(len(columns), values.dtype))
    return Frames(
        x=x.reshape(len(x), 1, -1) if layout == "features" else x,
        y=y.reshape(*y.shape[:-2], -1),
        weights=(target_index[..., 0] >= 0 if at == "every" else np.ones(len(x))).astype("float32"),
        index=index,
        target_index=target_index,
        which=which,
    )


def _span_function(layout: str, window, stride: int, runs, seed) -> Callable[[int], Spans]:
    """A function from the number of possible last input steps of a sequence to its samples."""
    rng = np.random.default_rng(seed)

    def drawn(room: int) -> Spans:
        ends = rng.integers(room, size=runs)
        return ends, rng.integers(1, np.minimum(ends + 1, window), endpoint=True)

    def whole(room: int) -> Spans:
        ends = np.arange((window or 1) - 1, room, stride)
        return ends, np.full(len(ends), window)

    def growing(room: int) -> Spans:
        ends = np.arange(0, room, stride)
        return ends, np.minimum(ends + 1, window or room)

    return {"runs": drawn, "prefix": growing}.get(layout, whole)


def _gather_steps(values: np.ndarray, index: np.ndarray, first: np.ndarray, padding) -> np.ndarray:
    """Gather steps by indices within sequences that begin at ``first``; padding where -1."""
    begin = first.reshape(-1, *[1] * (index.ndim - 1))
    place = np.where(index < 0, len(values), index + begin)
    return np.concatenate([values, padding[None]])[place]


# Checks of the arguments.


def _check_sequences(sequence) -> list[np.ndarray]:
    """The sequences as a list, (time steps, features) each, checked."""
    check_keeps_meaning("sequence", sequence)
    listed = isinstance(sequence, (list, tuple))
    if not listed or all(isinstance(each, str) or not np.iterable(each) for each in sequence):
        return [_check_sequence("The sequence", sequence)]
    read = [_check_sequence(f"Sequence {at}", each) for at, each in enumerate(sequence)]
    features = [one.shape[1] for one in read]
    if len(set(features)) > 1:
        at = next(at for at, count in enumerate(features) if count != features[0])
        raise InputError(
            f"Sequence {at} has {counted(features[at], 'feature')} and sequence 0 has "
            f"{features[0]}; all of a list must have the same."
        )
    return read


def _check_sequence(name: str, sequence) -> np.ndarray:
    try:
        values = np.asarray(sequence)
    except ValueError as error:
        raise InputError(
            f"{name} has steps of different shapes; (time steps,) or (time steps, features) was "
            "expected. Several sequences come as a list of arrays."
        ) from error
    if values.dtype.kind not in "biuf":
        raise InputError(
            f"{name} has dtype {values.dtype}; numbers were expected. Give each word or letter a "
            "number first."
        )
    if values.ndim not in (1, 2) or not values.size:
        raise InputError(
            f"{name} has shape {values.shape}; (time steps,) or (time steps, features) was "
            "expected, at least one of each. Several sequences come as a list of arrays."
        )
    if not np.isfinite(values).all():
        at = int(np.argwhere(~np.isfinite(values))[0, 0])
        raise InputError(
            f"{name} has NaN or infinity at time step {at}; fill it in, or cut the sequence there "
            "and give a list of the pieces."
        )
    return values.reshape(len(values), -1)


def _check_targets(targets, features: int) -> list[int]:
    """The indices of the columns that are predicted, checked."""
    columns = list(range(features)) if targets is None else targets
    given = list(columns) if np.iterable(columns) else []
    if not given or not all(is_count(each, 0) and each < features for each in given):
        raise InputError(
            f"targets={targets!r} does not name columns; expected some of 0 to {features - 1}, "
            "such as [0], or None for all."
        )
    return [int(each) for each in given]


def _check_counts(window, horizon, gap, stride) -> None:
    least = {"window": 1, "horizon": 1, "gap": 0, "stride": 1}
    given = {"window": window, "horizon": horizon, "gap": gap, "stride": stride}
    for name, value in given.items():
        if not (name == "window" and value is None):
            check_count(name, value, least[name])


def windows_before(
    values: np.ndarray, begins: np.ndarray, at: np.ndarray, window: int
) -> np.ndarray:
    """Windows that end at some steps, (steps, window, columns).

    Where a sequence is shorter, its first value is repeated before it.

    Args:
        values: (time steps of all sequences, columns).
        begins: (steps,), the index in the values at which the sequence of each step begins.
        at: (steps,), the index of the last step of each window.
        window: time steps.
    """
    return values[np.maximum(at[:, None] + np.arange(1 - window, 1), begins[:, None])]


def _check_layout(layout, at, window, stride, runs, seed) -> None:
    for name, value, known in (("layout", layout, get_args(Layout)), ("at", at, get_args(At))):
        if value not in known:
            raise InputError(f"{name}={value!r} is not one of {', '.join(map(repr, known))}.")
    if at == "every" and layout == "features":
        raise InputError(
            "layout='features' makes one time step of a window, so there is no target at every "
            "step: use layout='steps', or at='last'."
        )
    if window is None and layout != "prefix":
        raise InputError(
            f"layout={layout!r} needs a window, an integer of at least 1; None, for all there is, "
            "goes with layout='prefix'."
        )
    if layout == "runs":
        check_count("runs", runs, remedy="layout='runs' needs to know how many.")
    if layout == "runs" and stride != 1:
        raise InputError("layout='runs' ends samples at random places: leave stride out.")
    if layout != "runs" and (runs is not None or seed is not None):
        raise InputError(f"runs and seed go with layout='runs'; layout={layout!r} draws nothing.")


def _check_lengths(sequences: list[np.ndarray], least: int, framing: str) -> None:
    for at, one in enumerate(sequences):
        if len(one) < least:
            name = "The sequence" if len(sequences) == 1 else f"Sequence {at}"
            raise InputError(
                f"{name} has {counted(len(one), 'step')}; {framing} needs at least {least} for one "
                "sample. Ask for less, or leave the sequence out."
            )
