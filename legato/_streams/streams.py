"""``Streams``: many live sequences of one model by name, any subset of which is fed at a time.

Their states lie in one table (``slots``), one slot each. A feed copies the states of its streams
into a batch, runs the batch (``batched_steps``), and writes the new states back. Streams that
outlive the process are in a store (``store``).
"""

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from functools import wraps
from typing import Any, cast

import jax
import numpy as np

from legato._errors import InputError, LegatoError, OutputError, StateError, UnsupportedError
from legato._platform.checks import check_count
from legato._platform.locks import Lock, Method, with_lock
from legato._platform.output_streams import printable_on_stdout
from legato._recurrent.state import State
from legato._streams.batched_steps import feed_one_step, feed_several_steps
from legato._streams.compiled_steps import CompiledSteps
from legato._streams.slots import SlotTable
from legato._streams.store import Name, Snapshot, StreamRecords, StreamStore, checked_name
from legato._streams.stream import Stream
from legato._streams.stream_files import check_is_not_kept

_DEFAULT_BYTES = 2**30  # of all streams, where no limit is given


def _changes(method: Method) -> Method:
    """Decorate a method that changes streams: it returns when the store keeps what it promises.

    It waits for that without the pool's lock, so that one wait serves several threads.
    """

    @wraps(method)
    def run(self, *args, **kwargs):
        result = method(self, *args, **kwargs)
        if self._store is not None:
            self._store.commit()
        return result

    return cast("Method", run)


