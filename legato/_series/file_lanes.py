"""FileLanes: sequences in files that are larger than memory, as batches for ``fit``.

One pass over the column that tells sequences apart finds their lengths, and the plan of ``Lanes``
is made of these alone; values are read while the model trains. Limits: gradients stop where chunks
meet, and all sequences have a length and a name in memory, about 60 bytes each.
"""

import math
import numbers
from collections.abc import Iterable, Iterator
from functools import cached_property
from typing import Any

import numpy as np

from legato._errors import InputError
from legato._platform.checks import check_seed, is_count
from legato._platform.output_streams import printable_on_stdout
from legato._platform.wording import counted
from legato._series.columns import list_names
from legato._series.file_table import FileTable
from legato._series.lane_packing import choose_sizes, count_chunks, pack_consecutive
from legato._series.lane_reader import Batch, LanePlan, LaneReader
from legato._series.lanes import Lanes
from legato._series.sequence_scan import find_sequences


class FileLanes:
    """Batches of sequences from Parquet or Arrow files, read while a model trains.

    ``fit``, ``evaluate`` and ``predict`` take it in place of ``x``: inputs (rows, steps, inputs),
    targets (rows, steps, targets), sample weights that are 0 for padding, and ``starts``, so that
    stateful layers carry a sequence's state from batch to batch and reset where one begins. Files
    are opened once to find the lengths of the sequences, and read in every epoch, in the same
    order. Memory does not depend on how many rows they have.

    The rows of a sequence are together and in order; it may go on in the next file.

    Args:
        files: a folder, whose files are read with those of folders inside it; a pattern such as
            ``"data/*.parquet"``; a path; or a list of paths. Names end in ``.parquet``, ``.pq``,
            ``.arrow``, ``.feather`` or ``.ipc``. But for a list, files are in the order of their
            paths, numbers in names by value.
        inputs: names of the columns of inputs, numbers. If all are integers or booleans, they are
            int32; else float32.
        targets: names of the columns of targets, one value for each time step; likewise. Without
            targets, ``predict`` takes it.
        group: the column with the sequence's identifier. Default: each file is a sequence.
        time: a column that is checked to ascend within each sequence; it is not used otherwise.
        rows, steps: as for ``Lanes``; chosen rows are a multiple of the number of shards.
        shard: ``(index, count)``: this process reads ``rows / count`` of the rows, those of process
            ``index``. Batches of all shards, joined, are those of the whole. Default: all rows.
        shuffle_seed: the seed of the order in which each row reads its sequences in ``fit``, which
            is another one in every epoch. Sequences of one piece of the files stay near each
            other. ``evaluate`` and ``predict`` keep the order of the plan. Default: so does
            ``fit``.
        pad: the value of padded steps of inputs, such as that of a ``Masking`` layer.

    Attributes:
        inputs, targets: names of the columns.
        names: the identifiers of the sequences, a Polars series.
        lengths: (sequences,) the time steps of each.
        rows: rows of a batch of all shards.
        own_rows: the range of those that are read here.
        steps: time steps of a sample.
        batches: batches in an epoch.
        shuffle_seed: as given.

    Raises:
        InputError: there are no such files, columns or rows; a file is damaged or has other types;
            a sequence is in two places, or its times do not ascend; a shard has no sequence.
            While batches are read: a value is missing, NaN or infinite, or a file was changed or
            removed.

    Examples:
        >>> import polars, tempfile, legato
        >>> folder = tempfile.mkdtemp()
        >>> table = {"machine": [1, 1, 1, 2, 2], "load": [0.1, 0.3, 0.2, 0.9, 0.8]}
        >>> polars.DataFrame(table).write_parquet(f"{folder}/part-1.parquet")
        >>> files = legato.FileLanes(folder, inputs="load", group="machine", rows=2, steps=2)
        >>> print(files)
        2 sequences of 2 to 3 steps, 5 in all, in 1 file: 2 batches of 2 rows, 2 steps each, \
37.5 % padding
        >>> x, targets, weights, starts = next(iter(files))
        >>> x[..., 0].tolist(), starts.tolist()
        ([[0.10000000149011612, 0.30000001192092896], [0.8999999761581421, 0.800000011920929]], \
[True, True])
    """

    def __init__(
        self,
        files: Any,
        *,
        inputs: str | Iterable[str],
        targets: str | Iterable[str] = (),
        group: str | None = None,
        time: str | None = None,
        rows: int | None = None,
        steps: int | None = None,
        shard: tuple[int, int] | None = None,
        shuffle_seed: int | None = None,
        pad: float = 0.0,
    ):
        self.inputs, self.targets = list_names(inputs, "inputs"), list_names(targets, "targets")
        if not self.inputs:
            raise InputError("inputs names no column; at least one was expected.")
        self.shuffle_seed = (
            None if shuffle_seed is None else check_seed(shuffle_seed, "shuffle_seed")
        )
        _check_name("group", group)
        _check_name("time", time)
        if group is not None and group == time:
            raise InputError(
                f"group and time are both {group!r}; a column tells sequences apart, and another "
                "one the times in each."
            )
        index, count = _check_shard(shard)
        used = [*self.inputs, *self.targets, *(each for each in (group, time) if each is not None)]
        self._table = FileTable(files, list(dict.fromkeys(used)))
        self._check_columns(pad)
        self.names, self.lengths = find_sequences(self._table, group, time)
        self.rows, self.steps = choose_sizes(self.lengths, rows, steps, pack_consecutive, count)
        if self.rows % count:
            raise InputError(
                f"rows={self.rows} cannot be shared equally by {count} shards: give a multiple of "
                f"{count}."
            )
        first, self.batches = pack_consecutive(count_chunks(self.lengths, self.steps), self.rows)
        own = self.rows // count
        self.own_rows = range(index * own, (index + 1) * own)
        taken = np.bincount(first % self.rows, minlength=self.rows).reshape(count, own)
        if len(empty := np.flatnonzero(~taken.any(axis=1))):  # the same in every process
            raise InputError(
                f"Shard {empty[0]} of {count} has no sequence: the files have "
                f"{counted(len(self.lengths), 'sequence')} for {counted(self.rows, 'row')}. Use "
                "fewer shards, or fewer rows."
            )
        plan = LanePlan(self.lengths, first, self.rows, self.steps, self.batches)
        self._reader = LaneReader(
            self._table, self.inputs, self.targets, plan, self.own_rows, float(pad)
        )
        self.lengths.setflags(write=False)

    def _check_columns(self, pad: Any) -> None:
        """Check that columns hold numbers, and that inputs can be padded.

        Raises:
            InputError: they do not, or cannot.
        """
        self._table.choose_dtype(self.targets)
        dtype = self._table.choose_dtype(self.inputs)
        whole = dtype.kind == "i"
        if not isinstance(pad, numbers.Real) or not math.isfinite(pad):
            raise InputError(f"pad is {pad!r}; a finite number was expected.")
        if whole and not float(pad).is_integer():
            raise InputError(f"pad is {pad!r}, and the inputs are integers; give an integer.")
        most = float(np.iinfo(dtype).max if whole else np.finfo(dtype).max)
        if abs(float(pad)) > most:
            raise InputError(f"pad is {pad!r}; the inputs are {dtype}, at most {most:.10g}.")

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Batch]:
        """The batches in the order of the plan: inputs, targets or None, weights, starts."""
        return self._reader.read()

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of an epoch of ``fit``, in its own order if there is a ``shuffle_seed``.

        Args:
            number: the epoch, from 0.

        Raises:
            InputError: it is no such number.
        """
        if not is_count(number, 0):
            raise InputError(f"epoch is {number!r}; a whole number from 0 was expected.")
        return self._reader.read(None if self.shuffle_seed is None else (self.shuffle_seed, number))

    @cached_property
    def lanes(self) -> Lanes:
        """The plan of all rows: ``lanes.lay`` arranges arrays in memory in the same samples.

        ``lanes.gather`` arranges what ``predict`` gives, without shards, in the order of the files.
        It takes memory for each sample.
        """
        return Lanes(self.lengths, self.rows, self.steps, consecutive=True)

    @printable_on_stdout
    def __repr__(self) -> str:
        return f"<FileLanes: {self}>"

    @printable_on_stdout
    def __str__(self) -> str:
        least, most = int(self.lengths.min()), int(self.lengths.max())
        span = counted(most, "step") if least == most else f"{least:,} to {most:,} steps"
        padding = 1 - self._table.height / (self.batches * self.rows * self.steps)
        shard = ""
        if len(self.own_rows) < self.rows:
            shard = f", of which rows {self.own_rows[0]} to {self.own_rows[-1]} are read"
        return (
            f"{counted(len(self.lengths), 'sequence')} of {span}, {self._table.height:,} in all, "
            f"in {counted(len(self._table.paths), 'file')}: "
            f"{counted(self.batches, 'batch', 'es')} of {counted(self.rows, 'row')}{shard}, "
            f"{counted(self.steps, 'step')} each, {100 * padding:.1f} % padding"
        )


def _check_name(option: str, name: Any) -> None:
    """Check that an option is the name of a column, or None.

    Raises:
        InputError: it is not.
    """
    if not (name is None or isinstance(name, str)):
        raise InputError(f"{option} is {name!r}; the name of one column was expected.")


def _check_shard(shard) -> tuple[int, int]:
    """The index of a shard and the number of shards.

    Raises:
        InputError: it is no such pair.
    """
    if shard is None:
        return 0, 1
    if (
        not isinstance(shard, (tuple, list))
        or len(shard) != 2
        or not is_count(shard[1])
        or not is_count(shard[0], 0)
        or shard[0] >= shard[1]
    ):
        raise InputError(
            f"shard is {shard!r}; (index, count) was expected, the index from 0 to count - 1: of "
            "joined processes (process_id, processes)."
        )
    return int(shard[0]), int(shard[1])
