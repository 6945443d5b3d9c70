"""The ASGI application: routes, and before them keys, limits, errors as JSON, and metrics."""

import asyncio
import contextlib
import logging
import re
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote

import msgspec
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route, Router
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from legato._errors import LegatoError
from legato._serve import inference_routes, plain_routes
from legato._serve.api_keys import Caller
from legato._serve.error_statuses import may_pass, status_of
from legato._serve.live_page import read_page
from legato._serve.openapi_document import make_document
from legato._serve.plain_routes import QUOTED_SLASH
from legato._serve.request_bodies import TooLargeError, bounded_body
from legato._serve.request_log import RequestLine
from legato._serve.request_queue import StoppingError
from legato._serve.service import Service

LOG = logging.getLogger("legato.serve")
_STOPPING = "The server is stopping: send the request again in a moment."
_OPEN = ("/", "/v2/health/live", "/v2/health/ready")  # answered without a key


class _RefusedError(Exception):
    """A request that is answered without being looked at."""

    def __init__(self, status: HTTPStatus, sentence: str, **headers: str):
        super().__init__(sentence)
        self.status, self.headers = status, headers


def make_app(service: Service) -> ASGIApp:
    """The application that serves a service."""
    document = msgspec.json.encode(make_document(service))
    page, page_headers = read_page()
    metrics = "text/plain; version=0.0.4; charset=utf-8"

    async def show_metrics(_: Request) -> Response:
        return Response(service.metrics.text(), media_type=metrics)

    async def show_document(_: Request) -> Response:
        return Response(document, media_type="application/json")

    async def show_page(_: Request) -> Response:
        return Response(page, media_type="text/html", headers=page_headers)

    routes = [
        *plain_routes.make_routes(service),
        *inference_routes.make_routes(service),
        Route("/", show_page, methods=["GET"]),
        Route("/metrics", show_metrics, methods=["GET"]),
        Route("/openapi.json", show_document, methods=["GET"]),
    ]
    return _Guard(Router(routes, redirect_slashes=False), service)


def _with_marked_slashes(scope: Scope) -> Scope:
    """A request whose quoted slashes, which belong to names, are told from those between names."""
    raw = scope.get("raw_path") or b""
    parts = re.split(b"%2[fF]", raw)
    if len(parts) < 2:
        return scope
    path = QUOTED_SLASH.join(unquote(part.decode("latin-1")) for part in parts)
    return {**scope, "path": path}


def _request_id(headers: dict[bytes, bytes]) -> str:
    """The id of a request in its headers."""
    return headers.get(b"x-request-id", b"").decode("latin-1")


class _Guard:
    """Lets in who has a key, bounds what comes, and answers errors with one sentence of JSON."""

    def __init__(self, app: ASGIApp, service: Service):
        self._app, self._service = app, service
        self._most_bytes = int(service.config.max_body_mib * 2**20)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await self._live(receive, send)
            return
        scope["app"] = self  # routes raise HTTPException then
        is_http = scope["type"] == "http"
        headers = dict(scope["headers"])
        started, status = False, 0
        metrics, line = self._service.metrics, None
        if self._service.config.log_requests:
            line = RequestLine(scope, _request_id(headers))

        async def sending(message: Message) -> None:
            nonlocal started, status
            if message["type"] == "http.response.start":
                started, status = True, message["status"]
                metrics.responded(status)
                if b"x-request-id" in headers:
                    message["headers"].append((b"x-request-id", headers[b"x-request-id"]))
            elif message["type"] == "websocket.accept":
                status = int(HTTPStatus.SWITCHING_PROTOCOLS)
            elif message["type"] == "websocket.http.response.start":
                status = message["status"]
            elif message["type"] == "websocket.close" and not status:
                raise HTTPException(HTTPStatus.NOT_FOUND)  # there is no such address
            await send(message)

        try:
            await self._answer(scope, receive, sending, headers)
        except ClientDisconnect:
            return
        except Exception as error:
            if isinstance(error, TooLargeError):
                metrics.refused("size")
            response, sentence = self._response_to(error, scope, headers)
            if (is_http and not started) or (not is_http and not status):
                await response(scope, receive, sending)
            elif not is_http:
                with contextlib.suppress(RuntimeError):
                    await send({"type": "websocket.close", "code": 1011, "reason": sentence[:120]})
        finally:
            if line is not None:
                line.write(status)

    async def _answer(
        self, scope: Scope, receive: Receive, send: Send, headers: dict[bytes, bytes]
    ) -> None:
        """Let a request in, and answer it.

        Raises:
            Exception: it is refused, or failed.
        """
        self._let_in(scope, headers)
        if scope["type"] == "http":
            receive = bounded_body(headers, receive, self._most_bytes)
        try:
            await self._app(_with_marked_slashes(scope), receive, send)
        except asyncio.CancelledError:  # uvicorn's way to say that the time to stop is over
            if not self._service.is_stopping:
                raise
            raise StoppingError(_STOPPING) from None

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await asyncio.to_thread(self._service.stop)
                await send({"type": "lifespan.shutdown.complete"})
                return

    def _let_in(self, scope: Scope, headers: dict[bytes, bytes]) -> None:
        """Find whose request it is.

        Raises:
            _RefusedError: it has no known key.
            StoppingError, RateError: it is refused for now.
        """
        caller = self._service.keys.caller_of(headers)
        if caller is None and scope["path"] in _OPEN:
            caller = Caller("", may_load=False)
        if caller is None:
            self._service.metrics.refused("key")
            raise _RefusedError(
                HTTPStatus.UNAUTHORIZED,
                "The request has no API key that is known here: send it as X-API-Key, or as "
                "Authorization: Bearer.",
                **{"WWW-Authenticate": "Bearer"},
            )
        owner, scope["may_load"] = caller
        scope["owner"] = owner
        if self._service.is_stopping and scope["path"] not in _OPEN:
            raise StoppingError(_STOPPING)
        if scope["path"] not in _OPEN:
            self._service.check_rate(owner)

    def _response_to(
        self, error: Exception, scope: Scope, headers: dict[bytes, bytes]
    ) -> tuple[Response, str]:
        """The response to a request that failed, and its sentence."""
        status, sentence, more = HTTPStatus.INTERNAL_SERVER_ERROR, "", {}
        if isinstance(error, _RefusedError):
            status, sentence, more = error.status, str(error), error.headers
        elif isinstance(error, HTTPException):
            status = HTTPStatus(error.status_code)
            sentence = f"{status.phrase}: {scope.get('method', 'GET')} {scope['path']}."
            if status == HTTPStatus.NOT_FOUND:
                sentence += " /openapi.json has all addresses; a slash in a name is written %2F."
            more = dict(error.headers or {})
        elif isinstance(error, LegatoError):
            status, sentence = status_of(error), str(error)
            if may_pass(error):
                more = {"Retry-After": "1"}
        if status == HTTPStatus.INTERNAL_SERVER_ERROR:
            sentence = "The server failed: see its log."
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            LOG.error(
                sentence,
                exc_info=error if status == HTTPStatus.INTERNAL_SERVER_ERROR else None,
                extra={
                    "path": scope["path"],
                    "request_id": _request_id(headers),
                },
            )
        body: dict[str, Any] = {"error": sentence}
        response = Response(msgspec.json.encode(body), status, more, "application/json")
        return response, sentence
