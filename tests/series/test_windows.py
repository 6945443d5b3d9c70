"""``frame`` against plain loops over all its arguments, and against the table in its docstring."""

import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legato import Frames, InputError, alphabet, frame

quick = settings(deadline=None, derandomize=True, database=None, max_examples=200)
count = st.integers(1, 4)


def sequence_of(length: int, features: int, seed: int = 0) -> np.ndarray:
    """(time steps, features), all different and none zero."""
    numbers = np.random.default_rng(seed).permutation(length * features) + 1
    return numbers.reshape(length, features) / 7


def slow_ends(length, window, horizon, gap, stride, layout):
    """(last input step, first input step) of each sample."""
    found = []
    t = 0 if layout == "prefix" else window - 1
    while t + gap + horizon < length:
        begin = t - window + 1 if window else 0
        found.append((t, max(begin, 0)))
        t += stride
    return found


def slow_frame(sequences, ends, width, horizon, gap, targets, at, pad) -> dict:
    """The arrays of ``Frames``, one number at a time; x as time steps."""
    found: dict[str, list] = {name: [] for name in Frames.__dataclass_fields__}
    for which, (one, spans) in enumerate(zip(sequences, ends, strict=True)):
        for t, begin in spans:
            index = [step if step >= begin else -1 for step in range(t - width + 1, t + 1)]
            lasts = index if at == "every" else [t]
            after = [
                [last + gap + ahead if last >= 0 else -1 for ahead in range(1, horizon + 1)]
                for last in lasts
            ]
            x = [list(one[step]) if step >= 0 else [pad] * one.shape[1] for step in index]
            y = [
                [one[step, column] if step >= 0 else 0.0 for step in steps for column in targets]
                for steps in after
            ]
            weights = [float(last >= 0) for last in lasts]
            found["x"].append(x)
            found["y"].append(y if at == "every" else y[0])
            found["weights"].append(weights if at == "every" else weights[0])
            found["index"].append(index)
            found["target_index"].append(after if at == "every" else after[0])
            found["which"].append(which)
    return {name: np.array(values) for name, values in found.items()}


def assert_frames(frames: Frames, expected: dict) -> None:
    for name, values in expected.items():
        got = getattr(frames, name)
        assert got.shape == values.shape, name
        np.testing.assert_array_equal(got, values, err_msg=name)
    assert frames.weights.dtype == "float32"


@quick
@given(data=st.data(), layout=st.sampled_from(["steps", "features", "prefix"]))
def test_frames_are_those_of_slow_loops(data, layout):
    window, horizon, stride = (data.draw(count, name) for name in ("window", "horizon", "stride"))
    gap = data.draw(st.integers(0, 3), "gap")
    every = data.draw(st.booleans(), "every") and layout != "features"
    at = "every" if every else "last"
    if layout == "prefix" and data.draw(st.booleans(), "all"):
        window = None
    features = data.draw(st.integers(1, 3), "features")
    targets = data.draw(st.none() | st.lists(st.integers(0, features - 1), min_size=1, max_size=3))
    least = gap + horizon + (1 if layout == "prefix" else window)
    lengths = data.draw(st.lists(st.integers(least, least + 6), min_size=1, max_size=3), "lengths")
    sequences = [sequence_of(length, features, at) for at, length in enumerate(lengths)]

    frames = frame(
        sequences, window=window, horizon=horizon, gap=gap, stride=stride, targets=targets,
        layout=layout, at=at, pad=-5.0,
    )  # fmt: skip
    ends = [slow_ends(length, window, horizon, gap, stride, layout) for length in lengths]
    width = window or 1 + max(t for spans in ends for t, _ in spans)
    columns = range(features) if targets is None else targets
    expected = slow_frame(sequences, ends, width, horizon, gap, columns, at, -5.0)
    if layout == "features":
        expected["x"] = expected["x"].reshape(len(expected["x"]), 1, -1)
    assert_frames(frames, expected)
    if len(sequences) == 1:
        alone = frame(
            sequences[0], window=window, horizon=horizon, gap=gap, stride=stride, targets=targets,
            layout=layout, at=at, pad=-5.0,
        )  # fmt: skip
        assert_frames(alone, vars(frames))


