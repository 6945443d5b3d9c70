"""Which part of a sequence decides its label: measured by taking stretches out, and drawn.

The members of an ensemble that labels sequences count steps above a threshold, which has no
derivative. So each stretch in turn is replaced by a straight line from the step before it to the
step after it (of labels, by the one before), and the influence is how much the logarithms of the
probabilities then change (occlusion: Zeiler and Fergus, "Visualizing and understanding
convolutional networks", ECCV 2014). What only several stretches together show is not seen.
"""

from typing import NamedTuple

import numpy as np
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from legato import InputError, Sequences, Trained
from legato.report._panels import COOL, Panel, label_axes, style_axes

STRETCHES = 20  # of a sequence, at most
SEQUENCES = 12  # whose influence is averaged, at most
NOTHING = 1e-5  # a change of logarithms below it is none
LEAST = 1e-7  # probabilities below it count as it


class Stretches(NamedTuple):
    """Influence by place in the sequence.

    Attributes:
        profile: (stretches,), the share of each, from the beginning to the end. Sum 1.
        low, high: (stretches,), the smallest and the largest share over the sequences.
        sequences: number of sequences.
        change: of the probability of the likeliest label without the stretch that counts most, the
            mean over the sequences.
    """

    profile: np.ndarray
    low: np.ndarray
    high: np.ndarray
    sequences: int
    change: float

    @property
    def sentence(self) -> str:
        """What the profile shows."""
        count, largest = len(self.profile), int(self.profile.argmax())
        begin, end = (round(100 * each / count) for each in (largest, largest + 1))
        half = np.flatnonzero(np.cumsum(np.sort(self.profile)[::-1]) >= 0.5)[0] + 1
        return (
            f"The stretch from {begin} to {end} % of the sequence has the largest influence, "
            f"{100 * self.profile[largest]:.0f} %; half of it is in {half} of {count} stretches. "
            f"Without the one that counts most the probability of the likeliest label changes by "
            f"{100 * self.change:.2g} percentage points in the mean."
        )


def measure_stretches(trained: Trained, sequences: Sequences) -> Stretches:
    """Measure the influence of stretches, on some sequences.

    Raises:
        InputError: the sequences have one step, or no stretch has an influence.
    """
    values = trained.inputs_of(sequences, lenient=True)
    numeric = np.array([each.is_numeric for each in trained.task.inputs])
    count = int(min(STRETCHES, sequences.lengths.max()))
    long = np.flatnonzero(sequences.lengths >= count)
    if count < 2:
        raise InputError("Sequences of one step have no stretches whose influence could be told.")
    chosen = long[np.unique(np.linspace(0, len(long) - 1, SEQUENCES).astype(int))]
    parts = [values[slice(*sequences.offsets[at : at + 2])] for at in chosen]
    pairs = [_changes(trained, own, numeric, count) for own in parts]
    changes, losses = map(np.array, zip(*pairs, strict=True))
    most = changes.argmax(1)
    there = changes.max(1) > NOTHING
    if not there.any():
        raise InputError(
            "The probabilities do not change if any single stretch of a sequence is replaced by a "
            "straight line."
        )
    changes = changes[there]
    shares = changes / changes.sum(1, keepdims=True)
    mean = shares.mean(0)
    extremes = shares.min(0), shares.max(0)
    return Stretches(
        mean / mean.sum(), *extremes, len(shares), float(losses[range(len(most)), most].mean())
    )


def _changes(
    trained: Trained, own: np.ndarray, numeric: np.ndarray, count: int
) -> tuple[np.ndarray, np.ndarray]:
    """How much a sequence's answer changes without each stretch.

    Returns:
        The mean absolute change of the logarithms, and that of the likeliest probability, each
        (stretches,).
    """
    bounds = np.linspace(0, len(own), count + 1).round().astype(int)
    copies = [own, *(_without(own, numeric, *bounds[at : at + 2]) for at in range(count))]
    lengths = np.full(len(copies), len(own))
    found = trained.predict_at(np.concatenate(copies), lengths, np.cumsum(lengths) - 1)
    logarithms, likeliest = np.log(np.maximum(found, LEAST)), int(found[0].argmax())
    changes = np.abs(logarithms[1:] - logarithms[0]).mean(1)
    return changes, np.abs(found[1:] - found[0])[:, likeliest]


def _without(own: np.ndarray, numeric: np.ndarray, begin: int, end: int) -> np.ndarray:
    """A sequence (time steps, inputs) whose stretch is a straight line, or the label before it."""
    found = own.copy()
    before, after = max(begin - 1, 0), min(end, len(own) - 1)
    before, after = (after, after) if begin == 0 else (before, before if end == len(own) else after)
    ramp = np.linspace(0, 1, end - begin + 2)[1:-1, None]
    line = own[before] + ramp * (own[after] - own[before])
    found[begin:end] = np.where(numeric, line, own[before])
    return found


def stretch_panel(found: Stretches) -> Panel:
    """The share of the influence by place in the sequence."""
    place = 100 * (np.arange(len(found.profile)) + 0.5) / len(found.profile)

    def draw(fig: FigureBase) -> None:
        axes = fig.subplots()
        low, high, mean = (100 * each for each in (found.low, found.high, found.profile))
        axes.fill_between(place, low, high, color=COOL, alpha=0.25, lw=0)
        axes.plot(place, mean, ".-", color=COOL, lw=1, ms=3)
        style_axes(axes, "left", "bottom")
        axes.set_ylim(bottom=0)
        axes.set_xlim(0, 100)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        label_axes(axes, "place in the sequence, %", "share of the influence, %")

    title = "Which part decides"
    return Panel("reach", title, f"Influence by place in the sequence. {found.sentence}", 2.3, draw)
