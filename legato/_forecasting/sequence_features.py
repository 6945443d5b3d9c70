"""Features of whole sequences of any length: random convolutions, summaries, and pooled steps.

**Random convolutions**: each filter has nine weights, six of -1 and three of 2, is spread over time
by a dilation, and adds up a random choice of columns; the feature is the share of time steps at
which its output is above a threshold, a quantile of its outputs on a training sequence (after
MiniRocket: Dempster, Schmidt and Webb, KDD 2021). As the weights sum to 0, they see shapes, not
levels.
**Summaries**: mean, standard deviation, least, largest, first and last value, changes from step to
step, the mean of each quarter, and the length. **Pooled steps**, for recurrent networks: means over
so many time steps that few remain, and the changes between them.

All are layers of Keras with fixed weights. Padding, before or after a sequence, changes nothing
(but where steps are pooled, only padding before it): values are 0 there, which is also what a
filter sees beyond the ends.
"""

import itertools
from typing import Any

import keras
import numpy as np

from legato import layers
from legato._models.model import Model

WIDTH = 9  # time steps of a filter
PATTERNS = np.full((84, WIDTH), -1.0, "float32")
for row, chosen in zip(PATTERNS, itertools.combinations(range(WIDTH), 3), strict=True):
    row[list(chosen)] = 2.0
FILTERS, LEAST_FILTERS, PER_DILATION, MAX_DILATIONS = 5_000, 1_000, 1_000, 10
WORK = 2e9  # filters × values of all sequences, above which there are fewer filters
SAMPLED = 8  # training sequences that give the thresholds of a dilation
POOLED = 64  # steps that are left after pooling, at most
BATCH_STEPS = 2**15  # time steps that are transformed at once
QUARTERS = 4
FAR = 1e6  # beyond all scaled values
ROUNDING = 1e-4  # of the largest value: outputs that differ by less are taken for equal


