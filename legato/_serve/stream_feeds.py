"""Steps for streams, and what came of them."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from legato._errors import LegatoError

if TYPE_CHECKING:
    from legato._serve.input_history import Arrays
    from legato._serve.served_version import ServedVersion

DIGEST_BYTES = 8  # of what a request fed


class ConflictError(LegatoError):
    """Two clients, or two servers, do different things to a stream with one id, or at one time."""


class Reply(NamedTuple):
    """What a feed answered.

    Attributes:
        vectors: (steps, width of the answers), or without an axis of steps for a bare step.
        steps: how many steps the stream was fed up to there; a peek feeds none.
        version: the version of the model that answered.
        again: whether the request had been answered before.
    """

    vectors: np.ndarray
    steps: int
    version: "ServedVersion"
    again: bool = False

    @property
    def answers(self) -> Any:
        """The answers, nested as the model's outputs."""
        return self.version.compiled.model_step.answers(self.vectors)


@dataclass(slots=True)
class Feed:
    """Steps for one stream.

    Attributes:
        key: of the stream.
        xs: an array for each input, (steps, *its shape), or without an axis of steps.
        steps: how many; None for a bare step.
        request: digest of the request's id; 0 if it has none.
        start: whether the stream begins anew before.
        end: whether it ends after.
        peek: whether it stays as it is.
        expected: how many steps the stream must have been fed before; None: any.
        reply: what came of it.
        error: why nothing did.
        conflict: whether another server fed the stream at the same time: to be computed again.
        version: whose inputs ``xs`` are; None: of any.
        read: reads ``xs`` and ``steps`` again, as another version takes them.
    """

    key: str
    xs: tuple[np.ndarray, ...]
    steps: int | None
    request: int = 0
    start: bool = False
    end: bool = False
    peek: bool = False
    expected: int | None = None
    reply: Reply | None = None
    error: Exception | None = None
    conflict: bool = False
    version: "ServedVersion | None" = None
    read: "Callable[[ServedVersion], tuple[Arrays, int | None]] | None" = None

    @property
    def count(self) -> int:
        """How many steps it has; a bare one is 1."""
        return 1 if self.steps is None else self.steps

    @property
    def is_open(self) -> bool:
        """Whether nothing has come of it yet."""
        return self.reply is None and self.error is None

    def digest(self) -> bytes:
        """``DIGEST_BYTES`` that tell apart what requests with one id feed: steps, start and end."""
        # Shapes and types of a step are those of the version that made the reply.
        head = f"{self.steps} {self.start} {self.end}".encode()
        fed = b"".join([head, *(x.tobytes() for x in self.xs)])
        return hashlib.blake2b(fed, digest_size=DIGEST_BYTES).digest()
