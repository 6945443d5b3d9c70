"""Pools kept in a file continue like a pool that never stopped, to the bit, whatever ends them.

The oracle is a pool in memory to which the same happens. A kill is simulated by opening a copy of
the files at that moment, and done for real to a process.
"""

import hashlib
import itertools
import os
import shutil
import signal
import time
from pathlib import Path

import numpy as np
import pytest
from cells import FEATURES, set_weights, spread
from damage import assert_flips_refused, rewrite_as_version_1
from forked import all_received, forked
from full_disk import file_size_limit
from kept_pools import (
    apply_event,
    assert_same,
    copy_as_killed,
    log_of,
    made,
    pool_in_memory,
    refusal_of,
)

import legato
from legato._streams import log_store
from legato._streams.log_file import LogFile
from legato._streams.stream_files import Fingerprint, StreamFile


@pytest.fixture(scope="module")
def model():
    return made()


@pytest.fixture
def file(tmp_path) -> Path:
    return tmp_path / "users.state"


# Reopened pools.


def test_a_pool_reopened_many_times_continues_to_the_bit(model, file):
    never, pool = model.streams(), model.streams(file=file)
    for number in range(120):
        assert apply_event(pool, number) == apply_event(never, number)
        if number % 5 == 0:
            with model.streams(file=copy_as_killed(file, str(number))) as other:
                assert_same(other, never)
        if number % 17 == 0:
            pool.close()
            pool = model.streams(file=file)
            assert list(pool) == list(never)
            assert_same(pool, never)
    pool.close()


def test_a_closed_pool_is_one_file_equal_to_a_saved_one(model, file, tmp_path):
    with model.streams(file=file) as pool:
        for number in range(20):
            apply_event(pool, number)
        pool.save(tmp_path / "saved.state")
    assert sorted(tmp_path.iterdir()) == [tmp_path / "saved.state", file]
    assert_same(model.streams().load(file), model.streams().load(tmp_path / "saved.state"))
    with model.streams(file=tmp_path / "saved.state") as pool:
        assert_same(pool, pool_in_memory(model, range(20)))


def test_a_single_stream_continues_outside_its_pool(model, file, rng):
    stream = model.stream().warm(spread(rng, 5, FEATURES))
    stream.save(file)
    with model.streams(file=file) as pool:
        assert list(pool) == [""]
        assert pool.steps("") == 5
        pool.feed({"": spread(rng, FEATURES)})
        with model.streams(file=copy_as_killed(file, "copy")) as other:
            assert_same(other, pool)
    assert model.stream().load(file).steps == 6


def test_operations_on_whole_pools_are_kept_too(model, file, tmp_path, rng):
    folder = tmp_path / "evicted"
    pool_in_memory(model, range(9)).save(tmp_path / "more.state")
    with model.streams(file=file, folder=folder) as pool:
        pool.load(tmp_path / "more.state")
        assert_same(pool, pool_in_memory(model, range(9)))
        with model.streams(file=copy_as_killed(file, "loaded")) as other:
            assert_same(other, pool)
        gone, *others = list(pool)
        steps = pool.steps(gone)
        pool.evict(gone)
        with model.streams(file=copy_as_killed(file, "without"), folder=folder) as other:
            assert list(other) == others
        pool.feed({gone: spread(rng, FEATURES)})
        assert pool.steps(gone) == steps + 1
        with model.streams(file=copy_as_killed(file, "back"), folder=folder) as other:
            assert_same(other, pool)


def test_a_dropped_stream_does_not_come_back_from_the_folder(model, tmp_path, rng):
    pool = model.streams(folder=tmp_path)
    x = spread(rng, FEATURES)
    pool.feed({"ada": x})
    pool.evict("ada")
    pool.put("ada", model.stream().warm(spread(rng, 3, FEATURES)))
    pool.drop("ada")
    pool.feed({"ada": x})
    assert pool.steps("ada") == 1


def test_numbers_of_numpy_are_names(model, file, rng):
    with model.streams(file=file) as pool:
        for _ in range(2):
            pool.feed({np.int64(3): spread(rng, FEATURES)})
        with model.streams(file=copy_as_killed(file, "copy")) as other:
            assert list(other) == [3]
            assert other.steps(3) == 2


# Killed.


