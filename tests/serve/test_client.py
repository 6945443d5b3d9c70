"""The Python client: a stream on a server is a stream, and is fed exactly once."""

import random
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from loading import loaded_after
from serve.cutting_proxy import AFTER, BEFORE, PASS, CuttingProxy, refusal
from serve.serving import ServerProcess, config_of, serving

import legato
from legato import InputError, OutputError, StateError, layers
from legato._serve import retried_requests

STEPS = 12


@pytest.fixture(autouse=True)
def delays(monkeypatch):
    """The seconds that the client wanted to wait; it does not."""
    waited = []
    clock = SimpleNamespace(sleep=waited.append, monotonic=time.monotonic)
    monkeypatch.setattr(retried_requests, "time", clock)
    return waited


@pytest.fixture
def remote(client):
    """The model on the server of the module."""
    with legato.connect(str(client.base_url)) as model:
        yield model


def series(rng, count=1):
    """Sequences of steps, (count, steps, features)."""
    return rng.normal(size=(count, STEPS, 3)).astype("float32")


def together(calls):
    """Run functions in threads at the same time."""
    failed = []

    def run(call):
        try:
            call()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=run, args=(call,)) for call in calls]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert not failed, failed


# A stream on a server is a stream.


def use(stream, x):
    """Everything that can be done with a stream; returns the answers, and the steps."""
    seen = [stream.feed(x[0]), stream.feed(x[1:4]), stream.feed(x[4:6], every=False)]
    seen += [stream.peek(x[6]), stream.peek(x[6:8], every=False)]
    other, others = stream.fork(), stream.fork(2)
    seen += [other.feed(x[8]), others[0].feed(x[9]), others[1].feed(x[10]), other.steps]
    seen += [stream.warm(x[6:9]).feed(x[9].tolist()), stream.steps]
    state = stream.state
    seen += [stream.feed(x[10], every=False), stream.feed(x[11])]
    stream.state = state
    seen.append(stream.feed(x[3]))
    stream.reset()
    return [*seen, stream.steps, stream.feed(x[2]), stream.steps]


def test_a_stream_on_a_server_is_a_stream_whatever_the_others_do(remote, network, rng):
    xs, seen = series(rng, 6), {}

    def one(at):
        seen[at] = use(remote.stream(), xs[at])

    together([lambda at=at: one(at) for at in range(len(xs))])
    for at, x in enumerate(xs):
        expected = use(network.stream(), x)
        assert len(seen[at]) == len(expected)
        for mine, theirs in zip(seen[at], expected, strict=True):
            assert np.shape(mine) == np.shape(theirs)
            assert np.asarray(mine).dtype == np.asarray(theirs).dtype
            np.testing.assert_allclose(mine, theirs, atol=1e-6)


def test_a_pool_on_a_server_answers_as_its_streams_would(remote, network, rng):
    names = ["ada", "..", "a b/c?#é%2F", "ada/state", "ada/events", "ada/feed", "/", "ada//live"]
    xs = dict(zip(names, series(rng, len(names)), strict=True))
    pool, streams = remote.streams(), {name: network.stream() for name in xs}
    for part in (slice(0, 3), 3, slice(4, 6), 6):
        x = {name: each[part] for name, each in xs.items()}
        looked = pool.peek(x)
        answers = pool.feed(x)
        assert list(answers) == list(xs)
        for name, stream in streams.items():
            np.testing.assert_array_equal(looked[name], answers[name])
            np.testing.assert_allclose(answers[name], stream.feed(x[name]), atol=1e-6)
    for name in xs:
        assert name in pool
        assert pool.steps(name) == pool.stream(name).steps == 7
    pool.fork("ada", "eve")
    pool.reset("ada")
    assert (pool.steps("eve"), pool.steps("ada")) == (7, 0)
    pool.drop("eve")
    assert "eve" not in pool
    assert "" not in pool
    assert 3 not in pool
    assert set(xs) <= set(pool)