class Streams:
    """Many live sequences of a model; made by ``model.streams()``.

    A name that was never fed begins a stream. Threads may share a pool: they take turns.

    Args:
        compiled: the compiled steps of the model.
        limit: the most streams in memory; default: as many as fit into a GiB.
        open_store: makes the store that every change is written to before it is answered, given a
            function that returns all streams of the pool. Default: none.
        evicted: the store that ``evict`` moves streams to. Default: none.

    Examples:
        >>> import legato
        >>> model = legato.Sequential([legato.layers.Input((None, 2)), legato.layers.GRU(3)])
        >>> pool = model.streams()
        >>> answers = pool.feed({"ada": [0.1, 0.2], "bob": [0.3, 0.4]})
        >>> answers["ada"].shape, pool.steps("bob"), len(pool)
        ((3,), 1, 2)
    """

    def __init__(
        self,
        compiled: CompiledSteps,
        limit: int | None = None,
        open_store: Callable[[Snapshot], StreamStore] | None = None,
        evicted: StreamStore | None = None,
    ):
        self._compiled, model_step = compiled, compiled.model_step
        self._lock = Lock()  # held from reading states to writing them
        self._table = SlotTable(model_step.blank[0, : model_step.width], 1)
        self._table.limit = _DEFAULT_BYTES // self.bytes_each if limit is None else limit
        check_count("limit", self._table.limit, noun="a number of streams")
        self._evicted = evicted
        self._store: StreamStore | None = None
        if open_store is not None:
            store = open_store(self._table.records)
            try:
                self._put(store.load(limit=self.limit))
            except BaseException:
                store.close()
                raise
            self._store = store

    @printable_on_stdout
    def __repr__(self) -> str:
        size = f"{len(self):,} of at most {self.limit:,}, {self.bytes_each:,} bytes each"
        return f"<Streams: {self._compiled.model_step}; {size}>"

    # Names, sizes and states.

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[Name]:
        """The names of the streams in memory, in the order in which they began."""
        return iter(self._table.names)

    def __contains__(self, name) -> bool:
        return name in self._table

    @property
    def limit(self) -> int:
        """The most streams it has in memory."""
        return self._table.limit

    @property
    def bytes_each(self) -> int:
        """Bytes of a stream: its state and 16 more; its name is not counted."""
        return self._table.bytes_each

    @property
    def nbytes(self) -> int:
        """Bytes of all slots, those included that are free for more streams."""
        return self._table.nbytes

    @with_lock
    def steps(self, name: Name) -> int:
        """How many steps a stream was fed.

        Raises:
            InputError: there is no such stream.
        """
        return int(self._table.steps(np.array([self._table.slot_of(name)]))[0])

    @with_lock
    def state(self, name: Name) -> State:
        """The state that a stream carries, one row.

        Raises:
            InputError: there is no such stream.
        """
        return self._compiled.model_step.state(self._row(name))

    @with_lock
    def idle(self, count: int) -> list[Name]:
        """The streams that were fed longest ago, these first; at most ``count``."""
        return self._table.idle(count)

    # Feeding.

    @_changes
    @with_lock
    def feed(self, x: Mapping[Any, Any]) -> dict[Any, Any]:
        """Feed a step, or several, to each of some streams, as one batch.

        Args:
            x: name → input, as for ``Stream.feed``. A new name begins a stream; an evicted stream
                is restored.

        Returns:
            Name → the answer, or answers, as ``Stream.feed`` gives them.

        Raises:
            InputError: an x that does not fit, or more streams than the limit. None has moved.
            OutputError: the pool's file cannot be written. None has moved.
        """
        names, slots, rows, steps, answers = self._compute(x)
        self._write(names, slots, rows, steps)
        return answers

    @with_lock
    def peek(self, x: Mapping[Any, Any]) -> dict[Any, Any]:
        """The answers that ``feed`` would return; every stream stays as it is, and none begins."""
        return self._compute(x)[-1]

    def _compute(self, x: Mapping[Any, Any]) -> tuple:
        """Names, slots, states after x, numbers of steps fed, and answers by name."""
        if not isinstance(x, Mapping):
            raise InputError(
                f"A mapping of names to steps was expected, such as {{'ada': x}}; "
                f"{type(x).__name__} came."
            )
        names, values = list(x), list(x.values())
        model_step = self._compiled.model_step
        stacked = model_step.step_inputs.stack_single_steps(values)
        inputs = [] if stacked is not None else self._read(names, values)
        slots = self._find_slots(names)
        steps = self._table.steps(slots)
        if any(count is not None for _, count in inputs):
            rows, vectors = feed_several_steps(self._compiled, self._table, slots, inputs)
            answers = map(model_step.answers, vectors)
            steps += [1 if count is None else count for _, count in inputs]
            return names, slots, rows, steps, dict(zip(names, answers, strict=True))
        xs = tuple(map(np.stack, zip(*[xs for xs, _ in inputs], strict=True)))
        rows = feed_one_step(
            self._compiled, self._table, slots, xs if stacked is None else (stacked,)
        )
        answers = model_step.answers(rows[:, model_step.width :])
        if not isinstance(answers, np.ndarray):  # nested, as the model's outputs are
            leaves, structure = jax.tree.flatten(answers)
            answers = [structure.unflatten(each) for each in zip(*leaves, strict=True)]
        answers = dict(zip(names, answers, strict=True))
        return names, slots, rows[:, : model_step.width], steps + 1, answers

    def _find_slots(self, names: list[Name]) -> np.ndarray:
        """The slots of streams, evicted ones brought back first; -1 where a stream begins."""
        slots = self._table.slots_of(names)
        new = np.flatnonzero(slots < 0)
        if len(new):
            self._table.check_limit(len(new))
            if self._evicted is not None:
                records = self._evicted.load([checked_name(names[at]) for at in new])
                if records.names:
                    self._take_back(self._evicted, records)
                    return self._table.slots_of(names)
        return slots

    def _write(
        self, names: list[Name], slots: np.ndarray, rows: np.ndarray, steps: np.ndarray
    ) -> None:
        """Write states and steps to the store, then to the table; see ``SlotTable.put``."""
        if self._store is not None:
            self._table.check_new(names, slots)
            self._store.put(StreamRecords(names, rows, steps))
        self._table.put(names, slots, rows, steps)

    def _put(self, records: StreamRecords) -> None:
        """Write records of streams, maybe new ones, that may have answers after the states."""
        rows = records.rows[:, : self._compiled.model_step.width]
        self._write(records.names, self._table.slots_of(records.names), rows, records.steps)

    def _take_back(self, store: StreamStore, records: StreamRecords) -> None:
        """Move streams into memory; each is in one place at least, whatever happens meanwhile."""
        self._put(records)
        if self._store is not None:
            self._store.commit(force=True)
        store.drop(records.names)

    def _read(self, names: list[Name], values: list) -> list[tuple]:
        """For each stream, an array for each input, and the number of steps; None for a bare step.

        Raises:
            InputError, UnsupportedError: a stream's input does not fit; names the stream.
        """
        inputs = []
        for name, value in zip(names, values, strict=True):
            try:
                inputs.append(self._compiled.model_step.step_inputs.read(value))
            except (InputError, UnsupportedError) as error:
                raise type(error)(f"Stream {name!r}: {error}") from None
        return inputs

    # One stream at a time.

    @_changes
    @with_lock
    def fork(self, name: Name, into: Name) -> None:
        """Copy a stream's state to another name, in the place of a stream of that name, if any.

        Raises:
            InputError: there is no such stream, or no room for more.
        """
        steps = self._table.steps(np.array([self._table.slot_of(name)]))
        self._write([into], self._table.slots_of([into]), self._row(name), steps)

    @_changes
    @with_lock
    def reset(self, name: Name) -> None:
        """Put a stream back to its beginning: as if it had been fed nothing.

        Raises:
            InputError: there is no such stream.
        """
        slot, model_step = np.array([self._table.slot_of(name)]), self._compiled.model_step
        self._write([name], slot, model_step.blank[:, : model_step.width], np.zeros(1, np.int64))

    @_changes
    @with_lock
    def drop(self, name: Name) -> None:
        """Forget a stream, in memory or evicted.

        Raises:
            InputError: there is no such stream.
        """
        evicted = self._evicted is not None and self._evicted.drop([checked_name(name)])
        if name in self._table or not evicted:
            self._forget(name)

    def _forget(self, name: Name) -> None:
        """Drop a stream in memory, from the store first."""
        self._table.slot_of(name)
        if self._store is not None:
            self._store.drop([name])
        self._table.drop(name)

    @with_lock
    def stream(self, name: Name) -> Stream:
        """A copy of a stream as a ``Stream``, to generate from or to trace; the original stays.

        Raises:
            InputError: there is no such stream.
        """
        return Stream(self._compiled).at(self._row(name), self.steps(name))

    @_changes
    def put(self, name: Name, stream: Stream) -> None:
        """Copy a ``Stream`` into the pool, in the place of a stream of that name, if any.

        Raises:
            StateError: it is another model's, or of another window.
            InputError: there is no room for more.
        """
        stream = stream.fork()  # another thread may feed it
        row = self._compiled.model_step.rows_of(stream.state)
        with self._lock:
            self._put(StreamRecords([name], row, np.array([stream.steps])))

    def _row(self, name: Name) -> np.ndarray:
        """The carried state of a stream, (1, width)."""
        return self._table.gather(np.array([self._table.slot_of(name)]), 1)

    def _record(self, name: Name) -> StreamRecords:
        """The record of a stream in memory.

        Raises:
            InputError: there is no such stream.
        """
        self._table.slot_of(name)
        return self._table.records([name])

    # Files.

    @_changes
    @with_lock
    def evict(self, names: Name | Iterable[Name]) -> None:
        """Move streams from memory to files in the pool's folder, whole or not at all.

        A stream that is fed again comes back by itself.

        Args:
            names: one name, or several.

        Raises:
            InputError: there is no such stream, or the pool has no folder.
            OutputError: the folder cannot be written; the streams are still in memory.
        """
        if isinstance(names, (str, bytes)) or not isinstance(names, Iterable):
            names = [cast("Name", names)]
        names = list(names)
        for name in names:
            self._table.slot_of(name)
        names = list(dict.fromkeys(names))  # each once
        store = self._evicted_store()
        records = self._table.records(names)
        evicted = list(map(checked_name, records.names))
        try:
            store.put(records._replace(names=evicted))
            if self._store is not None:
                self._store.drop(names)
        except Exception:  # they stay in memory: what was written of them would grow old
            with suppress(LegatoError):
                store.drop(evicted)
            raise
        for name in names:
            self._table.drop(name)

    @_changes
    @with_lock
    def restore(self, name: Name) -> None:
        """Bring an evicted stream back into memory; its file goes.

        Raises:
            StateError: no file, a damaged one, or one of other weights; it stays as it is.
            InputError: the pool has no folder, or no room, or the stream is in memory, where it may
                be at a later point than a file that a killed process left.
        """
        store = self._evicted_store()
        if name in self._table:
            raise InputError(
                f"Stream {name!r} is in memory already, maybe at a later point than in {store}: "
                "feed it as it is."
            )
        records = store.load([checked_name(name)])
        if not records.names:
            raise StateError(f"There is no stream file of {name!r} in {store}.")
        self._take_back(store, records)

    @with_lock
    def save(self, path: str | os.PathLike) -> None:
        """Write all streams in memory to one safetensors file, whole or not at all.

        Raises:
            OutputError: the folder is missing or cannot be written, or the file is an open pool's.
        """
        check_is_not_kept(path)
        self._compiled.files.write(path, self._table.records())

    @_changes
    @with_lock
    def load(
        self, path: str | os.PathLike, *, other_weights: bool = False, without_log: bool = False
    ) -> "Streams":
        """Load the streams of a file, in the place of those of the same names; returns the pool.

        Args:
            path: of a file that ``save`` wrote, or ``Stream.save``, whose stream is named "".
            other_weights: load them also if the model's weights are others now.
            without_log: load them also from the file of a pool whose later changes are in its log,
                as they were before these changes.

        Raises:
            StateError: no such file, a damaged one, one of another model or other weights, or one
                that is at an old point without its log.
            InputError: there is no room for so many.
        """
        self._put(self._compiled.files.read(path, other_weights, without_log))
        return self

    def _evicted_store(self) -> StreamStore:
        if self._evicted is None:
            raise InputError(
                "This pool has no folder to evict streams to: make it with "
                "model.streams(folder=...)."
            )
        return self._evicted

    @with_lock
    def close(self) -> None:
        """Finish the pool's file, so that others may open it; a pool without one stays usable.

        Raises:
            OutputError: it cannot be written; it and its log have all.
        """
        for store in (self._store, self._evicted):
            if store is not None:
                store.close()

    def __enter__(self) -> "Streams":
        return self

    def __exit__(self, _, error, __) -> None:
        try:
            self.close()
        except OutputError:  # nothing is lost by it, so the error before it is the one to see
            if error is None:
                raise
