"""The OpenAPI document is what the server does: generated requests get no 5xx, and what it says."""

import contextlib

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode, checks

CHECKS = [
    checks.not_a_server_error,
    checks.status_code_conformance,
    checks.content_type_conformance,
    checks.response_schema_conformance,
]
EXAMPLES = 4  # of each operation and mode
# Loading compiles a model each time, events have no end, and both have tests of their own. A model
# by its name has the routes of the first one.
LEFT_OUT = ("/load", "/events")
NAMED, TRIED = "/v1/models/{model}/", "/v1/models/{model}/streams/{stream}/feed"


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_generated_requests_get_what_the_document_says(client, mode):
    schema = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
    asked = []
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path.endswith(LEFT_OUT):
            continue
        if operation.path.startswith(NAMED) and operation.path != TRIED:
            continue

        def ask(case):
            response = case.call()
            case.validate_response(response, checks=CHECKS)
            if response.status_code >= 400:
                assert list(response.json()) == ["error"]
            asked.append((case.operation.label, response.status_code))

        bounded = settings(
            max_examples=EXAMPLES,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        strategy = operation.as_strategy(generation_mode=mode)
        with contextlib.suppress(Unsatisfiable):  # it takes nothing, so nothing can be wrong
            bounded(given(case=strategy)(ask))()
    assert len({label for label, _ in asked}) >= 10
    assert client.service.queue.is_alive


def test_answers_are_as_the_document_says(client, network):
    """Each kind of answer, which generated requests rarely get."""
    schema = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
    step, steps = [0.1, 0.2, 0.3], [[0.1, 0.2, 0.3]] * 2
    feeds = [{"stream": "a", "x": step}, {"stream": "b", "x": step, "expected_steps": 9}]
    tensor = {"name": "x", "shape": [1, 3], "datatype": "FP32", "data": step}
    sequence = {"inputs": [tensor], "id": "i", "parameters": {"sequence_id": 3}}
    binary = {**sequence, "id": "j", "parameters": {"binary_data_output": True, "sequence_id": 3}}
    raw = {"Accept": "application/octet-stream"}
    asked = [
        ("POST", "/v1/streams/{stream}/feed", {"x": steps, "id": "r"}, {}, 200),
        ("POST", "/v1/streams/{stream}/feed", {"x": steps, "id": "r"}, {}, 200),
        ("POST", "/v1/streams/{stream}/feed", {"x": step, "id": "r"}, {}, 409),
        ("POST", "/v1/models/{model}/streams/{stream}/feed", {"x": step, "peek": True}, {}, 200),
        ("POST", "/v1/feed", {"feeds": feeds}, {}, 200),
        ("POST", "/v1/stateless", {"x": steps}, {}, 200),
        ("GET", "/v1/streams", None, {}, 200),
        ("GET", "/v1/models", None, {}, 200),
        ("GET", "/v1/streams/{stream}", None, {}, 200),
        ("GET", "/v1/streams/{stream}/state", None, {}, 200),
        ("GET", "/v1/streams/{stream}/state", None, raw, 200),
        ("GET", "/v1/streams/{stream}/live", None, {}, 426),
        ("POST", "/v1/streams/{stream}/fork", {"into": "copy"}, {}, 200),
        ("POST", "/v1/streams/{stream}/reset", None, {}, 200),
        ("DELETE", "/v1/streams/{stream}", None, {}, 204),
        ("GET", "/metrics", None, {}, 200),
        ("GET", "/v2/models/{model}", None, {}, 200),
        ("POST", "/v2/models/{model}/infer", sequence, {}, 200),
        ("POST", "/v2/models/{model}/infer", binary, {}, 200),
        ("POST", "/v2/models/{model}/infer", {"inputs": [tensor]}, {}, 200),
        ("POST", "/v2/repository/models/{model}/load", {}, {}, 200),
    ]
    for method, path, body, headers, status in asked:
        shown = path.replace("{model}", "m").replace("{stream}", "described")
        response = client.request(method, shown, json=body, headers=headers)
        assert response.status_code == status, response.text
        operation = schema[path][method]
        operation.validate_response(response)
        documented = operation.definition.raw["responses"][str(status)].get("content", {"": {}})
        kind = response.headers.get("content-type", "").partition(";")[0]
        assert kind in documented
        if kind == "application/json":  # no field that is not described
            _, reference = documented[kind]["schema"]["$ref"].rsplit("/", 1)
            schemas = client.get("/openapi.json").json()["components"]["schemas"]
            assert set(response.json()) <= set(schemas[reference]["properties"])


def test_allow_names_all_methods_of_a_path(client):
    paths = client.get("/openapi.json").json()["paths"]
    for path, operations in paths.items():
        shown = path.replace("{model}", "m").replace("{version}", "1").replace("{stream}", "s")
        response = client.options(shown)
        assert response.status_code == 405
        allowed = set(response.headers["allow"].lower().split(", ")) - {"head"}
        assert allowed == set(operations), path
