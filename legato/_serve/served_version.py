"""A version of a model that is served: its streams in memory, and how they are fed.

Every feed of a batch is computed first, then written to the store in one call, and only then put
into the table and answered. All methods are called by one thread, that of ``request_queue``.
"""

import math
import struct
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from legato._errors import LegatoError, StateError
from legato._platform.padding import pad_with_zeros
from legato._serve.input_history import Arrays, make_chunk
from legato._serve.row_codecs import TrainedModelCodec
from legato._serve.stored_streams import (
    ALL,
    RECENT,
    Change,
    Chunk,
    ServerStore,
    StoredStream,
    recent_array,
)
from legato._serve.stream_feeds import DIGEST_BYTES, ConflictError, Feed, Reply
from legato._streams.batched_steps import feed_one_step, feed_several_steps
from legato._streams.compiled_steps import CompiledSteps
from legato._streams.slots import SlotTable
from legato._streams.store import Name

_EVICTED_SHARE = 16  # a full table lets one of so many streams go, those fed longest ago
# Steps of the stream, and of the request, -1 if bare; the version, negative if the digest of what
# the request fed follows the answers, which older files do not have.
_REPLY = struct.Struct("<qii")
_DEFAULT_BYTES = 2**30  # of the streams of a version in memory, where no limit is given


