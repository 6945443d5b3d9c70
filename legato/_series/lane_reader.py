"""Reads sequences from files as the batches of a plan of lanes, in memory that does not grow.

Each row of the batch is a lane: one sequence after another, in the order of the plan. Several
batches are put together at a time, from pieces of the files: each piece is read when a row comes to
it, and dropped when no row goes on in it. The pieces of all rows take ``PIECES_BYTES`` together,
however long the files are.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from legato._series.file_table import FileTable
from legato._series.lane_packing import count_chunks
from legato._series.sequences import expand_ranges

PIECES_BYTES = 256 * 2**20  # of the pieces that all rows hold: smaller ones take longer to read
PIECE_BYTES = (2**17, 2**24)  # the least and the most of one piece
BATCHES_BYTES = 4 * 2**20  # of the batches that are put together at a time

Batch = tuple[np.ndarray, np.ndarray | None, np.ndarray, np.ndarray]


class LanePlan(NamedTuple):
    """Where sequences are in batches.

    Attributes:
        lengths: time steps of each sequence, (sequences,).
        first: the sample that each begins in, ``batch * rows + row``, (sequences,).
        rows, steps, batches: of a batch, of a sample, and of an epoch.
    """

    lengths: np.ndarray
    first: np.ndarray
    rows: int
    steps: int
    batches: int


class LaneReader:
    """Reads some rows of the batches of a plan.

    Args:
        table: the files; sequences are in them one after the other.
        inputs, targets: names of the columns.
        plan: the plan.
        rows: the rows that are read.
        pad: the value of inputs in padded steps.

    Raises:
        InputError: a column holds something else than numbers.
    """

    def __init__(
        self,
        table: FileTable,
        inputs: list[str],
        targets: list[str],
        plan: LanePlan,
        rows: range,
        pad: float = 0.0,
    ):
        self._table, self._plan, self._rows, self._pad = table, plan, rows, pad
        self._parts = [
            (columns, table.choose_dtype(columns)) for columns in (inputs, targets) if columns
        ]
        self._columns = list(dict.fromkeys([*inputs, *targets]))
        self._begins = np.cumsum(plan.lengths) - plan.lengths
        step_bytes = 4 * (len(inputs) + len(targets))
        # Of all rows, so that shards shuffle as the whole does.
        piece_bytes = np.clip(PIECES_BYTES // plan.rows, *PIECE_BYTES)
        self._edges = self._find_edges(max(1, int(piece_bytes) // step_bytes))
        batch_bytes = len(rows) * plan.steps * (step_bytes + 4)
        self._together = min(max(1, BATCHES_BYTES // batch_bytes), plan.batches)

    def _find_edges(self, piece_rows: int) -> np.ndarray:
        """The rows of the files at which pieces begin, and their end.

        A sequence that is longer than a piece has pieces of its own; others share one, in which
        they are whole, with their neighbours in the same row of the batch.
        """
        lengths, begins = self._plan.lengths, self._begins
        row, number = self._plan.first % self._plan.rows, begins // piece_rows
        is_long = lengths > piece_rows
        cut = is_long.copy()
        cut[1:] |= is_long[:-1] | (row[1:] != row[:-1]) | (number[1:] != number[:-1])
        cut[0] = True
        inner = (lengths[is_long] - 1) // piece_rows
        counts = expand_ranges(0 * inner + 1, inner)
        inside = np.repeat(begins[is_long], inner) + counts * piece_rows
        return np.sort(np.concatenate([begins[cut], inside, [self._table.height]]))

    def _queue(self, order_seed) -> list[tuple[np.ndarray, np.ndarray]]:
        """Of each row: its sequences in the order they are read in, and the batch each begins in.

        Args:
            order_seed: the seed of a random order; None: that of the plan. In a random order, the
                pieces of a row are in one, and the sequences of each piece.
        """
        plan = self._plan
        row, batch = plan.first % plan.rows, plan.first // plan.rows
        if order_seed is None:
            order = np.lexsort((batch, row))
        else:
            random = np.random.default_rng(order_seed)
            piece = np.searchsorted(self._edges, self._begins, side="right") - 1
            place = random.permutation(len(self._edges) - 1)[piece]
            order = np.lexsort((random.random(len(row)), place, row))
        chunks = count_chunks(plan.lengths, plan.steps)[order]
        ends = np.cumsum(chunks)
        bounds = np.searchsorted(row[order], np.arange(plan.rows + 1))
        queue = []
        for each in self._rows:
            begin, end = bounds[each], bounds[each + 1]
            before = ends[begin - 1] if begin else 0
            queue.append((order[begin:end], ends[begin:end] - chunks[begin:end] - before))
        return queue

    def read(self, order_seed=None) -> Iterator[Batch]:
        """The batches: inputs (rows, steps, columns), targets likewise or None, and weights.

        Weights are float32, (rows, steps): 1, and 0 for padding. The fourth array of a batch is
        (rows,): whether each row begins a sequence.

        Args:
            order_seed: as for ``_queue``.

        Raises:
            InputError: a value is missing or not finite, or a file is damaged.
        """
        plan, queue = self._plan, self._queue(order_seed)
        at = [0] * len(queue)  # the place of each row in its queue
        pieces: dict[int, list[np.ndarray]] = {}
        for begin in range(0, plan.batches, self._together):
            end = min(begin + self._together, plan.batches)
            arrays, weights, starts = self._empty(end - begin)
            for row, (sequences, batches) in enumerate(queue):
                lane = [each[row] for each in arrays]
                while at[row] < len(sequences) and batches[at[row]] < end:
                    sequence, first = int(sequences[at[row]]), int(batches[at[row]])
                    from_step = max(begin - first, 0) * plan.steps
                    length = int(plan.lengths[sequence])
                    to_step = min(length, (end - first) * plan.steps)
                    place = max(first - begin, 0) * plan.steps
                    row_of_file = int(self._begins[sequence])
                    self._copy(pieces, row_of_file + from_step, row_of_file + to_step, lane, place)
                    weights[row, place : place + to_step - from_step] = 1
                    if not from_step:
                        starts[first - begin, row] = True
                    if to_step < length:
                        break
                    at[row] += 1
            pieces = self._still_needed(pieces, queue, at, end)
            for number in range(end - begin):
                steps = slice(number * plan.steps, (number + 1) * plan.steps)
                x, *y = (each[:, steps] for each in arrays)
                yield x, y[0] if y else None, weights[:, steps], starts[number]

    def _empty(self, batches: int) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """Arrays of padding for some batches, (rows, steps of all, columns); weights; starts."""
        rows, steps = len(self._rows), batches * self._plan.steps
        arrays = [
            np.full((rows, steps, len(columns)), 0 if at else self._pad, dtype)
            for at, (columns, dtype) in enumerate(self._parts)
        ]
        return arrays, np.zeros((rows, steps), "float32"), np.zeros((batches, rows), bool)

    def _copy(self, pieces: dict, begin: int, end: int, lane: list[np.ndarray], place: int) -> None:
        """Copy rows of the files to a lane, reading the pieces that are not at hand.

        Args:
            pieces: by number, those at hand.
            begin, end: the rows.
            lane: arrays (time steps, columns).
            place: the time step of the first row.
        """
        number = int(np.searchsorted(self._edges, begin, side="right")) - 1
        while begin < end:
            first, stop = int(self._edges[number]), int(self._edges[number + 1])
            if number not in pieces:
                pieces[number] = self._read_piece(first, stop)
            count = min(end, stop) - begin
            for array, values in zip(lane, pieces[number], strict=True):
                array[place : place + count] = values[begin - first : begin - first + count]
            begin, place, number = begin + count, place + count, number + 1

    def _read_piece(self, begin: int, end: int) -> list[np.ndarray]:
        """Inputs, and targets if there are any, of some rows."""
        frame = self._table.read(begin, end, self._columns)
        return [self._table.to_array(frame, begin, *part) for part in self._parts]

    def _still_needed(self, pieces: dict, queue: list, at: list[int], end: int) -> dict:
        """The pieces in which a row goes on with batch ``end``."""
        rows = [
            int(self._begins[sequences[here]]) + max(end - int(batches[here]), 0) * self._plan.steps
            for (sequences, batches), here in zip(queue, at, strict=True)
            if here < len(sequences)
        ]
        needed = set((np.searchsorted(self._edges, rows, side="right") - 1).tolist())
        return {number: piece for number, piece in pieces.items() if number in needed}
