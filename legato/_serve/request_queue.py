"""The queue between connections and models: one thread computes, in batches, what many wait for.

Feeds that came while the last batch was computed and written are the next batch. A batch has at
most one feed of a stream, and a stream's feeds are taken in the order in which they came. Other
operations are run between batches, in order with the feeds of their stream.
"""

import asyncio
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from legato._errors import LegatoError
from legato._serve.served_model import ServedModel
from legato._serve.stream_feeds import Feed

LOG = logging.getLogger("legato.serve")
_RETRIES = 16  # of a feed that another server was faster than
_TEND_SECONDS = 0.1  # between looks at idle streams and waiting writes


class OverloadError(LegatoError):
    """The queue is full."""


class DeadlineError(LegatoError):
    """A request waited too long, and was not begun."""


class StoppingError(LegatoError):
    """The server is stopping, and takes no more requests."""


class Work:
    """What one request asks for: feeds of one model, or an operation.

    Args:
        model: whose streams it is about; None if it is about none.
        feeds: for different streams; or none, and
        operation: is called by the thread; its result is the work's.
        deadline: by ``time.monotonic``, for its begin.

    Attributes:
        steps: of all feeds.
    """

    __slots__ = (
        "began",
        "deadline",
        "error",
        "feeds",
        "future",
        "model",
        "operation",
        "result",
        "steps",
        "tries",
    )

    def __init__(
        self,
        model: ServedModel | None,
        feeds: Sequence[Feed] = (),
        operation: Callable[[], Any] | None = None,
        deadline: float = float("inf"),
    ):
        self.model, self.feeds, self.operation, self.deadline = model, feeds, operation, deadline
        self.future: asyncio.Future = asyncio.get_running_loop().create_future()
        self.result: Any = None
        self.error: Exception | None = None
        self.tries = 0
        self.steps = sum(each.count for each in feeds)
        self.began = time.monotonic()