@quick
@given(
    lengths=st.lists(st.integers(7, 15), min_size=1, max_size=3),
    window=st.integers(1, 20),
    horizon=count,
    gap=st.integers(0, 2),
    at=st.sampled_from(["last", "every"]),
    seed=st.integers(0, 1000),
)
def test_random_runs_are_consecutive_steps_with_the_targets_after_them(
    lengths, window, horizon, gap, at, seed
):
    sequences = [sequence_of(length, 2, at) for at, length in enumerate(lengths)]
    options = {"layout": "runs", "runs": 9, "seed": seed, "horizon": horizon, "gap": gap, "at": at}
    frames = frame(sequences, window=window, **options)
    ends = [
        [(row[-1], row[row >= 0][0]) for row in frames.index[frames.which == which]]
        for which in range(len(lengths))
    ]
    assert [len(each) for each in ends] == [9] * len(lengths)
    for spans, length in zip(ends, lengths, strict=True):
        assert all(0 <= begin <= t < length - gap - horizon for t, begin in spans)
    assert_frames(frames, slow_frame(sequences, ends, window, horizon, gap, [0, 1], at, 0.0))
    assert_frames(frame(sequences, window=window, **options), vars(frames))


def test_random_runs_have_every_length_and_end_everywhere():
    frames = frame(np.arange(10), window=4, layout="runs", runs=2_000, seed=1)
    ends = frames.index[:, -1]
    lengths = (frames.index >= 0).sum(1)
    pairs = set(zip(ends.tolist(), lengths.tolist(), strict=True))
    assert pairs == {(t, n) for t in range(9) for n in range(1, min(4, t + 1) + 1)}
    shares = np.bincount(ends) / len(ends)
    np.testing.assert_allclose(shares, 1 / 9, atol=0.03)
    other = frame(np.arange(10), window=4, layout="runs", runs=2_000, seed=2)
    assert not np.array_equal(frames.index, other.index)


# The table of the docstring.

TABLE = re.findall(r"^ +\| (\w+=.*?) +\| (.*?) +\|$", frame.__doc__ or "", re.MULTILINE)


def as_written(frames: Frames) -> str:
    """The samples as the table writes them."""

    def digits(steps) -> str:
        return "".join("·" if step < 0 else str(step) for step in steps)

    def after(targets) -> str:
        if targets.ndim == 1:
            return digits(targets)
        return ",".join("·" if (steps < 0).all() else digits(steps) for steps in targets)

    pairs = zip(frames.index, frames.target_index, strict=True)
    return "  ".join(f"{digits(index)}→{after(targets)}" for index, targets in pairs)


@pytest.mark.parametrize(("arguments", "samples"), TABLE)
def test_the_table_in_the_docstring_is_right(arguments, samples):
    frames = frame(range(6), **eval(f"dict({arguments})"))
    assert as_written(frames) == samples


def test_the_table_has_eleven_rows():
    assert len(TABLE) == 11


# Special cases.


@pytest.mark.parametrize(
    ("name", "layout"), [("naive", "steps"), ("window", "features"), ("steps", "steps")]
)
def test_the_alphabets_networks_are_special_cases(name, layout):
    (network,) = alphabet.find([name])
    samples = network.samples()
    letters = np.arange(26, dtype="float32") / 26
    frames = frame(letters, window=network.window, layout=layout)
    np.testing.assert_array_equal(frames.x, samples.x)
    assert frames.x.dtype == samples.x.dtype
    np.testing.assert_array_equal(np.eye(26)[frames.target_index[:, 0]], samples.y)


@pytest.mark.parametrize("dtype", ["int32", "float32", "float64", "bool"])
def test_the_dtype_is_kept(dtype):
    frames = frame(np.array([1, 0, 1, 1], dtype), window=2, layout="prefix", at="every")
    assert frames.x.dtype == frames.y.dtype == dtype


def test_a_list_of_numbers_is_one_sequence_and_of_arrays_several():
    one = frame([1.0, 2.0, 3.0])
    assert one.which.tolist() == [0, 0]
    assert one.x.ravel().tolist() == [1.0, 2.0]
    several = frame([[1.0, 2.0], np.array([3.0, 4.0, 5.0])])
    assert several.which.tolist() == [0, 1, 1]
    assert several.index.ravel().tolist() == [0, 0, 1]
    assert several.y.ravel().tolist() == [2.0, 4.0, 5.0]


def test_padding_may_be_a_whole_step():
    frames = frame(sequence_of(4, 2), window=2, layout="prefix", pad=[8.0, 9.0])
    assert frames.x[0, 0].tolist() == [8.0, 9.0]


# Errors.

