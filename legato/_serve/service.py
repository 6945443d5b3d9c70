"""What a server does, apart from HTTP: its models, their streams, and who listens to them."""

import asyncio
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from starlette.requests import ClientDisconnect
from starlette.types import Receive

from legato._errors import InputError, LegatoError, OutputError, StateError
from legato._platform.checks import parse_count
from legato._platform.unused_memory import return_unused_memory
from legato._serve.api_keys import ApiKeys
from legato._serve.large_requests import in_thread_if
from legato._serve.model_files import load_model_file
from legato._serve.rate_limit import RateError, RateLimit
from legato._serve.request_queue import OverloadError, RequestQueue, Work
from legato._serve.response_bodies import LoadAnswer
from legato._serve.serve_config import ServeConfig, open_store
from legato._serve.served_model import SEPARATOR, NoStreamError, ServedModel, model_names
from legato._serve.served_version import ServedVersion
from legato._serve.server_metrics import ServerMetrics
from legato._serve.stream_events import StreamEvents
from legato._serve.stream_feeds import Feed
from legato._serve.version_moves import move_streams

LOG = logging.getLogger("legato.serve")
Result = TypeVar("Result")
_ENDED_SECONDS = 3600.0  # that the replies of a stream that ended are kept
_MANY_STREAMS = 5000  # more in memory, after which unused memory is returned to the system
_WATCHED = 64  # waiting steps from which on it is seen to that the clients are there still
_MAX_NAME = 256  # characters of a stream's name


class UnknownModelError(InputError):
    """There is no model, or no version, of that name."""


class TooManyStepsError(InputError):
    """A request has more steps than others may be kept waiting for."""