class RequestQueue:
    """Runs work in a thread of its own.

    Args:
        tend: called between batches, about ten times a second.
        max_waiting: the most feeds and operations that wait.
        max_batch: the most streams in one batch.
        max_wait: seconds that a batch waits for more, where it is not full.
        observe: called after each batch, with its feeds, the seconds that the first of its work
            had waited, and the seconds that it took.
        max_steps: the most steps in one batch of several requests.

    Attributes:
        is_busy: whether a batch is being computed.
    """

    def __init__(
        self,
        tend: Callable[[], None],
        max_waiting: int = 10_000,
        max_batch: int = 1024,
        max_wait: float = 0.0,
        observe: Callable[[Sequence[Feed], float, float], None] | None = None,
        max_steps: int = 10_000,
    ):
        self._tend, self._observe = tend, observe
        self._max_waiting, self._max_batch, self._max_wait = max_waiting, max_batch, max_wait
        self._max_steps = max_steps
        self._waiting: deque[Work] = deque()
        self._count = 0  # of feeds and operations that wait
        self._condition = threading.Condition()
        self._stopping = False
        self._is_waking = self._is_ready = False  # the loop is to wake the thread; has woken it
        self.is_busy = False  # with a batch
        self._thread = threading.Thread(target=self._run, name="legato-serve", daemon=True)
        self._thread.start()

    def __len__(self) -> int:
        """How many feeds and operations wait."""
        return self._count

    async def do(self, work: Work) -> Any:
        """Run work; returns the operation's result. Results of feeds stand in them.

        Raises:
            OverloadError: too many wait.
            DeadlineError: it waited too long.
            StoppingError: the server is stopping.
            Exception: what the operation, or the store, raised.
        """
        self.add(work)
        try:
            return await work.future
        finally:
            if not work.future.done():
                work.future.cancel()  # the client has gone: what has not begun is left out

    def add(self, work: Work) -> None:
        """Put work into the queue; see ``do``."""
        size = max(1, len(work.feeds))
        with self._condition:
            if self._stopping:
                raise StoppingError("The server is stopping: send the request again in a moment.")
            if self._count and self._count + size > self._max_waiting:
                raise OverloadError(
                    f"{self._count:,} feeds wait already, of at most {self._max_waiting:,}: send "
                    "the request again in a moment."
                )
            self._waiting.append(work)
            self._count += size
            if not self._is_waking:
                self._is_waking = True
                work.future.get_loop().call_soon(self._wake)

    def _wake(self) -> None:
        """Let the thread take what waits: the event loop has read all requests that had come.

        Computed at once, the first of them would be a batch of its own, and while Python runs one
        thread at a time, the others would not even be read sooner.
        """
        with self._condition:
            self._is_waking, self._is_ready = False, True
            self._condition.notify()

    @property
    def is_alive(self) -> bool:
        """Whether its thread runs."""
        return self._thread.is_alive()

    def stop(self, seconds: float) -> bool:
        """Take no more, finish what was taken, and end; returns whether that took no longer."""
        with self._condition:
            self._stopping = True
            self._condition.notify()
        self._thread.join(seconds)
        return not self._thread.is_alive()

    # The thread.

    def _run(self) -> None:
        tended = time.monotonic()
        while True:
            with self._condition:
                while not self._is_ready and not self._stopping:
                    if not self._condition.wait(_TEND_SECONDS):
                        break
                if self._stopping and not self._waiting:
                    return
                if self._max_wait and self._waiting and not self._stopping:
                    self._wait_for_more()
                batch = self._next_batch()
                self._is_ready = bool(self._waiting) and not self._is_waking
            if batch:
                self._do(batch)
            self.is_busy = False
            if time.monotonic() - tended > _TEND_SECONDS:
                try:
                    self._tend()
                except Exception:  # of the store, say: the thread goes on
                    LOG.exception("What is done between batches failed.")
                tended = time.monotonic()

    def _wait_for_more(self) -> None:
        until = self._waiting[0].began + self._max_wait
        while self._count < self._max_batch and not self._stopping:
            left = until - time.monotonic()
            if left <= 0 or not self._condition.wait(left):
                return

    def _next_batch(self) -> list[Work]:
        """Take the next batch out of the queue: one operation, or feeds of one model."""
        batch: list[Work] = []
        left: deque[Work] = deque()
        busy: set[str] = set()  # streams of this batch, and of work that is left
        size, steps, now = 0, 0, time.monotonic()
        while self._waiting:
            work = self._waiting.popleft()
            if work.future.cancelled():
                self._count -= max(1, len(work.feeds))
                continue
            if now > work.deadline and not work.tries:
                work.error = DeadlineError(
                    "The request waited longer than its deadline, and no step was made."
                )
                self._count -= max(1, len(work.feeds))
                self._answer([work])
                continue
            if work.operation is not None:
                if not batch and not left:
                    batch.append(work)
                else:
                    left.append(work)
                break
            fits = size + len(work.feeds) <= self._max_batch
            fits = not batch or (fits and steps + work.steps <= self._max_steps)
            same = not batch or work.model is batch[0].model
            keys = [each.key for each in work.feeds]
            is_taken = fits and same and busy.isdisjoint(keys)
            busy.update(keys)
            if is_taken:
                batch.append(work)
                size, steps = size + len(keys), steps + work.steps
                continue
            left.append(work)
            if size >= self._max_batch or steps >= self._max_steps:
                break
        left.extend(self._waiting)
        self._waiting = left
        self.is_busy = bool(batch)
        self._count -= sum(max(1, len(work.feeds)) for work in batch)
        return batch

    def _do(self, batch: list[Work]) -> None:
        began = time.perf_counter()
        waited = time.monotonic() - batch[0].began
        work = batch[0]
        again: list[Work] = []
        try:
            if work.operation is not None:
                work.result = work.operation()
            else:
                model = work.model
                assert model is not None
                feeds = [each for work in batch for each in work.feeds if each.is_open]
                model.feed(feeds)
                again = self._conflicts(batch)
                if self._observe is not None:
                    self._observe(feeds, waited, time.perf_counter() - began)
        except Exception as error:  # of the store, say: all of the batch get it
            for each in batch:
                each.error = error
            again = []
        self._answer([each for each in batch if each not in again])
        if again:
            with self._condition:
                self._waiting.extendleft(reversed(again))
                self._count += sum(len(each.feeds) for each in again)
                self._is_ready = True

    @staticmethod
    def _conflicts(batch: list[Work]) -> list[Work]:
        """Work of which some feeds are to be computed again; the others are kept."""
        again = []
        for work in batch:
            left = [each for each in work.feeds if each.conflict]
            if not left:
                continue
            work.tries += 1
            if work.tries > _RETRIES:
                for each in left:
                    each.error = OverloadError(
                        "Other servers feed this stream all the time: send the request again."
                    )
                continue
            for each in left:
                each.conflict = False
            again.append(work)
        return again

    @staticmethod
    def _answer(done: list[Work]) -> None:
        """Hand results over to the event loops that wait for them."""
        if not done:
            return
        loop = done[0].future.get_loop()
        loop.call_soon_threadsafe(_set_results, done)


def _set_results(done: list[Work]) -> None:
    for work in done:
        if work.future.done():
            continue
        if work.error is not None:
            work.future.set_exception(work.error)
        else:
            work.future.set_result(work.result)
