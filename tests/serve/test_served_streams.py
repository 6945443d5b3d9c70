"""Streams behind an address: each is as if alone, whatever the others do, and fed exactly once."""

import base64
import gc
import json
import struct
import threading
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
import websockets.sync.client
from serve.redis_server import needs_redis
from serve.serving import config_of, serving

from legato._serve.model_files import load_model_file
from legato._serve.served_model import ServedModel
from legato._serve.sqlite_store import SqliteStore
from legato._serve.stored_streams import digest_of
from legato._serve.stream_feeds import DIGEST_BYTES, Feed

STEPS = 12


def feed(client, name, x, **more):
    """Feed a stream; returns the answer's JSON."""
    content = np.asarray(x).tolist()
    response = client.post(f"/v1/streams/{name}/feed", json={"x": content, **more})
    assert response.status_code == 200, response.text
    return response.json()


def series(rng, count=1):
    """Sequences of steps, (count, steps, features)."""
    return rng.normal(size=(count, STEPS, 3)).astype("float32")


def expected(network, steps):
    """What a stream of its own answers."""
    return network.stream().feed(steps)


def test_each_stream_is_as_if_alone_whatever_the_others_do(client, network, rng):
    """Threads feed streams one step, several steps, and several streams at a time."""
    xs = series(rng, 8)
    answers = [[] for _ in xs]

    def feed_two(first):
        mine = [first, first + 1]
        for step in range(0, STEPS, 3):
            for each in mine:
                part = xs[each, step : step + 2]
                answers[each] += feed(client, f"t{each}", part)["y"]
            feeds = [{"stream": f"t{each}", "x": xs[each, step + 2].tolist()} for each in mine]
            response = client.post("/v1/feed", json={"feeds": feeds}).json()
            for each, answer in zip(mine, response["answers"], strict=True):
                answers[each].append(answer["y"])

    threads = [threading.Thread(target=feed_two, args=(first,)) for first in range(0, 8, 2)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    for x, answer in zip(xs, answers, strict=True):
        np.testing.assert_allclose(answer, expected(network, x), atol=1e-6)


def test_a_request_that_comes_again_is_answered_again_and_not_fed(client, network, rng):
    (x,) = series(rng)
    first = [feed(client, "twice", x[at], id=f"r{at}") for at in range(8)]
    again = [feed(client, "twice", x[at], id=f"r{at}") for at in range(8)]
    assert [{**each, "again": True} for each in first] == again
    assert client.get("/v1/streams/twice").json()["steps"] == 8
    several = feed(client, "twice", x[8:], id="several")
    assert feed(client, "twice", x[8:], id="several")["y"] == several["y"]
    wanted = expected(network, x)
    np.testing.assert_allclose([each["y"] for each in first], wanted[:8], atol=1e-6)
    np.testing.assert_allclose(several["y"], wanted[8:], atol=1e-6)


def test_an_id_that_comes_with_other_steps_is_refused(client, rng):
    (x,) = series(rng)
    first = feed(client, "one id", x[:2], id="i")
    feed(client, "one id", x[2])
    written = json.dumps({"id": "i", "x": x[:2].astype(float).tolist()}, indent=1)
    again = client.post("/v1/streams/one id/feed", content=written).json()
    assert again == {**first, "again": True}
    for other in (
        {"x": x[1:3].tolist()},
        {"x": x[0].tolist()},
        {"x": x[:1].tolist()},
        {"x": x[:2].tolist(), "start": True},
        {"x": x[:2].tolist(), "end": True},
    ):
        response = client.post("/v1/streams/one id/feed", json={"id": "i", **other})
        assert (response.status_code, list(response.json())) == (409, ["error"])
        assert "an id of its own" in response.json()["error"]
    feeds = [{"stream": "one id", "id": "i", "x": x[5].tolist()}]
    (answer,) = client.post("/v1/feed", json={"feeds": feeds}).json()["answers"]
    assert answer["status"] == 409
    assert client.get("/v1/streams/one id").json()["steps"] == 3


def test_a_reply_that_was_stored_without_a_digest_is_answered_again(client, rng):
    """As files have it that were written before there were digests."""
    (x,) = series(rng)
    first = feed(client, "older", x[:2], id="i")
    model, store = client.service.models["m"], client.service.store
    whole = store.reply

    def older(key, place):
        kept = whole(key, place)
        head = struct.pack("<qii", 2, 2, 1)
        assert kept[:16] == struct.pack("<qii", 2, 2, -1)
        return head + kept[16:-DIGEST_BYTES]

    assert model.newest.number == 1
    store.reply = older
    try:
        assert feed(client, "older", x[:2], id="i") == {**first, "again": True}
    finally:
        store.reply = whole


def test_a_request_that_ended_a_stream_is_answered_again_and_begins_none(client, rng):
    (x,) = series(rng)
    feed(client, "brief", x[0], id="a")
    last = feed(client, "brief", x[1], id="b", end=True)
    assert client.get("/v1/streams/brief").status_code == 404
    assert feed(client, "brief", x[1], id="b", end=True) == {**last, "again": True}
    assert feed(client, "brief", x[0], id="a")["again"]
    assert client.get("/v1/streams/brief").status_code == 404
    begun = feed(client, "brief", x[0], id="c")
    assert begun["steps"] == 1


def test_a_start_begins_a_stream_anew_and_only_once(client, network, rng):
    (x,) = series(rng)
    feed(client, "anew", x[:5])
    feed(client, "anew", x[0], start=True, id="start")
    feed(client, "anew", x[1])
    assert feed(client, "anew", x[0], start=True, id="start")["steps"] == 1  # again
    third = feed(client, "anew", x[2])
    assert third["steps"] == 3
    np.testing.assert_allclose(third["y"], expected(network, x[:3])[-1], atol=1e-6)


def test_a_peek_leaves_a_stream_as_it_is(client, rng):
    (x,) = series(rng)
    assert feed(client, "unseen", x[0], peek=True)["steps"] == 0
    assert client.get("/v1/streams/unseen").status_code == 404
    feed(client, "seen", x[0])
    peeked = feed(client, "seen", x[1:3], peek=True)
    assert peeked["steps"] == client.get("/v1/streams/seen").json()["steps"] == 1
    assert feed(client, "seen", x[1:3]) == {**peeked, "steps": 3}


def test_a_feed_that_expects_other_steps_is_refused(client, rng):
    (x,) = series(rng)
    feed(client, "counted", x[:3], expected_steps=0)
    for wrong in (0, 2, 4):
        body = {"x": x[3].tolist(), "expected_steps": wrong}
        assert client.post("/v1/streams/counted/feed", json=body).status_code == 409
    assert feed(client, "counted", x[3], expected_steps=3)["steps"] == 4


def test_streams_are_forked_reset_dropped_and_moved_by_their_states(client, network, rng):
    (x,) = series(rng)
    feed(client, "origin", x[:4])
    assert client.post("/v1/streams/origin/fork", json={"into": "copy"}).json()["steps"] == 4
    state = client.get("/v1/streams/origin/state").json()["state"]
    raw = client.get("/v1/streams/origin/state", headers={"Accept": "application/octet-stream"})
    assert base64.b64decode(state) == raw.content
    assert client.put("/v1/streams/moved/state", json={"state": state}).json()["steps"] == 4
    kind = {"Content-Type": "application/octet-stream"}
    client.put("/v1/streams/raw/state", content=raw.content, headers=kind)
    client.post("/v1/streams/origin/reset")
    assert client.get("/v1/streams/origin").json()["steps"] == 0
    wanted = expected(network, x)[4]
    for name in ("copy", "moved", "raw"):
        np.testing.assert_allclose(feed(client, name, x[4])["y"], wanted, atol=1e-6)
        assert client.delete(f"/v1/streams/{name}").status_code == 204
        assert client.delete(f"/v1/streams/{name}").status_code == 404
    np.testing.assert_allclose(
        feed(client, "origin", x[0])["y"], expected(network, x[:1])[0], atol=1e-6
    )


def test_a_client_may_keep_the_state_itself(client, network, rng):
    (x,) = series(rng)
    before = client.service.store.count()
    state, answers = None, []
    for step in x:
        body = {"x": step.tolist(), "state": state}
        response = client.post("/v1/stateless", json=body).json()
        state = response["state"]
        answers.append(response["y"])
    assert response["steps"] == STEPS
    np.testing.assert_allclose(answers, expected(network, x), atol=1e-6)
    assert client.service.store.count() == before


@pytest.mark.parametrize("durability", ["memory", "write", "fsync"])
def test_a_server_that_starts_again_goes_on_to_the_bit(
    durability, model_file, network, rng, tmp_path
):
    xs = series(rng, 3)
    config = config_of(model_file, tmp_path / "kept", durability=durability)
    with serving(config) as client:
        parts = [feed(client, f"s{at}", x[:7], id="first")["y"] for at, x in enumerate(xs)]
    with serving(config) as client:
        for at, x in enumerate(xs):
            assert feed(client, f"s{at}", x[:7], id="first")["y"] == parts[at]
            parts[at] += feed(client, f"s{at}", x[7:])["y"]
    with serving(config_of(model_file, tmp_path / "other")) as client:
        for at, x in enumerate(xs):
            unbroken = feed(client, f"s{at}", x[:7])["y"] + feed(client, f"s{at}", x[7:])["y"]
            assert parts[at] == unbroken
            np.testing.assert_allclose(parts[at], expected(network, x), atol=1e-6)


def test_streams_that_do_not_fit_into_memory_are_in_the_store(model_file, network, rng, tmp_path):
    xs = series(rng, 10)
    with serving(config_of(model_file, tmp_path / "kept", limit=3)) as client:
        answers = [[] for _ in xs]
        for step in range(STEPS):
            for at in rng.permutation(len(xs)):
                answers[at].append(feed(client, f"s{at}", xs[at, step])["y"])
            assert len(client.service.models["m"].newest.table) <= 3
        names = client.get("/v1/streams", params={"limit": 4}).json()["streams"]
        more = client.get("/v1/streams", params={"after": names[-1]}).json()["streams"]
        assert [*names, *more] == [f"s{at}" for at in range(10)]
    for x, answer in zip(xs, answers, strict=True):
        np.testing.assert_allclose(answer, expected(network, x), atol=1e-6)


def test_idle_streams_leave_memory_and_come_back(model_file, network, rng, tmp_path):
    (x,) = series(rng)
    with serving(config_of(model_file, tmp_path / "kept")) as client:
        feed(client, "idle", x[:5])
        version = client.service.models["m"].newest
        assert version.let_go_idle(3600) == 0
        assert version.let_go_idle(0) == 1
        assert len(version.table) == 0
        assert feed(client, "idle", x[5])["steps"] == 6


def test_a_stream_takes_its_state_and_at_most_300_bytes(model_file, tmp_path):
    config = config_of(model_file, tmp_path / "kept")
    loaded, store = load_model_file(model_file), SqliteStore(tmp_path / "kept", force=False)
    x, count = (np.zeros(3, "float32"),), 4096  # so many slots a table of these streams has

    def begin(name):
        model = ServedModel(name, model_file, store, config)
        version = model.add(loaded)
        for first in range(0, count, 1024):
            keys = [model.key("", f"machine-{at:06d}") for at in range(first, first + 1024)]
            model.feed([Feed(key, x, None, digest_of("r")) for key in keys])
        gc.collect()
        return version

    begin("warm")
    tracemalloc.start()
    version = begin("m")
    taken, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    store.close()
    assert len(version.table) == version.table.capacity == count
    assert taken / count <= version.compiled.files.blank.nbytes + 300


@pytest.mark.parametrize("kind", ["file", pytest.param("redis", marks=needs_redis)])
def test_streams_of_a_model_that_is_served_by_another_name_are_named(
    kind, model_file, tmp_path, request, caplog
):
    redis = request.getfixturevalue("redis_server").url if kind == "redis" else None
    both = (("pumps", str(model_file)), ("pump", str(model_file)))
    config = replace(config_of(model_file, redis or tmp_path / "kept"), models=both)
    with serving(config) as client:
        for name in ("pumps", "pump"):
            for stream in "ab":
                client.post(f"/v1/models/{name}/streams/{stream}/feed", json={"x": [1, 2, 3]})
    assert not caplog.messages
    with serving(replace(config, models=both[1:])):
        (message,) = caplog.messages
        assert "'pumps'" in message
        assert "pumps=PATH" in message


def test_events_show_the_answers_of_a_stream_as_they_are_made(client, rng):
    (x,) = series(rng)
    with client.stream("GET", "/v1/streams/watched/events") as events:
        lines = events.iter_lines()
        assert next(lines).startswith(":")
        fed = [feed(client, "watched", step)["y"] for step in x[:3]]
        seen = []
        for line in lines:
            if line.startswith("data: "):
                seen.append(json.loads(line[6:])["y"])
            if len(seen) == 3:
                break
    assert seen == fed


def test_events_end_when_the_server_stops(model_file, tmp_path):
    path = "/v1/streams/watched/events"
    with (
        serving(config_of(model_file, tmp_path / "kept")) as client,
        client.stream("GET", path, timeout=10) as events,
    ):
        lines = events.iter_lines()
        assert next(lines).startswith(":")
        client.service.is_stopping = True
        assert not [line for line in lines if line]


def test_a_web_socket_feeds_a_stream_message_by_message(client, network, rng):
    (x,) = series(rng)
    address = str(client.base_url).replace("http", "ws") + "/v1/streams/socket/live"
    with websockets.sync.client.connect(address) as socket:

        def ask(message):
            socket.send(json.dumps(message))
            return json.loads(socket.recv())

        answers = [ask({"x": step.tolist()})["y"] for step in x[:5]]
        assert "shape" in ask({"x": [1]})["error"]
        assert "error" in ask([1])
        answers += ask({"x": x[5:].tolist()})["y"]
    np.testing.assert_allclose(answers, expected(network, x), atol=1e-6)
    assert client.get("/v1/streams/socket").json()["steps"] == STEPS
