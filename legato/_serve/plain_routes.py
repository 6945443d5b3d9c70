"""``/v1``: streams by name, fed with JSON."""

import contextlib
from collections.abc import Sequence
from functools import partial
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope
from starlette.websockets import WebSocket, WebSocketDisconnect

from legato._errors import InputError, LegatoError
from legato._platform.checks import parse_count
from legato._serve.error_statuses import status_of
from legato._serve.large_requests import has_many, in_thread_if, is_large, read_body
from legato._serve.plain_bodies import (
    FeedBody,
    FeedsBody,
    ForkBody,
    StateBody,
    StatelessBody,
)
from legato._serve.plain_feeds import (
    answer_fields,
    bare_answers,
    describe_failure,
    describe_feed,
    encode_event,
    name_error,
    read_feed,
    read_named_feed,
    read_steps,
    stack_feeds,
)
from legato._serve.request_log import RequestLine, note
from legato._serve.response_bodies import (
    FeedsAnswer,
    ModelsAnswer,
    ModelStreams,
    StatelessAnswer,
    StreamAbout,
    StreamNames,
    StreamState,
    StreamSteps,
)
from legato._serve.served_model import ServedModel
from legato._serve.service import Service, stream_name
from legato._serve.state_bytes import decode_state, encode_state, from_text, to_text
from legato._serve.stream_feeds import Reply
from legato._serve.tensors import decode_json, encode_json

_BINARY = "application/octet-stream"
QUOTED_SLASH = "\ud800"  # stands for it in paths; no path can hold this character


def make_routes(service: Service) -> list[BaseRoute]:
    """The routes of a service's streams: of its first model, and of each by name."""
    routes = _PlainRoutes(service)
    paths: list[tuple[str, dict[str, Any]]] = [
        ("/streams/{stream}/feed", {"POST": routes.feed}),  # the most frequent ones first
        ("/feed", {"POST": routes.feed_many}),
        ("/stateless", {"POST": routes.stateless}),
        ("/streams", {"GET": routes.names}),
        ("/streams/{stream}/state", {"GET": routes.state, "PUT": routes.put_state}),
        ("/streams/{stream}/fork", {"POST": routes.fork}),
        ("/streams/{stream}/reset", {"POST": routes.reset}),
        ("/streams/{stream}/events", {"GET": routes.events}),
        ("/streams/{stream}/live", {"GET": routes.not_live}),
        ("/streams/{stream}", {"GET": routes.about, "DELETE": routes.drop}),
    ]
    made: list[BaseRoute] = []
    for prefix in ("/v1", "/v1/models/{model}"):
        made += [_route(prefix + path, by_method) for path, by_method in paths]
        made.append(WebSocketRoute(f"{prefix}/streams/{{stream}}/live", routes.live))
    return [*made, Route("/v1/models", routes.models, methods=["GET"])]


def _route(path: str, by_method: dict[str, Any]) -> Route:
    """One route for all methods of a path, so that ``Allow`` names them all."""
    if len(by_method) == 1:
        (call,) = by_method.values()
    else:

        async def call(request: Request) -> Response:
            return await by_method[request.method.replace("HEAD", "GET")](request)

    return Route(path, call, methods=list(by_method))


