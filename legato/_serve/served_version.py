"""A version of a model that is served: its streams in memory, and how they are fed.

Every feed of a batch is computed first, then written to the store in one call, and only then put
into the table and answered. All methods are called by one thread, that of ``request_queue``.
"""

import struct
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from legato._errors import StateError
from legato._serve.stored_streams import (
    RECENT,
    Change,
    ServerStore,
    StoredStream,
    recent_array,
)
from legato._streams.batched_steps import feed_one_step, feed_several_steps
from legato._streams.compiled_steps import CompiledSteps
from legato._streams.slots import SlotTable
from legato._streams.store import Name

_EVICTED_SHARE = 16  # a full table lets one of so many streams go, those fed longest ago
_REPLY = struct.Struct("<qi")  # steps of the stream, and of the request; -1 for a bare step
_DEFAULT_BYTES = 2**30  # of the streams of a version in memory, where no limit is given


class Reply(NamedTuple):
    """What a feed answered.

    Attributes:
        vectors: (steps, width of the answers), or without an axis of steps for a bare step.
        steps: how many steps the stream was fed up to there.
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

    @property
    def is_open(self) -> bool:
        """Whether nothing has come of it yet."""
        return self.reply is None and self.error is None


class ServedVersion:
    """The weights of a model at one time, and the streams in memory that go on with them.

    Args:
        number: 1 for the first that was loaded, and so on.
        codec: of rows; has the model.
        compiled: its compiled steps.
        limit: the most streams in memory; None: as many as fit into a GiB.
    """

    def __init__(self, number: int, codec: Any, compiled: CompiledSteps, limit: int | None):
        self.number, self.codec, self.compiled = number, codec, compiled
        self.weights = compiled.files.fingerprint()
        self._blank = compiled.files.blank
        self.table = SlotTable(self._blank, 1)
        limit = _DEFAULT_BYTES // self.bytes_each if limit is None else limit
        self.table.limit = max(1, limit)
        self._recent = np.zeros((0, RECENT), np.uint64)
        self._written = np.zeros(0, np.int64)
        self._fed_by: deque[tuple[float, int]] = deque()  # times, and the last feed before each

    @property
    def bytes_each(self) -> int:
        """Bytes of a stream in memory, its name apart."""
        return self.table.bytes_each + RECENT * 8 + 8

    # Records and the table.

    def take(self, records: dict[str, StoredStream]) -> None:
        """Put records that were read from the store into the table."""
        if not records:
            return
        keys: list[Name] = list(records)
        values = list(records.values())
        blank = self._blank.tobytes()
        joined = b"".join(each.row or blank for each in values)
        rows = np.frombuffer(joined, self._blank.dtype)
        if rows.size != len(keys) * self._blank.size:
            raise StateError("A stored stream has a state of another size: the store was altered.")
        slots = self._slots_for(keys)
        steps = np.array([each.steps for each in values], np.int64)
        self.table.put(keys, slots, rows.reshape(len(keys), -1), steps)
        self._keep(slots, recent_array(values), np.array([each.version for each in values]))

    def _keep(self, slots: np.ndarray, recent: np.ndarray, written: np.ndarray) -> None:
        have, need = len(self._recent), self.table.capacity
        if need > have:
            self._recent = np.concatenate([self._recent, np.zeros((need - have, RECENT), "u8")])
            self._written = np.concatenate([self._written, np.zeros(need - have, "i8")])
        self._recent[slots], self._written[slots] = recent, written

    def _slots_for(self, keys: Sequence[Name]) -> np.ndarray:
        """The slots of streams, after room was made for those that are new."""
        slots = self.table.slots_of(keys)
        over = len(self.table) + int((slots < 0).sum()) - self.table.limit
        if over > 0:
            self._let_go(max(over, self.table.limit // _EVICTED_SHARE), set(keys))
        return slots

    def _let_go(self, count: int, but: set[Name]) -> None:
        """Drop the streams fed longest ago from memory; the store has them."""
        left = [key for key in self.table.idle(count + len(but)) if key not in but]
        for key in left[:count]:
            self.table.drop(key)

    def let_go_idle(self, seconds: float) -> int:
        """Drop streams that were not fed for so long from memory; returns how many."""
        now = time.monotonic()
        self._fed_by.append((now, self.table.feeds))
        last = -1
        while self._fed_by and self._fed_by[0][0] <= now - seconds:
            last = self._fed_by.popleft()[1]
        idle = self.table.fed_until(last)
        for key in idle:
            self.table.drop(key)
        return len(idle)

    def record(self, key: str) -> StoredStream:
        """The record of a stream in memory."""
        slot = np.array([self.table.slot_of(key)])
        return StoredStream(
            self.table.gather(slot, 1).tobytes(),
            int(self.table.steps(slot)[0]),
            int(self._written[slot[0]]),
            self.weights,
            self._recent[slot[0]].tobytes(),
        )

    # Feeding.

    def answer(
        self, xs: tuple[np.ndarray, ...], is_bare: bool, rows: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Answer samples that belong to no stream.

        Args:
            xs: for each input, (samples, steps, *its shape), or (samples, *its shape) if bare.
            is_bare: whether each sample is one step, without an axis of steps.
            rows: (samples, width), the state that each begins with. Default: a new stream's.

        Returns:
            The states after, (samples, width), and vectors of answers, (samples, steps, width of
            the answers), or without steps if bare.
        """
        given = _GivenRows(rows, self._blank)
        slots, width = np.arange(len(xs[0])), len(self._blank)
        if is_bare:
            moved = feed_one_step(self.compiled, given, slots, xs)
            return moved[:, :width], moved[:, width:]
        inputs = self.compiled.model_step.step_inputs.inputs
        first = next(x for x, each in zip(xs, inputs, strict=True) if each.by_step)
        each = [(tuple(x[at] for x in xs), first.shape[1]) for at in slots]
        after, vectors = feed_several_steps(self.compiled, given, slots, each)
        return after, np.stack(vectors)

    def feed(self, feeds: Sequence[Feed], store: ServerStore) -> None:
        """Compute feeds of different streams, write them to the store, and answer them."""
        slots = self._slots_for([each.key for each in feeds])
        recent = np.zeros((len(feeds), RECENT), np.uint64)
        written = np.zeros(len(feeds), np.int64)
        known = slots >= 0
        recent[known], written[known] = self._recent[slots[known]], self._written[slots[known]]
        starts = np.array([each.start for each in feeds])
        before = np.where(starts, -1, slots)
        steps = self.table.steps(before)
        new = self._find_new(feeds, recent, steps, store)
        if not len(new):
            return
        feeds = [feeds[at] for at in new]
        slots, recent, written, steps = slots[new], recent[new], written[new], steps[new]
        rows, vectors = self._compute(feeds, before[new])
        steps += [1 if each.steps is None else each.steps for each in feeds]
        for each, answer, count in zip(feeds, vectors, steps.tolist(), strict=True):
            each.reply = Reply(answer, count, self)
        self._write(feeds, slots, rows, steps, recent, written, store)

    def _find_new(
        self, feeds: Sequence[Feed], recent: np.ndarray, steps: np.ndarray, store: ServerStore
    ) -> np.ndarray:
        """Answer again the requests that were answered; returns where the others are."""
        requests = np.array([each.request for each in feeds], np.uint64)
        seen = recent == requests[:, None]
        again = seen.any(1) & (requests != 0)
        for at in np.flatnonzero(again).tolist():
            kept = store.reply(feeds[at].key, int(seen[at].argmax()))
            if kept is None:
                feeds[at].error = StateError(
                    "This request was answered before, and its reply is lost: the store was "
                    "altered. Ask for the stream's state."
                )
            else:
                feeds[at].reply = self._decode_reply(kept)
        new = ~again
        for at in np.flatnonzero(new).tolist():
            expected = feeds[at].expected
            if expected is not None and expected != steps[at]:
                feeds[at].error = StateError(
                    f"The stream was fed {steps[at]:,} steps, and the request expected "
                    f"{expected:,}: somebody else feeds it, or a request was lost."
                )
                new[at] = False
        return np.flatnonzero(new)

    def _compute(self, feeds: Sequence[Feed], before: np.ndarray) -> tuple[np.ndarray, list]:
        """The states after feeds, (feeds, width), and vectors of answers."""
        width = len(self._blank)
        rows = np.empty((len(feeds), width), self._blank.dtype)
        vectors: list[Any] = [None] * len(feeds)
        bare = [at for at, each in enumerate(feeds) if each.steps is None]
        if bare:
            xs = tuple(map(np.stack, zip(*[feeds[at].xs for at in bare], strict=True)))
            moved = feed_one_step(self.compiled, self.table, before[bare], xs)
            rows[bare] = moved[:, :width]
            for at, vector in zip(bare, moved[:, width:], strict=True):
                vectors[at] = vector
        several = [at for at, each in enumerate(feeds) if each.steps is not None]
        if several:
            given = [(feeds[at].xs, feeds[at].steps) for at in several]
            rows[several], answers = feed_several_steps(
                self.compiled, self.table, before[several], given
            )
            for at, answer in zip(several, answers, strict=True):
                vectors[at] = answer
        return rows, vectors

    def _write(
        self,
        feeds: Sequence[Feed],
        slots: np.ndarray,
        rows: np.ndarray,
        steps: np.ndarray,
        recent: np.ndarray,
        written: np.ndarray,
        store: ServerStore,
    ) -> None:
        """Write feeds that are no peeks to the store, then to the table."""
        kept = np.array([at for at, each in enumerate(feeds) if not each.peek], int)
        if not len(kept):
            return
        written = written + 1
        places = written % RECENT
        now, changes = time.time(), []
        for at in kept:
            each, place = feeds[at], None
            if each.request:
                place = int(places[at])
                recent[at, place] = each.request
            row = b"" if each.end else rows[at].tobytes()
            record = StoredStream(
                row,
                0 if each.end else int(steps[at]),
                int(written[at]),
                self.weights,
                recent[at].tobytes(),
                now if each.end else 0.0,
            )
            reply = b"" if place is None else self._encode_reply(each)
            changes.append(Change(each.key, record, place, reply))
        conflicts = store.put(changes)
        for at in kept:
            each = feeds[at]
            if each.key in conflicts:
                each.conflict, each.reply = True, None
            if (each.end or each.conflict) and each.key in self.table:
                self.table.drop(each.key)
        on = [at for at in kept if not (feeds[at].end or feeds[at].conflict)]
        if on:
            keys: list[Name] = [feeds[at].key for at in on]
            into = slots[on]
            self.table.put(keys, into, rows[on], steps[on])
            self._keep(into, recent[on], written[on])

    @staticmethod
    def _encode_reply(feed: Feed) -> bytes:
        assert feed.reply is not None
        count = -1 if feed.steps is None else feed.steps
        return _REPLY.pack(feed.reply.steps, count) + feed.reply.vectors.tobytes()

    def _decode_reply(self, kept: bytes) -> Reply:
        steps, count = _REPLY.unpack_from(kept)
        vectors = np.frombuffer(kept, self._blank.dtype, offset=_REPLY.size)
        if count >= 0:
            vectors = vectors.reshape(count, -1)
        return Reply(vectors, steps, self, again=True)


class _GivenRows:
    """States that came with a request, in the place of a table."""

    def __init__(self, rows: np.ndarray | None, blank: np.ndarray):
        self._rows, self._blank = rows, blank

    def gather(self, slots: np.ndarray, size: int) -> np.ndarray:
        """See ``SlotTable.gather``."""
        rows = np.repeat(self._blank[None], size, axis=0)
        if self._rows is not None:
            rows[: len(slots)] = self._rows[slots]
        return rows
