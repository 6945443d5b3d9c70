"""Stores of a server: each keeps records and replies as a dictionary would."""

import time

import numpy as np
import pytest
from full_disk import file_size_limit
from serve.redis_server import needs_redis

from legato._errors import InputError, OutputError, StateError
from legato._serve.input_history import Chunk
from legato._serve.redis_store import RedisStore
from legato._serve.sqlite_store import SqliteStore
from legato._serve.stored_streams import ALL, RECENT, Change, StoredStream, WriteBehind, digest_of


@pytest.fixture(params=["file", "behind", pytest.param("redis", marks=needs_redis)])
def store(request, tmp_path):
    """Each kind of store, empty."""
    if request.param == "redis":
        made = RedisStore(request.getfixturevalue("redis_server").url)
    else:
        made = SqliteStore(tmp_path / "streams", force=False)
        made = WriteBehind(made) if request.param == "behind" else made
    yield made
    made.close()


def record(rng, version=1, weights="aa", ended=0.0):
    """A record with a random state."""
    row = b"" if ended else rng.bytes(40)
    return StoredStream(row, int(rng.integers(99)), version, weights, rng.bytes(RECENT * 8), ended)


def test_a_store_keeps_what_a_dictionary_would(store, rng):
    kept, replies = {}, {}
    names = [f"m\x1f{owner}\x1f{name}" for owner in ("", "é") for name in ("a", "b b", "ü/☃", "z")]
    for turn in range(60):
        chosen = rng.permutation(names)[: rng.integers(1, 5)].tolist()
        if rng.random() < 0.2:
            assert store.drop(chosen) == sum(key in kept for key in chosen)
            for key in chosen:
                kept.pop(key, None)
                replies = {at: each for at, each in replies.items() if at[0] != key}
        else:
            changes = []
            for key in chosen:
                version = kept[key].version + 1 if key in kept else 1
                ended = time.time() if rng.random() < 0.2 else 0.0
                kept[key] = record(rng, version, ended=ended)
                place = int(rng.integers(RECENT)) if rng.random() < 0.5 else None
                reply = b"" if place is None else rng.bytes(int(rng.integers(1, 30)))
                if place is not None:
                    replies[key, place] = reply
                changes.append(Change(key, kept[key], place, reply))
            assert store.put(changes) == set()
        if turn % 7 == 0:
            store.flush()
        assert store.load(names) == {key: kept[key] for key in names if key in kept}
        for key in names:
            for place in range(RECENT):
                assert store.reply(key, place) == replies.get((key, place))
        for prefix in ("m\x1f\x1f", "m\x1fé\x1f", "m\x1f", ""):
            lives = [k for k, each in kept.items() if not each.ended and k.startswith(prefix)]
            lives.sort(key=str.encode)
            assert store.count(prefix) == len(lives)
            if prefix:
                assert store.keys(prefix) == lives
                assert store.keys(prefix, limit=2) == lives[:2]
                if lives:
                    assert store.keys(prefix, lives[0]) == lives[1:]


def test_a_store_keeps_the_last_inputs_of_a_stream(store, rng):
    def put(key, version, forget, after, steps=1):
        chunk = None if after is None else Chunk(after, steps, rng.bytes(9))
        store.put([Change(key, record(rng, version), forget=forget, chunk=chunk)])
        return chunk

    assert store.history("a") == []
    first = [put("a", at, max(0, at - 3), at) for at in range(1, 6)]
    other = put("b", 1, ALL, 7, 7)
    assert store.history("a") == first[2:]
    store.flush()
    anew = put("a", 6, ALL, 2, 2)
    more = put("a", 7, 0, 3)
    assert store.history("a") == [anew, more]
    assert store.history("b") == [other]
    put("a", 8, ALL, None)
    assert store.history("a") == []
    store.drop(["b"])
    assert store.history("b") == []


def test_a_record_that_waited_is_written_once_whatever_its_replies(tmp_path, rng):
    store = SqliteStore(tmp_path / "streams", force=False)
    behind = WriteBehind(store)
    before = store._connection.total_changes
    for version in range(1, 5):
        behind.put([Change("a", record(rng, version), version, b"reply")])
    behind.flush()
    assert store._connection.total_changes - before == 1 + 4
    behind.close()


def test_a_store_keeps_files_of_models_and_numbers_them(store, rng):
    assert store.model("m", "aa") is None
    assert [store.add_model("m", "aa", b"first"), store.add_model("m", "bb", b"second")] == [1, 2]
    assert store.add_model("n", "bb", b"") == 1
    assert store.add_model("m", "aa", b"again") == 1
    assert store.model("m", "aa") == (1, b"first")
    assert store.model("n", "bb") is None  # too large to be kept
    store.put([Change("m\x1f\x1fs", record(rng, weights="aa"))])
    store.flush()
    assert store.add_model("m", "cc", b"third") == 3
    store.forget_models("m", "cc")
    assert store.model("m", "aa") == (1, b"first")
    assert store.model("m", "cc") == (3, b"third")


