"""Versions of a model: streams stay, or move, and what they answer is the stream's alone."""

import logging
import shutil

import httpx
import numpy as np
import pytest
from cells import set_weights
from serve.redis_server import needs_redis
from serve.serving import ServerProcess, config_of, serving

import legato
from legato import layers
from legato._serve import plain_routes
from legato._serve.model_files import load_model_file
from legato._serve.plain_feeds import stack_feeds

STEPS, KEPT = 12, 5
UNITS = {"first": 4, "second": 4, "larger": 5, "wide": 4, "narrow": 4}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Models by name, and the folder of their files: the states of "larger" have another shape, and
    a step of "wide" and an answer of "narrow" have too."""
    folder, models = tmp_path_factory.mktemp("versions"), {}
    for seed, (name, units) in enumerate(UNITS.items()):
        features = 2 if name == "wide" else 3
        model = legato.Sequential(
            [
                layers.Input((None, features), name="x"),
                layers.LSTM(units),
                layers.Dense(1 if name == "narrow" else 2),
            ]
        )
        set_weights(model, seed)
        model.save(folder / f"{name}.keras")
        models[name] = model
    return models, folder


@pytest.fixture
def use(made, tmp_path):
    """Puts a model into the file that is served, and returns its stream's answers to steps."""

    def put(name):
        shutil.copy(made[1] / f"{name}.keras", tmp_path / "new")
        (tmp_path / "new").replace(tmp_path / "m.keras")
        return made[0][name].stream

    return put


