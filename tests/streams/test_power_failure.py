"""What a loss of power may take of streams in files, at every level of ``sync``.

Pools are fed, evicted, closed and reopened while a recorder notes every operation on their files;
every state of the disk that a loss of power could leave (``power_failure``) is then opened.
"""

import errno
import os
import re
import shutil
import threading
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from cells import FEATURES, set_weights
from power_failure import recorded, write_disk

import legato
from legato import layers
from legato._platform.array_files import write_arrays
from legato._platform.atomic_files import write_whole
from legato._streams import log_store
from legato._streams.folder_store import FolderStore
from legato._streams.log_store import SYNC, LogStore
from legato._streams.model_methods import compiled_steps_of
from legato._streams.store import StreamRecords
from legato._streams.streams import Streams


@pytest.fixture(scope="module")
def steps():
    model = legato.Sequential([layers.Input((None, FEATURES)), layers.GRU(2)])
    set_weights(model, 3)
    return compiled_steps_of(model, "auto", None)


def feed(names: str, number: int):
    return lambda pool: pool.feed(
        {name: np.full(FEATURES, (number + at) / 9) for at, name in enumerate(names)}
    )


ROUNDS = [  # changes, and whether the oracle, which has no files, goes through them too
    [
        (feed("ab", 1), True),
        (feed("bc", 2), True),
        (lambda pool: pool.evict(["b", "c"]), False),
        (feed("a", 3), True),
    ],
    [
        (feed("ab", 4), True),
        (lambda pool: pool.restore("c"), False),
        (feed("ad", 5), True),
        (lambda pool: pool.drop("a"), True),
        (lambda pool: pool.evict("d"), False),
        (lambda pool: pool.drop("d"), True),
        (lambda pool: pool.reset("b"), True),
        (feed("bc", 6), True),
        (feed("abc", 7), True),
    ],
]
State = dict[object, tuple[int, bytes]]


def streams_of(records: StreamRecords) -> State:
    rows = [row.tobytes() for row in records.rows]
    return dict(zip(records.names, zip(records.steps.tolist(), rows, strict=True), strict=True))


def record_pools(steps, folder: Path, monkeypatch, sync: str, is_forced: bool = True):
    """Record the pools of all rounds; returns the recorder, and all streams after each change."""
    monkeypatch.setattr(log_store, "MIN_LOG_BYTES", 300)  # so that the file is written anew
    monkeypatch.setattr(log_store, "LOG_TO_SNAPSHOT", 0)
    never = Streams(steps)
    expected = [streams_of(never._table.records())]
    (folder / "evicted").mkdir(parents=True)
    with recorded(folder, monkeypatch, is_forced) as recorder:
        for changes in ROUNDS:
            open_store = partial(LogStore, folder / "users.state", steps.files, sync=sync)
            evicted = FolderStore(folder / "evicted", steps.files)
            with Streams(steps, open_store=open_store, evicted=evicted) as pool:
                for change, counts in changes:
                    change(pool)
                    recorder.note("answered")
                    if counts:
                        change(never)
                    expected.append(streams_of(never._table.records()))
            recorder.note("closed")
    return recorder, expected


def open_all(steps, folder: Path) -> State:
    """All streams in a folder, in the pool's file and evicted; damaged logs are cut off."""
    found = streams_of(FolderStore(folder / "evicted", steps.files).load())
    store = LogStore(folder / "users.state", steps.files, lambda: records)
    records = store.load()
    store.close()
    return found | streams_of(records)


def cut_off(folder: Path, error: Exception) -> None:
    """Do what the error advises."""
    size = re.search(r"truncate -s (\d+) ", str(error))
    assert size is not None, error
    os.truncate(folder / "users.state.log", int(size[1]))


def is_kept(found: State, expected: list[State]) -> bool:
    """Whether each stream is as it was at one of some moments."""
    names = {name for each in [found, *expected] for name in each}
    return all(found.get(name) in [each.get(name) for each in expected] for name in names)


def losses(steps, recorder, expected: list[State], sync: str, copy: Path) -> tuple[int, int, int]:
    """How many disks were opened, refused until their logs were cut off, and had lost streams."""
    opened = refused = lost = 0
    for notes, disk in recorder.surviving():
        write_disk(disk, copy)
        opened += 1
        answered = notes.count("answered")
        closed = 0
        if "closed" in notes:
            last = max(at for at, note in enumerate(notes) if note == "closed")
            closed = notes[:last].count("answered")
        least = answered if sync == "feed" else closed
        try:
            found = open_all(steps, copy)
        except legato.StateError as error:
            refused += 1
            cut_off(copy, error)
            found = open_all(steps, copy)
        lost += not is_kept(found, expected[least : answered + 2])
    return opened, refused, lost


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("sync", SYNC)
def test_a_loss_of_power_takes_no_more_than_the_level_allows(steps, sync, tmp_path, monkeypatch):
    recorder, expected = record_pools(steps, tmp_path / "pool", monkeypatch, sync)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)  # quicker
    opened, refused, lost = losses(steps, recorder, expected, sync, tmp_path / "copy")
    assert opened > 200
    assert lost == 0
    if sync == "feed":
        assert refused == 0


