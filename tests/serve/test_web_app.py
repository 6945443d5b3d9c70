"""Who is let in, what is refused, and what hostile requests get: one sentence, and never a 500."""

import concurrent.futures
import gzip
import json
import random
import socket
import string
import time
import tracemalloc
import zlib

import msgspec
import pytest
import websockets.sync.client
from cells import set_weights
from serve.redis_server import needs_redis
from serve.serving import config_of, serving

import legato
from legato import layers
from legato._errors import InputError
from legato._serve.api_keys import ApiKeys

X = [0.1, 0.2, 0.3]
ADA, BOB = "ada's key of 24 letters!", "bob's key of 24 letters!"


def until_idle(client):
    """Wait until the queue is empty."""
    while len(client.service.queue) or client.service.queue.is_busy:
        time.sleep(0.01)


def post(client, path, body, **headers):
    """The status and the JSON of a response."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    response = client.post(path, content=content, headers=headers)
    return response.status_code, response.json()


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "exactly one of x, row and rows"),
        ({"x": X, "rows": []}, "exactly one"),
        ({"x": []}, "shape"),
        ({"x": [1, 2]}, "one step is (3,)"),
        ({"x": [[1, 2, 3], [1, 2]]}, "unlike lengths"),
        ({"x": ["a", "b", "c"]}, "x holds a text; numbers"),
        ({"x": [1, None, 3]}, "x holds null"),
        ({"x": [1, True, 3]}, "true or false"),
        ({"x": [[1, 2, 3], [False, False, False]]}, "true or false"),
        ({"x": {"a": 1}}, "x holds an object; numbers"),
        ({"x": [1e39, 0, 0]}, ""),
        ({"row": {"a": 1}}, "no names of columns"),
        ({"x": X, "id": 5}, "Expected `str"),
        ({"x": X, "id": "i" * 257}, "length"),
        ({"x": X, "peek": True, "end": True}, "peek"),
        ({"x": X, "expected_steps": -1}, ">= 0"),
        ({"x": X, "unknown": 1}, "unknown"),
        ([1, 2], "Expected `object`"),
        (b"", "exactly one"),
        (b"{", "truncated"),
        (b"\xff\xfe", "not as expected"),
        (b'{"x": NaN}', "not as expected"),
        (b"[" * 50_000, "not as expected"),
    ],
)
def test_a_feed_that_does_not_fit_is_one_sentence(client, body, words):
    status, answer = post(client, "/v1/streams/untouched/feed", body)
    assert status == 400, answer
    assert list(answer) == ["error"]
    assert words in answer["error"]
    assert client.get("/v1/streams/untouched").status_code == 404


def test_of_several_streams_none_is_fed_if_one_does_not_fit(client):
    feeds = [{"stream": "good", "x": X}, {"stream": "bad", "x": [1]}]
    status, answer = post(client, "/v1/feed", {"feeds": feeds})
    assert status == 400
    assert "'bad'" in answer["error"]
    feeds = [{"stream": "good", "x": X}, {"stream": "bad", "x": [1, 2, True]}]
    status, answer = post(client, "/v1/feed", {"feeds": feeds})
    assert (status, "'bad'" in answer["error"], "true" in answer["error"]) == (400, True, True)
    twice = [{"stream": "good", "x": X}] * 2
    assert post(client, "/v1/feed", {"feeds": twice})[0] == 400
    assert post(client, "/v1/feed", {"feeds": [{"stream": "", "x": X}]})[0] == 400
    assert post(client, "/v1/feed", {"feeds": []}) == (200, {"answers": []})
    assert client.get("/v1/streams/good").status_code == 404


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/v1/streams/none", 404),
        ("GET", "/v1/streams/none/state", 404),
        ("POST", "/v1/streams/none/reset", 404),
        ("DELETE", "/v1/streams/none", 404),
        ("GET", "/v1/models/none/streams", 404),
        ("GET", "/v2/models/none", 404),
        ("PUT", "/v1/feed", 405),
        ("GET", "/v1/streams/a/feed", 405),
        ("DELETE", "/v1/streams/a/state", 405),
        ("GET", "/v1/streams/a/b", 404),
        ("GET", "/v1/streams?limit=0", 400),
        ("GET", "/v1/streams?limit=x", 400),
        ("GET", f"/v1/streams?limit={'9' * 5000}", 400),
        ("GET", "/v1/streams?after=%00", 400),
        ("GET", f"/v2/models/m/versions/{'9' * 5000}", 404),
        ("GET", "/v1/streams/" + "n" * 257, 400),
        ("GET", "/v1/streams/a%00b", 400),
        ("GET", "/v1/streams/%1f", 400),
        ("GET", "/v1/streams/a%0A", 400),
        ("POST", "/v1/streams/a%0Ab/feed", 400),
        ("GET", "/v1/streams/%ff%fe", 400),
        ("POST", "/v2/repository/models/none/load", 404),
    ],
)
def test_an_address_that_leads_nowhere(client, method, path, status):
    response = client.request(method, path)
    assert response.status_code == status, response.text
    assert list(response.json()) == ["error"]
    assert ("Allow" in response.headers) == (status == 405)


def test_names_of_streams_are_names_and_no_paths(client, tmp_path):
    before = sorted(tmp_path.parent.rglob("*"))
    for name in ("..%2F..%2Fetc%2Fpasswd", "%2Fabsolute", "a%2Ffeed", "'; DROP TABLE streams; --"):
        assert post(client, f"/v1/streams/{name}/feed", {"x": X})[0] == 200
        assert client.get(f"/v1/streams/{name}/state").json()["steps"] == 1
        assert client.delete(f"/v1/streams/{name}").status_code == 204
    assert sorted(tmp_path.parent.rglob("*")) == before


@pytest.mark.parametrize("state", ["", "no base64!", "AAAA", "eyJhIjogMX0=", None, 5, "A" * 10_000])
def test_a_state_that_is_none_is_refused(client, state):
    response = client.put("/v1/streams/s/state", json={"state": state})
    assert response.status_code in (400, 409), response.text
    response = client.post("/v1/stateless", json={"x": X, "state": state or "x"})
    assert response.status_code in (400, 409), response.text


def test_a_state_of_another_model_is_refused(client, tmp_path):
    model = legato.Sequential([layers.Input((None, 3)), layers.LSTM(4), layers.Dense(2)])
    set_weights(model, 6)
    model.save(tmp_path / "other.keras")
    with serving(config_of(tmp_path / "other.keras", tmp_path / "other")) as other:
        post(other, "/v1/streams/s/feed", {"x": X})
        state = other.get("/v1/streams/s/state").json()["state"]
    response = client.put("/v1/streams/s/state", json={"state": state})
    assert response.status_code == 409
    assert "other weights" in response.json()["error"]


def test_a_thousand_hostile_requests_get_no_5xx(client):
    draw = random.Random(7)
    pieces = [b'{"x":', b"[[", b"]]", b'"', b"\x00", b"1e999", b"-0", b"null", b"\xf0\x9f", b"{}"]
    pieces += [b'"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":', b"[1,2,3]}]}"]
    paths = [
        "/v1/feed",
        "/v1/stateless",
        "/v1/streams/h/feed",
        "/v1/streams/h/fork",
        "/v1/streams/h/state",
        "/v2/models/m/infer",
        "/v2/models/m/versions/1/infer",
        "/v2/repository/models/m/load",
    ]
    for _ in range(1000):
        body = b"".join(draw.choices(pieces, k=draw.randint(0, 6)))
        method = draw.choice(["POST", "PUT", "GET", "DELETE", "PATCH"])
        headers = {}
        if draw.random() < 0.2:
            headers["Inference-Header-Content-Length"] = draw.choice(["-1", "1e3", "9" * 5000, "3"])
        name = "".join(draw.choices(string.printable[:94], k=draw.randint(1, 30)))
        path = draw.choice([*paths, "/v1/streams/" + name.replace("?", "").replace("#", "")])
        if path.endswith("/load"):
            body = b"{"
        response = client.request(method, path, content=body, headers=headers)
        assert response.status_code < 500, (method, path, body, response.text)


def gzipped(content):
    """Content as two gzip files, one after the other."""
    half = len(content) // 2
    return gzip.compress(content[:half]) + gzip.compress(content[half:])


@pytest.mark.parametrize(
    ("encoding", "pack"), [("gzip", gzip.compress), ("GZIP", gzipped), ("deflate", zlib.compress)]
)
def test_a_compressed_body_is_unpacked(client, encoding, pack):
    plain = json.dumps({"x": X}).encode()
    for path in ("/v1/streams/packed/feed", "/v1/stateless"):
        expected = post(client, path, plain)[1]
        client.delete("/v1/streams/packed")
        status, answer = post(client, path, pack(plain), **{"Content-Encoding": encoding})
        assert (status, answer) == (200, expected)
        client.delete("/v1/streams/packed")
    for broken in (b"no archive", pack(plain)[:-3], pack(plain) + b"more", pack(b"{")):
        status, answer = post(
            client, "/v1/streams/packed/feed", broken, **{"Content-Encoding": encoding}
        )
        assert (status, list(answer)) == (400, ["error"])
    assert client.get("/v1/streams/packed").status_code == 404


def test_a_body_that_is_compressed_otherwise_is_refused_in_one_sentence(client):
    for path in ("/v1/streams/gzip/feed", "/v2/models/m/infer"):
        for encoding in ("br", "zstd", "gzip, gzip", "\u00e9"):
            headers = {"Content-Encoding": encoding.encode()}
            response = client.post(path, content=b"{}", headers=headers)
            assert (response.status_code, list(response.json())) == (415, ["error"])
            assert "gzip, deflate or none" in response.json()["error"]
    for encoding in ("identity", ""):
        headers = {"Content-Encoding": encoding}
        assert post(client, "/v1/streams/plain/feed", {"x": X}, **headers)[0] == 200


def test_a_small_body_that_unpacks_to_gigabytes_takes_no_memory(client):
    """1 GiB of blanks is 1 MiB; in the form of many empty blocks, nothing at all is too much."""
    packer = zlib.compressobj(9, wbits=31)
    bomb = b"".join(packer.compress(b" " * 2**20) for _ in range(1024)) + packer.flush()
    endless = b"\x78\x9c" + b"\x00\x00\x00\xff\xff" * (17 * 2**20 // 5)
    assert len(bomb) < 2**21
    tracemalloc.start()
    try:
        for encoding, body in (("gzip", bomb), ("deflate", endless)):
            status, answer = post(
                client, "/v1/streams/b/feed", body, **{"Content-Encoding": encoding}
            )
            assert (status, "larger than 16 MiB" in answer["error"]) == (413, True)
        assert tracemalloc.get_traced_memory()[1] < 100 * 2**20
    finally:
        tracemalloc.stop()


def test_requests_that_are_too_large_are_refused(model_file, tmp_path):
    config = config_of(model_file, tmp_path / "s", max_body_mib=0.01)
    with serving(config) as client:
        assert post(client, "/v1/streams/a/feed", {"x": [X] * 10})[0] == 200
        assert post(client, "/v1/streams/a/feed", {"x": [X] * 5000})[0] == 413

        def pieces():
            for _ in range(100):
                yield b" " * 1000

        response = client.post("/v1/streams/a/feed", content=pieces())
        assert response.status_code == 413
        assert client.get("/v1/streams/a").json()["steps"] == 10


def test_streams_of_one_key_are_not_seen_by_another(model_file, tmp_path):
    (tmp_path / "keys").write_text(f"# keys\nada: {ADA}\n\n{BOB}\n")
    config = config_of(model_file, tmp_path / "s", api_key_file=str(tmp_path / "keys"))
    with serving(config) as client:
        status, answer = post(client, "/v1/streams/a/feed", {"x": X})
        assert (status, "API key" in answer["error"]) == (401, True)
        for path in ("/v1/models", "/metrics", "/v1/streams", "/v2", "/openapi.json"):
            assert client.get(path).status_code == 401
            assert client.get(path, headers={"X-API-Key": "wrong"}).status_code == 401
        assert client.get("/v2/health/ready").status_code == 200
        ada, bob = {"X-API-Key": ADA}, {"Authorization": f"Bearer {BOB}"}
        assert post(client, "/v1/streams/a/feed", {"x": [X] * 2}, **ada)[0] == 200
        assert client.get("/v1/streams/a", headers=bob).status_code == 404
        assert client.get("/v1/streams", headers=bob).json() == {"streams": []}
        assert post(client, "/v1/streams/a/fork", {"into": "b"}, **bob)[0] == 404
        assert post(client, "/v1/streams/a/feed", {"x": X}, **bob)[1]["steps"] == 1
        assert client.get("/v1/streams/a", headers=ada).json()["steps"] == 2
        assert client.get("/v1/streams", headers=ada).json() == {"streams": ["a"]}


def test_only_keys_with_that_right_load_versions(model_file, tmp_path):
    (tmp_path / "keys").write_text(f"ada: {ADA}\n\n[load]\nada: {BOB}\n")
    config = config_of(model_file, tmp_path / "s", api_key_file=str(tmp_path / "keys"))
    load = "/v2/repository/models/m/load"
    with serving(config) as client:
        status, answer = post(client, load, {}, **{"X-API-Key": ADA})
        assert (status, "may not load" in answer["error"]) == (403, True)
        assert post(client, load, {})[0] == 401
        assert post(client, load, {}, **{"X-API-Key": BOB})[0] == 200
        assert post(client, "/v1/streams/a/feed", {"x": X}, **{"X-API-Key": BOB})[0] == 200
        seen = client.get("/v1/streams", headers={"X-API-Key": ADA})
        assert seen.json() == {"streams": ["a"]}  # the rights are a key's, the streams an owner's


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "no API key"),
        ("short", "16 printable"),
        (f"{ADA}\n{ADA}", "twice"),
        ("ada:" + "k" * 20 + "é", "16 printable"),
    ],
)
def test_a_file_of_keys_that_has_none(tmp_path, content, words):
    path = tmp_path / "keys"
    path.write_text(content)
    with pytest.raises(InputError, match=words):
        ApiKeys.read(path)
    with pytest.raises(InputError, match="cannot be read"):
        ApiKeys.read(tmp_path / "none")


def test_an_owner_may_have_so_many_streams_and_so_many_requests(model_file, tmp_path):
    with serving(config_of(model_file, tmp_path / "s", streams_per_key=2)) as client:
        feeds = [{"stream": name, "x": X} for name in "abc"]
        _, answer = post(client, "/v1/feed", {"feeds": feeds})
        assert ["error" in each for each in answer["answers"]] == [False, False, True]
        status, answer = post(client, "/v1/streams/c/feed", {"x": X})
        assert (status, "at most 2 streams" in answer["error"]) == (429, True)
        assert post(client, "/v1/streams/a/feed", {"x": X})[0] == 200
        client.delete("/v1/streams/a")
        assert post(client, "/v1/streams/c/feed", {"x": X})[0] == 200
    with serving(config_of(model_file, tmp_path / "t", rate=3)) as client:
        statuses = [client.get("/v1/streams") for _ in range(20)]
        assert statuses[0].status_code == 200
        refused = [each for each in statuses if each.status_code == 429]
        assert refused
        assert all(each.headers["Retry-After"] for each in refused)
        time.sleep(0.5)
        with live(client, "streams/a") as socket:
            for _ in range(5):
                socket.send(json.dumps({"x": X}))
            answers = [json.loads(socket.recv()) for _ in range(5)]
        assert "steps" not in answers[-1]
        assert "More than 3 requests" in answers[-1]["error"]


def live(client, name):
    """A WebSocket of a stream."""
    address = str(client.base_url).replace("http", "ws")
    return websockets.sync.client.connect(f"{address}/v1/{name}/live")


def test_a_web_socket_takes_texts_and_bytes_and_answers_faults_with_sentences(client):
    with live(client, "streams/socket") as socket:
        for message in ("", "[", b"\xff", b"", "[" * 50_000, '{"x": true}'):
            socket.send(message)
            assert list(json.loads(socket.recv())) == ["error"]
        for steps, message in enumerate((json.dumps({"x": X}), json.dumps({"x": X}).encode()), 1):
            socket.send(message)
            assert json.loads(socket.recv())["steps"] == steps


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("streams/a%0A", 400),
        ("streams/" + "n" * 257, 400),
        ("models/no/streams/a", 404),
        ("x", 404),
    ],
)
def test_a_web_socket_that_is_refused_gets_the_status_and_the_sentence(client, path, status):
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        live(client, path).close()
    response = refused.value.response
    assert (response.status_code, list(json.loads(response.body))) == (status, ["error"])


def test_a_full_queue_answers_429_and_late_requests_504(model_file, tmp_path):
    config = config_of(model_file, tmp_path / "s", max_queue=4, timeout=0.2)
    with serving(config) as client:
        held = client.service.models["m"]
        whole = held.feed

        def slow(feeds):
            time.sleep(0.3)
            whole(feeds)

        held.feed = slow

        def feed(at):
            return client.post(f"/v1/streams/s{at % 2}/feed", json={"x": X}).status_code

        with concurrent.futures.ThreadPoolExecutor(16) as threads:
            statuses = list(threads.map(feed, range(16)))
        held.feed = whole
        assert set(statuses) <= {200, 429, 504}
        assert {200, 429, 504} <= set(statuses)
        until_idle(client)
        steps = sum(client.get(f"/v1/streams/s{at}").json().get("steps", 0) for at in range(2))
        assert steps == statuses.count(200)
        assert "legato_refusals_total" in client.get("/metrics").text


def test_a_client_that_has_gone_costs_no_step(model_file, tmp_path):
    """Once many wait, a request whose connection was closed is left out."""
    with serving(config_of(model_file, tmp_path / "s")) as client:
        held = client.service.models["m"]
        whole = held.feed

        def slow(feeds):
            time.sleep(0.2)
            whole(feeds)

        held.feed = slow
        body = json.dumps({"x": X}).encode()
        head = (
            f"POST /v1/streams/gone/feed HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        made = []
        for _ in range(200):
            connection = socket.create_connection((client.base_url.host, client.base_url.port))
            connection.sendall(head.encode() + body)
            made.append(connection)
        time.sleep(0.1)
        for connection in made:
            connection.close()
        time.sleep(0.1)
        held.feed = whole
        until_idle(client)
        assert client.get("/v1/streams/gone").json()["steps"] < 150


def test_clients_that_send_no_more_do_not_keep_a_server_from_stopping(model_file, tmp_path, caplog):
    head = b"POST /v1/feed HTTP/1.1\r\nHost: a\r\nContent-Length: 99\r\n\r\n{"
    with serving(config_of(model_file, tmp_path / "s", grace=0.3)) as client:
        slow = socket.create_connection((client.base_url.host, client.base_url.port), timeout=20)
        slow.sendall(head)
        assert client.get("/v1/models").status_code == 200  # so the other has been read too
        client.service.is_stopping = True  # as a signal says
        began = time.monotonic()
    assert time.monotonic() - began < 15
    with slow:
        answer = b"".join(iter(lambda: slow.recv(4096), b""))
    assert answer.startswith(b"HTTP/1.1 503")
    assert b"is stopping" in answer
    assert "Traceback" not in caplog.text


def test_a_store_that_cannot_be_written_answers_503_and_no_stream_moves(model_file, tmp_path):
    from legato._errors import OutputError

    with serving(config_of(model_file, tmp_path / "s")) as client:
        post(client, "/v1/streams/a/feed", {"x": X})
        store, whole = client.service.store, client.service.store.put

        def fail(changes):
            raise OutputError("The disk is full.")

        store.put = fail
        status, answer = post(client, "/v1/streams/a/feed", {"x": X})
        assert (status, answer) == (503, {"error": "The disk is full."})
        store.put = whole
        assert post(client, "/v1/streams/a/feed", {"x": X})[1]["steps"] == 2


@needs_redis
def test_a_server_whose_store_is_gone_is_not_ready_until_it_is_back(model_file, redis_server):
    with serving(config_of(model_file, redis_server.url)) as client:

        def until_ready(is_ready):
            until = time.monotonic() + 20
            while client.get("/v2/health/ready").json() != {"ready": is_ready}:
                assert time.monotonic() < until
                time.sleep(0.05)

        until_ready(True)
        redis_server.kill()
        until_ready(False)
        assert client.get("/v2/health/ready").status_code == 503
        assert client.get("/v2/health/live").status_code == 200
        redis_server.start()
        until_ready(True)
        assert post(client, "/v1/streams/a/feed", {"x": X})[0] == 200


def test_the_openapi_document_describes_every_route(client):
    document = client.get("/openapi.json").json()
    assert document["openapi"].startswith("3.1")
    assert msgspec.json.encode(document)
    for path, operations in document["paths"].items():
        if path.endswith("/events"):  # they have no end
            continue
        shown = path.replace("{model}", "m").replace("{version}", "1").replace("{stream}", "s")
        for method, about in operations.items():
            response = client.request(method, shown)
            assert response.status_code != 405, (method, path)
            if response.status_code == 404:
                assert "stream" in response.json()["error"]
            assert str(response.status_code) in about["responses"], (method, path, response)


def test_metrics_count_what_was_done(model_file, tmp_path):
    with serving(config_of(model_file, tmp_path / "s")) as client:
        post(client, "/v1/streams/a/feed", {"x": [X] * 3})
        post(client, "/v1/streams/b/feed", {"x": X, "id": "i"})
        post(client, "/v1/streams/b/feed", {"x": X, "id": "i"})
        lines = client.get("/metrics").text.splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(found["legato_steps_total"]) == 5  # the last of them was answered again
    assert float(found["legato_replies_again_total"]) == 1
    assert float(found["legato_streams_in_memory"]) == 2
    assert float(found['legato_responses_total{status="200"}']) == 3


def test_a_quoted_slash_belongs_to_the_name(client):
    for name in ("q/state", "q%2fevents", "q/"):
        quoted = name.replace("%", "%25").replace("/", "%2f")
        assert post(client, f"/v1/streams/{quoted}/feed", {"x": X})[0] == 200
        about = client.get(f"/v1/streams/{quoted}").json()
        assert (about["stream"], about["steps"]) == (name, 1)
    for path in ("/v2/models/m%2Fm", "/v1/models/%2F/streams", "/v1%2Fmodels", "/%ff%2F", "/%2"):
        response = client.get(path)
        assert (response.status_code, set(response.json())) == (404, {"error"})
