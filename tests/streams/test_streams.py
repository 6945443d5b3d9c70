"""Pools of streams by name: any subset is fed, forked, evicted, restored, within a limit."""

from decimal import Decimal
from functools import partial

import numpy as np
import pytest
from full_disk import file_size_limit

import legato
from legato import InputError, OutputError, StateError, layers

FEATURES = 2


@pytest.fixture(scope="module")
def model():
    made = legato.Sequential(
        [layers.Input((None, FEATURES)), layers.LSTM(4), layers.Dense(3, "softmax")]
    )
    rng = np.random.default_rng(1)
    made.set_weights([rng.normal(size=w.shape) for w in made.get_weights()])
    return made


def step(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, FEATURES).astype("float32")


def assert_close(one, other):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 1000, 1024, 1025, 2100])
def test_any_number_of_streams(model, count):
    pool = model.streams()
    for seed in range(2):
        xs = {name: step(name + seed) for name in range(count)}
        answers = pool.feed(xs)
    for name in (0, count // 2, count - 1):
        stream = model.stream()
        stream.feed(step(name))
        assert_close(answers[name], stream.feed(step(name + 1)))
    assert [len(pool), pool.steps(count - 1)] == [count, 2]


def test_mixed_numbers_of_steps_in_more_than_one_batch(model):
    pool = model.streams()
    xs = {
        name: step(name) if name % 3 == 0 else np.stack([step(name)] * (name % 3 + name // 1000))
        for name in range(1500)
    }
    answers = pool.feed(xs)
    for name in (0, 1, 2, 1023, 1024, 1025, 1499):
        assert_close(answers[name], model.stream().feed(xs[name]))
        assert pool.steps(name) == (1 if xs[name].ndim == 1 else len(xs[name]))


def test_one_long_history_does_not_pad_the_others(model, monkeypatch):
    shapes = []
    compiled = model.streams()._compiled
    advance = type(compiled).advance

    def recording(self, rows, xs, counts, *others):
        shapes.append(xs[0].shape)
        return advance(self, rows, xs, counts, *others)

    monkeypatch.setattr(type(compiled), "advance", recording)
    pool = model.streams()
    history = np.stack([step(at) for at in range(3000)])
    answers = pool.feed({"ada": history, **{name: [step(name)] for name in range(100)}})
    assert sum(rows * steps for rows, steps, _ in shapes) < 2 * (3000 + 100)
    assert_close(answers["ada"][-1], model.stream().feed(history, every=False))
    assert_close(answers[7], model.stream().feed([step(7)]))


def test_slots_are_reused_and_other_streams_keep_theirs(model):
    pool, alone = model.streams(), {}
    rng = np.random.default_rng(0)
    for _ in range(60):
        chosen = rng.choice(30, rng.integers(1, 9), replace=False).tolist()
        xs = {name: rng.normal(size=FEATURES) for name in chosen}
        answers = pool.feed(xs)
        for name, x in xs.items():
            assert_close(answers[name], alone.setdefault(name, model.stream()).feed(x))
        for name in rng.choice(list(alone), min(3, len(alone)), replace=False).tolist():
            pool.drop(name)
            del alone[name]
    assert sorted(pool) == sorted(alone)
    for name, stream in alone.items():
        assert pool.state(name).allclose(stream.state)
        assert pool.steps(name) == stream.steps
    assert pool.nbytes <= 32 * pool.bytes_each  # thirty names, never more rows than the next size


def test_an_empty_mapping_feeds_nothing(model):
    pool = model.streams()
    assert pool.feed({}) == {}
    assert pool.feed({"ada": np.zeros((0, FEATURES))})["ada"].shape == (0, 3)
    assert pool.steps("ada") == 0


def test_names_are_strings_or_integers(model):
    pool = model.streams()
    hostile = ["", "../../etc/passwd", "a/b\\c", "nul\0", "é\ud800", "x" * 5000, "*", -3, 2**70]
    pool.feed({name: step() for name in hostile})
    assert list(pool) == hostile
    pool.feed({np.int64(7): step()})
    assert 7 in pool
    for name in (None, 1.5, ("a", 1), True, b"x"):
        with pytest.raises(InputError, match="a text or a whole number was expected"):
            pool.feed({name: step()})
    assert len(pool) == len(hostile) + 1


@pytest.mark.parametrize("name", [True, 1.0, 1 + 0j, np.float64(1), np.True_])
def test_what_is_equal_to_a_name_and_is_none_names_no_stream(model, name):
    """Python finds it as 1, and a log would have it as ``true`` or ``1.0``."""
    pool = model.streams()
    pool.feed({1: step()})
    for use in (
        lambda: pool.feed({name: step()}),
        lambda: pool.feed({"ada": step(), name: step()}),
        lambda: pool.peek({name: step()}),
        lambda: pool.fork(1, name),
        lambda: pool.put(name, model.stream()),
        *(partial(use, name) for use in (pool.reset, pool.drop, pool.evict, pool.steps)),
    ):
        with pytest.raises(InputError, match=r"cannot be named .*a text or a whole number"):
            use()
    assert (list(pool), pool.steps(1), name in pool) == ([1], 1, False)


def test_inputs_that_a_stream_refuses_are_refused_by_a_pool(model):
    pool = model.streams()
    for x in (
        ["1.5", "2"],
        np.array([b"1.5", b"2"]),
        np.array([1 + 2j, 1]),
        np.array([1, 2], "datetime64[s]"),
        np.array([1, 2], "timedelta64[s]"),
        [Decimal("1.5"), 2],
        np.array([1.5, 2], object),
    ):
        for feed in (model.stream().feed, lambda x: pool.feed({"ada": x, "bob": step()})):
            with pytest.raises(InputError, match=r"x holds .*numbers or booleans were expected"):
                feed(x)
    assert not len(pool)


@pytest.mark.parametrize("x", [[step()], step(), None, {1: 2}.items()])
def test_only_mappings_are_fed(model, x):
    with pytest.raises(InputError, match="A mapping of names to steps was expected"):
        model.streams().feed(x)


def test_an_invalid_step_names_its_stream_and_changes_none(model):
    pool = model.streams()
    pool.feed({"ada": step(), "bob": step()})
    before = pool.state("ada")
    with pytest.raises(InputError, match=r"Stream 'bob': x has shape \(3,\)"):
        pool.feed({"ada": step(1), "bob": [1, 2, 3], "eve": step()})
    with pytest.raises(InputError, match=r"Stream 'eve': x\[0\] .* is nan"):
        pool.feed({"ada": step(1), "eve": [np.nan, 1]})
    assert (pool.state("ada"), pool.steps("ada"), list(pool)) == (before, 1, ["ada", "bob"])


def test_the_error_at_the_limit_says_what_to_do(model):
    pool = model.streams(limit=3)
    pool.feed({"a": step(), "b": step()})
    with pytest.raises(
        InputError, match=r"4 streams would be more than the limit of 3 \(52 bytes each\): evict"
    ):
        pool.feed({"b": step(), "c": step(), "d": step()})
    assert (list(pool), pool.steps("b")) == (["a", "b"], 1)
    with pytest.raises(InputError, match="limit of 3"):
        pool.peek({"c": step(), "d": step()})
    pool.feed({"c": step()})
    with pytest.raises(InputError, match="limit of 3"):
        pool.fork("a", "z")
    pool.drop("a")
    pool.fork("b", "z")
    for limit in (0, -1, 1.5, True, "many"):
        with pytest.raises(InputError, match="a number of streams of at least 1"):
            model.streams(limit=limit)


def test_bytes_of_a_stream_are_its_state_and_sixteen(model):
    pool = model.streams()
    assert pool.bytes_each == model.stream().state.nbytes + 4 + 16  # and one flag
    pool.feed({name: step() for name in range(1000)})
    assert pool.nbytes < 2 * 1000 * pool.bytes_each
    assert f"{pool.bytes_each:,} bytes each" in repr(pool)


def test_idle_streams_are_those_fed_longest_ago(model):
    pool = model.streams()
    pool.feed({name: step() for name in "abcd"})
    pool.feed({"a": step(), "c": step()})
    pool.feed({"b": step()})
    assert pool.idle(2) == ["d", "a"]
    assert pool.idle(9) == ["d", "a", "c", "b"]


def test_fork_reset_drop_take_and_put(model):
    pool = model.streams()
    pool.feed({"ada": [step(0), step(1)]})
    pool.fork("ada", "eve")
    stream = model.stream().warm([step(0), step(1)])
    answers = pool.feed({"ada": step(2), "eve": step(3)})
    one, other = stream.fork(2)
    assert_close(answers["ada"], one.feed(step(2)))
    assert_close(answers["eve"], other.feed(step(3)))
    taken = pool.stream("eve")
    assert (taken.steps, taken.state) == (3, pool.state("eve"))
    taken.warm([step(4)])
    assert pool.steps("eve") == 3
    pool.put("new", taken)
    assert (pool.steps("new"), pool.state("new")) == (4, taken.state)
    pool.reset("ada")
    assert pool.steps("ada") == 0
    assert_close(pool.feed({"ada": step(0)})["ada"], model.stream().feed(step(0)))
    pool.drop("new")
    for use in (pool.steps, pool.state, pool.reset, pool.drop, pool.stream, pool.evict):
        with pytest.raises(InputError, match="no stream 'new' among the 2 in memory"):
            use("new")
    with pytest.raises(InputError, match="no stream 'new'"):
        pool.fork("new", "x")


def test_a_stream_with_another_window_cannot_be_put(model):
    with pytest.raises(StateError, match="layers window, and the stream carries layers lstm"):
        model.streams().put("a", model.stream(window=2))


# On disk.


def test_one_name_of_numpy_and_a_name_that_comes_twice_are_evicted(model, tmp_path):
    pool = model.streams(folder=tmp_path)
    pool.feed({7: step(), "ada": step(), "bob": step()})
    pool.evict(np.int64(7))
    pool.evict(["ada", "bob", "ada"])
    assert not len(pool)
    pool.feed({7: step(), "ada": step()})
    assert (pool.steps(7), pool.steps("ada")) == (2, 2)


def test_what_cannot_be_evicted_whole_leaves_no_file_that_grows_old(model, tmp_path):
    folder, file = tmp_path / "states", tmp_path / "pool.state"
    with model.streams(folder=folder, file=file) as pool:
        pool.feed({"ada": step(), "x" * 5000: step()})
        before = {name: pool.state(name) for name in pool}
        with file_size_limit(4000), pytest.raises(OutputError, match="cannot be written"):
            pool.evict(list(pool))  # the second file is longer
        assert {name: pool.state(name) for name in pool} == before
        assert list(folder.iterdir()) == []
        log = tmp_path / "pool.state.log"
        log.rename(tmp_path / "away")
        with pytest.raises(OutputError, match="was removed, replaced"):
            pool.evict("ada")
        (tmp_path / "away").rename(log)
        assert {name: pool.state(name) for name in pool} == before
        assert list(folder.iterdir()) == []


def test_a_file_that_a_killed_process_left_is_not_restored_over_the_stream(model, tmp_path):
    pool = model.streams(folder=tmp_path)
    pool.feed({"ada": step()})
    pool.evict("ada")
    (left,) = tmp_path.iterdir()
    content = left.read_bytes()
    pool.feed({"ada": step()})
    left.write_bytes(content)  # as if the process was killed before it removed the file
    with pytest.raises(InputError, match="Stream 'ada' is in memory already"):
        pool.restore("ada")
    assert pool.steps("ada") == 2
    pool.evict("ada")
    pool.restore("ada")
    assert pool.steps("ada") == 2


def test_evicted_streams_are_found_from_another_working_folder(model, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pool = model.streams(folder="evicted")
    pool.feed({"ada": step()})
    pool.evict("ada")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    pool.feed({"ada": step()})
    assert pool.steps("ada") == 2


def test_a_folder_of_evicted_streams_that_was_moved_is_noticed(model, tmp_path):
    pool = model.streams(folder=tmp_path / "states")
    pool.feed({"ada": step(), "bob": step()})
    pool.evict("ada")
    (tmp_path / "states").rename(tmp_path / "moved")
    for use in (pool.feed, pool.peek):
        with pytest.raises(StateError, match=r"states of evicted streams is gone\. Put it back"):
            use({"ada": step()})
    pool.feed({"bob": step()})
    (tmp_path / "moved").rename(tmp_path / "states")
    pool.feed({"ada": step()})
    assert (pool.steps("ada"), pool.steps("bob")) == (2, 2)


def test_evicted_streams_are_restored_when_fed(model, tmp_path):
    pool = model.streams(folder=tmp_path / "states")
    names = ["ada", "../up", "a/b", 7, "7", "x" * 3000]
    pool.feed({name: [step(at), step(at + 1)] for at, name in enumerate(names)})
    states = {name: pool.state(name) for name in names}
    pool.evict(names)
    assert len(pool) == 0
    assert len(list((tmp_path / "states").iterdir())) == len(names)
    assert list(tmp_path.iterdir()) == [tmp_path / "states"]
    pool.restore(7)
    assert pool.state(7) == states[7]
    answers = pool.feed({name: step(9) for name in names})
    for at, name in enumerate(names):
        expected = model.stream().warm([step(at), step(at + 1)]).feed(step(9))
        assert_close(answers[name], expected)
        assert pool.steps(name) == 3
    assert list((tmp_path / "states").iterdir()) == []


def test_evicted_streams_outlive_the_pool_and_can_be_dropped(model, tmp_path):
    pool = model.streams(folder=tmp_path)
    pool.feed({"ada": step(), "bob": step()})
    before = pool.state("ada")
    pool.evict(["ada", "bob"])
    later = model.streams(folder=tmp_path)
    later.drop("bob")
    later.peek({"ada": step()})
    assert later.state("ada") == before
    assert list(tmp_path.iterdir()) == []


def test_at_the_limit_idle_streams_are_evicted(model, tmp_path):
    pool = model.streams(limit=4, folder=tmp_path)
    for name in range(12):
        if len(pool) == pool.limit:
            pool.evict(pool.idle(2))
        pool.feed({name: step(name)})
    assert len(pool) <= 4
    pool.evict(list(pool))
    for name in range(0, 12, 4):
        pool.feed({name: step() for name in range(name, name + 4)})
        assert [pool.steps(each) for each in range(name, name + 4)] == [2] * 4
        pool.evict(list(pool))


def test_without_a_folder_evict_and_restore_are_errors(model):
    pool = model.streams()
    pool.feed({"ada": step()})
    for use in (pool.evict, pool.restore):
        with pytest.raises(InputError, match=r"no folder.*model\.streams\(folder=\.\.\.\)"):
            use("ada")
    assert "ada" in pool


def test_failed_writes_and_reads_leave_the_streams(model, tmp_path):
    pool = model.streams(folder=tmp_path / "states")
    pool.feed({"ada": step(), "bob": step()})
    (tmp_path / "states").rmdir()
    with pytest.raises(OutputError, match="cannot be written"):
        pool.evict("ada")
    assert "ada" in pool
    (tmp_path / "states").mkdir()
    pool.evict("ada")
    (file,) = (tmp_path / "states").iterdir()
    file.write_bytes(file.read_bytes()[:-3])
    before = pool.state("bob")
    with pytest.raises(StateError, match="not a whole stream file"):
        pool.feed({"bob": step(), "ada": step()})
    assert (pool.state("bob"), file.exists(), "ada" in pool) == (before, True, False)
    with pytest.raises(StateError, match="no stream file"):
        pool.restore("nobody")
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="cannot be made"):
        model.streams(folder=tmp_path / "file" / "below")


def test_a_pool_saved_and_loaded_is_the_same_to_the_bit(model, tmp_path):
    pool = model.streams()
    names = ["ada", 3, "é\ud800", ""]
    pool.feed({name: [step(at)] * (at + 1) for at, name in enumerate(names)})
    pool.drop(3)
    pool.save(tmp_path / "pool.state")
    loaded = model.streams()
    loaded.feed({"ada": step(5), "zoe": step(5)})
    zoe = loaded.state("zoe")
    loaded.load(tmp_path / "pool.state")
    assert sorted(loaded) == ["", "ada", "zoe", "é\ud800"]
    assert loaded.state("zoe") == zoe
    for name in pool:
        assert (loaded.state(name), loaded.steps(name)) == (pool.state(name), pool.steps(name))
    xs = {name: step(8) for name in pool}
    mine, its = pool.feed(xs), loaded.feed(xs)
    for name in xs:
        np.testing.assert_array_equal(mine[name], its[name])
    with pytest.raises(InputError, match="limit of 2"):
        model.streams(limit=2).load(tmp_path / "pool.state")


def test_an_empty_pool_is_saved_and_loaded(model, tmp_path):
    model.streams().save(tmp_path / "pool.state")
    assert len(model.streams().load(tmp_path / "pool.state")) == 0


def test_a_single_stream_is_loaded_into_a_pool(model, tmp_path):
    stream = model.stream().warm([step(0), step(1)])
    stream.save(tmp_path / "a.state")
    pool = model.streams().load(tmp_path / "a.state")
    assert list(pool) == [""]
    assert pool.state("") == stream.state