def test_without_forcing_a_loss_of_power_takes_streams(steps, tmp_path, monkeypatch):
    recorder, expected = record_pools(steps, tmp_path / "pool", monkeypatch, "feed", False)
    monkeypatch.setattr(os, "fsync", lambda descriptor: None)
    with pytest.raises((legato.StateError, AssertionError)):
        assert losses(steps, recorder, expected, "feed", tmp_path / "copy")[1:] == (0, 0)


@pytest.mark.parametrize("is_forced", [True, False])
def test_a_file_that_is_replaced_is_whole_at_every_moment(is_forced, tmp_path, monkeypatch):
    folder = tmp_path / "files"
    folder.mkdir()
    old, new = b"old" * 99, b"new" * 999
    (folder / "a.keras").write_bytes(old)
    with recorded(folder, monkeypatch, is_forced) as recorder:
        write_whole(folder / "a.keras", lambda path: path.write_bytes(new))
    contents = [(notes[-1], disk.get("a.keras")) for notes, disk in recorder.surviving()]
    if is_forced:
        assert {content for _, content in contents} == {old, new}
        assert {content for note, content in contents if note == "end"} == {new}
    else:
        assert {content for _, content in contents} > {old, new}


def test_arrays_states_and_backups_are_forced_too(tmp_path, monkeypatch):
    folder = tmp_path / "files"
    folder.mkdir()
    with recorded(folder, monkeypatch) as recorder:
        write_arrays(folder / "a.state", "legato.test", {"a": np.ones(9)})
    (last,) = [disk for notes, disk in recorder.surviving() if notes[-1] == "end"]
    assert last == {"a.state": (folder / "a.state").read_bytes()}


def failing_fsync(number: int):
    def fsync(descriptor):
        raise OSError(number, os.strerror(number))

    return fsync


def test_a_disk_that_fails_is_reported_and_the_file_written_anew(steps, tmp_path, monkeypatch):
    file = tmp_path / "users.state"
    pool = Streams(steps, open_store=partial(LogStore, file, steps.files, sync="feed"))
    feed("ab", 1)(pool)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", failing_fsync(errno.EIO))
        with pytest.raises(legato.OutputError, match="cannot be forced onto the disk"):
            feed("ab", 2)(pool)
        with pytest.raises(legato.OutputError):  # what it had dropped is not taken for kept
            feed("ab", 3)(pool)
    before = file.read_bytes()
    feed("ab", 4)(pool)
    assert file.read_bytes() != before
    pool.close()
    again = Streams(steps, open_store=partial(LogStore, file, steps.files))
    assert streams_of(again._table.records()) == streams_of(pool._table.records())
    again.close()


def test_a_file_is_forced_once_for_all_threads_that_wait(steps, tmp_path, monkeypatch):
    record = StreamRecords(["ada"], steps.files.blank[None], np.array([1]))
    store = LogStore(tmp_path / "users.state", steps.files, lambda: record, sync="feed")
    store.load()
    store.put(record)
    calls, fsync, lock = [], os.fsync, threading.Lock()
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append(1), fsync(descriptor)))

    def put_and_wait():
        with lock:
            store.put(record)
        written.release()
        store.commit()

    written = threading.Semaphore(0)
    threads = [threading.Thread(target=put_and_wait) for _ in range(8)]
    with store._log._sync_lock:
        for thread in threads:
            thread.start()
        for _ in threads:
            written.acquire()
    for thread in threads:
        thread.join()
    assert len(calls) == 1
    store.close()


@pytest.mark.parametrize("sync", ["off", "close"])
def test_feeds_are_not_forced_at_other_levels(steps, sync, tmp_path, monkeypatch):
    file = tmp_path / "users.state"
    with Streams(steps, open_store=partial(LogStore, file, steps.files, sync=sync)) as pool:
        feed("ab", 1)(pool)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", failing_fsync(errno.EIO))
            feed("ab", 2)(pool)
            pool.reset("a")


def test_an_unknown_level_is_refused(steps, tmp_path):
    with pytest.raises(legato.InputError, match=r"sync is 'always'; one of 'off', 'close', 'feed'"):
        LogStore(tmp_path / "users.state", steps.files, lambda: None, sync="always")
    assert list(tmp_path.iterdir()) == []


def test_a_log_that_ends_in_zeros_was_cut_short(steps, tmp_path):
    file = tmp_path / "users.state"
    pool = Streams(steps, open_store=partial(LogStore, file, steps.files))
    feed("ab", 1)(pool)
    copies = [tmp_path / name for name in ("one", "other")]
    for copy, tail in zip(copies, (bytes(99), bytes(99) + b"x"), strict=True):
        copy.mkdir()
        shutil.copy(file, copy)
        (copy / "users.state.log").write_bytes(Path(f"{file}.log").read_bytes() + tail)
    again = Streams(steps, open_store=partial(LogStore, copies[0] / file.name, steps.files))
    assert streams_of(again._table.records()) == streams_of(pool._table.records())
    with pytest.raises(legato.StateError, match="was altered"):
        Streams(steps, open_store=partial(LogStore, copies[1] / file.name, steps.files))
    again.close()
    pool.close()
