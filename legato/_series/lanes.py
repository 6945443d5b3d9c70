"""Lanes: sequences of any lengths packed into the rows of stateful batches.

A sequence is cut into chunks of one truncation length. A row of the batch holds one sequence after
another, chunk by chunk; no sequence is truncated, and only its last chunk is padded, at its end.
Which row a sequence is in: ``lane_packing``.

Limits: gradients stop where chunks meet, as everywhere in legato. A padded step counts like any
other for a layer that mixes rows, such as batch normalisation, and for a loss without weights.
"""

from functools import cached_property

import numpy as np

from legato._errors import InputError
from legato._platform.checks import is_count
from legato._platform.output_streams import printable_on_stdout
from legato._platform.padding import broadcast_padding
from legato._platform.plain_arrays import check_keeps_meaning
from legato._platform.wording import counted
from legato._series.lane_packing import (
    choose_sizes,
    count_chunks,
    pack_consecutive,
    pack_longest_first,
)
from legato._series.sequences import expand_ranges

COLUMNS, LINES = 100, 16  # of the drawing
CELL_COLUMNS = 8  # of a sample in it, where labels need no more


class Lanes:
    """A plan that packs sequences of any lengths into batches whose rows carry state.

    Sample ``k * rows + r`` is row r of batch k, which is what ``fit(batch_size=rows, starts=...,
    shuffle=False)`` of a stateful model takes. A row with nothing left has wholly padded samples.

    Args:
        lengths: time steps of each sequence, integers (sequences,), each at least 1.
        rows: positions of the batch; more than there are sequences leaves some empty. None: the
            most, up to 32 and to the number of sequences, that are without a sequence for at most
            3 % of the time.
        steps: time steps of a chunk, the truncation length. None: the longest from 8 to 64 that
            keeps padding at 5 % or less, else the one with the least padding; then as short as the
            same number of batches allows. Where no sequence has 8 steps, the longest one's steps.
        consecutive: whether a row has consecutive sequences, after those of more than a fiftieth of
            its steps, the longest of which are placed first: ``FileLanes`` does it, so that a row
            reads the files from one place on. It may take a few more batches.

    Attributes:
        lengths: as given, an integer array (sequences,).
        rows: rows of a batch, as given or chosen.
        steps: time steps of a sample, as given or chosen.
        batches: the number of batches.
        samples: ``batches * rows``.
        sequence: (samples,) the index of the sequence a sample is a chunk of, -1 for none.
        begin: (samples,) the chunk's first time step within its sequence; 0 where there is none.
        end: (samples,) the time step after its last; 0 where there is none.
        starts: booleans (samples,): the sample is the first chunk of a sequence. False where there
            is no sequence: the row's state is not reset there, and its steps have weight 0.
        padding: the share of all steps that are padding, 0 to 1.

    Raises:
        InputError: there is no sequence, a length is not an integer or below 1, rows or steps are.

    Examples:
        >>> import numpy as np
        >>> from legato import Lanes
        >>> lanes = Lanes([7, 3, 5, 2], rows=2, steps=3)
        >>> print(lanes)
        4 sequences of 2 to 7 steps, 17 in all, in 2 rows: 8 samples of 3 steps in 4 batches, \
29.2 % padding
        [ a sequence begins   | it carries on   · padding
        batch   0   1   2   3
        row 0  [0--|0--|0··[3-·
        row 1  [2--|2-·[1--|···
        >>> lanes.lay(np.arange(17))[:3]
        array([[ 0,  1,  2],
               [10, 11, 12],
               [ 3,  4,  5]])
    """

    def __init__(
        self,
        lengths,
        rows: int | None = None,
        steps: int | None = None,
        *,
        consecutive: bool = False,
    ):
        self.lengths = _check_lengths(lengths)
        pack = pack_consecutive if consecutive else pack_longest_first
        self.rows, self.steps = choose_sizes(self.lengths, rows, steps, pack)
        chunks = count_chunks(self.lengths, self.steps)
        first, self.batches = pack(chunks, self.rows)
        self.samples = self.batches * self.rows
        owner = np.repeat(np.arange(len(chunks)), chunks)
        number = expand_ranges(0 * chunks, chunks)
        self._at = first[owner] + number * self.rows  # samples, sequence by sequence

        self.sequence = np.full(self.samples, -1)
        self.begin, self.end = np.zeros((2, self.samples), int)
        self.sequence[self._at] = owner
        self.begin[self._at] = number * self.steps
        self.end[self._at] = np.minimum((number + 1) * self.steps, self.lengths[owner])
        self.starts = (self.sequence >= 0) & (self.begin == 0)
        for array in (self.lengths, self.sequence, self.begin, self.end, self.starts):
            array.setflags(write=False)

    @property
    def padding(self) -> float:
        """The share of all steps that are padding, 0 to 1."""
        return 1 - int(self.lengths.sum()) / (self.samples * self.steps)

    @cached_property
    def mask(self) -> np.ndarray:
        """Booleans (samples, steps): the step is a time step of a sequence."""
        mask = np.arange(self.steps) < (self.end - self.begin)[:, None]
        mask.setflags(write=False)
        return mask

    @cached_property
    def weights(self) -> np.ndarray:
        """Loss weights (samples, steps), float32: 1, and 0 for padding.

        With these as ``sample_weight`` of a loss at every time step, Keras divides a batch's loss
        by all its steps, padded ones too: sequences that fill one batch, each in one chunk, have
        the gradient sum(length * gradient of the sequence alone) / (rows * steps).
        """
        weights = self.mask.astype("float32")
        weights.setflags(write=False)
        return weights

    @cached_property
    def _places(self) -> np.ndarray:
        """The position of each time step when the steps of all samples are one axis."""
        return expand_ranges(self._at * self.steps, (self.end - self.begin)[self._at])

    def lay(self, values, pad=0.0) -> np.ndarray:
        """Arrange the values of time steps in the samples.

        Args:
            values: (all time steps, ...): the time steps of all sequences, one sequence after
                the other, in the order of ``lengths``.
            pad: the value of padded steps: a number, or an array like one step.

        Returns:
            (samples, steps, ...), of the dtype of ``values``.

        Raises:
            InputError: another number of time steps, or ``pad`` does not fit a step.
        """
        values = _check_values(values, int(self.lengths.sum()), len(self.lengths))
        shape = (self.samples * self.steps, *values.shape[1:])
        laid = np.full(shape, broadcast_padding(pad, values))
        laid[self._places] = values
        return laid.reshape(self.samples, self.steps, *values.shape[1:])

    def gather(self, outputs) -> np.ndarray:
        """The inverse of ``lay``: padding is dropped, sequences return to their own order.

        Args:
            outputs: (samples, steps, ...), such as ``predict`` gives.

        Returns:
            (all time steps, ...), one sequence after the other. ``np.split`` at
            ``np.cumsum(lengths)[:-1]`` makes an array of each.

        Raises:
            InputError: another number of samples or steps.
        """
        check_keeps_meaning("outputs", outputs)
        outputs = np.asarray(outputs)
        if outputs.shape[:2] != (self.samples, self.steps):
            raise InputError(
                f"gather() got shape {outputs.shape}; expected ({self.samples}, {self.steps}, "
                "...), a value at every step of every sample. A recurrent layer gives that with "
                "return_sequences=True."
            )
        return outputs.reshape(-1, *outputs.shape[2:])[self._places]

    def __repr__(self) -> str:
        return (
            f"Lanes({counted(len(self.lengths), 'sequence')}, rows={self.rows}, "
            f"steps={self.steps}, batches={self.batches})"
        )

    @printable_on_stdout
    def __str__(self) -> str:
        least, most, total = self.lengths.min(), self.lengths.max(), int(self.lengths.sum())
        span = counted(most, "step") if least == most else f"{least:,} to {most:,} steps"
        return "\n".join(
            [
                f"{counted(len(self.lengths), 'sequence')} of {span}, {total:,} in all, in "
                f"{counted(self.rows, 'row')}: {counted(self.samples, 'sample')} of "
                f"{counted(self.steps, 'step')} in {counted(self.batches, 'batch', 'es')}, "
                f"{100 * self.padding:.1f} % padding",
                *_draw_plan(self),
            ]
        )


