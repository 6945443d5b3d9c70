"""The HTTP status of each error, and whether the same request may succeed later."""

from http import HTTPStatus

from legato._errors import InputError, LegatoError, OutputError, StateError, UnsupportedError
from legato._serve.api_keys import NotAllowedError
from legato._serve.rate_limit import RateError
from legato._serve.request_bodies import EncodingError, TooLargeError
from legato._serve.request_queue import DeadlineError, OverloadError, StoppingError
from legato._serve.served_model import NoStreamError, TooManyStreamsError
from legato._serve.service import TooManyStepsError, UnknownModelError
from legato._serve.stream_feeds import ConflictError

_STATUS: list[tuple[type[Exception], HTTPStatus]] = [
    (NotAllowedError, HTTPStatus.FORBIDDEN),
    (NoStreamError, HTTPStatus.NOT_FOUND),
    (UnknownModelError, HTTPStatus.NOT_FOUND),
    (TooManyStepsError, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (TooLargeError, HTTPStatus.REQUEST_ENTITY_TOO_LARGE),
    (EncodingError, HTTPStatus.UNSUPPORTED_MEDIA_TYPE),
    (TooManyStreamsError, HTTPStatus.TOO_MANY_REQUESTS),
    (RateError, HTTPStatus.TOO_MANY_REQUESTS),
    (OverloadError, HTTPStatus.TOO_MANY_REQUESTS),
    (DeadlineError, HTTPStatus.GATEWAY_TIMEOUT),
    (StoppingError, HTTPStatus.SERVICE_UNAVAILABLE),
    (OutputError, HTTPStatus.SERVICE_UNAVAILABLE),
    (ConflictError, HTTPStatus.CONFLICT),
    (StateError, HTTPStatus.CONFLICT),
    (UnsupportedError, HTTPStatus.BAD_REQUEST),
    (InputError, HTTPStatus.BAD_REQUEST),
]


def status_of(error: LegatoError) -> HTTPStatus:
    """The status that a request is answered with which failed so."""
    found = (each for kind, each in _STATUS if isinstance(error, kind))
    return next(found, HTTPStatus.BAD_REQUEST)


def may_pass(error: LegatoError) -> bool:
    """Whether the same request may succeed in a moment, as ``Retry-After`` says."""
    return isinstance(error, (RateError, OverloadError, StoppingError, OutputError))
