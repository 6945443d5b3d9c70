"""Lanes: the plan against slow loops, and models on lanes against each sequence alone."""

import itertools
from functools import cache

import keras
import numpy as np
import pytest
from cells import set_weights, spread
from hypothesis import given, settings
from hypothesis import strategies as st

import legato
from legato import InputError, Lanes, layers

quick = settings(deadline=None, derandomize=True, database=None)
many_lengths = st.lists(st.integers(1, 40), min_size=1, max_size=30)
a_count = st.integers(1, 12)


def slow_plan(lengths, rows: int, steps: int) -> list[list[tuple[int, int, int]]]:
    """Each row's chunks (sequence, begin, end): the longest first, onto the row with the fewest."""
    plan: list[list] = [[] for _ in range(rows)]
    for at in sorted(range(len(lengths)), key=lambda at: -lengths[at] // steps):
        row = min(plan, key=len)
        for begin in range(0, lengths[at], steps):
            row.append((at, begin, min(begin + steps, lengths[at])))
    return plan


def slow_lay(values, lanes: Lanes, pad) -> np.ndarray:
    """The samples, one time step at a time."""
    laid = np.full((lanes.samples, lanes.steps, *values.shape[1:]), pad, values.dtype)
    first = [sum(lanes.lengths[:at]) for at in range(len(lanes.lengths))]
    for sample, (at, begin, end) in enumerate(
        zip(lanes.sequence, lanes.begin, lanes.end, strict=True)
    ):
        for step in range(begin, end):
            laid[sample, step - begin] = values[first[at] + step]
    return laid


@quick
@given(lengths=many_lengths, rows=a_count, steps=a_count)
def test_the_plan_is_that_of_a_slow_loop(lengths, rows, steps):
    lanes = Lanes(lengths, rows, steps)
    plan = slow_plan(lengths, rows, steps)
    assert (lanes.rows, lanes.steps) == (rows, steps)
    assert lanes.batches == max(map(len, plan))
    assert lanes.samples == lanes.batches * rows
    for batch, row in itertools.product(range(lanes.batches), range(rows)):
        sample = batch * rows + row
        at, begin, end = plan[row][batch] if batch < len(plan[row]) else (-1, 0, 0)
        planned = (lanes.sequence[sample], lanes.begin[sample], lanes.end[sample])
        assert planned == (at, begin, end)
        assert lanes.starts[sample] == (at >= 0 and begin == 0)
        assert lanes.mask[sample].tolist() == [step < end - begin for step in range(steps)]
    assert lanes.weights.dtype == "float32"
    assert (lanes.weights == lanes.mask).all()
    assert lanes.padding == pytest.approx(1 - lanes.mask.mean())


@quick
@given(
    lengths=many_lengths,
    rows=a_count | st.none(),
    steps=a_count | st.none(),
    dtype=st.sampled_from(["float32", "float64", "int8", "bool"]),
    shape=st.sampled_from([(), (3,), (2, 2)]),
)
def test_gather_undoes_lay_to_the_bit(lengths, rows, steps, dtype, shape):
    lanes = Lanes(lengths, rows, steps)
    values = np.random.default_rng(sum(lengths)).normal(size=(sum(lengths), *shape)) * 50
    values = values.astype(dtype)
    laid = lanes.lay(values)
    assert laid.dtype == values.dtype
    np.testing.assert_array_equal(laid, slow_lay(values, lanes, 0))
    gathered = lanes.gather(laid)
    assert gathered.tobytes() == values.tobytes()
    assert gathered.shape == values.shape
    assert gathered.dtype == values.dtype
    parts = np.split(gathered, np.cumsum(lanes.lengths)[:-1])
    assert [len(part) for part in parts] == lengths


@pytest.mark.parametrize(
    ("values", "pad"),
    [
        (np.arange(9), -1),
        (np.arange(9.0), np.nan),
        (np.arange(18.0).reshape(9, 2), [7.0, 8.0]),
        (np.arange(18).reshape(9, 2), 5),
        (np.array(list("abcdefghi")), "-"),
    ],
)
def test_padding_holds_the_given_value(values, pad):
    lanes = Lanes([2, 7], steps=4, rows=1)
    np.testing.assert_array_equal(lanes.lay(values, pad), slow_lay(values, lanes, pad))


# Rows and steps by default.


def slow_choice(lengths, rows: int | None, steps: int | None) -> tuple[int, int]:
    """The rule of the docstring, by trying every possibility."""
    total = sum(lengths)

    def in_row(rows, steps):
        return max(map(len, slow_plan(lengths, rows, steps))) * steps

    if rows is None:
        unit = steps or 1
        chunks = sum(-(-length // unit) for length in lengths) * unit
        rows = next(
            rows
            for rows in range(min(32, len(lengths)), 0, -1)
            if 100 * chunks >= 97 * rows * in_row(rows, unit)
        )
    if steps is None:
        choices = range(min(8, max(lengths)), min(64, max(lengths)) + 1)
        good = [each for each in choices if 100 * total >= 95 * rows * in_row(rows, each)]
        steps = max(good) if good else min(choices, key=lambda each: (in_row(rows, each), -each))
        batches = in_row(rows, steps) // steps
        steps = min(each for each in choices if in_row(rows, each) // each <= batches)
    return rows, steps


@quick
@given(
    lengths=st.lists(st.integers(1, 150), min_size=1, max_size=40),
    rows=a_count | st.none(),
    steps=a_count | st.none(),
)
def test_rows_and_steps_are_chosen_by_the_rule(lengths, rows, steps):
    lanes = Lanes(lengths, rows, steps)
    assert (lanes.rows, lanes.steps) == slow_choice(lengths, rows, steps)


def few_long_many_short(rng):
    return np.append(rng.integers(5_000, 20_000, 4), rng.integers(5, 60, 800))


MIXES = {
    "lognormal, mean 200": lambda rng: rng.lognormal(np.log(200) - 0.32, 0.8, 500),
    "uniform, 50 to 400": lambda rng: rng.integers(50, 401, 500),
    "uniform, only 60 of them": lambda rng: rng.integers(50, 401, 60),
    "exponential, mean 200": lambda rng: rng.exponential(200, 400),
    "a few very long, many short": few_long_many_short,
    "12 monthly series of 120": lambda _: np.full(12, 120),
    "documents, in words": lambda rng: rng.lognormal(5.5, 0.7, 2_000),
    "documents, in letters": lambda rng: rng.lognormal(7.3, 0.7, 300),
    "one long series": lambda rng: rng.integers(1_000, 5_000, 1),
}


@pytest.mark.parametrize("mix", MIXES)
def test_the_chosen_rows_and_steps_keep_padding_below_five_percent(mix):
    for seed in range(8):
        lengths = np.maximum(MIXES[mix](np.random.default_rng(seed)).astype(int), 1)
        lanes = Lanes(lengths)
        assert lanes.padding <= 0.05, (seed, str(lanes))
        assert 8 <= lanes.steps <= 64


def test_a_million_sequences_have_a_plan():
    lanes = Lanes(np.random.default_rng(1).integers(1, 5, 1_000_000), rows=256, steps=4)
    assert lanes.batches == -(-1_000_000 // 256)
    assert np.bincount(lanes.sequence[lanes.sequence >= 0]).tolist() == [1] * 1_000_000


# Models on lanes.

FEATURES, UNITS = 2, 3
LENGTHS = [7, 2, 2, 7, 2, 7, 2]  # each other length is another program to compile
ENDS = np.cumsum(LENGTHS)[:-1]


def net(cell, **options) -> legato.Sequential:
    """A stateful model with an output at every step."""
    model = legato.Sequential(
        [
            layers.Input((None, FEATURES)),
            cell(UNITS, stateful=True, return_sequences=True),
            layers.Dense(2),
        ]
    )
    set_weights(model)
    model.compile(loss="mse", **options)
    return model


@cache
def predictor(cell) -> legato.Sequential:
    """A model that is only predicted with, made once."""
    return net(cell)


@pytest.fixture
def data():
    """x and y of all time steps, one sequence after the other."""
    rng = np.random.default_rng(3)
    return spread(rng, sum(LENGTHS), FEATURES), spread(rng, sum(LENGTHS), 2)


def alone(x, y):
    """Each sequence as a batch of one."""
    return zip(LENGTHS, np.split(x[None], ENDS, 1), np.split(y[None], ENDS, 1), strict=True)


@pytest.mark.parametrize("pad", [0.0, 9.0])
@pytest.mark.parametrize("cell", [layers.LSTM, layers.GRU])
@pytest.mark.parametrize(("rows", "steps"), [(2, 3), (3, 3), (9, 2)])
def test_predictions_on_lanes_are_those_of_each_sequence_alone(cell, rows, steps, pad, data):
    lanes = Lanes(LENGTHS, rows, steps)
    model = predictor(cell)
    model.reset_states()
    outputs = model.predict(
        lanes.lay(data[0], pad), batch_size=rows, starts=lanes.starts, verbose=0
    )
    expected = []
    for _, x, _ in alone(*data):
        model.reset_states()
        expected.append(model.predict(x, verbose=0)[0])
    np.testing.assert_allclose(lanes.gather(outputs), np.concatenate(expected), 1e-5, 1e-6)


def step_of(model, x, y, **options) -> np.ndarray:
    """The gradient, flat: the decrease of the weights in a step of SGD at learning rate 1."""
    before = model.get_weights()
    model.reset_states()
    model.train_on_batch(x, y, **options)
    after = model.get_weights()
    model.set_weights(before)
    return np.concatenate([(a - b).ravel() for a, b in zip(before, after, strict=True)])


@pytest.mark.parametrize("cell", [layers.LSTM, layers.GRU])
def test_the_gradient_of_whole_sequences_is_their_weighted_mean(cell, data):
    """Keras divides by all steps of the batch, so the factor of each is length / (rows * steps)."""
    lanes = Lanes(LENGTHS, rows=8, steps=7)
    assert lanes.batches == 1
    model = net(cell, optimizer=keras.optimizers.SGD(1.0))
    x, y = map(lanes.lay, data)
    together = step_of(model, x, y, sample_weight=lanes.weights, starts=lanes.starts)
    summed = sum(length * step_of(model, x, y) for length, x, y in alone(*data))
    np.testing.assert_allclose(together, summed / (8 * 7), rtol=1e-4, atol=3e-7)


@pytest.mark.parametrize("cell", [layers.LSTM, layers.GRU])
def test_losses_on_short_chunks_are_those_of_each_sequence_alone(cell, data):
    lanes = Lanes(LENGTHS, rows=2, steps=3)
    model = net(cell, optimizer=keras.optimizers.SGD(0.0))
    x, y = map(lanes.lay, data)
    options = {
        "sample_weight": lanes.weights,
        "starts": lanes.starts,
        "batch_size": 2,
        "verbose": 0,
    }
    trained = model.fit(x, y, shuffle=False, **options).history["loss"][0]
    model.reset_states()
    evaluated = model.evaluate(x, y, **options)
    losses = []
    for _, x, y in alone(*data):
        model.reset_states()
        losses.append(model.evaluate(x, y, verbose=0))
    expected = np.dot(losses, LENGTHS) / lanes.mask.size
    np.testing.assert_allclose([trained, evaluated], expected, rtol=1e-5)


# The picture of a plan.

PLAN = """\
5 sequences of 1 to 9 steps, 25 in all, in 4 rows: 12 samples of 3 steps in 3 batches, \
30.6 % padding
[ a sequence begins   | it carries on   · padding
batch   0   1   2
row 0  [0--|0--|0-·
row 1  [2--|2--|2--
row 2  [3--|3-·|···
row 3  [1··[4-·|···"""


def test_a_small_plan_is_shown_whole():
    assert str(Lanes([8, 1, 9, 5, 2], rows=4, steps=3)) == PLAN
    assert repr(Lanes([8, 1, 9, 5, 2], rows=4, steps=3)) == (
        "Lanes(5 sequences, rows=4, steps=3, batches=3)"
    )
    assert str(Lanes([1])).startswith(
        "1 sequence of 1 step, 1 in all, in 1 row: 1 sample of 1 step in 1 batch, 0.0 % padding"
    )


@quick
@given(lengths=many_lengths, rows=st.integers(1, 40), steps=st.integers(1, 90))
def test_the_picture_of_a_plan_has_a_limited_width_and_length(lengths, rows, steps):
    lanes = Lanes([50 * length for length in lengths], rows, steps)
    lines = str(lanes).splitlines()
    assert max(map(len, lines[1:])) <= 100
    assert len(lines) == 3 + min(rows, 16) + (rows > 16)
    assert lines[-1] == f"… {rows - 16} more row{'s' * (rows > 17)}" or rows <= 16
    assert str(lanes) == str(Lanes(lanes.lengths, rows, steps))


def test_padding_is_shown_after_a_long_label():
    picture = str(Lanes([2] * 1000 + [1], rows=1, steps=2)).splitlines()[-1]
    assert picture.endswith("[1000·")


# Errors.


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (lambda: Lanes([]), r"lengths=\[\]: no sequence\. Give the time steps of each"),
        (lambda: Lanes(7), r"lengths=7: no sequence"),
        (lambda: Lanes([3, 0]), "The length of sequence 1 is 0; an integer of at least 1"),
        (lambda: Lanes([3, 4, -2]), "The length of sequence 2 is -2; "),
        (lambda: Lanes([3, 2.5]), r"The length of sequence 1 is 2\.5; "),
        (lambda: Lanes([True]), "The length of sequence 0 is True; "),
        (lambda: Lanes("ab"), "The length of sequence 0 is 'a'; "),
        (
            lambda: Lanes([np.zeros((4, 2))]),
            r"sequence 0 is an array of shape \(4, 2\).* give \[len\(each\) for each in",
        ),
        (lambda: Lanes([3], rows=0), "rows is 0; a whole number of at least 1 was expected. None"),
        (
            lambda: Lanes([3, 4], rows=10**9),
            "rows is 1000000000, and the data have 2 sequences.*: give rows=2 or fewer",
        ),
        (lambda: Lanes([3], steps=-1), "steps is -1; a whole number of at least 1"),
        (lambda: Lanes([3], steps=2.0), r"steps is 2\.0; a whole number"),
        (
            lambda: Lanes([3, 4]).lay(np.zeros((8, 2))),
            r"lay\(\) got 8 time steps; the 2 sequences of this plan have 7 in all",
        ),
        (lambda: Lanes([3]).lay(1.0), r"lay\(\) got a single number; the 1 sequence of this"),
        (
            lambda: Lanes([3, 4]).lay([np.zeros(3), np.zeros(4)]),
            r"got arrays of different shapes; .* such as np\.concatenate\(sequences\)",
        ),
        (
            lambda: Lanes([3]).lay(np.zeros((3, 2)), [1.0, 2.0, 3.0]),
            r"pad has shape \(3,\), and a step of these values \(2,\)",
        ),
        (lambda: Lanes([3]).lay([1, 2, 3], 0.5), "pad=0.5 cannot be held by int64 values"),
        (lambda: Lanes([3]).lay([1, 2, 3], np.nan), "pad=nan cannot be held by int64 values"),
        (
            lambda: Lanes([3], 1, 2).gather(np.zeros((2, 3))),
            r"gather\(\) got shape \(2, 3\); expected \(2, 2, \.\.\.\).*return_sequences=True",
        ),
        (lambda: Lanes([3], 1, 2).gather(1.0), r"gather\(\) got shape \(\); expected"),
    ],
)  # fmt: skip
def test_invalid_arguments_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()


def test_a_plan_cannot_be_changed_by_accident():
    lanes = Lanes([3, 4])
    for array in (lanes.lengths, lanes.starts, lanes.sequence, lanes.mask, lanes.weights):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = array[0]