def test_all_names_are_listed_page_by_page(remote, rng, monkeypatch):
    names = [f"page {at}" for at in range(7)]
    remote.streams().feed({name: rng.normal(size=3) for name in names})
    monkeypatch.setattr("legato._serve.remote_streams._PAGE", 3)
    listed = list(remote.streams())
    assert listed == sorted(listed)
    assert [name for name in listed if name.startswith("page ")] == names


def test_threads_that_share_a_stream_take_turns(remote, network, rng):
    x = rng.normal(size=3).astype("float32")
    stream, seen = remote.stream(), []
    together([lambda: seen.append(stream.feed(x)) for _ in range(STEPS)])
    expected = network.stream().feed(np.tile(x, (STEPS, 1)))
    np.testing.assert_allclose(np.sort(seen, axis=0), np.sort(expected, axis=0), atol=1e-6)
    assert stream.steps == STEPS


def test_a_stream_by_name_goes_on_in_another_client(remote, client, network, rng):
    (x,) = series(rng)
    remote.stream("shared").feed(x[:5])
    with legato.connect(str(client.base_url), model="m") as other:
        stream = other.stream("shared")
        assert stream.steps == 5
        np.testing.assert_allclose(stream.feed(x[5:]), network.stream().feed(x)[5:], atol=1e-6)


def test_a_stream_that_was_not_fed_can_be_asked_reset_forked_and_ended(remote, network, rng):
    (x,) = series(rng)
    stream = remote.stream()
    stream.reset()
    stream.end()
    assert stream.steps == stream.fork().steps == 0
    remote.stream("old copy").feed(x)
    assert stream.fork(into="old copy").steps == 0
    np.testing.assert_allclose(stream.feed(x), network.stream().feed(x), atol=1e-6)


def test_ended_and_begun_anew(remote, network, rng):
    (x,) = series(rng)
    stream = remote.stream().warm(x)
    stream.end()
    assert stream.steps == 0
    stream.feed(x[0])
    np.testing.assert_allclose(
        stream.feed(x[1], start=True), network.stream().feed(x[1]), atol=1e-6
    )
    assert stream.steps == 1


def test_saved_loaded_and_forked_by_name(remote, rng, tmp_path):
    (x,) = series(rng)
    stream = remote.stream().warm(x[:7])
    stream.save(tmp_path / "s")
    copy = remote.stream().load(tmp_path / "s")
    other = stream.fork(into="by name")
    assert (copy.steps, other.steps, other.name) == (7, 7, "by name")
    expected = stream.feed(x[7:])
    np.testing.assert_array_equal(copy.feed(x[7:]), expected)
    np.testing.assert_array_equal(remote.stream("by name").feed(x[7:]), expected)


def test_a_file_of_a_stream_opens_on_a_server_and_in_memory(remote, network, rng, tmp_path):
    """To the bit, either way, and again."""
    (x,) = series(rng)
    stream = network.stream().warm(x[:7])
    stream.save(tmp_path / "local")
    there = remote.stream().load(tmp_path / "local")
    there.save(tmp_path / "remote")
    back = network.stream().load(tmp_path / "remote")
    assert (there.steps, back.steps) == (7, 7)
    for path, (mine, theirs) in stream.state.items():
        for one, other in zip((mine, theirs), back.state[path], strict=True):
            np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(back.feed(x[7:]), stream.feed(x[7:]))
    again = remote.stream().load(tmp_path / "remote")
    np.testing.assert_array_equal(again.feed(x[7:]), there.feed(x[7:]))
    pool = network.streams()
    for name in "ab":
        pool.feed({name: x[0]})
    pool.save(tmp_path / "pool")
    (tmp_path / "cut").write_bytes((tmp_path / "local").read_bytes()[:-1])
    for path, words in (("pool", "2 streams"), ("cut", "not a whole stream file")):
        with pytest.raises(StateError, match=words):
            again.load(tmp_path / path)
    assert again.steps == STEPS


# Models of other forms.