def test_a_kill_while_the_file_is_rewritten_loses_nothing(model, file, monkeypatch):
    copies, pool = [], model.streams(file=file)
    write, cut = StreamFile.write, LogFile._truncate

    def copy_before_and_after(act):
        def copying(*words):
            copies.append(copy_as_killed(file, str(len(copies))))
            act(*words)
            copies.append(copy_as_killed(file, str(len(copies))))

        return copying

    for number in range(10):
        apply_event(pool, number)
    never = pool_in_memory(model, range(10))
    for each in (pool, never):  # streams begin again and anew: their order is not that of the log
        again, *_ = each
        each.drop(again)
        each.feed(dict.fromkeys([again, "new"], np.ones(FEATURES)))
    monkeypatch.setattr(StreamFile, "write", copy_before_and_after(write))
    monkeypatch.setattr(LogFile, "_truncate", copy_before_and_after(cut))
    pool.close()
    monkeypatch.undo()
    assert len(copies) > 5
    for copy in copies:
        with model.streams(file=copy) as other:
            assert_same(other, never)


def keep_feeding(path: Path, file: Path, number: int, answers) -> None:
    """Apply operations from a number on, without end, and send a digest of what each gives."""
    log_store.MIN_LOG_BYTES = 3000  # so that the file is often written anew
    pool = legato.load_model(path).streams(file=file)
    for each in itertools.count(number):
        answers.send_bytes(hashlib.sha256(apply_event(pool, each)).digest())


def kill_and_compare(model, file: Path, times: int, rng) -> None:
    """Kill processes that keep feeding one file, and compare the outputs that each gave."""
    path, never, number = file.with_name("model.keras"), model.streams(), 0
    model.save(path)
    for _ in range(times):
        with forked(keep_feeding, path, file, number) as (process, answers):
            digests = [answers.recv_bytes()]
            time.sleep(rng.uniform(0, 0.5))
            process.kill()
            digests += all_received(answers)
        assert process.exitcode == -signal.SIGKILL
        for digest in digests:
            assert digest == hashlib.sha256(apply_event(never, number)).digest()
            number += 1
        with model.streams(file=file) as pool:
            try:
                assert_same(pool, never)
            except AssertionError:  # one more operation, whose output was not sent
                apply_event(never, number)
                assert_same(pool, never)
                number += 1
    assert number > times


def test_a_killed_process_loses_nothing_that_it_answered(model, file, rng):
    kill_and_compare(model, file, 2, rng)


@pytest.mark.slow
def test_many_killed_processes_lose_nothing(model, file, rng):
    kill_and_compare(model, file, 25, rng)


# Merging the log into the file.


def test_a_long_log_is_merged_into_the_file(model, file, monkeypatch):
    monkeypatch.setattr(log_store, "MIN_LOG_BYTES", 5000)
    never, sizes, most = model.streams(), [], 0
    with model.streams(file=file) as pool:
        for number in range(150):
            assert apply_event(pool, number) == apply_event(never, number)
            sizes.append(log_of(file).stat().st_size)
            most = max(most, file.stat().st_size)
        with model.streams(file=copy_as_killed(file, "copy")) as other:
            assert_same(other, never)
    assert sum(np.diff(sizes) < 0) > 3
    assert max(sizes) < max(5000, 4 * most) + 9000  # plus one record


def test_a_pool_continues_if_its_file_cannot_be_rewritten(model, file, monkeypatch):
    monkeypatch.setattr(log_store, "MIN_LOG_BYTES", 500)
    never, pool = model.streams(), model.streams(file=file)

    def full(*_):
        raise legato.OutputError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(StreamFile, "write", full)
        for number in range(60):
            assert apply_event(pool, number) == apply_event(never, number)
        with pytest.raises(legato.OutputError, match="full"):
            pool.close()
    with model.streams(file=file) as pool:
        assert_same(pool, never)


# A full disk.


def test_on_a_full_disk_no_stream_changes(model, file, rng):
    never, pool = model.streams(), model.streams(file=file)
    first, second = ({n: spread(rng, FEATURES) for n in ("ada", "bob")} for _ in range(2))
    for each in (never, pool):
        each.feed(first)
    before = log_of(file).read_bytes()
    stream = pool.stream("bob")
    for more in (0, 1, 30):
        with file_size_limit(len(before) + more):
            for act in (
                lambda: pool.feed(second),
                lambda: pool.feed({"new": second["ada"]}),
                lambda: pool.reset("ada"),
                lambda: pool.drop("ada"),
                lambda: pool.fork("ada", "new"),
                lambda: pool.put("bob", stream.fork()),
            ):
                with pytest.raises(legato.OutputError, match="so this change was not made"):
                    act()
                assert_same(pool, never)
                assert log_of(file).read_bytes() == before
    one, other = pool.feed(second), never.feed(second)
    assert all(np.array_equal(one[name], other[name]) for name in other)
    with model.streams(file=copy_as_killed(file, "copy")) as again:
        assert_same(again, never)
    pool.close()