class _PlainRoutes:
    def __init__(self, service: Service):
        self._service = service

    def _stream(self, request: Request | WebSocket) -> tuple[ServedModel, str]:
        """The model and the key of the stream that an address names."""
        model = self._service.model(request.path_params.get("model"))
        name = request.path_params["stream"].replace(QUOTED_SLASH, "/")
        note(request.scope, [name])
        return model, self._service.key(model, request.scope["owner"], name)

    # Feeding.

    async def feed(self, request: Request) -> Response:
        model, key = self._stream(request)
        body, is_long = await read_body(request, FeedBody)
        note(request.scope, request=body.id)
        return _response(await self._feed(model, key, body, is_long, request.receive))

    async def _feed(
        self,
        model: ServedModel,
        key: str,
        body: FeedBody,
        is_long: bool,
        receive: Receive | None = None,
    ) -> bytes:
        """Feed a stream; returns the answer as JSON."""
        self._check_rows([body])
        reads = [(key, partial(read_feed, key, body))]
        ((feed, by_column),) = await self._service.read(model, reads, is_long)
        await self._service.feed(model, [feed], receive)
        if feed.error is not None:
            raise feed.error
        return await in_thread_if(
            has_many(feed.steps), lambda: encode_json(describe_feed(feed, by_column))
        )

    def _check_rows(self, bodies: Sequence[FeedBody | StatelessBody]) -> None:
        """Refuse too many rows, of which each is read on its own, before they are read."""
        self._service.check_size(len(bodies), sum(len(body.rows or ()) for body in bodies))

    async def feed_many(self, request: Request) -> Response:
        model = self._service.model(request.path_params.get("model"))
        given, is_long = await read_body(request, FeedsBody)
        bodies, owner, keys = given.feeds, request.scope["owner"], []
        note(request.scope, [body.stream for body in bodies])
        self._check_rows(bodies)
        for body in bodies:
            try:
                keys.append(self._service.key(model, owner, body.stream))
            except LegatoError as error:
                raise name_error(body.stream, error) from None
        feeds = await in_thread_if(is_long, stack_feeds, keys, bodies, model.newest)
        by_column = [False] * len(bodies)
        if feeds is None:
            reads = [
                (key, partial(read_named_feed, key, body))
                for key, body in zip(keys, bodies, strict=True)
            ]
            made = await self._service.read(model, reads, is_long)
            feeds, by_column = [feed for feed, _ in made], [named for _, named in made]
        await self._service.feed(model, feeds, request.receive)

        def encoded() -> bytes:
            lists = bare_answers(feeds)
            answers = [
                describe_feed(feed, by_column[at], lists and lists[at])
                if feed.error is None
                else describe_failure(feed, feed.error)
                for at, feed in enumerate(feeds)
            ]
            return encode_json(FeedsAnswer(answers))

        steps = sum(feed.steps or 0 for feed in feeds)
        return _response(await in_thread_if(has_many(steps), encoded))

    async def stateless(self, request: Request) -> Response:
        model = self._service.model(request.path_params.get("model"))
        body, is_long = await read_body(request, StatelessBody)
        self._check_rows([body])
        version = model.newest
        xs, steps, by_column = await in_thread_if(is_long, read_steps, version, body)
        row, before, files = None, 0, version.compiled.files
        if body.state is not None:
            row, before = decode_state(from_text(body.state), files, other_weights=False)
        given = [x[None] for x in xs]
        rows, vectors = await self._service.stateless(version, given, steps is None, row)
        count = before + (1 if steps is None else steps)
        reply = Reply(vectors[0], count, version)
        state = to_text(encode_state(files, rows[0].tobytes(), count))

        def encoded() -> bytes:
            answers = answer_fields(reply, by_column)
            return encode_json(StatelessAnswer(steps=count, state=state, **answers))

        return _response(await in_thread_if(has_many(steps), encoded))

    async def live(self, socket: WebSocket) -> None:
        """A WebSocket: each message feeds the stream, and is answered."""
        model, key = self._stream(socket)
        await socket.accept()
        with contextlib.suppress(WebSocketDisconnect):
            while (message := await socket.receive())["type"] == "websocket.receive":
                text = message.get("text")
                content = message.get("bytes") or b"" if text is None else text.encode()
                answer = await self._answer_message(model, key, content, dict(socket.scope))
                await socket.send_text(answer.decode())

    async def not_live(self, _: Request) -> Response:
        raise HTTPException(HTTPStatus.UPGRADE_REQUIRED, headers={"Upgrade": "websocket"})

    async def _answer_message(
        self, model: ServedModel, key: str, content: bytes, scope: Scope
    ) -> bytes:
        line = RequestLine(scope, "") if self._service.config.log_requests else None
        status = 200
        try:
            self._service.check_rate(scope["owner"])
            is_long = is_large(content)
            body = await in_thread_if(is_long, decode_json, content, FeedBody)
            note(scope, [stream_name(key)], body.id)
            answer = await self._feed(model, key, body, is_long)
        except LegatoError as error:
            answer, status = encode_json({"error": str(error)}), int(status_of(error))
        if line is not None:
            line.write(status)
        return answer

    async def events(self, request: Request) -> Response:
        """Server-sent events: the answers to a stream's feeds as they are made."""
        _, key = self._stream(request)

        async def lines():
            yield b": events of a stream\n\n"
            async for reply in self._service.events.listen(key):
                if reply is None:
                    yield b": nothing new\n\n"
                else:
                    is_long = has_many(len(reply.vectors))
                    yield await in_thread_if(is_long, encode_event, reply)

        headers = {"Cache-Control": "no-store"}
        return StreamingResponse(lines(), media_type="text/event-stream", headers=headers)

    # Streams.

    async def models(self, _: Request) -> Response:
        found = [
            ModelStreams(
                model.name,
                [str(number) for number in list(model.versions)],
                sum(len(each.table) for each in list(model.versions.values())),
            )
            for model in self._service.models.values()
        ]
        return _json(ModelsAnswer(found, self._service.stored))

    async def names(self, request: Request) -> Response:
        model = self._service.model(request.path_params.get("model"))
        after, limit = request.query_params.get("after", ""), request.query_params.get("limit")
        most = 1000 if limit is None else parse_count(limit)
        if most is None or not 1 <= most <= 10_000:
            raise InputError(f"limit is {limit!r}; a number from 1 to 10000 was expected.")
        if "\x00" in after:
            raise InputError(f"after is {after!r}; the name of a stream was expected.")
        names = await self._service.names(model, request.scope["owner"], after, most)
        return _json(StreamNames(names))

    async def about(self, request: Request) -> Response:
        model, key = self._stream(request)
        record, version = await self._service.do(model, lambda: model.record(key))
        return _json(StreamAbout(stream_name(key), record.steps, str(version.number)))

    async def state(self, request: Request) -> Response:
        model, key = self._stream(request)
        record, version = await self._service.do(model, lambda: model.record(key))
        content = encode_state(version.compiled.files, record.row, record.steps)
        if _BINARY in request.headers.get("accept", ""):
            return Response(content, media_type=_BINARY)
        about = stream_name(key), record.steps, str(version.number)
        return _json(StreamState(*about, to_text(content)))

    async def put_state(self, request: Request) -> Response:
        model, key = self._stream(request)
        if request.headers.get("content-type", "").partition(";")[0].strip() == _BINARY:
            content = await request.body()
        else:
            content = from_text((await read_body(request, StateBody))[0].state)
        newest = model.newest
        files = newest.compiled.files
        row, steps = decode_state(content, files, model.limits.other_weights)
        await self._service.do(model, lambda: model.put(key, newest, row, steps))
        return _json(StreamSteps(stream_name(key), steps))

    async def fork(self, request: Request) -> Response:
        model, key = self._stream(request)
        into = (await read_body(request, ForkBody))[0].into
        note(request.scope, [into])
        other = self._service.key(model, request.scope["owner"], into)
        steps = await self._service.do(model, lambda: model.fork(key, other))
        return _json(StreamSteps(into, steps))

    async def reset(self, request: Request) -> Response:
        model, key = self._stream(request)
        await self._service.do(model, lambda: model.reset(key))
        return _json(StreamSteps(stream_name(key), 0))

    async def drop(self, request: Request) -> Response:
        model, key = self._stream(request)
        await self._service.do(model, lambda: model.drop(key))
        return Response(status_code=204)


def _json(value: Any) -> Response:
    return _response(encode_json(value))


def _response(content: bytes) -> Response:
    return Response(content, media_type="application/json")