def test_several_inputs_and_outputs_and_a_window_that_is_not_full(tmp_path, rng):
    one, two = layers.Input((3, 2), name="one"), layers.Input((3, 1), name="two")
    joined = layers.Concatenate()([one, two])
    rolled = layers.LSTM(3, unroll=True)(joined)
    model = legato.Model(
        {"one": one, "two": two}, {"far": layers.Dense(2)(rolled), "near": layers.Dense(1)(rolled)}
    )
    model.save(tmp_path / "m.keras")
    x = {"one": rng.normal(size=(5, 2)), "two": rng.normal(size=(5, 1))}
    local = model.stream()
    with (
        serving(config_of(tmp_path / "m.keras", tmp_path / "s")) as client,
        legato.connect(str(client.base_url)) as remote,
    ):
        stream = remote.stream()
        for part in (slice(0, 4), 4):
            given = {name: each[part] for name, each in x.items()}
            expected, seen = local.feed(given), stream.feed(given)
            assert set(seen) == {"far", "near"}
            for name, each in seen.items():
                np.testing.assert_allclose(each, expected[name], atol=1e-6)
                assert each.dtype == expected[name].dtype


@pytest.fixture(scope="module")
def sensors(tmp_path_factory):
    """A model of ``legato train`` that forecasts one column of two."""
    rng = np.random.default_rng(4)
    data = {"load": rng.normal(size=60).tolist(), "heat": np.sin(np.arange(60) / 3).tolist()}
    path = tmp_path_factory.mktemp("sensors") / "sensors.keras"
    legato.train(data, target="heat", units=3, epochs=1, refit=False, verbose=0).save(path)
    return path


def test_rows_by_names_of_columns(sensors, tmp_path, rng):
    rows = [{"load": float(a), "heat": float(b)} for a, b in rng.normal(size=(4, 2))]
    with (
        serving(config_of(sensors, tmp_path / "s")) as client,
        legato.connect(str(client.base_url)) as remote,
    ):
        stream, numbers = remote.stream(), remote.stream()
        several = stream.feed(rows[:3])
        assert [set(each) for each in several] == [{"heat"}] * 3
        last = stream.feed({name: np.float32(each) for name, each in rows[3].items()})
        assert set(last) == {"heat"}
        assert remote.streams().feed({"a": rows[:3]})["a"] == several
        assert remote.stream().feed(rows[:3], every=False) == several[-1]
        with pytest.raises(InputError, match="heat"):
            numbers.feed({"load": 1.0})
        assert numbers.steps == 0


# Exactly once.


def test_cut_connections_feed_no_step_twice_and_lose_none(client, network, rng, delays):
    """Half of the requests are cut, before the server has them or after it has fed them."""
    xs, seen = series(rng, 4), {}
    draw = random.Random(3)
    plan = iter([PASS] * 2 + [draw.choice([PASS, PASS, BEFORE, AFTER]) for _ in range(150)])
    with (
        CuttingProxy(str(client.base_url), plan) as proxy,
        legato.connect(proxy.address, retries=100) as remote,
    ):

        def one(at):
            stream = remote.stream(f"cut {at}")
            seen[at] = [stream.feed(each) for each in xs[at]]
            assert stream.steps == STEPS

        together([lambda at=at: one(at) for at in range(len(xs))])
        pool = remote.streams()
        several = pool.feed({f"cut pool {at}": x for at, x in enumerate(xs)})
        assert [pool.steps(name) for name in several] == [STEPS] * len(xs)
        assert proxy.cuts > 20
        assert len(delays) >= proxy.cuts
    for at, x in enumerate(xs):
        expected = network.stream().feed(x)
        np.testing.assert_allclose(seen[at], expected, atol=1e-6)
        np.testing.assert_allclose(several[f"cut pool {at}"], expected, atol=1e-6)