class SequenceFeatures:
    """The features of sequences with some columns.

    Sequences come with one column more, which is 1 at their time steps and 0 at padding, where the
    others are 0 too.

    Args:
        lengths: (sequences,), of the data they are meant for.
        columns: number of columns.
        seed: random seed of the filters and their thresholds.
    """

    def __init__(self, lengths: np.ndarray, columns: int, seed: int):
        longest, self.seed = int(lengths.max()), seed
        self.stride = -(-longest // POOLED)
        reach = max((float(np.median(lengths)) - 1) / (WIDTH - 1), 1.0)
        dilations = (
            np.floor(2 ** np.linspace(0, np.log2(reach), MAX_DILATIONS)).astype(int).tolist()
        )
        count = min(FILTERS, max(LEAST_FILTERS, WORK / (len(lengths) * longest * columns)))
        rng = np.random.default_rng(seed)
        each = min(PER_DILATION, round(count / len(set(dilations))))
        self._kernels = {d: _draw_kernel(rng, columns, each) for d in sorted(set(dilations))}
        self._thresholds = {d: np.zeros(each, "float32") for d in self._kernels}
        inputs = keras.Input((longest, columns + 1), name="steps")
        self._model = Model(inputs, self.layers(inputs))
        self._batch = max(1, min(len(lengths), BATCH_STEPS // longest))

    def fit(self, steps: np.ndarray) -> None:
        """Choose the thresholds by (training sequences, time steps, columns + 1)."""
        rng = np.random.default_rng(self.seed)
        for dilation, kernel in self._kernels.items():
            levels = (np.arange(1, kernel.shape[-1] + 1) * (5**0.5 - 1) / 2) % 1  # evenly spread
            rng.shuffle(levels)
            parts = np.array_split(np.arange(len(levels)), SAMPLED)
            sampled = rng.integers(len(steps), size=SAMPLED)
            found = [
                _quantiles(steps[which], kernel[..., part], dilation, levels[part])
                for which, part in zip(sampled, parts, strict=True)
            ]
            self._thresholds[dilation] = np.concatenate(found).astype("float32")
        self.set_weights(self._model)

    def set_weights(self, model: keras.Model) -> None:
        """Give a model that was built with ``layers`` the filters and thresholds."""
        for dilation, kernel in self._kernels.items():
            layer: Any = model.get_layer(_name(dilation))
            layer.set_weights([kernel, -self._thresholds[dilation]])

    def transform(self, steps: np.ndarray) -> list[np.ndarray]:
        """Convolutions (sequences, filters), summaries (sequences, …), and pooled steps."""
        size = -(-len(steps) // self._batch) * self._batch  # one size of a batch: one program
        rows = steps[np.arange(size) % len(steps)]
        found: Any = self._model.predict(rows, batch_size=self._batch, verbose=0)
        return [np.asarray(each)[: len(steps)] for each in found]

    def layers(self, inputs) -> list[Any]:
        """The three features as layers, of inputs (rows, time steps, columns + 1)."""
        values, valid = inputs[..., :-1], inputs[..., -1:]
        count: Any = keras.ops.maximum(keras.ops.sum(valid, axis=1), 1.0)
        shares = []
        for dilation, kernel in self._kernels.items():
            convolution = layers.Conv1D(
                kernel.shape[-1],
                WIDTH,
                padding="same",
                dilation_rate=dilation,
                trainable=False,
                name=_name(dilation),
            )
            above = keras.ops.cast(keras.ops.greater(convolution(values), 0.0), "float32")
            shares.append(keras.ops.sum(above * valid, axis=1) / count)
        joined = layers.Concatenate()(shares) if len(shares) > 1 else shares[0]
        return [joined, _summaries(values, valid, count), _pooled(inputs, self.stride)]


def _name(dilation: int) -> str:
    return f"convolutions_{dilation}"


def _draw_kernel(rng: np.random.Generator, columns: int, count: int) -> np.ndarray:
    """Filters (WIDTH, columns, count): every pattern as often, of 1 to 9 columns each."""
    kernel = np.zeros((WIDTH, columns, count), "float32")
    patterns = PATTERNS[rng.permutation(np.arange(count) % len(PATTERNS))]
    sizes = (2 ** rng.uniform(0, np.log2(min(columns, WIDTH) + 1), count)).astype(int)
    for at, (pattern, size) in enumerate(zip(patterns, sizes, strict=True)):
        kernel[:, rng.choice(columns, size, replace=False), at] = pattern[:, None]
    return kernel


def _quantiles(
    steps: np.ndarray, kernel: np.ndarray, dilation: int, levels: np.ndarray
) -> np.ndarray:
    """The quantile of each filter's outputs on one sequence, at its own level.

    It lies between two outputs, so that rounding never decides what is above it.
    """
    values = steps[steps[:, -1] > 0, :-1]
    reach = dilation * (WIDTH // 2)
    padded = np.pad(values, ((reach, reach), (0, 0)))
    index = np.arange(len(values))[:, None] + dilation * np.arange(WIDTH)
    seen = padded[index].reshape(len(values), -1)  # (time steps, WIDTH × columns)
    found = np.sort(seen @ kernel.reshape(seen.shape[1], -1), axis=0)
    filters = np.arange(len(levels))
    below = found[(levels * len(found)).astype(int), filters]
    least = below + ROUNDING * max(float(np.abs(values).max(initial=0.0)), 1.0)
    greater = found > least  # equal outputs, as of constant steps, may differ by rounding
    above = np.where(greater.any(0), found[greater.argmax(0), filters], least)
    return (below + above) / 2


def _summaries(values, valid, count) -> Any:
    """Summaries of the valid steps, (rows, summaries)."""
    ops: Any = keras.ops
    mean = ops.sum(values, axis=1) / count
    away = (values - ops.expand_dims(mean, 1)) * valid
    spread = ops.sqrt(ops.sum(ops.square(away), axis=1) / count)
    least = ops.min(values + (1 - valid) * FAR, axis=1)
    most = ops.max(values - (1 - valid) * FAR, axis=1)
    position = ops.cumsum(valid, axis=1)  # from 1
    both = valid[:, 1:] * valid[:, :-1]
    changes = (values[:, 1:] - values[:, :-1]) * both
    pairs = ops.maximum(ops.sum(both, axis=1), 1.0)
    parts = [mean, spread, least, most]
    parts += [ops.sum(values * ops.cast(ops.equal(position, 1), "float32") * valid, axis=1)]
    last = ops.cast(ops.equal(position, ops.expand_dims(count, 1)), "float32") * valid
    parts += [ops.sum(values * last, axis=1)]
    parts += [ops.sum(ops.absolute(changes), axis=1) / pairs]
    parts += [ops.sqrt(ops.sum(ops.square(changes), axis=1) / pairs)]
    quarter = ops.floor((position - 1) * QUARTERS / ops.expand_dims(count, 1))
    for at in range(QUARTERS):
        inside = ops.cast(ops.equal(quarter, at), "float32") * valid
        parts.append(ops.sum(values * inside, 1) / ops.maximum(ops.sum(inside, 1), 1.0))
    return layers.Concatenate()([*parts, ops.log(count)])


def _pooled(inputs, stride: int) -> Any:
    """Means of so many steps, counted from the end, their changes, and which are no padding."""
    ops: Any = keras.ops
    if stride > 1:
        behind: Any = (0, stride - 1)
        backwards = layers.ZeroPadding1D(behind)(ops.flip(inputs, axis=1))
        means = layers.AveragePooling1D(stride)(backwards)
        inputs = ops.flip(means, axis=1)
    share = inputs[..., -1:]
    valid = ops.cast(share > 0, "float32")
    values = inputs[..., :-1] / ops.maximum(share, 1e-6)
    both = valid[:, 1:] * valid[:, :-1]
    changes = (values[:, 1:] - values[:, :-1]) * both
    first = ops.zeros_like(values[:, :1])
    return layers.Concatenate()([values, ops.concatenate([first, changes], axis=1), valid])
