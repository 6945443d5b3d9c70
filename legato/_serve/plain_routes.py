"""``/v1``: streams by name, fed with JSON."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import BaseRoute, Route, WebSocketRoute
from starlette.types import Receive, Scope
from starlette.websockets import WebSocket, WebSocketDisconnect

from legato._errors import InputError, LegatoError
from legato._serve.error_statuses import status_of
from legato._serve.large_requests import has_many, in_thread_if, is_large, read_body
from legato._serve.plain_bodies import (
    FeedBody,
    FeedsBody,
    ForkBody,
    NamedFeed,
    StateBody,
    StatelessBody,
    not_numbers,
)
from legato._serve.request_log import RequestLine, note
from legato._serve.row_codecs import TrainedModelCodec, check_no_booleans, holds_type
from legato._serve.served_model import ServedModel
from legato._serve.served_version import ServedVersion
from legato._serve.service import Service, stream_name
from legato._serve.state_bytes import decode_state, encode_state, from_text, to_text
from legato._serve.stored_streams import digest_of
from legato._serve.stream_feeds import Feed, Reply
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
            has_many(feed.steps), lambda: encode_json(_described(feed, by_column))
        )

    def _check_rows(self, bodies: Sequence[FeedBody | StatelessBody]) -> None:
        """Refuse too many rows, of which each is read on its own, before they are read."""
        self._service.check_size(len(bodies), sum(len(body.rows or ()) for body in bodies))

    async def feed_many(self, request: Request) -> Response:
        model = self._service.model(request.path_params.get("model"))
        given, is_long = await read_body(request, FeedsBody)
        bodies, owner, reads = given.feeds, request.scope["owner"], []
        note(request.scope, [body.stream for body in bodies])
        self._check_rows(bodies)
        arrays = await in_thread_if(is_long, _stacked, model.newest, bodies)
        for at, body in enumerate(bodies):
            xs = None if arrays is None else (arrays[at],)
            try:
                key = self._service.key(model, owner, body.stream)
            except LegatoError as error:
                raise _about(body.stream, error) from None
            reads.append((key, partial(_read_named_feed, key, body, xs)))
        made = await self._service.read(model, reads, is_long)
        feeds = [feed for feed, _ in made]
        await self._service.feed(model, feeds, request.receive)

        def encoded() -> bytes:
            lists = _bare_answers(feeds)
            answers = [
                _described(feed, by_column, lists and lists[at])
                if feed.error is None
                else _failed(feed, feed.error)
                for at, (feed, by_column) in enumerate(made)
            ]
            return encode_json({"answers": answers})

        steps = sum(feed.steps or 0 for feed in feeds)
        return _response(await in_thread_if(has_many(steps), encoded))

    async def stateless(self, request: Request) -> Response:
        model = self._service.model(request.path_params.get("model"))
        body, is_long = await read_body(request, StatelessBody)
        self._check_rows([body])
        version = model.newest
        xs, steps, by_column = await in_thread_if(is_long, _read_steps, version, body)
        row, before, files = None, 0, version.compiled.files
        if body.state is not None:
            row, before = decode_state(from_text(body.state), files, other_weights=False)
        given = [x[None] for x in xs]
        rows, vectors = await self._service.stateless(version, given, steps is None, row)
        count = before + (1 if steps is None else steps)
        reply = Reply(vectors[0], count, version)
        state = to_text(encode_state(files, rows[0].tobytes(), count))

        def encoded() -> bytes:
            return encode_json({"steps": count, **_answer(reply, by_column), "state": state})

        return _response(await in_thread_if(has_many(steps), encoded))

    async def live(self, socket: WebSocket) -> None:
        """A WebSocket: each message feeds the stream, and is answered."""
        model, key = self._stream(socket)
        await socket.accept()
        try:
            while True:
                message = await socket.receive_text()
                answer = await self._answer_message(model, key, message, dict(socket.scope))
                await socket.send_text(answer.decode())
        except (WebSocketDisconnect, KeyError):  # KeyError: bytes came, and text was expected
            return

    async def _answer_message(
        self, model: ServedModel, key: str, message: str, scope: Scope
    ) -> bytes:
        line = RequestLine(scope, "") if self._service.config.log_requests else None
        status = 200
        try:
            content = message.encode()
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
            async for reply in self._service.events(key):
                if reply is None:
                    yield b": nothing new\n\n"
                else:
                    is_long = has_many(len(reply.vectors))
                    yield await in_thread_if(is_long, _event, reply)

        headers = {"Cache-Control": "no-store"}
        return StreamingResponse(lines(), media_type="text/event-stream", headers=headers)

    # Streams.

    async def models(self, _: Request) -> Response:
        found = [
            {
                "name": model.name,
                "versions": [str(number) for number in list(model.versions)],
                "streams_in_memory": sum(len(each.table) for each in list(model.versions.values())),
            }
            for model in self._service.models.values()
        ]
        return _json({"models": found, "streams_stored": self._service.stored})

    async def names(self, request: Request) -> Response:
        model = self._service.model(request.path_params.get("model"))
        after, limit = request.query_params.get("after", ""), request.query_params.get("limit")
        if limit is not None and (not limit.isascii() or not limit.isdigit()):
            raise InputError(f"limit is {limit!r}; a number from 1 to 10000 was expected.")
        most = 1000 if limit is None else int(limit)
        if not 1 <= most <= 10_000 or "\x00" in after:
            raise InputError(f"limit is {most:,}; a number from 1 to 10000 was expected.")
        names = await self._service.names(model, request.scope["owner"], after, most)
        return _json({"streams": names})

    async def about(self, request: Request) -> Response:
        model, key = self._stream(request)
        record, version = await self._service.do(model, lambda: model.record(key))
        return _json(
            {"stream": stream_name(key), "steps": record.steps, "version": str(version.number)}
        )

    async def state(self, request: Request) -> Response:
        model, key = self._stream(request)
        record, version = await self._service.do(model, lambda: model.record(key))
        content = encode_state(version.compiled.files, record.row, record.steps)
        if _BINARY in request.headers.get("accept", ""):
            return Response(content, media_type=_BINARY)
        about = {"stream": stream_name(key), "steps": record.steps}
        return _json({**about, "version": str(version.number), "state": to_text(content)})

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
        return _json({"stream": stream_name(key), "steps": steps})

    async def fork(self, request: Request) -> Response:
        model, key = self._stream(request)
        into = (await read_body(request, ForkBody))[0].into
        note(request.scope, [into])
        other = self._service.key(model, request.scope["owner"], into)
        steps = await self._service.do(model, lambda: model.fork(key, other))
        return _json({"stream": into, "steps": steps})

    async def reset(self, request: Request) -> Response:
        model, key = self._stream(request)
        await self._service.do(model, lambda: model.reset(key))
        return _json({"stream": stream_name(key), "steps": 0})

    async def drop(self, request: Request) -> Response:
        model, key = self._stream(request)
        await self._service.do(model, lambda: model.drop(key))
        return Response(status_code=204)


def read_feed(
    key: str, body: FeedBody, version: ServedVersion, xs: tuple | None = None
) -> tuple[Feed, bool]:
    """A request as a feed, and whether its steps came by names of columns.

    Args:
        key: of the stream.
        body: of the request.
        version: whose inputs it has.
        xs: its steps, if they were read already.

    Raises:
        InputError: it does not fit.
    """
    steps, by_column = None, False
    if xs is None:
        xs, steps, by_column = _read_steps(version, body)
    if body.peek and (body.end or body.id is not None):
        raise InputError("peek leaves a stream as it is: send neither end nor id with it.")
    request = 0 if body.id is None else digest_of(body.id)
    flags = (body.start, body.end, body.peek, body.expected_steps)
    feed = Feed(key, xs, steps, request, *flags, version=version)
    feed.read = partial(_read_for, body)
    return feed, by_column


def _read_named_feed(
    key: str, body: NamedFeed, xs: tuple | None, version: ServedVersion
) -> tuple[Feed, bool]:
    try:
        return read_feed(key, body, version, xs)
    except LegatoError as error:
        raise _about(body.stream, error) from None


def _about(stream: str, error: LegatoError) -> LegatoError:
    """An error that names the stream, among several, that it is about."""
    return type(error)(f"Stream {stream!r}: {error}")


def _read_for(body: FeedBody, version: ServedVersion) -> tuple[tuple, int | None]:
    return _read_steps(version, body)[:2]


def _read_steps(
    version: ServedVersion, body: FeedBody | StatelessBody
) -> tuple[tuple, int | None, bool]:
    """An array for each input, the number of steps, None for a bare one, and whether it came by
    names of columns."""
    came = [name for name in ("x", "row", "rows") if getattr(body, name) is not None]
    if len(came) != 1:
        raise InputError(
            f"{' and '.join(came) or 'No step'} came; exactly one of x, row and rows was expected."
        )
    step_inputs = version.compiled.model_step.step_inputs
    if body.x is not None:
        try:
            xs, steps = step_inputs.read(body.x)
        except LegatoError:  # in terms of Python, where the value is not even numbers
            problem = not_numbers(body.x) if len(step_inputs.inputs) == 1 else None
            if problem is None:
                raise
            raise InputError(problem) from None
        check_no_booleans(body.x, xs)
    elif not isinstance(version.codec, TrainedModelCodec):
        raise InputError("The model has no names of columns: send numbers, as x.")
    elif body.row is not None:
        xs, steps = step_inputs.read(version.codec.encode(body.row)[0])
    else:
        xs, steps = step_inputs.read([version.codec.encode(row)[0] for row in body.rows or ()])
    if steps == 0:
        raise InputError("No step came; one or more were expected.")
    return xs, steps, body.x is None


def _stacked(version: ServedVersion, bodies: Sequence[NamedFeed]) -> Any:
    """One step of each of several streams, read at once; None where each must be read alone."""
    if any(body.x is None or body.row is not None or body.rows is not None for body in bodies):
        return None
    steps = [body.x for body in bodies]
    if holds_type(steps, bool):
        return None
    return version.compiled.model_step.step_inputs.stack_single_steps(steps)


def _described(feed: Feed, by_column: bool, answer: list | None = None) -> dict[str, Any]:
    reply = feed.reply
    assert reply is not None
    version = str(reply.version.number)
    about = {"stream": stream_name(feed.key), "steps": reply.steps, "version": version}
    if reply.again:
        about["again"] = True
    if answer is None or by_column:
        about |= _answer(reply, by_column)
    else:
        about["y"] = answer
    return about


def _bare_answers(feeds: Sequence[Feed]) -> list[list] | None:
    """The answers to bare steps as lists, converted at once; None where they differ in kind."""
    replies = [feed.reply for feed in feeds]
    first = replies[0].version if replies and replies[0] else None
    vectors = [each.vectors for each in replies if each and each.version is first]
    if len(vectors) < len(replies) or any(each.ndim > 1 for each in vectors):
        return None
    answers = first.compiled.model_step.answers(np.stack(vectors)) if first else None
    return answers.tolist() if isinstance(answers, np.ndarray) else None


def _failed(feed: Feed, error: Exception) -> dict[str, Any]:
    """What is said of a stream that could not be fed, among others that were.

    Raises:
        Exception: the error, if it is none of legato's.
    """
    if not isinstance(error, LegatoError):
        raise error
    status = int(status_of(error))
    return {"stream": stream_name(feed.key), "error": str(error), "status": status}


def _answer(reply: Reply, by_column: bool) -> dict[str, Any]:
    """Answers as JSON: numbers under y, or by names of columns."""
    if not by_column:
        return {"y": reply.answers}
    decode = reply.version.codec.decode
    if reply.vectors.ndim == 1:
        return {"answer": decode(reply.answers)}
    return {"answers": [decode(each) for each in reply.answers]}


def _event(reply: Reply) -> bytes:
    """A reply as a server-sent event."""
    is_trained = isinstance(reply.version.codec, TrainedModelCodec)
    event = {"steps": reply.steps, **_answer(reply, is_trained)}
    return b"data: " + encode_json(event) + b"\n\n"


def _json(value: Any) -> Response:
    return _response(encode_json(value))


def _response(content: bytes) -> Response:
    return Response(content, media_type="application/json")