# Errors.


@pytest.mark.parametrize("closed", [True, False])
def test_other_weights_are_refused_or_taken(model, file, tmp_path, closed):
    with model.streams(file=file) as pool:
        apply_event(pool, 5)
        file = file if closed else copy_as_killed(file, "copy")
    other = made(seed=8)
    message = refusal_of(other, file)
    for each in (model, other):
        assert Fingerprint(each)()[:12] in message
    assert "other_weights=True" in message
    with other.streams(file=file, other_weights=True) as pool:
        assert_same(pool, pool_in_memory(model, [5]))
    other.streams(file=file).close()
    refusal_of(model, file)


def test_another_model_is_refused(model, file):
    with model.streams(file=file) as pool:
        apply_event(pool, 5)
    assert "streams of this model carry" in refusal_of(made(units=5), file)
    assert "streams of this model carry" in refusal_of(made(units=5), file, other_weights=True)


def test_weights_that_change_meanwhile_are_recorded_in_the_file(file):
    model = made()
    before, pool = model.get_weights(), model.streams(file=file)
    never = pool_in_memory(model, [5])
    apply_event(pool, 5)
    set_weights(model, 9)
    assert apply_event(pool, 6) == apply_event(never, 6)
    copy = copy_as_killed(file, "copy")
    pool.close()
    with model.streams(file=copy) as other:
        assert_same(other, never)
    model.set_weights(before)
    assert "was written with other weights" in refusal_of(model, file)


def test_a_file_is_open_in_one_pool_at_a_time(model, file):
    with model.streams(file=file) as pool:
        apply_event(pool, 5)
        message = refusal_of(model, file, legato.OutputError)
        assert (
            "users.state is open in another pool, of this process or another: close it" in message
        )
    model.streams(file=file).close()


def test_a_closed_pool_refuses_further_use(model, file):
    pool = model.streams(file=file)
    apply_event(pool, 5)
    pool.close()
    pool.close()
    content = file.read_bytes()
    name = next(iter(pool))
    for act in (lambda: apply_event(pool, 6), lambda: pool.drop(name), lambda: pool.reset(name)):
        with pytest.raises(legato.InputError, match="is closed: open it again"):
            act()
    assert file.read_bytes() == content
    assert_same(pool, pool_in_memory(model, [5]))


def test_a_pool_without_a_file_continues_after_its_with_block(model):
    with model.streams() as pool:
        apply_event(pool, 5)
    assert apply_event(pool, 6) == apply_event(pool_in_memory(model, [5]), 6)


def test_a_log_and_a_file_that_do_not_belong_together_are_refused(model, file):
    with model.streams(file=file) as pool:
        apply_event(pool, 5)
        copy = copy_as_killed(file, "copy")
        apply_event(pool, 6)
    shutil.copy(file, copy)  # which has more than the log's own
    assert "users.state, and that file is another. The two belong" in refusal_of(model, copy)
    copy.unlink()
    assert "users.state, and that file is missing. The two belong" in refusal_of(model, copy)


# A file without its log.


@pytest.fixture
def killed(model, file) -> Path:
    """The file of a pool that was killed after two operations, its log beside it."""
    with model.streams(file=file) as pool:
        apply_event(pool, 5)
        apply_event(pool, 6)
        return copy_as_killed(file, "killed")


def assert_at_an_old_point(model, file: Path) -> None:
    assert "users.state.log is missing or empty" in refusal_of(model, file)
    for load in (model.streams().load, model.stream().load):
        with pytest.raises(legato.StateError, match="later changes of its streams are in the log"):
            load(file)
    assert list(model.streams().load(file, without_log=True)) == []


def test_a_file_that_was_copied_moved_or_linked_without_its_log_is_refused(model, killed):
    for transfer in (shutil.copy, Path.hardlink_to, shutil.move):
        other = killed.parent / transfer.__name__ / killed.name
        other.parent.mkdir()
        one, two = (other, killed) if transfer is Path.hardlink_to else (killed, other)
        transfer(one, two)
        assert_at_an_old_point(model, other)


def test_a_file_whose_log_was_removed_or_emptied_is_refused(model, killed):
    log_of(killed).write_bytes(b"")
    with pytest.raises(legato.StateError, match=r"users\.state\.log is missing or empty"):
        model.streams(file=killed)
    log_of(killed).unlink(missing_ok=True)
    assert_at_an_old_point(model, killed)


