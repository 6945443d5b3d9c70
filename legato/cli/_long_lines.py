"""Lines of many steps, fed in pieces, so that lines of other streams are answered between them.

The pieces are fed to a copy of the stream, which takes its place when all are fed: a run that ends
before has nothing of the line in the stream's state, and the line can be sent again.
"""

from collections import deque
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

    from legato import Stream

PIECE_STEPS = 4096  # most steps of a line that are fed at once
_MAX_WAITING = 2**26  # bytes of waiting inputs, beyond which no more lines should be read
_OVERHEAD = 512  # bytes of a waiting request besides its input, about


class Request(NamedTuple):
    """A line as a request to one stream.

    Attributes:
        line: its number.
        key: the value that names the stream, by the key's column; empty without a key.
        name: of the stream.
        x, steps: the input, and its number of steps; None means one step without a time axis.
        error: why it cannot be answered; "" if it can.
    """

    line: int
    key: dict[str, Any]
    name: str
    x: Any = None
    steps: int | None = None
    error: str = ""

    @property
    def is_long(self) -> bool:
        """Whether it is to be fed in pieces."""
        return self.steps is not None and self.steps > PIECE_STEPS

    @property
    def arrays(self) -> "list[np.ndarray]":
        """The input as one array for each input of the model."""
        return self.x if isinstance(self.x, list) else [self.x]


class LongLine:
    """A line of many steps that is being fed.

    Attributes:
        request: the line.
        stream: a copy of its stream, which is fed.
    """

    def __init__(self, request: Request, stream: "Stream"):
        self.request, self.stream = request, stream
        self._fed, self._answers = 0, []
        shapes = stream.takes.values()
        self._by_step = [x.ndim > len(s) for x, s in zip(request.arrays, shapes, strict=True)]

    def feed_piece(self) -> bool:
        """Feed the next piece; returns whether it was the last."""
        piece = slice(self._fed, self._fed + PIECE_STEPS)
        pairs = zip(self.request.arrays, self._by_step, strict=True)
        arrays = [x[piece] if by_step else x for x, by_step in pairs]
        self._answers.append(self.stream.feed(arrays if len(arrays) > 1 else arrays[0]))
        self._fed = piece.stop
        return self._fed >= (self.request.steps or 0)

    def answer(self) -> Any:
        """The answers to all steps, nested as the model's outputs are."""
        import jax
        import numpy as np

        return jax.tree.map(lambda *parts: np.concatenate(parts), *self._answers)


class WaitingLines:
    """Lines that wait: long ones, and later ones of the same streams, in order for each stream."""

    def __init__(self):
        self._lines: dict[str, deque[Request]] = {}  # of each stream, a long one first
        self._begun: dict[str, LongLine] = {}
        self._bytes = 0

    def __iter__(self) -> Iterator[str]:
        """The names of the streams whose lines wait."""
        return iter(self._lines)

    def __bool__(self) -> bool:
        return bool(self._lines)

    @property
    def numbers(self) -> list[int]:
        """The numbers of the lines."""
        return [each.line for lines in self._lines.values() for each in lines]

    @property
    def have_room(self) -> bool:
        """Whether they are few enough for more lines to be read meanwhile."""
        return self._bytes < _MAX_WAITING

    def append(self, request: Request) -> None:
        """Let a line wait, behind those of its stream."""
        self._lines.setdefault(request.name, deque()).append(request)
        self._bytes += _size(request)

    def next_long(self, begin: Callable[[str], "Stream"]) -> LongLine:
        """The long line of which a piece is due: the streams take turns.

        Args:
            begin: makes a copy of the stream of a name.
        """
        name = next(iter(self._lines))
        self._lines[name] = self._lines.pop(name)  # the last at the next turn
        if name not in self._begun:
            self._begun[name] = LongLine(self._lines[name][0], begin(name))
        return self._begun[name]

    def finish(self, long: LongLine) -> list[Request]:
        """Drop a line that is fed, and return those behind it, up to the next long one."""
        name = long.request.name
        del self._begun[name]
        lines = self._lines[name]
        done = [lines.popleft()]
        while lines and not lines[0].is_long:
            done.append(lines.popleft())
        if not lines:
            del self._lines[name]
        self._bytes -= sum(map(_size, done))
        return done[1:]


def _size(request: Request) -> int:
    """The bytes of a line that waits, about."""
    return _OVERHEAD + sum(each.nbytes for each in request.arrays)
