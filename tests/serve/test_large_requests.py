"""Large requests: none keeps the others waiting, and one that is too long is refused whole."""

import json
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from serve.serving import config_of, serving

from legato._serve import large_requests, plain_routes

X = [0.1, 0.2, 0.3]
MOST = 300


@pytest.fixture(scope="module")
def limited(model_file, tmp_path_factory):
    """A client of a server that takes so many steps a request."""
    store = tmp_path_factory.mktemp("limited") / "s"
    with serving(config_of(model_file, store, max_steps=MOST)) as connected:
        yield connected


def test_a_request_of_too_many_steps_feeds_nothing(limited):
    several = {"feeds": [{"stream": name, "x": [X] * (MOST // 2 + 1)} for name in "ab"]}
    tensor = {"name": "x", "datatype": "FP32"}
    rows = {**tensor, "shape": [MOST + 1, 3], "data": [X] * (MOST + 1)}
    samples = {**tensor, "shape": [2, MOST // 2 + 1, 3], "data": [X] * (MOST + 2)}
    sequence = {**samples, "shape": [1, MOST + 2, 3]}
    for path, body in (
        ("/v1/streams/a/feed", {"x": [X] * (MOST + 1)}),
        ("/v1/streams/a/feed", {"rows": [{}] * (MOST + 1)}),
        ("/v1/feed", several),
        ("/v1/stateless", {"x": [X] * (MOST + 1)}),
        ("/v2/models/m/infer", {"inputs": [rows]}),
        ("/v2/models/m/infer", {"inputs": [samples]}),
        ("/v2/models/m/infer", {"inputs": [sequence], "parameters": {"sequence_id": "a"}}),
    ):
        response = limited.post(path, json=body)
        assert response.status_code == 413, (path, response.text)
        assert f"of at most {MOST}" in response.json()["error"]
    assert limited.get("/v1/streams").json() == {"streams": []}
    answer = limited.post("/v1/streams/whole/feed", json={"x": [X] * MOST}).json()
    assert (answer["steps"], len(answer["y"])) == (MOST, MOST)


@pytest.mark.parametrize("slow", ["reading", "writing"])
def test_others_are_answered_while_a_large_request_is_read_and_answered(slow, limited, monkeypatch):
    module, name = {
        "reading": (large_requests, "decode_json"),
        "writing": (plain_routes, "describe_feed"),
    }[slow]
    whole, is_begun, may_end = getattr(module, name), threading.Event(), threading.Event()

    def held(*given):
        is_begun.set()
        assert may_end.wait(10)
        return whole(*given)

    content = json.dumps({"x": np.zeros((MOST, 3)).tolist()}).encode()
    content += b" " * 2**16
    monkeypatch.setattr(module, name, held)
    with ThreadPoolExecutor(1) as thread:
        large = thread.submit(limited.post, f"/v1/streams/{slow}/feed", content=content)
        assert is_begun.wait(10)
        try:
            assert limited.get("/v2/health/live", timeout=5).status_code == 200
            monkeypatch.undo()
            answer = limited.post("/v1/streams/other/feed", json={"x": X}, timeout=5)
            assert answer.status_code == 200
        finally:
            may_end.set()
        assert large.result().json()["steps"] == MOST


def test_a_long_feed_of_a_client_that_has_gone_is_not_begun(limited):
    held = limited.service.models["m"]
    whole, is_begun, may_go_on = held.feed, threading.Event(), threading.Event()

    def slow(feeds):
        is_begun.set()
        assert may_go_on.wait(10)
        whole(feeds)

    held.feed = slow
    try:
        with ThreadPoolExecutor(1) as thread:
            first = thread.submit(limited.post, "/v1/streams/first/feed", json={"x": X})
            assert is_begun.wait(10)
            body = json.dumps({"x": [X] * MOST}).encode()
            head = f"POST /v1/streams/gone/feed HTTP/1.1\r\nHost: a\r\nContent-Length: {len(body)}"
            address = (limited.base_url.host, limited.base_url.port)
            with socket.create_connection(address) as connection:
                connection.sendall(head.encode() + b"\r\n\r\n" + body)
                while not len(limited.service.queue):
                    time.sleep(0.002)
            assert limited.get("/v2/health/live").status_code == 200
            time.sleep(0.05)
            may_go_on.set()
            assert first.result().status_code == 200
    finally:
        held.feed = whole
    assert limited.get("/v1/streams/gone").status_code == 404
