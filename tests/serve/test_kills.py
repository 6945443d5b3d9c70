"""Killed at any moment, servers and stores lose no answered step, and apply none twice."""

import threading
import time
from functools import partial

import httpx
import numpy as np
import pytest
from serve.redis_server import RedisServer, needs_redis
from serve.serving import ServerProcess, config_of

STREAMS, STEPS = 4, 50
KILLS = 4


def feed_until_answered(client, addresses, name, request, x):
    """Feed a step, and ask again with the same id, anywhere, until it is answered."""
    deadline = time.monotonic() + 60
    body = {"x": x.tolist(), "id": f"{name} {request}"}
    for turn in range(10**6):
        assert time.monotonic() < deadline, "no answer for a minute"
        address = addresses[(request + turn) % len(addresses)]
        try:
            response = client.post(f"{address}/v1/streams/{name}/feed", json=body)
        except httpx.TransportError:
            time.sleep(0.01)
            continue
        if response.status_code == 503:
            time.sleep(0.01)
            continue
        assert response.status_code == 200, response.text
        return response.json()
    raise AssertionError


def feed_all(addresses, xs, killing):
    """Feed all streams from threads while ``killing`` runs, which is given a function that counts
    the answers; returns answers and step counts."""
    answers = [[] for _ in xs]
    steps = [[] for _ in xs]
    errors = []

    def feed(at):
        try:
            with httpx.Client(timeout=10) as client:
                for number, x in enumerate(xs[at]):
                    found = feed_until_answered(client, addresses, f"s{at}", number, x)
                    answers[at].append(found["y"])
                    steps[at].append(found["steps"])
        except BaseException as error:  # of a thread: to be raised by the test
            errors.append(error)

    threads = [threading.Thread(target=feed, args=(at,)) for at in range(len(xs))]
    for each in threads:
        each.start()
    killing(lambda: sum(map(len, answers)))
    for each in threads:
        each.join()
    assert not errors, errors[0]
    return answers, steps


def kill_in_between(rng, count, kill):
    """Kill some times, whenever a part of all steps has been answered."""
    for turn in range(1, KILLS + 1):
        while count() < turn * STREAMS * STEPS // (KILLS + 1):
            time.sleep(0.001)
        time.sleep(rng.uniform(0, 0.01))
        kill(turn)


def assert_fed_once(network, xs, answers, steps):
    for x, answer, count in zip(xs, answers, steps, strict=True):
        assert count == list(range(1, len(x) + 1))
        np.testing.assert_allclose(answer, network.stream().feed(x), atol=1e-6)


@pytest.mark.slow
def test_a_server_that_is_killed_under_load(model_file, network, rng, tmp_path):
    xs = rng.normal(size=(STREAMS, STEPS, 3)).astype("float32")
    server = ServerProcess(config_of(model_file, tmp_path / "kept"))

    def kill(_):
        server.kill()
        server.start()

    try:
        killing = partial(kill_in_between, rng, kill=kill)
        answers, steps = feed_all([server.address], xs, killing)
    finally:
        server.kill()
    assert_fed_once(network, xs, answers, steps)


@pytest.mark.slow
@needs_redis
def test_servers_that_share_a_redis_and_are_killed_in_turn(model_file, network, rng, redis_server):
    """A stream's steps go to both servers in turn: moved between them = never moved."""
    xs = rng.normal(size=(STREAMS, STEPS, 3)).astype("float32")
    servers = [ServerProcess(config_of(model_file, redis_server.url)) for _ in range(2)]

    def kill(turn):
        servers[turn % 2].kill()
        servers[turn % 2].start()

    try:
        killing = partial(kill_in_between, rng, kill=kill)
        answers, steps = feed_all([each.address for each in servers], xs, killing)
    finally:
        for each in servers:
            each.kill()
    assert_fed_once(network, xs, answers, steps)


@pytest.mark.slow
@needs_redis
def test_a_redis_that_is_killed_under_load(model_file, network, rng, tmp_path):
    """With everysec, Redis may answer before it writes, while its disk is busy."""
    xs = rng.normal(size=(STREAMS, STEPS, 3)).astype("float32")
    redis_server = RedisServer(tmp_path, forced=True)
    redis_server.start()
    server = ServerProcess(config_of(model_file, redis_server.url))

    def kill(_):
        redis_server.kill()
        redis_server.start()

    try:
        killing = partial(kill_in_between, rng, kill=kill)
        answers, steps = feed_all([server.address], xs, killing)
        server.stop()
    finally:
        server.kill()
        redis_server.kill()
    assert_fed_once(network, xs, answers, steps)


def test_a_server_that_is_asked_to_stop_finishes_what_it_took(model_file, network, rng, tmp_path):
    (x,) = rng.normal(size=(1, 9, 3)).astype("float32")
    config = config_of(model_file, tmp_path / "kept", durability="memory")
    server = ServerProcess(config)
    with httpx.Client(timeout=10) as client:

        def feed(at):
            return feed_until_answered(client, [server.address], "s", at, x[at])["y"]

        answers = [feed(at) for at in range(5)]
        server.stop()
        server.start()
        answers += [feed(at) for at in range(5, 9)]
        server.stop()
    np.testing.assert_allclose(answers, network.stream().feed(x), atol=1e-6)