def test_a_file_that_was_copied_with_its_log_continues(model, killed):
    shutil.copytree(killed.parent, killed.parent.with_name("moved"))
    with model.streams(file=killed.parent.with_name("moved") / killed.name) as pool:
        assert_same(pool, pool_in_memory(model, [5, 6]))


def test_the_log_of_a_copy_is_refused(model, file):
    """Two pools that began with copies of one file have logs that follow the same content."""
    with model.streams(file=file) as pool:
        apply_event(pool, 5)
    copies = [copy_as_killed(file, name) for name in ("one", "other", "unused")]
    logs = []
    for number, copy in enumerate(copies[:2]):
        with model.streams(file=copy) as pool:
            apply_event(pool, number + 6)
            logs.append(log_of(copy).read_bytes())
            marked = copy.read_bytes()
        copy.write_bytes(marked)
    for copy, log in zip(copies, [logs[1], logs[0], logs[0]], strict=True):
        log_of(copy).write_bytes(log)
    assert "users.state.log is another" in refusal_of(model, copies[0])
    assert "users.state.log is another" in refusal_of(model, copies[1])
    assert "and that file is another" in refusal_of(model, copies[2])


def test_a_link_is_the_file_that_it_leads_to(model, file, tmp_path):
    link = tmp_path / "folder" / "link.state"
    link.parent.mkdir()
    link.symlink_to(file)
    with model.streams(file=link) as pool:  # the file is made where the link leads to
        apply_event(pool, 5)
        assert log_of(file).exists()
        assert "is open in another pool" in refusal_of(model, file, legato.OutputError)
        killed = copy_as_killed(file, "killed")
    assert link.is_symlink()
    assert list(link.parent.iterdir()) == [link]
    link.unlink()
    link.symlink_to(killed)
    with model.streams(file=link) as pool:
        assert_same(pool, pool_in_memory(model, [5]))


def test_a_hard_link_opened_before_the_first_feed_is_refused_at_the_first(model, file):
    other = file.with_name("other.state")
    model.streams(file=file).close()
    other.hardlink_to(file)
    with model.streams(file=file) as one, model.streams(file=other) as two:
        apply_event(one, 5)
        with pytest.raises(legato.OutputError, match="open in another pool under another name"):
            apply_event(two, 5)
        assert list(two) == []
    with model.streams(file=file) as one:
        assert_same(one, pool_in_memory(model, [5]))


@pytest.mark.parametrize("replaced", [False, True])
def test_a_log_that_is_removed_is_noticed_before_the_next_answer(model, file, rng, replaced):
    pool = model.streams(file=file)
    apply_event(pool, 5)
    log_of(file).unlink()
    if replaced:
        log_of(file).touch()
    name = next(iter(pool))
    for act in (
        lambda: pool.feed({name: spread(rng, FEATURES)}),
        lambda: pool.reset(name),
        lambda: pool.drop(name),
    ):
        with pytest.raises(legato.OutputError, match=r"users\.state\.log was removed, replaced"):
            act()
    assert_same(pool, pool_in_memory(model, [5]))
    if replaced:
        with pytest.raises(legato.OutputError, match=r"is left as it is.*pool\.save\(path\)"):
            pool.close()
    else:
        with pytest.raises(legato.StateError, match="is at an old point"):  # no second pool
            model.streams(file=file)
        pool.close()
        with model.streams(file=file) as again:
            assert_same(again, pool)


def another_file(model, file: Path) -> bytes:
    """The content of a saved pool of one stream."""
    pool = model.streams()
    pool.put("other", model.stream())
    pool.save(file.with_name("saved"))
    return file.with_name("saved").read_bytes()


def append(path: Path, content: bytes) -> None:
    with path.open("ab") as file:
        file.write(content)


