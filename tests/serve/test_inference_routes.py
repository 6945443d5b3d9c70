"""The Open Inference Protocol, with the clients that people have."""

import asyncio
import json

import numpy as np
import pytest
import tritonclient.http as triton
import tritonclient.http.aio as triton_aio
from cells import set_weights
from serve.serving import config_of, serving

import legato
from legato import layers

STEPS = 5


@pytest.fixture
def steps(rng):
    return rng.normal(size=(STEPS, 3)).astype("float32")


@pytest.fixture
def sync_client(client):
    with triton.InferenceServerClient(f"{client.base_url.host}:{client.base_url.port}") as made:
        yield made


def tensor(x, binary=True):
    given = triton.InferInput("x", list(x.shape), "FP32")
    given.set_data_from_numpy(np.ascontiguousarray(x), binary_data=binary)
    return given


def test_health_and_metadata(sync_client):
    assert sync_client.is_server_live()
    assert sync_client.is_server_ready()
    assert sync_client.is_model_ready("m")
    assert sync_client.is_model_ready("m", "1")
    assert "sequence" in sync_client.get_server_metadata()["extensions"]
    about = sync_client.get_model_metadata("m")
    assert about["versions"] == ["1"]
    assert about["inputs"] == [{"name": "x", "datatype": "FP32", "shape": [-1, -1, 3]}]
    assert sync_client.get_model_repository_index()[0]["state"] == "READY"


@pytest.mark.parametrize("binary", [True, False])
@pytest.mark.parametrize("sequence", [7, "a name/with: signs"])
def test_a_sequence_is_fed_step_by_step(sync_client, network, steps, binary, sequence):
    wanted = [triton.InferRequestedOutput("output_0", binary_data=binary)]
    answers = []
    for at, step in enumerate(steps):
        result = sync_client.infer(
            "m",
            [tensor(step[None], binary)],
            outputs=wanted,
            sequence_id=sequence,
            sequence_start=at == 0,
            sequence_end=at == STEPS - 1,
        )
        answers.append(result.as_numpy("output_0")[0])
    np.testing.assert_allclose(answers, network.stream().feed(steps), atol=1e-6)


@pytest.mark.parametrize("packed", [None, "gzip", "deflate"])
def test_several_steps_of_a_sequence_come_in_one_request(sync_client, network, steps, packed):
    result = sync_client.infer(
        "m",
        [tensor(steps[None])],
        sequence_id="several",
        sequence_start=True,
        request_compression_algorithm=packed,
        response_compression_algorithm=packed,
    )
    answers = result.as_numpy("output_0")
    assert answers.shape == (1, STEPS, 2)
    np.testing.assert_allclose(answers[0], network.stream().feed(steps), atol=1e-6)


def test_a_request_with_an_id_is_fed_once(sync_client, steps):
    def infer():
        return sync_client.infer(
            "m", [tensor(steps[:1])], sequence_id="once", request_id="the request"
        )

    first, again = infer(), infer()
    assert first.get_response()["id"] == "the request"
    assert again.get_response()["parameters"]["steps"] == 1
    np.testing.assert_array_equal(first.as_numpy("output_0"), again.as_numpy("output_0"))


def test_without_a_sequence_each_row_begins_at_the_initial_state(sync_client, network, rng):
    x = rng.normal(size=(4, STEPS, 3)).astype("float32")
    result = sync_client.infer("m", [tensor(x)])
    np.testing.assert_allclose(
        result.as_numpy("output_0"), network.predict(x, verbose=0), atol=1e-6
    )


def test_a_client_may_keep_the_state_itself(client, network, steps):
    state, answers = "", []
    for step in steps:
        given = {"name": "x", "shape": [1, 3], "datatype": "FP32"}
        given["data"] = step.tolist()
        body = {"inputs": [given], "parameters": {"state": state} if state else {"state": ""}}
        response = client.post("/v2/models/m/infer", json=body).json()
        state = response["parameters"]["state"]
        answers.append(response["outputs"][0]["data"])
    np.testing.assert_allclose(answers, network.stream().feed(steps), atol=1e-6)


def test_an_asyncio_client_with_many_sequences_at_a_time(client, network, rng):
    x = rng.normal(size=(12, STEPS, 3)).astype("float32")

    async def feed(connected, sequence):
        answers = []
        for step in x[sequence]:
            result = await connected.infer("m", [tensor(step[None])], sequence_id=f"aio {sequence}")
            answers.append(result.as_numpy("output_0")[0])
        return answers

    async def feed_all():
        address = f"{client.base_url.host}:{client.base_url.port}"
        async with triton_aio.InferenceServerClient(address) as connected:
            return await asyncio.gather(*[feed(connected, at) for at in range(len(x))])

    np.testing.assert_allclose(
        asyncio.run(feed_all()), [network.stream().feed(each) for each in x], atol=1e-6
    )