SIX = np.arange(6.0)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (
            lambda: frame(SIX, window=4, gap=1, horizon=2),
            "has 6 steps; layout='steps' with window=4, gap=1 and horizon=2 needs at least 7",
        ),
        (
            lambda: frame([SIX, SIX[:1]]),
            "Sequence 1 has 1 step; layout='steps' with .* needs at least 2 for one sample",
        ),
        (
            lambda: frame(SIX[:2], window=None, layout="prefix", horizon=2),
            "layout='prefix' with window=None, gap=0 and horizon=2 needs at least 3",
        ),
        (lambda: frame(SIX, window=0), "window is 0; a whole number of at least 1"),
        (lambda: frame(SIX, window=2.0), r"window is 2\.0; a whole number of at least 1"),
        (lambda: frame(SIX, horizon=0), "horizon is 0; a whole number of at least 1"),
        (lambda: frame(SIX, horizon=None), "horizon is None; a whole number of at least 1"),
        (lambda: frame(SIX, stride=-1), "stride is -1; a whole number of at least 1"),
        (lambda: frame(SIX, gap=-1), "gap is -1; a whole number of at least 0"),
        (
            lambda: frame(SIX, layout="windows"),
            "layout='windows' is not one of 'steps', 'features', 'prefix', 'runs'",
        ),
        (lambda: frame(SIX, at="all"), "at='all' is not one of 'last', 'every'"),
        (
            lambda: frame(SIX, layout="features", at="every"),
            "layout='features' makes one time step of a window, .* use layout='steps'",
        ),
        (lambda: frame(SIX, window=None), "layout='steps' needs a window"),
        (lambda: frame(SIX, layout="runs"), "runs is None; .* layout='runs' needs"),
        (lambda: frame(SIX, layout="runs", runs=0), "runs is 0; a whole number of at least 1"),
        (lambda: frame(SIX, layout="runs", runs=2, stride=2), "leave stride out"),
        (lambda: frame(SIX, runs=2), "runs and seed go with layout='runs'; layout='steps'"),
        (lambda: frame(SIX, seed=2), "runs and seed go with layout='runs'"),
        (lambda: frame(SIX, targets=[1]), r"targets=\[1\] does not name columns; .* 0 to 0"),
        (lambda: frame(SIX, targets=[-1]), r"targets=\[-1\] does not name columns"),
        (lambda: frame(SIX, targets=[]), r"targets=\[\] does not name columns"),
        (lambda: frame(SIX, targets=0), r"targets=0 does not .* such as \[0\], or None for all"),
        (lambda: frame(SIX, targets="0"), "targets='0' does not name columns"),
        (lambda: frame([1.0, np.nan, 3.0]), "The sequence has NaN or infinity at time step 1"),
        (lambda: frame([SIX, [[1.0], [np.inf]]]), "Sequence 1 has NaN or infinity at time step 1"),
        (lambda: frame([]), r"The sequence has shape \(0,\); \(time steps,\) or"),
        (lambda: frame(np.zeros((5, 0))), r"The sequence has shape \(5, 0\)"),
        (lambda: frame([SIX, []]), r"Sequence 1 has shape \(0,\)"),
        (lambda: frame(3.0), r"The sequence has shape \(\)"),
        (
            lambda: frame(np.zeros((2, 3, 4))),
            r"The sequence has shape \(2, 3, 4\).* Several sequences come as a list of arrays",
        ),
        (lambda: frame([SIX, 3.0]), r"Sequence 1 has shape \(\)"),
        (lambda: frame([SIX, [[1, 2], [3]]]), "Sequence 1 has steps of different shapes"),
        (lambda: frame("ABCDEF"), "The sequence has dtype <U6; numbers were expected"),
        (lambda: frame(list("ABC")), "The sequence has dtype <U1; .* a number first"),
        (lambda: frame([SIX, ["A", "B"]]), "Sequence 1 has dtype <U1"),
        (lambda: frame([None, 1]), "The sequence has dtype object"),
        (
            lambda: frame([np.ones((3, 2)), SIX]),
            "Sequence 1 has 1 feature and sequence 0 has 2; all of a list must have the same",
        ),
        (lambda: frame(SIX, pad=[1.0, 2.0]), r"pad has shape \(2,\), and a step of these"),
        (lambda: frame(range(6), pad=0.5), "pad=0.5 cannot be held by int64 values"),
    ],
)  # fmt: skip
def test_invalid_arguments_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        wrong()
