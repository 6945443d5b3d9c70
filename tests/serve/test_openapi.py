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
# Loading compiles a model each time, and has tests of its own.
LEFT_OUT = ("/v2/repository/models/{model}/load",)


@pytest.mark.parametrize("mode", [GenerationMode.POSITIVE, GenerationMode.NEGATIVE])
def test_generated_requests_get_what_the_document_says(client, mode):
    schema = schemathesis.openapi.from_url(f"{client.base_url}/openapi.json")
    asked = []
    for result in schema.get_all_operations():
        operation = result.ok()
        if operation.path in LEFT_OUT:
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


def test_allow_names_all_methods_of_a_path(client):
    paths = client.get("/openapi.json").json()["paths"]
    for path, operations in paths.items():
        shown = path.replace("{model}", "m").replace("{version}", "1").replace("{stream}", "s")
        response = client.options(shown)
        assert response.status_code == 405
        allowed = set(response.headers["allow"].lower().split(", ")) - {"head"}
        assert allowed == set(operations), path