def _check_lengths(lengths) -> np.ndarray:
    """The lengths as an array, checked."""
    given = list(lengths) if np.iterable(lengths) else []
    if not given:
        raise InputError(
            f"Lanes got lengths={lengths!r}: no sequence. Give the time steps of each, such as "
            "[len(each) for each in sequences]."
        )
    wrong = (at for at, length in enumerate(given) if not is_count(length))
    if (at := next(wrong, None)) is not None:
        shape = getattr(given[at], "shape", ())
        came = f"an array of shape {shape}" if shape else repr(given[at])
        raise InputError(
            f"The length of sequence {at} is {came}; an integer of at least 1 was expected. Leave "
            "out sequences without a time step; of arrays give [len(each) for each in sequences]."
        )
    return np.array(given, int)


def _check_values(values, total: int, count: int) -> np.ndarray:
    """The values of all time steps as an array, checked."""
    check_keeps_meaning("values", values)
    try:
        values = np.asarray(values)
    except ValueError:  # sequences of different lengths, side by side
        values = np.empty(0)
        came = "arrays of different shapes"
    else:
        came = f"{len(values):,} time steps" if values.ndim else "a single number"
    if not values.ndim or len(values) != total:
        raise InputError(
            f"lay() got {came}; the {counted(count, 'sequence')} of this plan have {total:,} in "
            "all. Give them one after the other in one array, such as np.concatenate(sequences)."
        )
    return values


# The plan as text.


def _draw_plan(lanes: Lanes) -> list[str]:
    """Draw one line per row and one cell per sample; the middle is left out of long ones."""
    lines = min(lanes.rows, LINES)
    names = [f"row {row}" for row in range(lines)]
    labels = len(str(max(len(lanes.lengths), lanes.batches) - 1))
    width = max(labels + (lanes.steps > 1), min(lanes.steps, CELL_COLUMNS))
    heading = max(map(len, ("batch", *names)))
    room = max(3, (COLUMNS - heading - 2) // (width + 1))
    shown = list(range(lanes.batches))
    if lanes.batches > room:
        last = room // 4
        shown = [*range(room - 1 - last), None, *range(lanes.batches - last, lanes.batches)]

    def line(name: str, cell) -> str:
        cells = (f" {'…':<{width}}" if batch is None else cell(batch) for batch in shown)
        return f"{name:<{heading}}  {''.join(cells)}".rstrip()

    return [
        "[ a sequence begins   | it carries on   · padding",
        line("batch", lambda batch: f" {batch:<{width}}"),
        *[
            line(name, lambda batch, row=row: _draw_sample(lanes, batch * lanes.rows + row, width))
            for row, name in enumerate(names)
        ],
        *([f"… {counted(lanes.rows - lines, 'more row')}"] if lanes.rows > lines else []),
    ]


def _draw_sample(lanes: Lanes, sample: int, width: int) -> str:
    """Draw a sample: the sequence that it is a chunk of, and the share that is padding."""
    edge = "[" if lanes.starts[sample] else "|"
    valid = int(lanes.end[sample] - lanes.begin[sample])
    label = str(lanes.sequence[sample]) if valid else ""
    filled = max(len(label), width * valid // lanes.steps)
    return f"{edge}{label:-<{filled}}".ljust(width + 1, "·")
