"""The JSON bodies of requests to ``/v1``."""

from typing import Annotated, Any

import msgspec
import numpy as np

Name = Annotated[str, msgspec.Meta(min_length=1, max_length=256, description="A stream's name.")]


class FeedBody(msgspec.Struct, forbid_unknown_fields=True):
    """Steps for a stream."""

    x: Annotated[
        Any,
        msgspec.Meta(
            description="One step, or several: numbers of the shape of a step, or a list of these."
        ),
    ] = None
    row: Annotated[
        dict[str, Any] | None, msgspec.Meta(description="One step by names of columns.")
    ] = None
    rows: Annotated[
        list[dict[str, Any]] | None, msgspec.Meta(description="Several steps by names of columns.")
    ] = None
    id: (
        Annotated[
            str,
            msgspec.Meta(
                max_length=256,
                description="Of the request: one that comes again is answered again, and not fed.",
            ),
        ]
        | None
    ) = None
    start: Annotated[bool, msgspec.Meta(description="Begin the stream anew before.")] = False
    end: Annotated[bool, msgspec.Meta(description="End the stream after.")] = False
    peek: Annotated[bool, msgspec.Meta(description="Answer, and leave the stream as it is.")] = (
        False
    )
    expected_steps: (
        Annotated[
            int,
            msgspec.Meta(
                ge=0, le=2**62, description="How many steps the stream must have been fed before."
            ),
        ]
        | None
    ) = None


class NamedFeed(FeedBody, kw_only=True):
    """Steps for the stream of a name."""

    stream: Name


class FeedsBody(msgspec.Struct, forbid_unknown_fields=True):
    """Steps for several streams, which are one batch."""

    feeds: list[NamedFeed]


class ForkBody(msgspec.Struct, forbid_unknown_fields=True):
    """The name of a copy."""

    into: Name


class StateBody(msgspec.Struct, forbid_unknown_fields=True):
    """A stream's state."""

    state: Annotated[str, msgspec.Meta(description="Safetensors in base64.")]


class StatelessBody(msgspec.Struct, forbid_unknown_fields=True):
    """Steps for a sequence whose state the client keeps."""

    x: Any = None
    row: dict[str, Any] | None = None
    rows: list[dict[str, Any]] | None = None
    state: Annotated[
        str | None,
        msgspec.Meta(description="That the last answer came with; null: a new sequence."),
    ] = None


def not_numbers(x: Any) -> str | None:
    """Why a JSON value is no number, and no list of numbers; None if it is one."""
    left = [x]
    while left:
        each = left.pop()
        if isinstance(each, list):
            left += each
        elif not isinstance(each, (int, float)):
            kind = {str: "a text", dict: "an object", type(None): "null"}.get(type(each), "a value")
            return f"x holds {kind}; numbers, or lists of numbers, were expected."
    try:
        np.asarray(x)
    except ValueError:
        return (
            "x holds lists of unlike lengths, or too many in each other; every step has the same."
        )
    return None
