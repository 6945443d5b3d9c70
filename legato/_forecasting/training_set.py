"""Sequences → what ``fit`` takes: samples, answers, weights, and where sequences begin.

Chunks of long sequences lie in lanes, so that a network that carries state goes on from chunk to
chunk, and is asked at every step; padding weighs nothing. Every other framing makes samples that
stand alone and are asked at their last step.
"""

from typing import NamedTuple

import numpy as np

from legato._forecasting.network import Shape
from legato._series.lanes import Lanes
from legato._series.sequences import expand_ranges
from legato._series.windows import Layout, frame

BATCH = 32  # samples of a batch that stand alone
LAYOUTS: dict[str, Layout] = {
    "window": "steps",
    "features": "steps",
    "prefix": "prefix",
    "runs": "runs",
}


class TrainingSet(NamedTuple):
    """Arrays for ``fit``.

    Attributes:
        x: (samples, time steps, inputs).
        y: (samples, time steps, answers), or (samples, time steps) of labels; without the time
            steps where only the last is asked.
        weight: (samples, time steps) or (samples,), 0 where there is no answer.
        starts: (samples,) where a sequence begins; None where samples stand alone.
        rows: samples of a batch.
        lanes: the plan of the lanes, if there is one.
    """

    x: np.ndarray
    y: np.ndarray
    weight: np.ndarray
    starts: np.ndarray | None
    rows: int
    lanes: Lanes | None

    @property
    def validation(self) -> tuple:
        """The same, as ``validation_data``."""
        if self.starts is None:
            return self.x, self.y, self.weight
        return self.x, self.y, self.weight, self.starts


def lanes_for(lengths: np.ndarray, rows: int | None, steps: int | None) -> Lanes:
    """A plan for sequences; with more rows than sequences, each is read in several places at once.

    Every place begins with nothing remembered: what is paid for so many rows.
    """
    places = -(-(rows or 1) // len(lengths))
    if places > 1:
        cuts = np.minimum(places, lengths)  # a step in each, at least
        at = np.repeat(np.arange(len(lengths)), cuts)
        nth = expand_ranges(0 * cuts, cuts)
        lengths = (nth + 1) * lengths[at] // cuts[at] - nth * lengths[at] // cuts[at]
    return Lanes(lengths, rows=rows, steps=steps)


def in_lanes(
    lanes: Lanes, shape: Shape, x: np.ndarray, y: np.ndarray, weight: np.ndarray, pad: float
) -> TrainingSet:
    """Chunks of sequences in lanes.

    Args:
        lanes: the plan.
        shape: whether state is carried.
        x, y, weight: (time steps of all sequences, …).
        pad: marks padding.
    """
    weights = lanes.lay(weight.astype("float32"))
    starts = lanes.starts if shape.stateful else None
    rows = lanes.rows if shape.stateful else BATCH
    return TrainingSet(lanes.lay(x, pad), lanes.lay(y), weights, starts, rows, lanes)


def standing_alone(
    lengths: np.ndarray,
    shape: Shape,
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    pad: float,
    seed: int,
    rows: int | None = None,
) -> TrainingSet:
    """Samples that stand alone, each asked at its last step.

    Raises:
        InputError: a sequence is shorter than the window.
    """
    random = shape.framing == "runs"
    # A step more than there is, so that a sample may end at the last one: its answer is in y.
    frames = frame(
        [np.zeros(length + 1) for length in lengths],
        window=shape.steps,
        layout=LAYOUTS[shape.framing],
        runs=-(-len(x) // len(lengths)) if random else None,
        seed=seed if random else None,
    )
    begins = np.cumsum(lengths) - lengths
    index = begins[frames.which][:, None] + frames.index
    last = index[:, -1]
    asked = weight[last] > 0
    samples = np.where((frames.index >= 0)[..., None], x[index], np.float32(pad))[asked]
    weights = weight[last][asked].astype("float32")
    return TrainingSet(samples, y[last][asked], weights, None, rows or BATCH, None)