class ServedVersion:
    """The weights of a model at one time, and the streams in memory that go on with them.

    Args:
        number: 1 for the first of a model, and so on.
        codec: of rows; has the model.
        compiled: its compiled steps.
        limit: the most streams in memory; None: as many as fit into a GiB.
        keep_history: how many of the last steps of each stream the store keeps.
        others: the versions of the model by number, for replies that one of them made.
    """

    def __init__(
        self,
        number: int,
        codec: Any,
        compiled: CompiledSteps,
        limit: int | None,
        keep_history: int,
        others: "Mapping[int, ServedVersion]",
    ):
        self.number, self.codec, self.compiled = number, codec, compiled
        self._keep_history, self._others = keep_history, others
        self.weights = compiled.files.fingerprint()
        self._blank = compiled.files.blank
        self.table = SlotTable(self._blank, 1)
        limit = _DEFAULT_BYTES // self.bytes_each if limit is None else limit
        self.table.limit = max(1, limit)
        self._recent = np.zeros((0, RECENT), np.uint64)
        self._written = np.zeros(0, np.int64)
        self._kept = np.zeros(0, np.int32)  # steps in the history
        self._fed_by: deque[tuple[float, int]] = deque()  # times, and the last feed before each

    @property
    def bytes_each(self) -> int:
        """Bytes of a stream in memory, its name apart."""
        return self.table.bytes_each + RECENT * 8 + 8 + 4

    @property
    def answer_width(self) -> int:
        """How many numbers answer a step."""
        return sum(math.prod(each.shape) for each in self.compiled.model_step.outputs)

    @property
    def inputs(self) -> Any:
        """What the numbers of an input mean: equal for versions that can be fed the same."""
        inputs = self.compiled.model_step.step_inputs.inputs
        names = [each.name for each in inputs] if len(inputs) > 1 else []
        takes = [(each.shape, str(each.dtype), each.by_step) for each in inputs]
        is_trained = isinstance(self.codec, TrainedModelCodec)
        return names, takes, self.codec.input_columns if is_trained else None

    # Records and the table.

    def take(self, records: dict[str, StoredStream], stay: Iterable[Name] = ()) -> None:
        """Put records that were read from the store into the table.

        Args:
            records: by key.
            stay: keys of other streams that must not leave memory for them.
        """
        if not records:
            return
        keys: list[Name] = list(records)
        values = list(records.values())
        blank = self._blank.tobytes()
        joined = b"".join(each.row or blank for each in values)
        rows = np.frombuffer(joined, self._blank.dtype)
        if rows.size != len(keys) * self._blank.size:
            raise StateError("A stored stream has a state of another size: the store was altered.")
        slots = self._slots_for(keys, stay)
        steps = np.array([each.steps for each in values], np.int64)
        self.table.put(keys, slots, rows.reshape(len(keys), -1), steps)
        written = np.array([each.version for each in values])
        self._keep(slots, recent_array(values), written, np.array([each.kept for each in values]))

    def _keep(
        self, slots: np.ndarray, recent: np.ndarray, written: np.ndarray, kept: np.ndarray
    ) -> None:
        if (need := self.table.capacity) > len(self._recent):
            self._recent = pad_with_zeros(self._recent, need)
            self._written = pad_with_zeros(self._written, need)
            self._kept = pad_with_zeros(self._kept, need)
        self._recent[slots], self._written[slots], self._kept[slots] = recent, written, kept

    def _slots_for(self, keys: Sequence[Name], stay: Iterable[Name] = ()) -> np.ndarray:
        """The slots of streams, after room was made for those that are new."""
        slots = self.table.slots_of(keys)
        over = len(self.table) + int((slots < 0).sum()) - self.table.limit
        if over > 0:
            self._let_go(max(over, self.table.limit // _EVICTED_SHARE), {*keys, *stay})
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
            kept=int(self._kept[slot[0]]),
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
        steps = self.steps_of(xs)
        each: list[tuple[Arrays, int | None]] = [(tuple(x[at] for x in xs), steps) for at in slots]
        after, vectors = feed_several_steps(self.compiled, given, slots, each)
        return after, np.stack(vectors)

    def steps_of(self, xs: Sequence[np.ndarray]) -> int:
        """The number of steps of samples that are not bare; see ``answer``."""
        inputs = self.compiled.model_step.step_inputs.inputs
        return next(x.shape[1] for x, each in zip(xs, inputs, strict=True) if each.by_step)

    def feed(self, feeds: Sequence[Feed], store: ServerStore) -> None:
        """Compute feeds of different streams, write them to the store, and answer them."""
        slots = self._slots_for([each.key for each in feeds])
        recent = np.zeros((len(feeds), RECENT), np.uint64)
        written, kept = np.zeros(len(feeds), np.int64), np.zeros(len(feeds), np.int64)
        known = slots >= 0
        recent[known], written[known] = self._recent[slots[known]], self._written[slots[known]]
        starts = np.array([each.start for each in feeds])
        goes_on = known & ~starts
        kept[goes_on] = self._kept[slots[goes_on]]
        before = np.where(starts, -1, slots)
        steps = self.table.steps(before)
        new = self._find_new(feeds, recent, steps, store)
        if not len(new):
            return
        feeds = [feeds[at] for at in new]
        slots, recent, written, steps = slots[new], recent[new], written[new], steps[new]
        rows, vectors = self._compute(feeds, before[new])
        steps += [0 if each.peek else each.count for each in feeds]
        for each, answer, count in zip(feeds, vectors, steps.tolist(), strict=True):
            each.reply = Reply(answer, count, self)
        self._write(feeds, slots, rows, steps, recent, written, kept[new], store)

    def replay(self, histories: Sequence[Sequence[tuple[Arrays, int]]]) -> np.ndarray:
        """The states of new streams that were fed histories, (streams, width).

        Args:
            histories: of each the feeds: arrays for each input, and the number of steps.
        """
        rows = np.repeat(self._blank[None], len(histories), axis=0)
        for turn in range(max(map(len, histories), default=0)):
            left = [at for at, feeds in enumerate(histories) if turn < len(feeds)]
            given = _GivenRows(rows[left], self._blank)
            feeds: list[tuple[Arrays, int | None]] = [*(histories[at][turn] for at in left)]
            rows[left], _ = feed_several_steps(self.compiled, given, np.arange(len(left)), feeds)
        return rows

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
                continue
            try:
                feeds[at].reply = self._decode_reply(kept, feeds[at])
            except LegatoError as error:
                feeds[at].error = error
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
        kept: np.ndarray,
        store: ServerStore,
    ) -> None:
        """Write feeds that are no peeks to the store, then to the table."""
        if any(each.peek for each in feeds):
            moved = [at for at, each in enumerate(feeds) if not each.peek]
            feeds = [feeds[at] for at in moved]
            slots, rows, steps, recent = slots[moved], rows[moved], steps[moved], recent[moved]
            written, kept = written[moved], kept[moved]
        if not feeds:
            return
        written = written + 1
        requests = np.array([each.request for each in feeds], np.uint64)
        asked = requests != 0
        recent[asked, written[asked] % RECENT] = requests[asked]
        pasts, kept = self._pasts(feeds, steps, kept)
        columns = (_bytes_of(rows), steps, written, _bytes_of(recent), kept, pasts)
        now, changes = time.time(), []
        for each, row, count, number, digests, past, (forget, chunk) in zip(
            feeds, *(c if isinstance(c, list) else c.tolist() for c in columns), strict=True
        ):
            end = each.end
            record = StoredStream(
                b"" if end else row,
                0 if end else count,
                number,
                self.weights,
                digests,
                now if end else 0.0,
                past,
            )
            if each.request:
                place, reply = number % RECENT, self._encode_reply(each)
            else:
                place, reply = None, b""
            changes.append(Change(each.key, record, place, reply, forget, chunk))
        conflicts = store.put(changes)
        if conflicts or any(each.end for each in feeds):
            on = []
            for at, each in enumerate(feeds):
                if each.key in conflicts:
                    each.conflict, each.reply = True, None
                if not (each.end or each.conflict):
                    on.append(at)
                elif each.key in self.table:
                    self.table.drop(each.key)
            feeds = [feeds[at] for at in on]
            slots, rows, steps, recent = slots[on], rows[on], steps[on], recent[on]
            written, kept = written[on], kept[on]
        if feeds:
            keys: list[Name] = [each.key for each in feeds]
            self.table.put(keys, slots, rows, steps)
            self._keep(slots, recent, written, kept)

    def _pasts(
        self, feeds: Sequence[Feed], steps: np.ndarray, kept: np.ndarray
    ) -> tuple[list[tuple[int, Chunk | None]], np.ndarray]:
        """What feeds change in the histories of their streams: up to which step they are
        forgotten, the chunk that is added; and how many steps they have then."""
        most = self._keep_history
        if not most:
            return [(-1, None)] * len(feeds), np.zeros_like(kept)
        pasts: list[tuple[int, Chunk | None]] = []
        kept = kept.copy()
        inputs = self.compiled.model_step.step_inputs.inputs
        for at, (each, after) in enumerate(zip(feeds, steps.tolist(), strict=True)):
            if each.end:
                pasts.append((ALL, None))
                kept[at] = 0
                continue
            chunk = make_chunk(inputs, each.xs, each.steps, after, most)
            # What is kept of another life is forgotten.
            pasts.append((max(0, after - most) if kept[at] else ALL, chunk))
            kept[at] = min(kept[at] + chunk.steps, most)
        return pasts, kept

    def _encode_reply(self, feed: Feed) -> bytes:
        assert feed.reply is not None
        count = -1 if feed.steps is None else feed.steps
        head = _REPLY.pack(feed.reply.steps, count, -self.number)
        return head + feed.reply.vectors.tobytes() + feed.digest()

    def _decode_reply(self, kept: bytes, feed: Feed) -> Reply:
        """The reply to a request that came again.

        Raises:
            ConflictError: other steps were fed with its id.
            StateError: it is of a version that is not loaded.
        """
        steps, count, number = _REPLY.unpack_from(kept)
        end = len(kept) - (DIGEST_BYTES if number < 0 else 0)
        number, digest = abs(number), kept[end:]
        if number == self.number and digest not in (b"", feed.digest()):
            raise ConflictError(
                "A request with this id was answered, and had other steps, start or end: give "
                "every request an id of its own, and only the same one when it is sent again."
            )
        version = self._others.get(number, self)
        vectors = np.frombuffer(kept[_REPLY.size : end], version._blank.dtype)
        shape = (version.answer_width,) if count < 0 else (count, version.answer_width)
        if vectors.size != math.prod(shape):
            raise StateError(
                f"This request was answered before, by version {number}, which is not loaded any "
                "more. Ask for the stream's state."
            )
        return Reply(vectors.reshape(shape), steps, version, again=True)


def _bytes_of(rows: np.ndarray) -> list[bytes]:
    """The bytes of each row."""
    whole, size = rows.tobytes(), rows[0].nbytes
    return [whole[at * size : (at + 1) * size] for at in range(len(rows))]


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
