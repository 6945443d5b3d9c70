"""The OpenAPI document of a server."""

from typing import Any

import msgspec

from legato import __version__
from legato._serve.inference_routes import LoadBody
from legato._serve.plain_bodies import FeedBody, FeedsBody, ForkBody, StateBody, StatelessBody
from legato._serve.response_bodies import (
    REFERENCE,
    EventData,
    FailedFeed,
    FeedAnswer,
    FeedsAnswer,
    IndexEntry,
    InferAnswer,
    LoadAnswer,
    ModelAbout,
    ModelReady,
    ModelsAnswer,
    ServerAbout,
    ServerLive,
    ServerReady,
    StatelessAnswer,
    StreamAbout,
    StreamNames,
    StreamState,
    StreamSteps,
)
from legato._serve.service import Service
from legato._serve.tensors import InferRequest

_JSON, _BYTES = "application/json", "application/octet-stream"
_ANY_BYTES = {"type": "string", "format": "binary"}
_ERRORS = {
    "400": "The request does not fit; one sentence says why.",
    "401": "No API key that is known.",
    "403": "This API key may not do that.",
    "404": "There is no such model or stream.",
    "405": "No such method.",
    "409": "The stream is elsewhere than expected, its state is another model's, or the id was "
    "another request's.",
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
        *(FeedBody, FeedsBody, ForkBody, StateBody, StatelessBody, InferRequest, LoadBody),
        *(FeedAnswer, FailedFeed, FeedsAnswer, StatelessAnswer, EventData, StreamNames),
        *(StreamAbout, StreamState, StreamSteps, ModelsAnswer, ServerAbout, ServerLive),
        *(ServerReady, ModelReady, IndexEntry, LoadAnswer, ModelAbout, InferAnswer),
    )
    _, schemas = msgspec.json.schema_components(bodies, ref_template=REFERENCE)
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
    named = _plain_paths("/v1/models/{model}", [model])
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "legato",
            "version": __version__,
            "description": "Streams of recurrent networks: fed step by step, never forgotten. "
            "/v1/streams is about the first model, /v1/models/{model}/streams about each by name.",
        },
        "paths": _plain_paths("/v1", []) | named | _inference_paths(model) | _other_paths(),
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
                "bearer": {"type": "http", "scheme": "bearer"},
            },
        },
        "security": [{"key": []}, {"bearer": []}] if service.keys.callers else [],
    }


def _schema(body: Any) -> dict[str, Any]:
    return {"$ref": REFERENCE.format(name=body.__name__)}


def _operation(
    summary: str,
    answer: Any = None,
    body: Any = None,
    parameters: Any = (),
    is_required: bool = True,
) -> dict[str, Any]:
    """An operation.

    Args:
        summary: what it does.
        answer: type of the JSON that it answers with, or a schema; None: it answers with nothing.
        body: type of the JSON that it takes; None: it takes nothing.
        parameters: of its address.
        is_required: whether the body must come.
    """
    responses: dict[str, Any] = {
        code: {"description": about, "content": {_JSON: {"schema": {"$ref": _error_reference()}}}}
        for code, about in _ERRORS.items()
    }
    done: dict[str, Any] = {"description": "Done."}
    if answer is not None:
        schema = answer if isinstance(answer, dict) else _schema(answer)
        done["content"] = {_JSON: {"schema": schema}}
    operation: dict[str, Any] = {
        "summary": summary,
        "responses": {"204" if answer is None else "200": done, **responses},
        "parameters": list(parameters),
    }
    if body is not None:
        content = {_JSON: {"schema": _schema(body)}}
        operation["requestBody"] = {"required": is_required, "content": content}
    return operation


def _error_reference() -> str:
    return REFERENCE.format(name="Error")


