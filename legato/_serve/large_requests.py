"""Large requests: read and answered in a thread, so that the event loop serves others meanwhile."""

import asyncio
from collections.abc import Callable
from typing import Any, TypeVar

from starlette.requests import Request

from legato._serve.tensors import decode_json

Result = TypeVar("Result")
_LARGE_BYTES = 2**16  # of a body
_MANY_STEPS = 256  # of an answer


def is_large(body: bytes) -> bool:
    """Whether a body takes so long to read that others would wait for it."""
    return len(body) > _LARGE_BYTES


def has_many(steps: int | None) -> bool:
    """Whether the answers to so many steps take so long to write that others would wait."""
    return steps is not None and steps > _MANY_STEPS


async def in_thread_if(is_long: bool, function: Callable[..., Result], *given: Any) -> Result:
    """Call a function: in a thread if it takes long, else at once."""
    return await asyncio.to_thread(function, *given) if is_long else function(*given)


async def read_body(request: Request, into: Any) -> tuple[Any, bool]:
    """The JSON body of a request as a value of a type, and whether it is large.

    Raises:
        InputError: it is no JSON, or of another form.
    """
    content = await request.body() or b"{}"
    return await in_thread_if(is_large(content), decode_json, content, into), is_large(content)
