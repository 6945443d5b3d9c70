"""Streams in files: restored to the bit, also in another process; damaged files are detected."""

from functools import cache
from pathlib import Path

import numpy as np
import pytest
from cells import BY_NAME, FEATURES, assert_same_states, inputs, ready
from damage import (
    assert_flips_refused,
    contents,
    flips_accepted,
    rewrite_as_version_1,
    write_version_1,
)
from forked import forked

import legato
from legato import OutputError, StateError, layers


def network(units: int = 4, seed: int = 1, cell=layers.LSTM):
    model = legato.Sequential([layers.Input((None, 2)), cell(units), layers.Dense(3, "softmax")])
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=w.shape) for w in model.get_weights()])
    return model


fixed = cache(network)  # made once: for tests that change no weights


def steps(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 2)).astype("float32")


def encode(choice):
    return [choice / 3, 1.0]


def continue_stream(stream) -> list[np.ndarray]:
    """The outputs of both the original and the loaded stream on further steps."""
    return [
        stream.feed(steps(1)[0]),
        stream.generate(5, legato.sample(1.0, 3), encode=encode),
        stream.feed(steps(6)),
        stream.answer,
        np.array(stream.steps),
    ]


def assert_same(one: list, other: list) -> None:
    for mine, its in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, its)


@pytest.mark.parametrize("window", [None, 3])
def test_a_stream_loaded_into_a_model_of_the_same_weights_continues_to_the_bit(window, tmp_path):
    stream = fixed().stream(window=window).warm(steps(5))
    stream.save(tmp_path / "a.state")
    loaded = network().stream(window=window).load(tmp_path / "a.state")
    assert_same(continue_stream(loaded), continue_stream(stream))


TRAVELLERS = ["LSTM", "StackedRNNCells", "learnt-initial-state", "bfloat16"]


def continue_saved(folder: Path, _) -> None:
    """Load weights and streams, continue them, and save the results."""
    for name in TRAVELLERS:
        model = BY_NAME[name].make()
        stream = model.stream().load(folder / f"{name}.state")
        np.save(folder / f"{name}.npy", stream.feed(inputs(1, seed=2)[0]).astype("float32"))


def test_a_stream_is_written_with_the_same_bytes_each_time(tmp_path):
    stream, written = fixed().stream().warm(steps(5)), set()
    for _ in range(8):
        stream.save(tmp_path / "a.state")
        written.add((tmp_path / "a.state").read_bytes())
    assert len(written) == 1


def test_a_stream_loaded_in_another_process_continues_to_the_bit(tmp_path):
    expected = {}
    for name in TRAVELLERS:
        stream = ready(BY_NAME[name]).stream().warm(inputs(1, seed=1)[0])
        stream.save(tmp_path / f"{name}.state")
        expected[name] = stream.feed(inputs(1, seed=2)[0]).astype("float32")
        assert expected[name].shape[-1] >= FEATURES
    with forked(continue_saved, tmp_path) as (process, _):
        process.join()
        assert process.exitcode == 0
    for name, answers in expected.items():
        np.testing.assert_array_equal(np.load(tmp_path / f"{name}.npy"), answers, err_msg=name)


# Files of other models.


def test_other_weights_are_refused_with_both_fingerprints_unless_allowed(tmp_path):
    path = tmp_path / "a.state"
    stream = fixed(seed=1).stream().warm(steps(5))
    stream.save(path)
    other = fixed(seed=2).stream().warm(steps(1))
    before = other.state
    with pytest.raises(StateError, match="written with other weights: theirs are ") as raised:
        other.load(path)
    theirs, mine = str(raised.value).split("theirs are ")[1].split(", this model's ")
    assert len(theirs) == len(mine[:12]) == 12
    assert theirs != mine[:12]
    assert other.state == before
    other.load(path, other_weights=True)
    assert_same_states(other.state, stream.state)
    assert other.steps == 5


def test_training_makes_other_weights(tmp_path):
    model = network()
    stream = model.stream().warm(steps(3))
    stream.save(tmp_path / "a.state")
    stream.load(tmp_path / "a.state")
    model.compile("sgd", "mse")
    model.fit(steps(4)[None], np.ones((1, 3)), verbose=0)
    with pytest.raises(StateError, match="other weights"):
        stream.load(tmp_path / "a.state")


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (lambda: fixed(units=5).stream(), r"lstm:0 float32\(5,\)"),
        (lambda: fixed(cell=layers.GRU).stream(), "gru:0"),
        (lambda: fixed().stream(window=2), "window:"),
        (lambda: fixed().streams(window=2), "another window"),
    ],
)
def test_another_shape_is_always_refused(other, message, tmp_path):
    fixed().stream().warm(steps(3)).save(tmp_path / "a.state")
    for other_weights in (False, True):
        with pytest.raises(StateError, match=message):
            other().load(tmp_path / "a.state", other_weights=other_weights)


# Damaged files.


def test_a_truncated_or_altered_file_is_detected(tmp_path):
    path = tmp_path / "a.state"
    stream = fixed().stream().warm(steps(3))
    stream.save(path)
    content = path.read_bytes()
    for end in range(0, len(content), 97):
        path.write_bytes(content[:end])
        with pytest.raises(StateError, match="not a whole stream file"):
            fixed().stream().load(path)
    data = len(content) - stream.nbytes
    for at in range(data, len(content), 41):
        path.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(StateError, match="not a whole stream file"):
            fixed().stream().load(path)


def test_an_altered_number_of_steps_in_the_header_is_detected(tmp_path):
    path = tmp_path / "a.state"
    fixed().stream().warm(steps(3)).save(path)
    path.write_bytes(path.read_bytes().replace(b'"weights":"', b'"weights":"0', 1))
    with pytest.raises(StateError):
        fixed().stream().load(path)


