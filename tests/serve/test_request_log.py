"""The log of requests: one line of JSON each, with streams and ids."""

import io
import json
import logging

import pytest
import websockets.sync.client
from serve.serving import config_of, serving

from legato._serve.server import JsonLines

X = [0.1, 0.2, 0.3]


@pytest.fixture
def logged(model_file, tmp_path, monkeypatch):
    """A client, and a function that gives the lines written since it was called last."""
    written, log = io.StringIO(), logging.getLogger("legato.serve")
    handler = logging.StreamHandler(written)
    handler.setFormatter(JsonLines())
    monkeypatch.setattr(log, "handlers", [handler])
    before = log.level
    log.setLevel(logging.INFO)  # which also forgets what the logger remembers of its level
    (tmp_path / "keys").write_text("ada:" + "k" * 20)
    config = config_of(
        model_file, tmp_path / "s", log_requests=True, api_key_file=str(tmp_path / "keys")
    )
    with serving(config) as client:
        client.headers["X-API-Key"] = "k" * 20

        def lines():
            client.get("/v2/health/live")  # the lines of all requests before are written then
            read = list(map(json.loads, written.getvalue().splitlines()))
            written.truncate(0)
            written.seek(0)
            return [each for each in read if "status" in each and "health" not in each["path"]]

        yield client, lines
    log.setLevel(before)


def test_each_request_is_a_line_with_its_streams_and_its_id(logged):
    client, lines = logged
    client.post("/v1/streams/a%2Fb/feed", json={"x": X, "id": "r1"})
    (line,) = lines()
    assert line.pop("milliseconds") > 0
    assert line.pop("time")
    assert line == {
        "level": "info",
        "message": "request",
        "method": "POST",
        "path": "/v1/streams/a/b/feed",
        "status": 200,
        "owner": "ada",
        "streams": ["a/b"],
        "request_id": "r1",
    }
    client.post("/v1/feed", json={"feeds": [{"stream": name, "x": X} for name in "cd"]})
    client.post("/v1/streams/c/fork", json={"into": "e"}, headers={"X-Request-ID": "h1"})
    tensor = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": X}
    body = {"inputs": [tensor], "parameters": {"sequence_id": 7}, "id": "r2"}
    client.post("/v2/models/m/infer", json=body)
    client.post("/v1/streams/c/feed", json={"x": [1]})
    client.get("/nowhere", headers={"X-API-Key": "another"})
    found = lines()
    assert [each.get("streams") for each in found] == [["c", "d"], ["c", "e"], ["7"], ["c"], None]
    assert [each["status"] for each in found] == [200, 200, 200, 400, 401]
    ids = [each.get("request_id") for each in found]
    assert ids == [None, "h1", "r2", None, None]


def test_a_name_cannot_write_lines_of_its_own(logged):
    client, lines = logged
    client.get("/v1/streams/a%0A%7B%22message%22%3A%20%22request%22%7D")
    client.get("/v1/streams/x", headers={"X-Request-ID": 'a"b'})
    first, second = lines()
    assert "\n" in first["path"]
    assert second["request_id"] == 'a"b'


def test_each_message_of_a_web_socket_is_a_line(logged):
    client, lines = logged
    address = str(client.base_url).replace("http", "ws") + "/v1/streams/s/live"
    headers = {"X-API-Key": client.headers["X-API-Key"]}
    with websockets.sync.client.connect(address, additional_headers=headers) as socket:
        for message in ({"x": X, "id": "m1"}, {"x": [1], "id": "m2"}):
            socket.send(json.dumps(message))
            assert json.loads(socket.recv())
        first, second = lines()
    for line, status, request in ((first, 200, "m1"), (second, 400, "m2")):
        assert (line["method"], line["status"]) == ("WEBSOCKET", status)
        assert (line["streams"], line["request_id"]) == (["s"], request)


def test_requests_are_not_logged_unless_asked_for(client, caplog):
    with caplog.at_level(logging.INFO, "legato.serve"):
        client.post("/v1/streams/quiet/feed", json={"x": X})
    assert not caplog.records
