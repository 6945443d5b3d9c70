"""Who listens to streams, and what they are told: the replies to feeds as they are made."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from legato._serve.stream_feeds import Feed, Reply

_MOST_WAITING = 256  # replies, for one listener
_QUIET_SECONDS = 15  # after which a listener is told that there is nothing new


class StreamEvents:
    """Replies to feeds, for those who listen.

    Args:
        is_stopping: tells whether the server is stopping, which ends all listening.
    """

    def __init__(self, is_stopping: Callable[[], bool]):
        self._is_stopping = is_stopping
        self._listeners: dict[str, set[asyncio.Queue]] = {}

    def publish(self, feeds: Sequence[Feed]) -> None:
        """Tell listeners about feeds that moved their streams."""
        if not self._listeners:
            return
        for feed in feeds:
            if feed.reply is None or feed.peek or feed.reply.again:
                continue
            for waiting in self._listeners.get(feed.key, ()):
                if waiting.full():  # a slow listener misses what is oldest
                    waiting.get_nowait()
                waiting.put_nowait(feed.reply)

    async def listen(self, key: str) -> AsyncIterator[Reply | None]:
        """The replies to a stream's feeds, as they are made; None about every 15 seconds."""
        waiting: asyncio.Queue = asyncio.Queue(_MOST_WAITING)
        idle = 0
        self._listeners.setdefault(key, set()).add(waiting)
        try:
            while not self._is_stopping():
                try:
                    reply, idle = await asyncio.wait_for(waiting.get(), 1), 0
                except TimeoutError:  # to see whether the server is stopping
                    reply, idle = None, idle + 1
                if reply is not None or idle % _QUIET_SECONDS == _QUIET_SECONDS - 1:
                    yield reply
        finally:
            self._listeners[key].discard(waiting)
            if not self._listeners[key]:
                del self._listeners[key]
