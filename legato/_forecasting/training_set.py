"""Builds the arrays for ``fit`` from sequences: samples, targets, weights, and ``starts``.

Chunks of long sequences are packed into lanes, so that a stateful network carries state from chunk
to chunk, and have a target at every step; padding has weight 0. Every other framing makes
independent samples with one target, at their last step.
"""

from typing import NamedTuple

import numpy as np

from legato._forecasting.network import Shape
from legato._series.lanes import Lanes
from legato._series.sequences import expand_ranges
from legato._series.windows import Layout, frame

BATCH = 32  # independent samples of a batch
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
        y: (samples, time steps, targets), or (samples, time steps) of labels; without the time
            steps where only the last has a target.
        weight: (samples, time steps) or (samples,), 0 where there is no target.
        starts: (samples,) where a sequence begins; None for independent samples.
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
        """The arrays as ``validation_data`` of ``fit``."""
        if self.starts is None:
            return self.x, self.y, self.weight
        return self.x, self.y, self.weight, self.starts


def plan_lanes(lengths: np.ndarray, rows: int | None, steps: int | None) -> Lanes:
    """Lanes for sequences; with more rows than sequences, each is read at several places at once.

    Every place begins in the initial state, which is the price of more rows.
    """
    places = -(-(rows or 1) // len(lengths))
    if places > 1:
        cuts = np.minimum(places, lengths)  # a step in each, at least
        at = np.repeat(np.arange(len(lengths)), cuts)
        nth = expand_ranges(0 * cuts, cuts)
        lengths = (nth + 1) * lengths[at] // cuts[at] - nth * lengths[at] // cuts[at]
    return Lanes(lengths, rows=rows, steps=steps)


def lane_samples(
    lanes: Lanes, shape: Shape, x: np.ndarray, y: np.ndarray, weight: np.ndarray, pad: float
) -> TrainingSet:
    """Chunks of sequences in lanes.

    Args:
        lanes: the layout.
        shape: whether state is carried.
        x, y, weight: (time steps of all sequences, …).
        pad: the padding value.
    """
    weights = lanes.lay(weight.astype("float32"))
    starts = lanes.starts if shape.stateful else None
    rows = lanes.rows if shape.stateful else BATCH
    return TrainingSet(lanes.lay(x, pad), lanes.lay(y), weights, starts, rows, lanes)


def independent_samples(
    lengths: np.ndarray,
    shape: Shape,
    x: np.ndarray,
    y: np.ndarray,
    weight: np.ndarray,
    pad: float,
    seed: int,
    rows: int | None = None,
) -> TrainingSet:
    """Independent samples, each with a target at its last step.

    Raises:
        InputError: a sequence is shorter than the window.
    """
    random = shape.framing == "runs"
    # One step more than the sequence has, so that a sample may end at its last; targets are in y.
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
    has_target = weight[last] > 0
    samples = np.where((frames.index >= 0)[..., None], x[index], np.float32(pad))[has_target]
    weights = weight[last][has_target].astype("float32")
    return TrainingSet(samples, y[last][has_target], weights, None, rows or BATCH, None)
