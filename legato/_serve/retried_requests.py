"""HTTP requests that are sent again until they are answered, and errors as legato's.

Every request here may be sent twice without harm: feeds have an id, which the server feeds once,
and the others only read, or write what they wrote before.
"""

import random
import time
from http import HTTPStatus
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import httpx

from legato._errors import InputError, LegatoError, OutputError, StateError

_FIRST_DELAY = 0.05  # seconds until a request is sent again; doubled each time,
_LONGEST_DELAY = 5.0  # up to this
_TRY_AGAIN = {  # with 429, if the server says when
    HTTPStatus.BAD_GATEWAY,
    HTTPStatus.SERVICE_UNAVAILABLE,
    HTTPStatus.GATEWAY_TIMEOUT,
}


class RetriedRequests:
    """Sends requests to a server; threads may share it.

    Args:
        url: of the server.
        api_key: sent with every request; None: none.
        timeout: seconds that one try waits for the server.
        retries: how often a request is sent again at most.
        deadline: seconds for a request with all its tries.

    Raises:
        InputError: this is no address of a server, or not a number above 0.
    """

    def __init__(
        self, url: str, api_key: str | None, timeout: float, retries: int, deadline: float
    ):
        try:
            parts = urlsplit(url)
            is_address = parts.scheme in ("http", "https") and bool(parts.hostname)
            _ = parts.port
        except (ValueError, AttributeError):
            is_address = False
        if not is_address:
            raise InputError(f"url is {url!r}; the address of a server, http://…, was expected.")
        if not (timeout > 0 and deadline > 0 and retries >= 0):
            raise InputError(
                f"timeout is {timeout!r}, deadline {deadline!r} and retries {retries!r}; seconds "
                "above 0, and a number from 0, were expected."
            )
        if api_key is not None and not (api_key.isascii() and api_key.isprintable()):
            raise InputError("api_key has characters that no key has: printable ASCII is expected.")
        self.url = url.rstrip("/")
        self._timeout, self._retries, self._deadline = timeout, retries, deadline
        self._client = httpx.Client(
            base_url=self.url,
            headers={} if api_key is None else {"X-API-Key": api_key},
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=64),
        )

    def close(self) -> None:
        """Close all connections."""
        self._client.close()

    def call(self, method: str, path: str, *, none_if_missing: bool = False, **content: Any) -> Any:
        """Send a request; returns the value of its JSON answer.

        Args:
            method, path: of the request; the path is quoted already.
            none_if_missing: whether None is returned where there is no such thing (404).
            content: as httpx takes it: ``content``, ``headers``, ``params``.

        Raises:
            InputError, StateError: the server refused it.
            OutputError: it could not be answered in time.
        """
        response = self.send(method, path, **content)
        if none_if_missing and response.status_code == HTTPStatus.NOT_FOUND:
            return None
        self.check(response)
        if response.status_code == HTTPStatus.NO_CONTENT:
            return None
        try:
            return response.json()
        except ValueError:
            raise InputError(
                f"{self.url} answered with something else than JSON: it is no server of "
                "`legato serve`."
            ) from None

    def send(self, method: str, path: str, **content: Any) -> httpx.Response:
        """Send a request until it is answered; see ``call``."""
        if self._client.is_closed:
            raise InputError(f"The connection to {self.url} was closed: connect anew.")
        until = time.monotonic() + self._deadline
        for tries in count(1):
            asked, reason = 0.0, ""
            left = max(0.001, until - time.monotonic())
            try:
                response = self._client.request(
                    method, path, timeout=min(self._timeout, left), **content
                )
            except httpx.TransportError as error:
                reason = f"{type(error).__name__}: {error}".rstrip(": ")
            else:
                if not _may_pass(response):
                    return response
                asked, reason = _retry_after(response), _sentence(response)
            backoff = min(_LONGEST_DELAY, _FIRST_DELAY * 2 ** min(tries - 1, 16))
            delay = max(asked, backoff * random.uniform(0.5, 1))
            if tries > self._retries or time.monotonic() + delay >= until:
                raise OutputError(
                    f"{self.url} did not do it in {tries} "
                    f"{'try' if tries == 1 else 'tries'}; the last one: {reason.rstrip('.')}. See "
                    "whether the server runs, or give it more time, by deadline and retries."
                )
            time.sleep(delay)
        raise AssertionError  # the loop has no end

    def check(self, response: httpx.Response) -> None:
        """Raise what a response says went wrong."""
        if not response.is_success:
            raise error_of(response.status_code, _sentence(response))


def error_of(status: int, sentence: str) -> LegatoError:
    """The error that a server's refusal is."""
    if status == HTTPStatus.CONFLICT:
        return StateError(sentence)
    may_pass = status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return OutputError(sentence) if may_pass else InputError(sentence)


def _may_pass(response: httpx.Response) -> bool:
    """Whether the same request may be answered later."""
    if response.status_code == HTTPStatus.TOO_MANY_REQUESTS:
        return "retry-after" in response.headers
    return response.status_code in _TRY_AGAIN


def _retry_after(response: httpx.Response) -> float:
    """Seconds that the server asks to wait; 0 where it names none, or a date."""
    given = response.headers.get("retry-after", "")
    return float(given) if given.isascii() and given.isdigit() else 0.0


def _sentence(response: httpx.Response) -> str:
    """What the server says went wrong."""
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"{response.url} answered {response.status_code} {response.reason_phrase}."
