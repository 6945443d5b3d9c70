"""Stores: any object with the methods of the protocol keeps the streams of a pool."""

import numpy as np
import pytest
from cells import FEATURES, assert_same_states, set_weights, spread

import legato
from legato import layers
from legato._streams.folder_store import FolderStore
from legato._streams.log_store import LogStore
from legato._streams.model_methods import compiled_steps_of
from legato._streams.store import StreamRecords, StreamStore
from legato._streams.streams import Streams


class DictStore:
    """A third store: a dictionary of rows and steps."""

    def __init__(self, width: int):
        self.kept = {}
        self.closed = False
        self._blank = np.empty((0, width), "float32")

    def load(self, names=None, limit=None) -> StreamRecords:
        """See ``StreamStore``."""
        found = [name for name in (self.kept if names is None else names) if name in self.kept]
        rows = np.concatenate([self._blank, *(self.kept[name][0][None] for name in found)])
        return StreamRecords(found, rows, np.array([self.kept[name][1] for name in found], int))

    def put(self, records: StreamRecords) -> None:
        """See ``StreamStore``."""
        for name, row, steps in zip(records.names, records.rows, records.steps, strict=True):
            self.kept[name] = (row.copy(), int(steps))

    def drop(self, names) -> int:
        """See ``StreamStore``."""
        return sum(self.kept.pop(name, None) is not None for name in names)

    def commit(self, force=False) -> None:
        """See ``StreamStore``."""

    def close(self) -> None:
        """See ``StreamStore``."""
        self.closed = True


@pytest.fixture(scope="module")
def steps():
    model = legato.Sequential(
        [layers.Input((None, FEATURES)), layers.LSTM(4), layers.Dense(2, activation="softmax")]
    )
    set_weights(model, 3)
    return compiled_steps_of(model, "auto", None)


def assert_same(pool, other):
    assert set(pool) == set(other)
    for name in pool:
        assert pool.steps(name) == other.steps(name)
        assert_same_states(pool.state(name), other.state(name))


def test_a_pool_continues_from_another_store(steps, rng):
    store, never = DictStore(len(steps.files.blank)), Streams(steps)
    with Streams(steps, open_store=lambda snapshot: store) as pool:
        for each in (pool, never):
            each.feed({"ada": np.full(FEATURES, 0.1), 7: np.full((3, FEATURES), 0.2)})
            each.feed({"bob": np.full(FEATURES, 0.3)})
            each.fork("ada", "eve")
            each.reset("bob")
            each.drop("ada")
        assert list(store.kept) == list(pool)
    assert store.closed
    again = Streams(steps, open_store=lambda snapshot: store)
    assert_same(again, never)
    x = {7: spread(rng, FEATURES)}
    np.testing.assert_array_equal(again.feed(x)[7], never.feed(x)[7])


def test_a_store_that_has_more_than_the_limit_is_closed(steps):
    store = DictStore(len(steps.files.blank))
    Streams(steps, open_store=lambda snapshot: store).feed({n: np.ones(FEATURES) for n in range(3)})
    with pytest.raises(legato.InputError, match="3 streams would be more than the limit of 2"):
        Streams(steps, 2, open_store=lambda snapshot: store)
    assert store.closed
    assert len(store.kept) == 3


def test_if_a_store_cannot_be_written_no_stream_changes(steps):
    store = DictStore(len(steps.files.blank))
    pool = Streams(steps, open_store=lambda snapshot: store)
    pool.feed({"ada": np.ones(FEATURES)})
    before = pool.state("ada")

    def full(records):
        raise legato.OutputError("the disk is full")

    store.put = full
    for x in ({"ada": np.ones(FEATURES)}, {"bob": np.ones(FEATURES)}):
        with pytest.raises(legato.OutputError, match="full"):
            pool.feed(x)
    assert (list(pool), pool.steps("ada"), pool.state("ada")) == (["ada"], 1, before)


def test_streams_are_evicted_to_another_store(steps, rng):
    store, never = DictStore(len(steps.files.blank)), Streams(steps)
    pool = Streams(steps, evicted=store)
    for each in (pool, never):
        each.feed({name: np.full(FEATURES, name / 9) for name in range(4)})
    pool.evict([1, 2, 3])
    assert (list(pool), list(store.kept)) == ([0], [1, 2, 3])
    pool.restore(3)
    x = {name: spread(rng, FEATURES) for name in (0, 1)}
    answers, expected = pool.feed(x), never.feed(x)
    for name in x:
        np.testing.assert_array_equal(answers[name], expected[name])
    pool.drop(2)
    never.drop(2)
    assert store.kept == {}
    assert_same(pool, never)
    with pytest.raises(legato.StateError, match="no stream file of 2 in"):
        pool.restore(2)


def made_stores(steps, folder, records) -> list[StreamStore]:
    return [
        FolderStore(folder / "folder", steps.files),
        LogStore(folder / "users.state", steps.files, lambda: records),
        DictStore(len(steps.files.blank)),
    ]


def test_every_store_loads_what_was_put(steps, tmp_path, rng):
    rows = np.repeat(steps.files.blank[None], 3, axis=0) + spread(rng, 3, 1)
    records = StreamRecords(["ada", 7, "a/../b"], rows, np.array([1, 0, 5]))
    for store in made_stores(steps, tmp_path, records):
        assert store.load().names == []
        store.put(records)
        store.close()
    for store in made_stores(steps, tmp_path, records)[:2]:
        found = store.load()
        order = [found.names.index(name) for name in records.names]
        np.testing.assert_array_equal(found.rows[order], records.rows)
        np.testing.assert_array_equal(found.steps[order], records.steps)
        assert store.drop([7]) == 1
        store.close()
    stores = made_stores(steps, tmp_path, records)
    assert stores[0].load([7, "ada"]).names == ["ada"]
    assert stores[0].drop([7]) == 0
    assert stores[1].load(["ada", "nobody"]).names == ["ada"]
    stores[1].close()
