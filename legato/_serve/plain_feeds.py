"""Feeds of ``/v1``: from JSON bodies to steps of streams, and from replies to JSON."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
from msgspec import UNSET

from legato._errors import InputError, LegatoError
from legato._serve.error_statuses import status_of
from legato._serve.plain_bodies import FeedBody, NamedFeed, StatelessBody, not_numbers
from legato._serve.response_bodies import EventData, FailedFeed, FeedAnswer
from legato._serve.row_codecs import TrainedModelCodec, check_no_booleans, holds_type
from legato._serve.served_version import ServedVersion
from legato._serve.service import stream_name
from legato._serve.stored_streams import digest_of
from legato._serve.stream_feeds import Feed, Reply
from legato._serve.tensors import encode_json


def read_feed(key: str, body: FeedBody, version: ServedVersion) -> tuple[Feed, bool]:
    """A request as a feed, and whether its steps came by names of columns.

    Args:
        key: of the stream.
        body: of the request.
        version: whose inputs it has.

    Raises:
        InputError: it does not fit.
    """
    xs, steps, by_column = read_steps(version, body)
    return make_feed(key, body, xs, steps, version), by_column


def make_feed(
    key: str, body: FeedBody, xs: tuple, steps: int | None, version: ServedVersion
) -> Feed:
    """A request whose steps were read as a version takes them.

    Raises:
        InputError: it asks for what excludes each other.
    """
    if body.peek and (body.end or body.id is not None):
        raise InputError("peek leaves a stream as it is: send neither end nor id with it.")
    request = 0 if body.id is None else digest_of(body.id)
    flags = (body.start, body.end, body.peek, body.expected_steps)
    feed = Feed(key, xs, steps, request, *flags, version=version)
    feed.read = partial(_read_for, body)
    return feed


def read_named_feed(key: str, body: NamedFeed, version: ServedVersion) -> tuple[Feed, bool]:
    try:
        return read_feed(key, body, version)
    except LegatoError as error:
        raise name_error(body.stream, error) from None


def name_error(stream: str, error: LegatoError) -> LegatoError:
    """An error that names the stream, among several, that it is about."""
    return type(error)(f"Stream {stream!r}: {error}")


def _read_for(body: FeedBody, version: ServedVersion) -> tuple[tuple, int | None]:
    return read_steps(version, body)[:2]


def read_steps(
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
            parts = [body.x] if len(step_inputs.inputs) == 1 else _parts(body.x)
            problem = next(filter(None, map(not_numbers, parts)), None)
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


def _parts(x: Any) -> list:
    """What came for each of several inputs."""
    return list(x.values()) if isinstance(x, dict) else x if isinstance(x, list) else [x]


def stack_feeds(
    keys: Sequence[str], bodies: Sequence[NamedFeed], version: ServedVersion
) -> list[Feed] | None:
    """Feeds of one bare step each, read at once; None where each must be read alone.

    Raises:
        InputError: one asks for what excludes each other; it is named.
    """
    if any(body.x is None or body.row is not None or body.rows is not None for body in bodies):
        return None
    steps = [body.x for body in bodies]
    if holds_type(steps, bool):
        return None
    array = version.compiled.model_step.step_inputs.stack_single_steps(steps)
    if array is None:
        return None
    feeds = []
    for key, body, x in zip(keys, bodies, array, strict=True):
        try:
            feeds.append(make_feed(key, body, (x,), None, version))
        except LegatoError as error:
            raise name_error(body.stream, error) from None
    return feeds


def describe_feed(feed: Feed, by_column: bool, answer: list | None = None) -> FeedAnswer:
    reply = feed.reply
    assert reply is not None
    is_known = answer is not None and not by_column
    fields: dict[str, Any] = {"y": answer} if is_known else answer_fields(reply, by_column)
    return FeedAnswer(
        stream=stream_name(feed.key),
        steps=reply.steps,
        version=str(reply.version.number),
        again=True if reply.again else UNSET,
        **fields,
    )


def bare_answers(feeds: Sequence[Feed]) -> list[list] | None:
    """The answers to bare steps as lists, converted at once; None where they differ in kind."""
    replies = [feed.reply for feed in feeds]
    first = replies[0].version if replies and replies[0] else None
    vectors = [each.vectors for each in replies if each and each.version is first]
    if len(vectors) < len(replies) or any(each.ndim > 1 for each in vectors):
        return None
    answers = first.compiled.model_step.answers(np.stack(vectors)) if first else None
    return answers.tolist() if isinstance(answers, np.ndarray) else None


def describe_failure(feed: Feed, error: Exception) -> FailedFeed:
    """What is said of a stream that could not be fed, among others that were.

    Raises:
        Exception: the error, if it is none of legato's.
    """
    if not isinstance(error, LegatoError):
        raise error
    return FailedFeed(stream_name(feed.key), str(error), int(status_of(error)))


def answer_fields(reply: Reply, by_column: bool) -> dict[str, Any]:
    """The fields of ``Answers``: numbers under y, or values by names of columns."""
    if not by_column:
        return {"y": reply.answers}
    decode = reply.version.codec.decode
    if reply.vectors.ndim == 1:
        return {"answer": decode(reply.answers)}
    return {"answers": [decode(each) for each in reply.answers]}


def encode_event(reply: Reply) -> bytes:
    """A reply as a server-sent event."""
    is_trained = isinstance(reply.version.codec, TrainedModelCodec)
    event = EventData(steps=reply.steps, **answer_fields(reply, is_trained))
    return b"data: " + encode_json(event) + b"\n\n"