CHANGES = {
    "emptied, as by logrotate": lambda file: os.truncate(log_of(file), 0),
    "cut": lambda file: os.truncate(log_of(file), log_of(file).stat().st_size - 5),
    "written to": lambda file: append(log_of(file), b"12:00 all is well"),
    "renamed file": lambda file: file.rename(file.with_name("renamed")),
    "replaced by a copy": lambda file: Path(shutil.copy(file, "a copy")).rename(file),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_or_log_that_is_changed_is_noticed_before_the_next_answer(
    model, file, rng, change, monkeypatch
):
    """A kill after it would leave a log that is refused, or that lacks changes."""
    monkeypatch.chdir(file.parent)
    pool = model.streams(file=file)
    apply_event(pool, 5)
    CHANGES[change](file)
    name = next(iter(pool))
    for act in (
        lambda: pool.feed({name: spread(rng, FEATURES)}),
        lambda: pool.reset(name),
        lambda: pool.drop(name),
    ):
        with pytest.raises(legato.OutputError, match="was removed, replaced or altered while"):
            act()
    assert_same(pool, pool_in_memory(model, [5]))
    pool.close()  # by its memory, all is whole
    with model.streams(file=file) as again:
        assert_same(again, pool)


@pytest.mark.parametrize("in_place", [False, True])
def test_a_file_that_others_wrote_while_the_pool_was_open_is_left_to_them(model, file, in_place):
    pool, content = model.streams(file=file), another_file(model, file)
    apply_event(pool, 5)
    if not in_place:
        file.unlink()
    file.write_bytes(content)
    with pytest.raises(legato.OutputError, match=r"users\.state was removed, replaced or altered"):
        pool.reset(next(iter(pool)))
    with pytest.raises(legato.OutputError, match=r"is left as it is.*it was written to since"):
        pool.close()
    assert file.read_bytes() == content


def test_nothing_is_saved_over_the_file_of_an_open_pool(model, file, monkeypatch):
    monkeypatch.chdir(file.parent)
    pool, other = model.streams(file=file), model.streams()
    apply_event(pool, 5)
    for save in (pool.save, other.save, model.stream().save):
        for path in (file, Path(file.name), log_of(file)):
            with pytest.raises(legato.OutputError, match="belongs to an open pool"):
                save(path)
    pool.close()
    other.save(file)
    del pool
    with model.streams(file=file) as again:
        assert not len(again)


def test_a_pool_whose_log_was_removed_leaves_the_file_to_others(model, file):
    pool = model.streams(file=file)
    apply_event(pool, 5)
    kept = file.with_name("kept")
    log_of(file).rename(kept)
    file.write_bytes(model_file_after(model, file.with_name("new.state"), 6))
    with pytest.raises(legato.OutputError, match="it was written to since"):
        pool.close()
    with model.streams(file=file) as other:
        assert_same(other, pool_in_memory(model, [6]))


def model_file_after(model, file: Path, number: int) -> bytes:
    """The content of the file of a closed pool after one operation."""
    with model.streams(file=file) as pool:
        apply_event(pool, number)
    return file.read_bytes()


def test_a_flipped_bit_of_a_file_in_use_is_refused(model, killed):
    log = log_of(killed).read_bytes()

    def load():
        log_of(killed).write_bytes(log)
        assert len(model.streams().load(killed, without_log=True)) == 0

    assert_flips_refused(killed, load)


def test_the_mark_of_a_file_is_within_its_first_sector(model, file):
    for _ in range(5):  # the order of other metadata is arbitrary
        model.streams().save(file)
        assert file.read_bytes()[8:].startswith(b'{"__metadata__":{"mark":"0000')


def test_a_pool_of_a_file_of_an_earlier_version_writes_it_anew(model, file):
    with model.streams(file=file) as pool:
        apply_event(pool, 5)
    rewrite_as_version_1(file)
    with model.streams(file=file) as pool:
        assert_same(pool, pool_in_memory(model, [5]))
        apply_event(pool, 6)
        killed = copy_as_killed(file, "killed")
    log_of(killed).unlink()
    assert "is at an old point" in refusal_of(model, killed)


def test_files_of_something_else_are_left_alone(model, file):
    log_of(file).write_text("12:00 all is well\n")
    assert "users.state.log is something else than the log of streams" in refusal_of(model, file)
    log_of(file).unlink()
    file.write_text("my diary")
    assert "is not a whole stream file" in refusal_of(model, file)
    folder = file.with_name("folder")
    folder.mkdir()
    assert "is a folder; a stream file was expected" in refusal_of(model, folder)
    nowhere = file.with_name("no") / "users.state"
    assert "users.state.log cannot be written (No such file" in refusal_of(
        model, nowhere, legato.OutputError
    )


def test_a_file_of_more_than_the_limit_is_refused(model, file, rng):
    with model.streams(file=file) as pool:
        pool.feed({name: spread(rng, FEATURES) for name in "abc"})
        pool.drop("a")
        copy = copy_as_killed(file, "copy")
    assert "2 streams would be more than the limit of 1" in refusal_of(
        model, file, legato.InputError, limit=1
    )
    with model.streams(2, file=copy) as pool:  # never more than two at once
        with pytest.raises(legato.InputError, match="more than the limit of 2"):
            pool.feed({"d": spread(rng, FEATURES)})
        pool.drop("c")
        with pytest.raises(legato.InputError, match=r"cannot be named 1\.5"):
            pool.fork("b", 1.5)
        with model.streams(file=copy_as_killed(copy, "again")) as other:
            assert list(other) == ["b"]