class Service:
    """The models of a server and their streams.

    Args:
        config: its settings.

    Raises:
        InputError, StateError, UnsupportedError, OutputError: a model or the store cannot be used.
    """

    def __init__(self, config: ServeConfig):
        self.config = config
        self.keys = ApiKeys.read(Path(config.api_key_file)) if config.api_key_file else ApiKeys()
        loaded = [(name, Path(path), load_model_file(Path(path))) for name, path in config.models]
        self.store = open_store(config)
        self.models: dict[str, ServedModel] = {}
        for name, path, each in loaded:
            model = ServedModel(name, path, self.store, config)
            self.store.forget_models(name, model.add(each).weights)
            self.models[name] = model
        for name in model_names(self.store):
            if name not in self.models:
                LOG.warning(
                    "The store has streams of the model %r, which is not served: to go on with "
                    "them, serve it by that name, as %s=PATH.",
                    name,
                    name,
                )
        self.metrics = ServerMetrics(self.counts)
        self.stored = self.store.count()
        self.started = time.time()
        self.is_stopping = self._is_closed = False
        self.is_store_up = True  # when it was last looked at, about every second
        self._closing = threading.Lock()
        self.events = StreamEvents(lambda: self.is_stopping)
        self._seen_stored = self._tended = time.monotonic()
        self._most_in_memory = 0.0  # streams, when unused memory was last returned
        self._in_memory = 0.0  # streams a second ago
        self._rate = RateLimit(config.rate)
        self.queue = RequestQueue(
            self._tend,
            config.max_queue,
            config.max_batch,
            config.max_wait_ms / 1000,
            self.metrics.observe_batch,
            config.max_steps,
        )

    def counts(self) -> dict[str, float]:
        """What is measured when it is asked for."""
        models = self.models.values()
        versions = [each for model in models for each in list(model.versions.values())]
        return {
            "memory": sum(len(each.table) for each in versions),
            "stored": self.stored,
            "waiting": len(self.queue),
        }

    def _tend(self) -> None:
        """What is done about ten times a second, in the queue's thread."""
        now = time.monotonic()
        is_due = now - self._tended >= 1
        self._tended = now if is_due else self._tended
        try:
            self.store.flush()
            if is_due:
                self.store.check()
                self.is_store_up = True
        except OutputError:
            self.is_store_up = False
            raise
        if not is_due:
            return
        if self.config.idle_minutes is not None:
            for model in self.models.values():
                for version in model.versions.values():
                    version.let_go_idle(60 * self.config.idle_minutes)
        in_memory = self.counts()["memory"]
        grown = in_memory - self._most_in_memory
        is_settled = in_memory == self._in_memory
        if grown > max(_MANY_STREAMS, self._most_in_memory / 8) or (is_settled and grown > 0):
            self._most_in_memory = in_memory
            return_unused_memory()
        self._in_memory = in_memory
        if now - self._seen_stored > 10:  # counting reads the whole index
            self.stored, self._seen_stored = self.store.count(), now
            self.store.forget_ended(time.time() - _ENDED_SECONDS)

    def stop(self) -> bool:
        """Finish what was taken, and close the store; returns whether there was time to finish."""
        self.is_stopping = True
        with self._closing:
            if not self._is_closed and self.queue.stop(self.config.grace):
                self.store.close()
                self._is_closed = True
            return self._is_closed

    # Models.

    def model(self, name: str | None = None) -> ServedModel:
        """A model by name; the first one by default.

        Raises:
            UnknownModelError: there is none.
        """
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            raise UnknownModelError(
                f"There is no model {name!r}; there are {', '.join(map(repr, self.models))}."
            )
        return self.models[name]

    def version(self, name: str, number: str | None) -> ServedVersion:
        """A version of a model; the newest by default.

        Raises:
            UnknownModelError: there is none.
        """
        model = self.model(name)
        if not number:
            return model.newest
        found = parse_count(number)
        if found not in model.versions:
            raise UnknownModelError(
                f"Model {name!r} has no version {number!r}; it has "
                f"{', '.join(map(str, list(model.versions)))}."
            )
        return model.versions[found]

    async def load(self, name: str, streams: str) -> LoadAnswer:
        """Load a model's file anew, as another version beside the old ones.

        Args:
            name: of the model.
            streams: what streams that live do: "stay" with the version that they began with,
                "carry" their states over to the new one, or "replay" their histories to it.

        Raises:
            InputError: the file is no model, ``streams`` is none of these, or no history is kept.
        """
        if streams not in ("stay", "carry", "replay"):
            raise InputError(f"streams is {streams!r}; 'stay', 'carry' or 'replay' was expected.")
        if streams == "replay" and not self.config.keep_history:
            raise InputError(
                "streams is 'replay', and the server keeps no history: start it with "
                "--keep-history, or carry the states over."
            )
        model = self.model(name)
        try:
            loaded = await asyncio.to_thread(load_model_file, model.path)
            version = await self.do(model, partial(model.add, loaded))
            moved, left, reason = await self._move(model, streams)
        except LegatoError as error:
            LOG.warning("The model %r was not loaded anew: %s", name, error)
            raise
        done = LoadAnswer(str(version.number), moved, left, reason)
        LOG.info("The model %r was loaded anew: %s", name, done)
        return done

    async def _move(self, model: ServedModel, streams: str) -> tuple[int, int, str]:
        """Move streams as they are to, and count them, between the batches of requests."""
        moved = left = 0
        after: str | None = ""
        reason = ""
        while after is not None:
            page = await self.do(model, partial(move_streams, model, streams, after))
            moved, left, after = moved + page.moved, left + page.left, page.last
            reason = reason or page.reason
        return moved, left, reason

    # Streams.

    def key(self, model: ServedModel, owner: str, name: str) -> str:
        """The key of a stream.

        Raises:
            InputError: its name is empty, too long, or not printable.
        """
        if not name or len(name) > _MAX_NAME or not name.isprintable() or "\ufffd" in name:
            raise InputError(
                f"The name of a stream has {len(name)} characters, or some that cannot be printed "
                f"or are no UTF-8; 1 to {_MAX_NAME} printable ones were expected."
            )
        return model.key(owner, name)

    async def do(self, model: ServedModel, operation: Any) -> Any:
        """Run an operation in the queue's thread, between batches."""
        with self._counting_refusals():
            deadline = time.monotonic() + self.config.timeout
            return await self.queue.do(Work(model, operation=operation, deadline=deadline))

    async def feed(
        self, model: ServedModel, feeds: Sequence[Feed], receive: Receive | None = None
    ) -> None:
        """Feed streams; what came of it stands in the feeds.

        Args:
            model: whose streams.
            feeds: for different streams.
            receive: tells when the client has gone; what was not begun then is left out.

        Raises:
            LegatoError: none of them was fed.
            ClientDisconnect: the client has gone.
        """
        names = [each.key for each in feeds]
        if len(set(names)) < len(names):
            raise InputError(
                "A stream comes twice in one request: send its steps as several steps of one feed."
            )
        work = Work(model, feeds, deadline=time.monotonic() + self.config.timeout)
        self.check_size(len(feeds), work.steps)
        with self._counting_refusals():
            if receive is not None and len(self.queue) + work.steps > _WATCHED:
                await self._do_watched(work, receive)
            else:
                await self.queue.do(work)
        self.events.publish(feeds)

    def check_rate(self, owner: str) -> None:
        """Count a request, or a message of a WebSocket.

        Raises:
            RateError: the owner's come too fast.
        """
        try:
            self._rate.check(owner)
        except RateError:
            self.metrics.refused("rate")
            raise

    def check_size(self, streams: int, steps: int) -> None:
        """Refuse a request that would keep the others waiting.

        Args:
            streams: that it feeds.
            steps: of all of them.

        Raises:
            InputError: it feeds too many streams.
            TooManyStepsError: it has too many steps.
        """
        if streams > self.config.max_batch:
            raise InputError(
                f"{streams:,} streams came in one request, of at most "
                f"{self.config.max_batch:,}: send them in several."
            )
        if steps > self.config.max_steps:
            self.metrics.refused("size")
            raise TooManyStepsError(
                f"{steps:,} steps came in one request, of at most {self.config.max_steps:,}, since "
                "others wait meanwhile: send them in several."
            )

    async def _do_watched(self, work: Work, receive: Receive) -> None:
        """Do work, unless the client goes before it is begun."""
        self.queue.add(work)
        gone = asyncio.ensure_future(receive())  # the body was read: what comes is the end
        try:
            await asyncio.wait({work.future, gone}, return_when=asyncio.FIRST_COMPLETED)
            if not work.future.done():
                work.future.cancel()
                raise ClientDisconnect
            work.future.result()
        finally:
            gone.cancel()

    @contextmanager
    def _counting_refusals(self):
        try:
            yield
        except OverloadError:
            self.metrics.refused("queue")
            raise

    async def read(
        self,
        model: ServedModel,
        reads: Sequence[tuple[str, Callable[[ServedVersion], Result]]],
        is_long: bool,
    ) -> list[Result]:
        """Read what came for streams, as the versions take it that the streams go on with.

        Args:
            model: whose streams.
            reads: the key of each stream, and a function that reads for it as a version takes it.
            is_long: whether it takes long, and is done in a thread.

        Raises:
            LegatoError: something does not fit.
        """
        newest, made = model.newest, []
        tried = await in_thread_if(is_long, _try_each, newest, [read for _, read in reads])
        for (key, read), result in zip(reads, tried, strict=True):
            if not isinstance(result, LegatoError):
                made.append(result)
                continue
            try:  # an older version may take it
                _, version = await self.do(model, partial(model.record, key))
            except (NoStreamError, StateError):
                version = newest
            if version is newest:
                raise result
            made.append(await in_thread_if(is_long, read, version))
        return made

    async def names(
        self, model: ServedModel, owner: str, after: str = "", limit: int = 1000
    ) -> list[str]:
        """Names of an owner's streams, in order."""
        prefix = model.key(owner, "")

        def listed() -> list[str]:
            return self.store.keys(prefix, prefix + after if after else "", limit)

        keys = await self.do(model, listed)
        return [key[len(prefix) :] for key in keys]

    async def stateless(
        self, version: ServedVersion, xs: Sequence[np.ndarray], is_bare: bool, row: bytes | None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Answer samples that belong to no stream; see ``ServedVersion.answer``."""
        model = next(each for each in self.models.values() if version in each.versions.values())
        rows = None
        if row is not None:
            blank = version.compiled.files.blank
            rows = np.frombuffer(row, blank.dtype)[None]
            if len(xs[0]) != 1:
                raise StateError(
                    f"A state came with {len(xs[0])} rows; it is the state of one sequence."
                )
        steps = 1 if is_bare else version.steps_of(xs)
        self.check_size(1, len(xs[0]) * steps)
        return await self.do(model, lambda: version.answer(tuple(xs), is_bare, rows))


def _try_each(
    version: ServedVersion, reads: Sequence[Callable[[ServedVersion], Result]]
) -> list[Result | LegatoError]:
    """What functions read as a version takes it, or why they could not."""
    made: list[Result | LegatoError] = []
    for read in reads:
        try:
            made.append(read(version))
        except LegatoError as error:
            made.append(error)
    return made


def stream_name(key: str) -> str:
    """The name in a key."""
    return key.rsplit(SEPARATOR, 1)[1]