def test_a_model_of_several_inputs_and_outputs(tmp_path, rng):
    values, tokens = (
        layers.Input((None, 2), name="values"),
        layers.Input((None,), dtype="int32", name="tokens"),
    )
    joined = layers.Concatenate()([values, layers.Embedding(5, 2)(tokens)])
    hidden = layers.GRU(3, return_sequences=True)(joined)
    outputs = [layers.Dense(2)(hidden), layers.Dense(1)(hidden)]
    model = legato.Model([values, tokens], outputs)
    set_weights(model, 2)
    model.save(tmp_path / "two.keras")
    x = rng.normal(size=(1, STEPS, 2)).astype("float32")
    t = rng.integers(5, size=(1, STEPS)).astype("int32")
    with serving(config_of(tmp_path / "two.keras", tmp_path / "two.streams")) as client:
        answers = []
        for at in range(STEPS):
            inputs = [
                {"name": "values", "shape": [1, 2], "datatype": "FP32", "data": x[0, at].tolist()},
                {"name": "tokens", "shape": [1], "datatype": "INT32", "data": [int(t[0, at])]},
            ]
            body = {"inputs": inputs, "parameters": {"sequence_id": 1}}
            answers.append(client.post("/v2/models/m/infer", json=body).json()["outputs"])
        for tokens, words in ((None, "null"), ("a", "a text"), ({}, "an object"), (True, "true")):
            given = {"x": {"values": [1, 2], "tokens": tokens}}
            response = client.post("/v1/streams/s/feed", json=given)
            assert response.status_code == 400
            assert words in response.json()["error"]
            assert "numbers" in response.json()["error"]
    for at, wanted in enumerate(model.predict([x, t], verbose=0)):
        got = [each[at]["data"] for each in answers]
        np.testing.assert_allclose(got, wanted[0], atol=1e-6)


GOOD = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": [1, 2, 3]}


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"shape": [1, 4]}, "4 numbers"),
        ({"shape": [3, 1]}, "one row"),
        ({"shape": [2**62, 2**62]}, "numbers; 3 came"),
        ({"shape": [1, -3]}, "which is none"),
        ({"datatype": "FP99"}, "FP99"),
        ({"datatype": "BYTES"}, "BYTES"),
        ({"datatype": "INT32", "data": [1, 2.5, 3]}, "no numbers"),
        ({"data": ["a", "b", "c"]}, "no numbers"),
        ({"data": [1, True, 3]}, "no numbers"),
        ({"data": [[1], [2, 3]]}, "no numbers"),
        ({"data": [1e39, 1, 2]}, "finite"),
        ({"name": "other"}, "'other'"),
        ({"parameters": {"binary_data_size": 12}}, "0 are left"),
        ({"parameters": {"binary_data_size": -1}}, "binary_data_size"),
    ],
)
def test_a_tensor_that_does_not_fit_is_one_sentence(client, change, words):
    body = {"inputs": [{**GOOD, **change}], "parameters": {"sequence_id": 99}}
    response = client.post("/v2/models/m/infer", json=body)
    assert response.status_code == 400, response.text
    assert words in response.json()["error"]
    assert client.get("/v1/streams/99").status_code == 404


def test_what_else_does_not_fit(client):
    def status(body, path="/v2/models/m/infer", **headers):
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        return client.post(path, content=content, headers=headers).status_code

    assert status({"inputs": [GOOD]}) == 200
    assert status({"inputs": [GOOD, GOOD]}) == 400
    assert status({"inputs": []}) == 400
    assert status({"inputs": [GOOD], "outputs": [{"name": "no"}]}) == 400
    assert status({"inputs": [GOOD], "parameters": {"sequence_id": 1.5}}) == 400
    assert status({"inputs": [GOOD], "parameters": {"sequence_id": True}}) == 400
    bad_flag = {"sequence_id": 1, "sequence_start": "yes"}
    assert status({"inputs": [GOOD], "parameters": bad_flag}) == 400
    assert status({"inputs": [GOOD]}, path="/v2/models/none/infer") == 404
    assert status({"inputs": [GOOD]}, path="/v2/models/m/versions/2/infer") == 404
    assert status({"inputs": [GOOD]}, path="/v2/models/m/versions/x/infer") == 404
    length = "Inference-Header-Content-Length"
    assert status({"inputs": [GOOD]}, **{length: "99999"}) == 400
    assert status({"inputs": [GOOD]}, **{length: "-1"}) == 400
    assert status(b"", **{length: "0"}) == 400
    assert status(b"[" * 100_000) == 400