def test_a_file_forgets_models_that_have_no_streams(tmp_path, rng):
    store = SqliteStore(tmp_path / "streams", force=False)
    for weights in ("aa", "bb", "cc"):
        store.add_model("m", weights, b"file")
    store.put([Change("m\x1f\x1fs", record(rng, weights="aa"))])
    store.forget_models("m", "cc")
    assert [store.model("m", each) is None for each in ("aa", "bb", "cc")] == [False, True, False]
    store.close()


def test_streams_that_ended_are_forgotten_after_a_while(tmp_path, rng):
    store = SqliteStore(tmp_path / "streams", force=False)
    store.put([Change("long ago", record(rng, ended=100.0), 0, b"reply")])
    store.put([Change("now", record(rng, ended=200.0))])
    store.put([Change("lives", record(rng))])
    store.forget_ended(150.0)
    assert set(store.load(["long ago", "now", "lives"])) == {"now", "lives"}
    assert store.reply("long ago", 0) is None
    store.close()


def test_a_file_that_cannot_be_written_is_told_until_it_can_be(tmp_path, rng):
    store = SqliteStore(tmp_path / "streams", force=False)
    store.put([Change("a", record(rng))])
    store.check()
    with file_size_limit((tmp_path / "streams-wal").stat().st_size):
        for _ in range(2):
            with pytest.raises(OutputError, match="cannot be used"):
                store.put([Change("b", record(rng))])
            with pytest.raises(OutputError, match="cannot be used"):
                store.check()
    store.check()
    store.put([Change("b", record(rng))])
    assert set(store.load(["a", "b"])) == {"a", "b"}
    store.close()


@needs_redis
def test_a_redis_whose_memory_is_full_is_told_until_it_is_not(redis_server, rng):
    store = RedisStore(redis_server.url)
    store.put([Change("a", record(rng))])
    store._redis.config_set("maxmemory", 1)
    store.check()  # reading goes on, and nothing was to be written
    for check in (lambda: store.put([Change("b", record(rng))]), store.check):
        with pytest.raises(OutputError, match=r"cannot be used.*maxmemory"):
            check()
    store._redis.config_set("maxmemory", 0)
    store.check()
    store.close()


def test_a_file_is_opened_by_one_server_at_a_time(tmp_path):
    store = SqliteStore(tmp_path / "streams", force=True)
    with pytest.raises(OutputError, match="another server has it open"):
        SqliteStore(tmp_path / "streams", force=True)
    store.close()
    SqliteStore(tmp_path / "streams", force=False).close()


def test_a_file_of_something_else_is_refused_and_left_as_it_was(tmp_path):
    import sqlite3

    for name, content in (("text", b"some text\n" * 500), ("model", b"PK\x03\x04" + bytes(2000))):
        path = tmp_path / name
        path.write_bytes(content)
        with pytest.raises(StateError, match="no file of streams"):
            SqliteStore(path, force=False)
        assert path.read_bytes() == content
    other = sqlite3.connect(tmp_path / "other")
    other.execute("CREATE TABLE mine (a)")
    other.close()
    with pytest.raises(StateError, match="database of something else"):
        SqliteStore(tmp_path / "other", force=False)
    SqliteStore(tmp_path / "older", force=False).close()
    older = sqlite3.connect(tmp_path / "older")
    older.execute("PRAGMA user_version = 1")
    older.close()
    with pytest.raises(StateError, match="another version of legato"):
        SqliteStore(tmp_path / "older", force=False)
    with pytest.raises(OutputError, match="cannot be used"):
        SqliteStore(tmp_path / "no folder" / "streams", force=False)


def test_digests_of_requests_are_numbers_that_are_not_zero():
    digests = {digest_of(f"request {at}") for at in range(1000)}
    assert len(digests) == 1000
    assert 0 not in digests
    assert max(digests) < 2**64


@needs_redis
def test_of_two_servers_that_write_a_record_the_later_one_is_told(redis_server, rng):
    one, other = RedisStore(redis_server.url), RedisStore(redis_server.url)
    one.put([Change("a", record(rng, 1)), Change("b", record(rng, 1))])
    theirs = record(rng, 2)
    other.put([Change("a", theirs)])
    mine = record(rng, 2)
    assert one.put([Change("a", record(rng, 2)), Change("b", mine, 3, b"reply")]) == {"a"}
    assert one.load(["a", "b"]) == {"a": theirs, "b": mine}
    assert other.reply("b", 3) == b"reply"
    one.close()
    other.close()


@needs_redis
def test_a_redis_that_does_not_force_its_log_is_refused_where_that_was_asked_for(redis_server):
    with pytest.raises(InputError, match="appendfsync always"):
        RedisStore(redis_server.url, force=True)
    redis_server.kill()
    with pytest.raises(OutputError, match="cannot be used"):
        RedisStore(redis_server.url)
    with pytest.raises(InputError, match="no address"):
        RedisStore("redis://host:port")
    redis_server.start()


def test_a_digest_stands_in_a_record_as_64_bits():
    recent = np.zeros((1, RECENT), np.uint64)
    recent[0, 3] = digest_of("x")
    assert int.from_bytes(recent.tobytes()[24:32], "little") == digest_of("x")
