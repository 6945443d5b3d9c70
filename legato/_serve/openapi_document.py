"""The OpenAPI document of a server."""

from typing import Any

import msgspec

from legato import __version__
from legato._serve.inference_routes import LoadBody, LoadParameters
from legato._serve.plain_bodies import (
    FeedBody,
    FeedsBody,
    ForkBody,
    NamedFeed,
    StateBody,
    StatelessBody,
)
from legato._serve.service import Service
from legato._serve.tensors import InferInput, InferOutput, InferRequest

_REFERENCE = "#/components/schemas/{name}"
_ERRORS = {
    "400": "The request does not fit; one sentence says why.",
    "401": "No API key that is known.",
    "403": "This API key may not do that.",
    "404": "There is no such model or stream.",
    "405": "No such method.",
    "409": "The stream is elsewhere than expected, or its state is another model's.",
    "413": "The request is too large.",
    "415": "The body is compressed otherwise than by gzip or deflate.",
    "429": "Too many requests wait, or come; see Retry-After.",
    "503": "The store cannot be written, or the server is stopping.",
    "504": "The request waited too long; no step was made.",
}
_STREAM = {
    "name": "stream",
    "in": "path",
    "required": True,
    "schema": {"type": "string", "minLength": 1, "maxLength": 256},
    "description": "The stream's name.",
}


def make_document(service: Service) -> dict[str, Any]:
    """The document, as a value that JSON takes."""
    bodies = (
        FeedBody,
        FeedsBody,
        ForkBody,
        StateBody,
        StatelessBody,
        InferRequest,
        LoadBody,
        LoadParameters,
        NamedFeed,
        InferInput,
        InferOutput,
    )
    _, schemas = msgspec.json.schema_components(bodies, ref_template=_REFERENCE)
    schemas["Error"] = {
        "type": "object",
        "required": ["error"],
        "properties": {"error": {"type": "string", "description": "One sentence."}},
    }
    model = {
        "name": "model",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "enum": list(service.models)},
    }
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "legato",
            "version": __version__,
            "description": "Streams of recurrent networks: fed step by step, never forgotten.",
        },
        "paths": _plain_paths() | _inference_paths(model),
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{"key": []}, {"bearer": []}] if service.keys.callers else [],
    }


def _operation(
    summary: str,
    body: str | None = None,
    parameters: Any = (),
    status: str = "200",
    is_required: bool = True,
) -> dict[str, Any]:
    error = {"$ref": _REFERENCE.format(name="Error")}
    responses: dict[str, Any] = {
        code: {"description": about, "content": {"application/json": {"schema": error}}}
        for code, about in _ERRORS.items()
    }
    done: dict[str, Any] = {"description": "Done."}
    if status == "200":
        done["content"] = {"application/json": {"schema": {}}}
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {status: done, **responses},
        "parameters": list(parameters),
    }
    if body is not None:
        reference = {"schema": {"$ref": _REFERENCE.format(name=body)}}
        operation["requestBody"] = {
            "required": is_required,
            "content": {"application/json": reference},
        }
    return operation


def _plain_paths() -> dict[str, Any]:
    listing = [
        {"name": "after", "in": "query", "schema": {"type": "string"}},
        {
            "name": "limit",
            "in": "query",
            "schema": {"type": "integer", "minimum": 1, "maximum": 10_000},
        },
    ]
    stream = [_STREAM]
    return {
        "/v1/models": {"get": _operation("Models, and how many streams they have.")},
        "/v1/streams": {"get": _operation("Names of streams, in order.", None, listing)},
        "/v1/feed": {"post": _operation("Feed several streams at once.", "FeedsBody")},
        "/v1/stateless": {
            "post": _operation("Answer from a state that the client keeps.", "StatelessBody")
        },
        "/v1/streams/{stream}": {
            "get": _operation("How many steps a stream was fed.", None, stream),
            "delete": _operation("Forget a stream.", None, stream, "204"),
        },
        "/v1/streams/{stream}/feed": {
            "post": _operation("Feed a stream; a new name begins one.", "FeedBody", stream)
        },
        "/v1/streams/{stream}/state": {
            "get": _operation("A stream's state.", None, stream),
            "put": _operation("Put a state in the place of a stream's.", "StateBody", stream),
        },
        "/v1/streams/{stream}/fork": {
            "post": _operation("Copy a stream to another name.", "ForkBody", stream)
        },
        "/v1/streams/{stream}/reset": {
            "post": _operation("Put a stream back to its beginning.", None, stream)
        },
    }


def _inference_paths(model: dict[str, Any]) -> dict[str, Any]:
    version = {
        "name": "version",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    }
    paths: dict[str, Any] = {
        "/v2": {"get": _operation("The server, and its extensions of the protocol.")},
        "/v2/health/live": {"get": _operation("Whether the server runs.")},
        "/v2/health/ready": {"get": _operation("Whether it takes requests.")},
        "/v2/repository/index": {"post": _operation("Models and versions.")},
        "/v2/repository/models/{model}/load": {
            "post": _operation(
                "Load a model's file anew, as a new version.",
                "LoadBody",
                [model],
                is_required=False,
            )
        },
    }
    for path, parameters in (
        ("/v2/models/{model}", [model]),
        ("/v2/models/{model}/versions/{version}", [model, version]),
    ):
        paths |= {
            path: {"get": _operation("Inputs and outputs of a model.", None, parameters)},
            f"{path}/ready": {"get": _operation("Whether a model is loaded.", None, parameters)},
            f"{path}/infer": {
                "post": _operation(
                    "Answer; feed the stream of a sequence_id.", "InferRequest", parameters
                )
            },
        }
    return paths