def feed(client, name, x, **more):
    """Feed a stream; returns the answer's JSON."""
    body = {"x": np.asarray(x).tolist(), **more}
    response = client.post(f"/v1/streams/{name}/feed", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def load(client, streams="stay"):
    """Load the model's file anew."""
    body = {"parameters": {"streams": streams}}
    response = client.post("/v2/repository/models/m/load", json=body)
    assert response.status_code == 200, response.text
    return response.json()


def series(rng):
    return rng.normal(size=(STEPS, 3)).astype("float32")


def near(answer, wanted):
    np.testing.assert_allclose(answer, wanted, atol=1e-6)


def stores(tmp_path, durability="write", **settings):
    return config_of(tmp_path / "m.keras", tmp_path / "s", durability=durability, **settings)


def test_streams_stay_with_the_version_that_they_began_with(use, rng, tmp_path):
    x, first = series(rng), use("first")
    with serving(stores(tmp_path)) as client:
        for name in ("old", "anew", "reset", "ended"):
            feed(client, name, x[:2])
        feed(client, "ended", x[2], end=True)
        second = use("second")
        done = load(client)
        assert done == {"version": "2", "streams_moved": 0, "streams_left": 3}
        assert load(client) == done
        assert client.get("/v2/models/m").json()["versions"] == ["1", "2"]
        old = feed(client, "old", x[2])
        near(old["y"], first().feed(x[:3])[2])
        client.post("/v1/streams/reset/reset")
        begun = [feed(client, name, x[0]) for name in ("new", "reset", "ended")]
        begun.append(feed(client, "anew", x[0], start=True))
        for each in begun:
            near(each["y"], second().feed(x[:1])[0])
        assert [each["version"] for each in (old, *begun)] == ["1", "2", "2", "2", "2"]
        peek = feed(client, "old", x[0], start=True, peek=True)
        near(peek["y"], begun[0]["y"])
        near(feed(client, "old", x[3])["y"], first().feed(x[:4])[3])
        use("first")
        assert load(client)["version"] == "1"  # back to the old one, for new streams too
        near(feed(client, "newer", x[0])["y"], first().feed(x[:1])[0])
        near(feed(client, "new", x[1])["y"], second().feed(x[:2])[1])


def test_steps_that_were_read_before_a_load_are_read_anew_for_another_version(
    use, rng, tmp_path, monkeypatch
):
    x, first = series(rng), use("first")
    with serving(stores(tmp_path)) as client:
        feed(client, "old", x[0])

        def stack_and_load(keys, bodies, version):
            made = stack_feeds(keys, bodies, version)
            use("wide")
            (model,) = client.service.models.values()
            model.add(load_model_file(model.path))
            return made

        monkeypatch.setattr(plain_routes, "stack_feeds", stack_and_load)
        feeds = [{"stream": name, "x": x[1].tolist()} for name in ("old", "new")]
        old, new = client.post("/v1/feed", json={"feeds": feeds}).json()["answers"]
        near(old["y"], first().feed(x[:2])[1])
        assert (new["status"], "(3,)" in new["error"], "(2,)" in new["error"]) == (400, True, True)


def test_states_are_carried_over_where_they_fit(use, rng, tmp_path):
    x, first = series(rng), use("first")
    with serving(stores(tmp_path)) as client:
        for at in range(3):
            before = feed(client, f"s{at}", x[:2], id="r")
        second = use("second")
        done = load(client, "carry")
        assert done == {"version": "2", "streams_moved": 3, "streams_left": 0}
        assert feed(client, "s0", x[:2], id="r")["y"] == before["y"]
        carried, taken = feed(client, "s0", x[2]), second()
        taken.state = first().warm(x[:2]).state
        near(carried["y"], taken.feed(x[2]))
        assert (carried["version"], carried["steps"]) == ("2", 3)
        for name, word in (("larger", "states"), ("narrow", "outputs"), ("wide", "inputs")):
            use(name)
            done = load(client, "carry")
            assert (done["streams_moved"], done["streams_left"]) == (0, 3)
            assert word in done["reason"]
        near(feed(client, "s0", x[3])["y"], taken.feed(x[3]))
        wrong = [{"streams": "fly"}, {"stream": "carry"}, {"streams": None}]
        for body in ({"streams": "carry"}, *({"parameters": each} for each in wrong)):
            refused = client.post("/v2/repository/models/m/load", json=body)
            assert refused.status_code == 400
            assert "stream" in refused.json()["error"]
        assert len(client.get("/v2/models/m").json()["versions"]) == 5
        none = client.post(
            "/v2/repository/models/m/load", json={"parameters": {"streams": "replay"}}
        )
        assert none.status_code == 400
        assert "--keep-history" in none.json()["error"]


@pytest.mark.parametrize("kind", ["memory", "write", pytest.param("redis", marks=needs_redis)])
def test_a_replayed_stream_is_the_new_models_fed_the_same_steps(kind, use, rng, tmp_path, request):
    """The new model has states of another shape, which no stream could carry."""
    x, first = series(rng), use("first")
    if kind == "redis":
        redis = request.getfixturevalue("redis_server")
        config = config_of(tmp_path / "m.keras", redis.url, keep_history=KEPT)
    else:
        config = stores(tmp_path, kind, keep_history=KEPT)
    with serving(config) as client:
        fed = {"short": 4, "one by one": 4, "full": KEPT, "long": STEPS - 2, "long by one": STEPS}
        for name, count in fed.items():
            parts = np.split(x[:count], count) if "one" in name else [x[:2], x[2:count]]
            for at, part in enumerate(parts):
                last = feed(client, name, part[0] if "one" in name else part, id=f"{at}")
        feed(client, "anew", x[:9])
        feed(client, "anew", x[:3], start=True)
        feed(client, "ended", x[:3], end=True)
        feed(client, "reset", x[:3])
        client.post("/v1/streams/reset/reset")
        client.post("/v1/streams/short/fork", json={"into": "copy"})
        feed(client, "copy", x[4])
        state = client.get("/v1/streams/long/state").json()["state"]
        client.put("/v1/streams/put/state", json={"state": state})
    with serving(config) as client:  # the history is in the store
        larger = use("larger")
        done = load(client, "replay")
        assert "are kept" in done.pop("reason")
        assert done == {"version": "2", "streams_moved": 7, "streams_left": 2}
        history = {name: x[max(0, count - KEPT) : count] for name, count in fed.items()}
        history |= {"anew": x[:3], "reset": x[:0]}
        for name, steps in history.items():
            moved, alone = feed(client, name, x[0]), larger()
            if len(steps):
                alone.feed(steps)
            near(moved["y"], alone.feed(x[0]))
            wanted = {"anew": 4, "reset": 1}.get(name) or fed[name] + 1
            assert (moved["version"], moved["steps"]) == ("2", wanted)
        again = feed(client, "long by one", x[-1], id=str(STEPS - 1))
        assert (again["y"], again["again"]) == (last["y"], True)
        left = feed(client, "copy", x[5])
        near(left["y"], first().feed(x[:6])[5])
        assert left["version"] == "1"
        near(feed(client, "ended", x[0])["y"], larger().feed(x[:1])[0])


def test_a_history_with_a_gap_is_not_replayed(use, rng, tmp_path):
    """Steps that were fed while no history was kept are missing, also where numbers agree."""
    x, first = series(rng), use("first")
    with serving(stores(tmp_path, keep_history=KEPT)) as client:
        feed(client, "gap", x[:4])
        feed(client, "anew", x[:4])
    with serving(stores(tmp_path)) as client:
        feed(client, "gap", x[4])
        feed(client, "anew", x[6:9], start=True)
    with serving(stores(tmp_path, keep_history=KEPT)) as client:
        feed(client, "gap", x[5])
        feed(client, "anew", x[9])
        use("larger")
        assert load(client, "replay")["streams_left"] == 2
        near(feed(client, "gap", x[6])["y"], first().feed(x[:7])[6])
        for at in range(7, 10):
            feed(client, "gap", x[at])
        done = load(client, "replay")
        assert (done["streams_moved"], done["streams_left"]) == (1, 1)


def test_streams_whose_inputs_are_others_are_read_as_theirs_and_do_not_move(use, rng, tmp_path):
    x, first = series(rng), use("first")
    with serving(stores(tmp_path, keep_history=KEPT)) as client:
        feed(client, "old", x[:2])
        wide = use("wide")
        for streams in ("replay", "carry"):
            assert load(client, streams)["streams_left"] == 1
        near(feed(client, "old", x[2:4])["y"], first().feed(x[:4])[2:])
        near(feed(client, "new", x[:2, :2])["y"], wide().feed(x[:2, :2]))
        feeds = [("old", x[4]), ("old again", x[4, :2]), ("new", x[2, :2])]
        client.post("/v1/streams/old/fork", json={"into": "old again"})
        feeds = [{"stream": name, "x": step.tolist()} for name, step in feeds]
        old, wrong, new = client.post("/v1/feed", json={"feeds": feeds}).json()["answers"]
        near(old["y"], first().feed(x[:5])[4])
        near(new["y"], wide().feed(x[:3, :2])[2])
        assert wrong["status"] == 400
        tensor = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": x[5].tolist()}
        body = {"inputs": [tensor], "parameters": {"sequence_id": "old"}}
        answer = client.post("/v2/models/m/infer", json=body).json()
        near(answer["outputs"][0]["data"], first().feed(x[:6])[5])
        assert answer["model_version"] == "1"


def test_a_state_that_is_put_is_the_newest_versions(use, rng, tmp_path):
    x = series(rng)
    use("first")
    with serving(stores(tmp_path)) as client:
        feed(client, "old", x[:2])
        second = use("second")
        load(client)
        feed(client, "new", x[:3])
        state = client.get("/v1/streams/new/state").json()["state"]
        client.put("/v1/streams/old/state", json={"state": state})
        near(feed(client, "old", x[3])["y"], second().feed(x[:4])[3])
        feed(client, "other", x[:2])
        client.post("/v1/streams/old/fork", json={"into": "other"})
        near(feed(client, "other", x[4])["y"], second().feed(x[:5])[4])


def test_streams_of_an_old_version_go_on_to_the_bit_after_a_restart(use, rng, tmp_path):
    """Its file was replaced long ago: the store has it. Killed, not stopped."""
    x = series(rng)
    use("first")
    with serving(config_of(tmp_path / "m.keras", tmp_path / "unbroken")) as client:
        unbroken = [feed(client, "s", each)["y"] for each in x]
    server = ServerProcess(stores(tmp_path))
    try:
        with httpx.Client(base_url=server.address, timeout=30) as client:
            answers = [feed(client, "s", each)["y"] for each in x[:4]]
            second = use("second")
            assert load(client)["version"] == "2"
            answers += [feed(client, "s", each)["y"] for each in x[4:6]]
            feed(client, "t", x[0])
        server.kill()
        use("second")
        server.start()
        with httpx.Client(base_url=server.address, timeout=30) as client:
            answers += [feed(client, "s", each)["y"] for each in x[6:9]]
            new = feed(client, "t", x[1])
            near(new["y"], second().feed(x[:2])[1])
            assert new["version"] == "2"
            assert client.get("/v2/models/m").json()["versions"] == ["2", "1"]
        server.kill()
        use("larger")  # a model that was replaced while no server ran
        server.start()
        with httpx.Client(base_url=server.address, timeout=30) as client:
            answers += [feed(client, "s", each)["y"] for each in x[9:]]
            near(feed(client, "t", x[2])["y"], second().feed(x[:3])[2])
            assert feed(client, "u", x[0])["version"] == "3"
    finally:
        server.kill()
    assert answers == unbroken


@needs_redis
def test_a_server_loads_a_version_that_another_server_began(use, rng, tmp_path, redis_server):
    x, first = series(rng), use("first")
    config = config_of(tmp_path / "m.keras", redis_server.url)
    with serving(config) as one:
        feed(one, "old", x[:2])
        second = use("second")
        with serving(config) as other:
            feed(other, "new", x[:2])
            near(feed(one, "new", x[2])["y"], second().feed(x[:3])[2])
            near(feed(other, "old", x[2])["y"], first().feed(x[:3])[2])
            assert feed(one, "newer", x[0])["version"] == "1"


def test_streams_of_weights_that_are_nowhere_are_refused_unless_taken(use, rng, tmp_path):
    x = series(rng)
    use("first")
    with serving(stores(tmp_path)) as client:
        feed(client, "a", x[:2])
        client.service.store._connection.execute("UPDATE models SET content = x'00'")
    use("second")
    with serving(stores(tmp_path)) as client:
        for _ in range(2):
            response = client.post("/v1/streams/a/feed", json={"x": x[2].tolist()})
            assert response.status_code == 409
            assert "other weights" in response.json()["error"]
            assert "cannot be read" in response.json()["error"]
        feed(client, "b", x[0])
        assert client.get("/v1/streams/a").status_code == 409
        assert load(client, "carry")["streams_left"] == 1
    with serving(stores(tmp_path, other_weights=True)) as client:
        assert feed(client, "a", x[2])["steps"] == 3


def test_a_model_that_is_loaded_anew_or_cannot_be_is_in_the_log(use, tmp_path, caplog):
    use("first")
    with serving(stores(tmp_path)) as client, caplog.at_level(logging.INFO, "legato.serve"):
        load(client)
        (tmp_path / "m.keras").write_bytes(b"no model")
        refused = client.post("/v2/repository/models/m/load", json={})
        assert refused.status_code == 400
        done, failed = caplog.records[-2:]
        assert "streams_left=0" in done.getMessage()
        assert failed.levelname == "WARNING"
        assert refused.json()["error"] in failed.getMessage()
        assert client.post("/v1/streams/a/feed", json={"x": [0, 0, 0]}).status_code == 200


def test_a_model_file_that_changes_while_it_is_read_is_read_again(use, tmp_path, monkeypatch):
    from legato._serve import model_files

    use("first")
    path, loads = tmp_path / "m.keras", []
    whole = model_files._load

    def slow(given):
        loads.append(given)
        if len(loads) == 1:
            use("second")
        return whole(given)

    monkeypatch.setattr(model_files, "_load", slow)
    loaded = load_model_file(path)
    assert (len(loads), loaded.content) == (2, path.read_bytes())


def test_more_streams_in_a_request_than_fit_into_memory(use, rng, tmp_path):
    x, first = series(rng), use("first")
    with serving(stores(tmp_path, limit=3)) as client:
        for step in range(4):
            names = rng.permutation(8)[:5].tolist() if step else list(range(8))
            for each in range(8):
                if each not in names:
                    feed(client, f"s{each}", x[step])
            feeds = [{"stream": f"s{each}", "x": x[step].tolist()} for each in names]
            answers = client.post("/v1/feed", json={"feeds": feeds}).json()["answers"]
            for each in answers:
                near(each["y"], first().feed(x[: step + 1])[step])
