"""``Streams``: many live sequences of one model, by name, whatever subset of them is fed.

What they carry lies in one table, a row each, of which a feed takes those that are fed, leads them
on as one batch (``batched_steps``), and puts them back.
"""

import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import numpy as np

from legato._errors import InputError, UnsupportedError
from legato._platform.checks import check_count
from legato._recurrent.state import State
from legato._streams.batched_steps import one_step, several
from legato._streams.compiled_steps import CompiledSteps
from legato._streams.log_store import LogStore, all_of
from legato._streams.slots import SlotTable, checked_name
from legato._streams.stream import Stream
from legato._streams.stream_files import FolderStore, Name, StreamRecords

_ROOM_BYTES = 2**30  # of streams, where no limit is given


class Streams:
    """Many live sequences of a model; made by ``model.streams()``.

    A name that was never fed begins a stream. One thread at a time uses a pool.

    Example:
        >>> import legato
        >>> model = legato.Sequential([legato.layers.Input((None, 2)), legato.layers.GRU(3)])
        >>> pool = model.streams()
        >>> answers = pool.feed({"ada": [0.1, 0.2], "bob": [0.3, 0.4]})
        >>> answers["ada"].shape, pool.steps("bob"), len(pool)
        ((3,), 1, 2)
    """

    def __init__(
        self,
        stepper: CompiledSteps,
        limit: int | None = None,
        folder: str | os.PathLike | None = None,
        file: str | os.PathLike | None = None,
        other_weights: bool = False,
    ):
        self._stepper, one = stepper, stepper.one
        self._table = SlotTable(one.blank[0, : one.words], 1)
        self._table.limit = _ROOM_BYTES // self.bytes_each if limit is None else limit
        check_count("limit", self._table.limit, noun="a number of streams")
        self._folder = None if folder is None else FolderStore(folder)
        self._changes: SlotTable | LogStore = self._table
        if file is not None:
            self._changes = LogStore(file, self._table, stepper.files, other_weights)

    def __repr__(self) -> str:
        told = f"{len(self):,} of at most {self.limit:,}, {self.bytes_each:,} bytes each"
        return f"<Streams: {self._stepper.one}; {told}>"

    # Which there are.

    def __len__(self) -> int:
        return len(self._table)

    def __iter__(self) -> Iterator[Name]:
        """The names of those in memory, in the order in which they came."""
        return iter(self._table.names)

    def __contains__(self, name) -> bool:
        return name in self._table

    @property
    def limit(self) -> int:
        """The most streams it has in memory."""
        return self._table.limit

    @property
    def bytes_each(self) -> int:
        """Bytes of a stream: what it carries and 16 more. Beside it stands its name."""
        return self._table.bytes_each

    @property
    def nbytes(self) -> int:
        """Bytes of all rows, those included that are free for more streams."""
        return self._table.nbytes

    def steps(self, name: Name) -> int:
        """How many steps a stream has seen.

        Raises:
            InputError: there is no such stream.
        """
        return int(self._table.steps(np.array([self._table.place(name)]))[0])

    def state(self, name: Name) -> State:
        """What a stream carries, one row.

        Raises:
            InputError: there is no such stream.
        """
        return self._stepper.one.state(self._row(name))

    def idle(self, count: int) -> list[Name]:
        """The streams that were fed longest ago, these first; at most so many."""
        return self._table.idle(count)

    # Feeding.

    def feed(self, x: Mapping[Any, Any]) -> dict[Any, Any]:
        """Take a step, or several, of some streams, as one batch.

        Args:
            x: name → what ``Stream.feed`` takes. A name that is new begins a stream; one that was
                evicted comes back.

        Returns:
            Name → the answer, or answers, as ``Stream.feed`` gives them.

        Raises:
            InputError: an x that does not fit, or more streams than the limit. None has moved.
            OutputError: the pool's file cannot be written. None has moved.
        """
        names, places, rows, steps, answers = self._ahead(x)
        self._changes.put(names, places, rows, steps)
        return answers

    def peek(self, x: Mapping[Any, Any]) -> dict[Any, Any]:
        """What ``feed`` would answer; every stream stays where it is, and none begins."""
        return self._ahead(x)[-1]

    def _ahead(self, x: Mapping[Any, Any]) -> tuple:
        """Names, their places, what they carry after x, the steps they have seen, and answers."""
        if not isinstance(x, Mapping):
            raise InputError(
                f"A mapping of names to steps was expected, such as {{'ada': x}}; "
                f"{type(x).__name__} came."
            )
        names, values = list(x), list(x.values())
        one = self._stepper.one
        together = one.feed.together(values)
        each = [] if together is not None else self._read(names, values)
        places = self._places(names)
        seen = self._table.steps(places)
        if any(steps is not None for _, steps in each):
            rows, answers = several(self._stepper, self._table, places, each)
            seen += [1 if steps is None else steps for _, steps in each]
            return names, places, rows, seen, dict(zip(names, answers, strict=True))
        xs = tuple(map(np.stack, zip(*[xs for xs, _ in each], strict=True)))
        rows = one_step(self._stepper, self._table, places, xs if together is None else (together,))
        answers = one.answers(rows[:, one.words :])
        if not isinstance(answers, np.ndarray):  # nested, as the model's outputs are
            leaves, structure = jax.tree.flatten(answers)
            answers = [structure.unflatten(each) for each in zip(*leaves, strict=True)]
        return names, places, rows[:, : one.words], seen + 1, dict(zip(names, answers, strict=True))

    def _places(self, names: list[Name]) -> np.ndarray:
        """The rows of streams, those that were evicted brought back; -1 where one begins."""
        places = self._table.places(names)
        new = np.flatnonzero(places < 0)
        if len(new):
            self._table.check_room(len(new))
            if self._folder is not None:
                back = [names[at] for at in new if self._file(names[at]).exists()]
                for name in back:
                    self.restore(name)
                return self._table.places(names) if back else places
        return places

    def _read(self, names: list[Name], values: list) -> list[tuple]:
        """For each stream, an array for each input, and the number of steps; None for one as such.

        Raises:
            InputError, UnsupportedError: what one is fed does not fit.
        """
        each = []
        for name, value in zip(names, values, strict=True):
            try:
                each.append(self._stepper.one.feed.read(value))
            except (InputError, UnsupportedError) as error:
                raise type(error)(f"Stream {name!r}: {error}") from None
        return each

    # One by one.

    def fork(self, name: Name, into: Name) -> None:
        """Let another stream go on from where one is; in the place of one of that name, if any.

        Raises:
            InputError: there is no such stream, or no room for more.
        """
        steps = self._table.steps(np.array([self._table.place(name)]))
        self._changes.put([into], self._table.places([into]), self._row(name), steps)

    def reset(self, name: Name) -> None:
        """Let a stream begin anew.

        Raises:
            InputError: there is no such stream.
        """
        place, one = np.array([self._table.place(name)]), self._stepper.one
        self._changes.put([name], place, one.blank[:, : one.words], np.zeros(1, np.int64))

    def drop(self, name: Name) -> None:
        """Forget a stream, in memory or evicted.

        Raises:
            InputError: there is no such stream.
        """
        evicted = self._folder is not None and self._file(name).exists()
        if evicted:
            self._file(name).unlink()
        if name in self._table or not evicted:
            self._changes.drop(name)

    def stream(self, name: Name) -> Stream:
        """A stream by itself that goes on from where one of these is, to generate or to be traced;
        that one stays where it is.

        Raises:
            InputError: there is no such stream.
        """
        return Stream(self._stepper).at(self._row(name), self.steps(name))

    def put(self, name: Name, stream: Stream) -> None:
        """Let a stream of this pool be where a stream by itself is.

        Raises:
            StateError: it is another model's, or of another window.
            InputError: there is no room for more.
        """
        row = self._stepper.one.rows_of(stream.state)
        self._changes.put([name], self._table.places([name]), row, np.array([stream.steps]))

    def _row(self, name: Name) -> np.ndarray:
        """What a stream carries, (1, words)."""
        return self._table.gather(np.array([self._table.place(name)]), 1)

    # Files.

    def evict(self, names: Name | Iterable[Name]) -> None:
        """Move streams from memory to files in the pool's folder, whole or not at all.

        A stream that is fed again comes back by itself.

        Args:
            names: one name, or several.

        Raises:
            InputError: there is no such stream, or the pool has no folder.
            OutputError: the folder cannot be written; the streams are still in memory.
        """
        names = [names] if isinstance(names, (str, int)) else list(names)
        for name in names:
            self._table.place(name)
        for name in names:
            kept = StreamRecords([name], self._row(name), np.array([self.steps(name)]))
            self._stepper.files.write(self._file(name), kept)
            self._changes.drop(name)

    def restore(self, name: Name) -> None:
        """Bring an evicted stream back into memory; its file goes.

        Raises:
            StateError: no file, a damaged one, or one of other weights; it stays as it is.
            InputError: the pool has no folder, or no room.
        """
        path = self._file(name)
        kept = self._stepper.files.read(path)
        self._changes.put([name], self._table.places([name]), kept.rows, kept.steps)
        path.unlink()

    def save(self, path: str | os.PathLike) -> None:
        """Write all streams in memory to one safetensors file, whole or not at all.

        Raises:
            OutputError: the folder is missing or cannot be written.
        """
        self._stepper.files.write(path, all_of(self._table))

    def load(self, path: str | os.PathLike, *, other_weights: bool = False) -> "Streams":
        """Take up the streams of a file, in the place of those of the same names; returns the pool.

        Args:
            path: what ``save`` wrote, or ``Stream.save``, whose stream is named "".
            other_weights: take them also if the model's weights are others now.

        Raises:
            StateError: no such file, a damaged one, or one of another model or other weights.
            InputError: there is no room for so many.
        """
        kept = self._stepper.files.read(path, other_weights)
        words = self._stepper.one.words
        places = self._table.places(kept.names)
        self._changes.put(kept.names, places, kept.rows[:, :words], kept.steps)
        return self

    def _file(self, name: Name) -> Path:
        """Where a stream's file is; a name that holds slashes or worse is no path."""
        if self._folder is None:
            raise InputError(
                "This pool has no folder to evict streams to: make it with "
                "model.streams(folder=...)."
            )
        return self._folder.file(checked_name(name))

    def close(self) -> None:
        """Finish the pool's file, so that others may open it; a pool that has none goes on.

        Raises:
            OutputError: it cannot be written; it and its log have all.
        """
        if isinstance(self._changes, LogStore):
            self._changes.close()

    def __enter__(self) -> "Streams":
        return self

    def __exit__(self, *_) -> None:
        self.close()
