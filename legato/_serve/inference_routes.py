"""``/v2``: the Open Inference Protocol, with Triton's sequence and binary tensor extensions.

A request with a ``sequence_id`` feeds the stream of that name: one step of shape (1, *step), or
several, (1, steps, *step). ``sequence_start`` begins it anew before, ``sequence_end`` ends it
after. A request without one is answered from the initial state, a sequence for each row.
"""

from functools import partial
from typing import Any

import jax
import msgspec
import numpy as np
from msgspec import UNSET, UnsetType
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from legato import __version__
from legato._errors import InputError
from legato._serve.api_keys import NotAllowedError
from legato._serve.large_requests import has_many, in_thread_if, is_large, read_body
from legato._serve.request_log import note
from legato._serve.response_bodies import (
    IndexEntry,
    InferAnswer,
    ModelAbout,
    ModelReady,
    ServerAbout,
    ServerLive,
    ServerReady,
    TensorAbout,
)
from legato._serve.served_version import ServedVersion
from legato._serve.service import Service
from legato._serve.state_bytes import decode_state, encode_state, from_text, to_text
from legato._serve.stored_streams import digest_of
from legato._serve.stream_feeds import Feed
from legato._serve.tensors import (
    InferRequest,
    encode_json,
    read_request,
    read_tensors,
    type_name,
    write_tensors,
)

_HEAD_LENGTH = "Inference-Header-Content-Length"
_EXTENSIONS = ["sequence", "binary_tensor_data", "model_repository"]