def test_a_server_that_is_killed_and_started_again_is_not_noticed(
    model_file, network, rng, tmp_path, monkeypatch
):
    monkeypatch.setattr(retried_requests, "time", time)
    xs = rng.normal(size=(2, 40, 3)).astype("float32")
    seen, fed = [[] for _ in xs], threading.Semaphore(0)
    server = ServerProcess(config_of(model_file, tmp_path / "s"))
    try:
        with legato.connect(server.address, retries=1000) as remote:

            def one(at):
                stream = remote.stream(f"killed {at}")
                for x in xs[at]:
                    seen[at].append(stream.feed(x))
                    fed.release()

            def kill():
                for _ in range(15):
                    assert fed.acquire(timeout=60)
                server.kill()
                server.start()

            together([kill, *(lambda at=at: one(at) for at in range(len(xs)))])
            assert [remote.stream(f"killed {at}").steps for at in range(len(xs))] == [40, 40]
    finally:
        server.kill()
    for answers, x in zip(seen, xs, strict=True):
        np.testing.assert_allclose(answers, network.stream().feed(x), atol=1e-6)


def test_refusals_that_may_pass_are_waited_for(client, network, rng, delays):
    (x,) = series(rng)
    plan = [PASS, PASS, refusal(503, Retry_After="7"), refusal(429, Retry_After="2"), refusal(502)]
    with (
        CuttingProxy(str(client.base_url), iter(plan)) as proxy,
        legato.connect(proxy.address) as remote,
    ):
        stream = remote.stream()
        np.testing.assert_allclose(stream.feed(x), network.stream().feed(x), atol=1e-6)
        assert stream.steps == STEPS
    assert [round(each) for each in delays] == [7, 2, 0]


def test_a_feed_whose_fate_is_unknown_says_how_to_feed_it_once(client, network, rng):
    (x,) = series(rng)
    plan = iter([PASS, PASS, AFTER, BEFORE, PASS])
    with (
        CuttingProxy(str(client.base_url), plan) as proxy,
        legato.connect(proxy.address, retries=1) as remote,
    ):
        stream = remote.stream()
        with pytest.raises(
            OutputError, match=r"2 tries.*not known: feed them again with request_i"
        ):
            stream.feed(x, request_id="mine")
        assert stream.steps == STEPS
        again = stream.feed(x, request_id="mine")
        assert stream.steps == STEPS
        np.testing.assert_allclose(again, network.stream().feed(x), atol=1e-6)


def test_a_batch_whose_fate_is_unknown_is_fed_once_with_its_id(client, network, rng):
    x = dict(zip("ab", rng.normal(size=(2, STEPS, 3)), strict=True))
    plan = iter([PASS, PASS, AFTER, BEFORE, PASS])
    with (
        CuttingProxy(str(client.base_url), plan) as proxy,
        legato.connect(proxy.address, retries=1) as remote,
    ):
        streams = remote.streams()
        with pytest.raises(OutputError, match=r"not known: feed them again with request_id='all'"):
            streams.feed(x, request_id="all")
        again = streams.feed(x, request_id="all")
        for name, each in x.items():
            assert streams.steps(name) == STEPS
            np.testing.assert_allclose(again[name], network.stream().feed(each), atol=1e-6)


def test_the_deadline_ends_the_tries(delays):
    with pytest.raises(OutputError, match=r"did not do it in 1 try; the last one: ConnectError"):
        legato.connect("http://127.0.0.1:1", deadline=0.001)
    with pytest.raises(OutputError, match=r"in 4 tries"):
        legato.connect("http://127.0.0.1:1", retries=3)
    assert len(delays) == 3
    assert all(0.02 < each <= 0.2 for each in delays)


# Errors.