def _plain_paths(prefix: str, model: list[dict[str, Any]]) -> dict[str, Any]:
    """Paths about the streams of a model.

    Args:
        prefix: of all of them.
        model: the parameter that names the model, if there is one.
    """
    listing = [
        *model,
        {"name": "after", "in": "query", "schema": {"type": "string"}},
        {
            "name": "limit",
            "in": "query",
            "schema": {"type": "integer", "minimum": 1, "maximum": 10_000},
        },
    ]
    stream = [*model, _STREAM]
    state = _operation("A stream's state, as text or as bytes.", StreamState, None, stream)
    state["responses"]["200"]["content"][_BYTES] = {"schema": _ANY_BYTES}
    put = _operation("Put a state in the place of a stream's.", StreamSteps, StateBody, stream)
    put["requestBody"]["content"][_BYTES] = {"schema": _ANY_BYTES}
    paths = {
        "/streams": {"get": _operation("Names of streams, in order.", StreamNames, None, listing)},
        "/feed": {
            "post": _operation("Feed several streams at once.", FeedsAnswer, FeedsBody, model)
        },
        "/stateless": {
            "post": _operation(
                "Answer from a state that the client keeps.", StatelessAnswer, StatelessBody, model
            )
        },
        "/streams/{stream}": {
            "get": _operation("How many steps a stream was fed.", StreamAbout, None, stream),
            "delete": _operation("Forget a stream.", None, None, stream),
        },
        "/streams/{stream}/feed": {
            "post": _operation(
                "Feed a stream; a new name begins one.", FeedAnswer, FeedBody, stream
            )
        },
        "/streams/{stream}/state": {"get": state, "put": put},
        "/streams/{stream}/fork": {
            "post": _operation("Copy a stream to another name.", StreamSteps, ForkBody, stream)
        },
        "/streams/{stream}/reset": {
            "post": _operation("Put a stream back to its beginning.", StreamSteps, None, stream)
        },
        "/streams/{stream}/events": {"get": _events(stream)},
        "/streams/{stream}/live": {"get": _live(stream)},
    }
    return {prefix + path: operations for path, operations in paths.items()}


def _events(parameters: list[dict[str, Any]]) -> dict[str, Any]:
    made = _operation(
        "Server-sent events: a line data: with EventData as JSON for each feed of the stream.",
        EventData,
        None,
        parameters,
    )
    made["responses"]["200"]["content"] = {"text/event-stream": {"schema": {"type": "string"}}}
    return made


def _live(parameters: list[dict[str, Any]]) -> dict[str, Any]:
    made = _operation(
        "A WebSocket: each message is a FeedBody as JSON, and is answered with FeedAnswer or "
        "Error. Other requests are refused (426).",
        None,
        None,
        parameters,
    )
    del made["responses"]["204"]
    made["responses"]["101"] = {"description": "The WebSocket is open."}
    made["responses"]["426"] = {
        "description": "The request is no WebSocket's.",
        "content": {_JSON: {"schema": {"$ref": _error_reference()}}},
    }
    return made


def _other_paths() -> dict[str, Any]:
    metrics = _operation("Metrics, as Prometheus reads them.", {})
    metrics["responses"]["200"]["content"] = {"text/plain": {"schema": {"type": "string"}}}
    return {
        "/metrics": {"get": metrics},
        "/v1/models": {"get": _operation("Models, and how many streams they have.", ModelsAnswer)},
    }


def _inference_paths(model: dict[str, Any]) -> dict[str, Any]:
    version = {
        "name": "version",
        "in": "path",
        "required": True,
        "schema": {"type": "string", "pattern": "^[0-9]+$"},
    }
    index = {"type": "array", "items": _schema(IndexEntry)}
    ready = _operation("Whether it takes requests.", ServerReady)
    live = _operation("Whether the server runs.", ServerLive)
    for each, body in ((ready, ServerReady), (live, ServerLive)):
        schemas = [{"$ref": _error_reference()}, _schema(body)]
        each["responses"]["503"]["content"][_JSON]["schema"] = {"anyOf": schemas}
    paths: dict[str, Any] = {
        "/v2": {"get": _operation("The server, and its extensions of the protocol.", ServerAbout)},
        "/v2/health/live": {"get": live},
        "/v2/health/ready": {"get": ready},
        "/v2/repository/index": {"post": _operation("Models and versions.", index)},
        "/v2/repository/models/{model}/load": {
            "post": _operation(
                "Load a model's file anew, as a new version.",
                LoadAnswer,
                LoadBody,
                [model],
                is_required=False,
            )
        },
    }
    for path, parameters in (
        ("/v2/models/{model}", [model]),
        ("/v2/models/{model}/versions/{version}", [model, version]),
    ):
        infer = _operation(
            "Answer; feed the stream of a sequence_id.", InferAnswer, InferRequest, parameters
        )
        infer["responses"]["200"]["content"][_BYTES] = {"schema": _ANY_BYTES}
        paths |= {
            path: {
                "get": _operation("Inputs and outputs of a model.", ModelAbout, None, parameters)
            },
            f"{path}/ready": {
                "get": _operation("Whether a model is loaded.", ModelReady, None, parameters)
            },
            f"{path}/infer": {"post": infer},
        }
    return paths