class LoadParameters(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What streams do when a model is loaded anew: "stay", "carry" or "replay"."""

    streams: str = "stay"


class LoadBody(msgspec.Struct, forbid_unknown_fields=True):
    """How a model is loaded anew."""

    parameters: LoadParameters = LoadParameters()


def make_routes(service: Service) -> list[BaseRoute]:
    """The routes of the protocol."""
    routes = _InferenceRoutes(service)
    made: list[BaseRoute] = []
    for path in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
        made += [
            Route(f"{path}/infer", routes.infer, methods=["POST"]),
            Route(path, routes.metadata, methods=["GET"]),
            Route(f"{path}/ready", routes.model_ready, methods=["GET"]),
        ]
    return [
        *made,
        Route("/v2", routes.server, methods=["GET"]),
        Route("/v2/health/live", routes.live, methods=["GET"]),
        Route("/v2/health/ready", routes.ready, methods=["GET"]),
        Route("/v2/repository/index", routes.index, methods=["POST"]),
        Route("/v2/repository/models/{model}/load", routes.load, methods=["POST"]),
    ]


def output_names(version: ServedVersion) -> list[str]:
    """Names of a model's outputs, in order."""
    step = version.compiled.model_step
    names: list[str] = list(getattr(step.model, "output_names", None) or ())
    count = len(step.outputs)
    return names if len(names) == count else [f"output_{at}" for at in range(count)]


class _InferenceRoutes:
    def __init__(self, service: Service):
        self._service = service

    def _version(self, request: Request) -> ServedVersion:
        path = request.path_params
        return self._service.version(path["model"], path.get("version"))

    async def server(self, _: Request) -> Response:
        return _json(ServerAbout("legato", __version__, _EXTENSIONS))

    async def live(self, _: Request) -> Response:
        is_alive = self._service.is_stopping or self._service.queue.is_alive
        return _json(ServerLive(is_alive), 200 if is_alive else 503)

    async def ready(self, _: Request) -> Response:
        is_ready = self._service.is_store_up and not self._service.is_stopping
        return _json(ServerReady(is_ready), 200 if is_ready else 503)

    async def model_ready(self, request: Request) -> Response:
        self._version(request)
        return _json(ModelReady(request.path_params["model"], True))

    async def index(self, _: Request) -> Response:
        models = self._service.models.values()
        found = [(each.name, str(number)) for each in models for number in list(each.versions)]
        return _json([IndexEntry(name, version, "READY") for name, version in found])

    async def load(self, request: Request) -> Response:
        if not request.scope["may_load"]:
            raise NotAllowedError(
                "This API key may not load versions of models: use one that follows the line "
                "[load] in the server's file of keys."
            )
        body, _ = await read_body(request, LoadBody)
        name = request.path_params["model"]
        return _json(await self._service.load(name, body.parameters.streams))

    async def metadata(self, request: Request) -> Response:
        version = self._version(request)
        step, name = version.compiled.model_step, request.path_params["model"]
        inputs = [
            TensorAbout(
                each.name,
                type_name(each.dtype),
                [-1] * (1 + each.by_step) + [axis or -1 for axis in each.shape],
            )
            for each in step.step_inputs.inputs
        ]
        outputs = [
            TensorAbout(named, type_name(each.dtype), [-1, -1, *each.shape])
            for named, each in zip(output_names(version), step.outputs, strict=True)
        ]
        versions = [str(number) for number in list(self._service.model(name).versions)]
        return _json(ModelAbout(name, versions, "legato", inputs, outputs))

    async def infer(self, request: Request) -> Response:
        version, name = self._version(request), request.path_params["model"]
        head_length = request.headers.get(_HEAD_LENGTH)
        content = await request.body()
        is_long = is_large(content)
        asked, arrays = await in_thread_if(is_long, _read_tensors, content, head_length)
        parameters = asked.parameters
        sequence = parameters.get("sequence_id", 0)
        if isinstance(sequence, bool) or not isinstance(sequence, (int, str)):
            raise InputError(f"sequence_id is {sequence!r}; a text or a whole number was expected.")
        note(request.scope, request=asked.id)
        said: dict[str, Any] | UnsetType
        if sequence in (0, ""):
            vectors, is_bare, said = await self._stateless(version, arrays, parameters, is_long)
        else:
            model = self._service.model(name)
            key = self._service.key(model, request.scope["owner"], str(sequence))
            note(request.scope, [str(sequence)])
            reads = [(key, partial(_read_feed, key, asked.id, arrays))]
            (feed,) = await self._service.read(model, reads, is_long)
            feed.start = _flag(parameters, "sequence_start")
            feed.end = _flag(parameters, "sequence_end")
            await self._service.feed(model, [feed], request.receive)
            if feed.error is not None:
                raise feed.error
            assert feed.reply is not None
            version, vectors = feed.reply.version, feed.reply.vectors[None]
            is_bare = feed.steps is None
            said = {"sequence_id": sequence, "steps": feed.reply.steps}

        def written() -> tuple[bytes, int | None]:
            outputs = _outputs(version, vectors, sequence in (0, "") and not is_bare)
            tensors, binary = write_tensors(outputs, asked)
            head = encode_json(
                InferAnswer(
                    model_name=name,
                    model_version=str(version.number),
                    id=asked.id or UNSET,
                    parameters=said,
                    outputs=tensors,
                )
            )
            return b"".join([head, *binary]), len(head) if binary else None

        body, length = await in_thread_if(has_many(vectors.size // vectors.shape[-1]), written)
        headers = {} if length is None else {_HEAD_LENGTH: str(length)}
        kind = "application/json" if length is None else "application/octet-stream"
        return Response(body, headers=headers, media_type=kind)

    async def _stateless(
        self,
        version: ServedVersion,
        arrays: dict[str, np.ndarray],
        parameters: dict[str, Any],
        is_long: bool,
    ) -> tuple[np.ndarray, bool, dict[str, Any] | UnsetType]:
        """Vectors of answers, whether they have no steps, and the parameters of the response."""
        self._service.check_size(1, max(map(_rows, arrays.values()), default=0))
        xs, is_bare = await in_thread_if(is_long, _read_samples, version, arrays)
        state, row, before = parameters.get("state"), None, 0
        files = version.compiled.files
        if state:
            if not isinstance(state, str):
                raise InputError("The parameter state is no text: send it as the server gave it.")
            row, before = decode_state(from_text(state), files, other_weights=False)
        rows, vectors = await self._service.stateless(version, xs, is_bare, row)
        if state is None:
            return vectors, is_bare, UNSET
        if len(rows) != 1:
            raise InputError(f"A state was asked for {len(rows)} rows; it is of one sequence.")
        steps = before + (1 if is_bare else vectors.shape[1])
        after = encode_state(files, rows[0].tobytes(), steps)
        return vectors, is_bare, {"state": to_text(after), "steps": steps}


def _flag(parameters: dict[str, Any], name: str) -> bool:
    value = parameters.get(name, False)
    if not isinstance(value, bool):
        raise InputError(f"{name} is {value!r}; true or false was expected.")
    return value


def _read_tensors(
    content: bytes, head_length: str | None
) -> tuple[InferRequest, dict[str, np.ndarray]]:
    """A request's JSON part, and its arrays by name."""
    asked, binary = read_request(content, head_length)
    return asked, read_tensors(asked, binary)


def _read_feed(
    key: str, request: str, arrays: dict[str, np.ndarray], version: ServedVersion
) -> Feed:
    """The feed of a sequence."""
    xs, steps = _read_sequence(arrays, version)
    feed = Feed(key, xs, steps, digest_of(request) if request else 0, version=version)
    feed.read = partial(_read_sequence, arrays)
    return feed


def _read_sequence(
    arrays: dict[str, np.ndarray], version: ServedVersion
) -> tuple[tuple[np.ndarray, ...], int | None]:
    """The steps of one sequence, without the axis of rows."""
    step_inputs = version.compiled.model_step.step_inputs
    _check_names(version, arrays)
    for given in step_inputs.inputs:
        shape = arrays[given.name].shape
        axes = {len(given.shape) + 1, len(given.shape) + 1 + given.by_step}
        if shape[:1] != (1,) or len(shape) not in axes:
            raise InputError(
                f"The input {given.name!r} has shape {list(shape)}; for a sequence, one row was "
                f"expected: [1, *step], or [1, steps, *step], with a step of shape "
                f"{list(given.shape)}."
            )
    each = [arrays[given.name][0] for given in step_inputs.inputs]
    xs, steps = step_inputs.read(each[0] if len(each) == 1 else each)
    if steps == 0:
        raise InputError("No step came; one or more were expected.")
    return xs, steps


def _read_samples(
    version: ServedVersion, arrays: dict[str, np.ndarray]
) -> tuple[list[np.ndarray], bool]:
    """Rows of sequences of one length, for each input, and whether each is one bare step."""
    step_inputs = version.compiled.model_step.step_inputs
    _check_names(version, arrays)
    rows = {*map(_rows, arrays.values())}
    if len(rows) != 1 or rows == {0}:
        raise InputError(
            f"The inputs have {', '.join(map(str, sorted(rows)))} rows; the same number, one or "
            "more, was expected of each."
        )
    samples, counts = [], set()
    for row in range(rows.pop()):
        each = [arrays[given.name][row] for given in step_inputs.inputs]
        xs, steps = step_inputs.read(each[0] if len(each) == 1 else each)
        samples.append(xs)
        counts.add(steps)
    (steps,) = counts  # rows of one array have one shape
    if steps == 0:
        raise InputError("No step came; one or more were expected.")
    return [np.stack(each) for each in zip(*samples, strict=True)], steps is None


def _rows(array: np.ndarray) -> int:
    return len(array) if array.ndim else 0


def _check_names(version: ServedVersion, arrays: dict[str, np.ndarray]) -> None:
    expected = [each.name for each in version.compiled.model_step.step_inputs.inputs]
    if set(arrays) != set(expected):
        raise InputError(
            f"The inputs {', '.join(map(repr, arrays)) or 'none'} came; "
            f"{', '.join(map(repr, expected))} were expected."
        )


def _outputs(version: ServedVersion, vectors: np.ndarray, whole: bool) -> dict[str, np.ndarray]:
    """The outputs by name, (rows, steps, …) or (rows, …).

    Args:
        version: of the model.
        vectors: (rows, steps, width of the answers), or without steps.
        whole: whether an output without an axis of time is wanted once a sequence, as ``predict``
            gives it, and not after each step.
    """
    step = version.compiled.model_step
    leaves = jax.tree.leaves(step.answers(vectors))
    return {
        name: np.asarray(each[:, -1] if whole and not output.in_time else each)
        for name, each, output in zip(output_names(version), leaves, step.outputs, strict=True)
    }


def _json(value: Any, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status, media_type="application/json")