def test_errors_are_the_servers(remote, client, rng, tmp_path):
    x, stream = rng.normal(size=3), remote.stream()
    stream.feed(x)
    for wrong, kind, sentence in (
        (lambda: stream.feed([1.0]), InputError, r"x has shape \(1,\); one step is \(3,\)"),
        (lambda: stream.feed(x * np.nan), InputError, "every number must be finite"),
        (lambda: stream.feed([[None] * 3]), InputError, "x"),
        (lambda: stream.feed([1, 2, object()]), InputError, "an? object.*numbers or rows"),
        (lambda: stream.feed({"load": 1}), InputError, "no names of columns"),
        (lambda: stream.feed(x, request_id="x" * 300), InputError, "length"),
        (lambda: remote.stream("").feed(x), InputError, "name of a stream is ''"),
        (lambda: remote.stream("\x00").feed(x), InputError, "cannot be printed"),
        (lambda: remote.stream().state, InputError, "There is no stream"),
        (lambda: setattr(stream, "state", b"safe"), StateError, "not a whole stream file"),
        (lambda: setattr(stream, "state", {}), InputError, "is bytes.*dict came"),
        (lambda: stream.load(tmp_path / "none"), OutputError, "cannot be read"),
        (lambda: stream.save(tmp_path / "no" / "s"), OutputError, "folder"),
        (lambda: stream.fork(0), InputError, "n is 0"),
        (lambda: stream.fork(2, into="one"), InputError, "one name is for one copy"),
        (lambda: remote.streams().feed([x]), InputError, "mapping of names to steps"),
        (lambda: remote.streams().feed({"a": [1]}), InputError, "Stream 'a': x has shape"),
        (lambda: legato.connect("localhost:8000"), InputError, "address of a server"),
        (lambda: legato.connect(remote.url, model="no"), InputError, "There is no model 'no'"),
        (lambda: legato.connect(remote.url, model=3), InputError, "no name"),
        (lambda: legato.connect(remote.url, timeout=0), InputError, "above 0"),
        (lambda: legato.connect(remote.url, api_key="ké"), InputError, "printable ASCII"),
        (lambda: legato.connect(f"{remote.url}/v2"), InputError, "Not Found"),
    ):
        with pytest.raises(kind, match=sentence):
            wrong()
    assert stream.steps == 1
    remote.close()
    with pytest.raises(InputError, match="was closed: connect anew"):
        stream.feed(x)


def test_something_else_than_a_server_is_refused(client):
    for body in (b"<html>", b"{}", b'{"models": []}'):
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode()
        with (
            CuttingProxy(str(client.base_url), iter([head + body])) as proxy,
            pytest.raises(InputError, match="server"),
        ):
            legato.connect(proxy.address)


def test_keys_and_quotas(model_file, tmp_path, rng, delays):
    keys = tmp_path / "keys"
    keys.write_text("ada:" + "a" * 16 + "\nbob:" + "b" * 16)
    config = config_of(model_file, tmp_path / "s", api_key_file=str(keys), streams_per_key=1)
    x = rng.normal(size=3)
    with serving(config) as client:
        address = str(client.base_url)
        with pytest.raises(InputError, match="no API key"):
            legato.connect(address)
        with (
            legato.connect(address, api_key="a" * 16) as ada,
            legato.connect(address, api_key="b" * 16) as bob,
        ):
            ada.stream("mine").feed(x)
            assert (list(ada.streams()), list(bob.streams())) == (["mine"], [])
            with pytest.raises(InputError, match="at most 1 streams"):
                ada.stream("another").feed(x)
            with pytest.raises(InputError, match=r"Stream 'another'.*at most 1 streams") as failed:
                ada.streams().feed({"mine": x, "another": x})
            assert set(failed.value.answers) == {"mine"}
            assert ada.stream("mine").steps == 2
    assert not delays


def test_a_client_needs_neither_keras_nor_jax_and_says_what_to_install(monkeypatch):
    code = (
        "import legato\ntry: legato.connect('http://127.0.0.1:1', retries=0)\nexcept OSError: pass"
    )
    assert {"keras", "jax"}.isdisjoint(loaded_after(code))
    monkeypatch.setitem(sys.modules, "legato._serve.retried_requests", None)
    with pytest.raises(legato.MissingError, match=r"pip install 'legato\[client\]'"):
        legato.connect("http://127.0.0.1:1")


def test_what_they_are_is_shown(remote):
    assert repr(remote) == f"<RemoteModel: 'm' at {remote.url}>"
    assert repr(remote.stream("s")) == f"<RemoteStream: 's' of 'm' at {remote.url}>"
    assert repr(remote.streams()) == f"<RemoteStreams: of 'm' at {remote.url}>"