@pytest.mark.parametrize("content", [b"", b"x", b"PK\x03\x04" + bytes(99)])
def test_other_files_are_refused(content, tmp_path):
    (tmp_path / "a.state").write_bytes(content)
    with pytest.raises(StateError, match="not a whole stream file"):
        fixed().stream().load(tmp_path / "a.state")


def test_a_state_file_is_no_stream_file(tmp_path):
    fixed().stream().state.save(tmp_path / "a.state")
    with pytest.raises(StateError, match=r"its format is 'legato\.state\.2'"):
        fixed().stream().load(tmp_path / "a.state")


def test_no_file_and_no_folder(tmp_path):
    stream = fixed().stream()
    with pytest.raises(StateError, match="no stream file"):
        stream.load(tmp_path / "none.state")
    with pytest.raises(OutputError, match="cannot be written"):
        stream.save(tmp_path / "none" / "a.state")


def test_a_file_of_several_streams_is_not_loaded_as_one(tmp_path):
    pool = fixed().streams()
    pool.feed({"ada": steps(1)[0], "bob": steps(1)[0]})
    pool.save(tmp_path / "pool.state")
    with pytest.raises(StateError, match=r"holds 2 streams, and one was expected.*model\.streams"):
        fixed().stream().load(tmp_path / "pool.state")
    pool.drop("bob")
    pool.save(tmp_path / "pool.state")
    assert_same_states(fixed().stream().load(tmp_path / "pool.state").state, pool.state("ada"))


@pytest.fixture
def pool_file(tmp_path) -> Path:
    """A file of three streams."""
    pool = fixed().streams()
    for name in ("ada", "bob", 7):
        pool.feed({name: steps(1, seed=len(str(name)))[0]})
    pool.save(tmp_path / "pool.state")
    return tmp_path / "pool.state"


def test_a_flipped_bit_anywhere_is_refused(pool_file):
    pool = fixed().streams()
    assert_flips_refused(pool_file, lambda: pool.load(pool_file))


def test_files_of_version_1_are_read(pool_file):
    before = fixed().streams().load(pool_file)
    rewrite_as_version_1(pool_file)
    pool = fixed().streams().load(pool_file)
    assert list(pool) == list(before)
    for name in pool:
        assert pool.steps(name) == before.steps(name)
        assert_same_states(pool.state(name), before.state(name))


def test_in_files_of_version_1_only_names_can_be_altered_unnoticed(pool_file):
    rewrite_as_version_1(pool_file)
    whole = pool_file.read_bytes()
    at = whole.index(b'"names":"')
    names = range(8 * at, 8 * (whole.index(b'"', at + 9) + 40))
    pool = fixed().streams()
    accepted = flips_accepted(pool_file, lambda: pool.load(pool_file))
    assert [bit for bit in accepted if bit not in names] == []


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ('["ada", "bob", "ada"]', "a name comes twice"),
        ('["ada", "bob"]', "no number of steps for each of 2 names"),
        ('["ada", "bob", "eve", 7]', "no number of steps for each of 4 names"),
        ('["ada", "bob", 1.5]', r"cannot be named 1\.5"),
        ('["ada", "bob", null]', "cannot be named None"),
        ('{"ada": 1, "bob": 2, "eve": 3}', "a name comes twice"),
        ("3", "a name comes twice"),
        ('["ada", "bob"', "Expecting"),
        ("[" * 100_000, "recursion"),
    ],
)
def test_names_that_fit_no_streams_are_refused(names, message, pool_file):
    rewrite_as_version_1(pool_file, names=names)
    with pytest.raises(StateError, match=f"pool.state is not a whole stream file.*{message}"):
        fixed().streams().load(pool_file)


@pytest.mark.parametrize("missing", ["names", "carried", "weights"])
def test_missing_metadata_are_refused(missing, pool_file):
    rewrite_as_version_1(pool_file)
    arrays, about = contents(pool_file)
    del about[missing]
    write_version_1(pool_file, arrays, about)
    with pytest.raises(StateError, match=f"not a whole stream file.*{missing}"):
        fixed().streams().load(pool_file)


@pytest.mark.parametrize(
    "changed",
    [
        {"rows": np.zeros((3, 1), "float32")},
        {"rows": np.zeros((2, 8), "float32")},
        {"rows": np.zeros((3, 11))},
        {"rows": np.zeros(3, "float32")},
        {"steps": np.zeros(3, "float32")},
        {"steps": np.array([1, 1, -1])},
        {"steps": np.zeros((3, 1), int)},
    ],
)
def test_arrays_that_fit_no_streams_are_refused(changed, pool_file):
    rewrite_as_version_1(pool_file)
    arrays, about = contents(pool_file)
    write_version_1(pool_file, arrays | changed, about)
    with pytest.raises(StateError, match="not a whole stream file"):
        fixed().streams().load(pool_file)


def test_files_of_evicted_streams_that_were_swapped_are_refused(tmp_path):
    pool = fixed().streams(folder=tmp_path)
    pool.feed({"ada": steps(1)[0], "bob": steps(1, seed=2)[0]})
    pool.evict(["ada", "bob"])
    one, other = sorted(tmp_path.iterdir())
    content = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(content)
    for name in ("ada", "bob"):
        with pytest.raises(StateError, match="belongs to another stream"):
            pool.feed({name: steps(1)[0]})


def test_long_names_of_many_streams_fit_into_a_file(tmp_path):
    pool = fixed().streams()
    long = "x" * 110_000_000  # more than the metadata of a safetensors file may have
    pool.feed({long: steps(1)[0]})
    pool.save(tmp_path / "pool.state")
    assert list(fixed().streams().load(tmp_path / "pool.state")) == [long]
