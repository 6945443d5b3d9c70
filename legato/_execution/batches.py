"""Sources of data for a compiled loop: arrays as a whole, or batches in blocks.

A compiled loop takes arrays whose axis 0 is the sample, and the sample indices of each batch.
Arrays that fit are one block for many epochs (``WholeData``). Batches from an iterator, and arrays
that would take more than a set share of the device's memory, come in blocks (``BlockedData``):
several batches of one shape are stacked into arrays, and the next block is read, checked and sent
on another thread while one runs. Memory is bounded by three blocks, however long the data are.
"""

import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import keras
import numpy as np

from legato._errors import InputError, LegatoError
from legato._execution.compiled_loop import ENDLESS
from legato._execution.sample_orders import Shuffle, epoch_order, order_generator
from legato._execution.samples import SampleArrays
from legato._platform.large_arrays import empty_for_jax
from legato._platform.locks import acting_for_this_thread

ORDER_INDICES = 4_096  # sample indices one call of a program has room for, at least an epoch's
OUTPUT_SLOTS = 1_024  # batches of outputs one call of a program has room for
BLOCK_BYTES = 16 * 2**20  # of stacked batches
BLOCK_BATCHES = 64


class Block(NamedTuple):
    """The data and sample indices of some steps, for one or several calls of a program.

    Attributes:
        samples: the arrays that batches pick from.
        order: sample indices of the batches, int32, (batches, ``batch``).
        begin, end: the first step and the one after the last, counted from an epoch's beginning.
        batch: samples in a batch.
        last: samples in an epoch's last batch.
        steps: batches in an epoch; ``ENDLESS`` where its end is not known beforehand.
        slots: number of results that a call has room for.
    """

    samples: SampleArrays
    order: np.ndarray | jax.Array
    begin: int
    end: int
    batch: int
    last: int
    steps: int
    slots: int

    @property
    def first(self) -> int:
        """The step of ``order[0]``: an epoch's beginning, or wherever a block begins."""
        return self.begin if self.steps == ENDLESS else 0


class WholeData:
    """Samples that are on the device as a whole.

    Args:
        samples: the data.
        rows: samples in a full batch, at most ``samples.count``.
        shuffle: whether each epoch has an order of its own; ``"batch"``: within each batch only.
            Orders are drawn from NumPy's global generator, which ``numpy.random.seed`` and
            ``keras.utils.set_random_seed`` set, or from that of ``drawing_orders_from``.

    Attributes:
        samples, rows: as given.
        steps: batches in an epoch.
    """

    def __init__(self, samples: SampleArrays, rows: int, shuffle: Shuffle = False):
        self.samples, self.rows = samples, rows
        self._shuffle: Shuffle = shuffle
        self._random = order_generator()
        full, rest = divmod(samples.count, rows)
        self.steps = full + (rest > 0)
        self._last = rest or rows
        self._order: np.ndarray | None = None

    def keep_on_device(self) -> None:
        """Send the data over once, for several calls."""
        self.samples = self.samples.on_device()

    def training(
        self, epochs: int, by_batch: int = 0, ahead: bool = False, first: int = 0
    ) -> Iterator[Block]:
        """One block: as many epochs, up to ``epochs``, as the program has room for.

        Args:
            epochs: how many.
            by_batch, first: as for ``BlockedData``; ``first`` is ignored.
            ahead: whether the orders of all epochs but the first are drawn from a copy of the
                generator, ahead of callbacks that may use it, and again by ``begin_epoch``.
        """
        slots = max(1, ORDER_INDICES // (self.steps * self.rows))
        epochs = min(epochs, slots)
        order = self._training_order(epochs, slots, ahead)
        yield self._whole_block(order, epochs * self.steps, slots, calls=by_batch > 0)

    def begin_epoch(self, at: int) -> bool:
        """Draw the order of an epoch of the present block, which was drawn ahead.

        Returns:
            Whether it is the same, since nobody else used the generator.
        """
        if not self._shuffle or self._order is None:
            return True
        order = self._order[at, : self.samples.count]
        drawn = epoch_order(len(order), self.rows, self._shuffle, self._random)
        same = bool((order == drawn).all())
        order[:] = drawn
        return same

    def _training_order(self, epochs: int, slots: int, ahead: bool) -> np.ndarray:
        """The sample indices of the coming epochs, in room for ``slots``: (slots, indices).

        The array is used again, since the blocks before are done; without shuffling as it is.
        """
        count, order = self.samples.count, self._order
        if order is None:
            self._order = order = np.zeros((slots, self.steps * self.rows), np.int32)
            if not self._shuffle:
                order[:, :count] = np.arange(count)
        if self._shuffle:
            random = self._random
            for at, epoch in enumerate(order[:epochs, :count]):
                if at == 1 and ahead:
                    random = np.random.RandomState(0)
                    random.set_state(self._random.get_state())
                epoch[:] = epoch_order(count, self.rows, self._shuffle, random)
        return order

    def single_pass(self, slots: int, by_batch: int = 0) -> Iterator[Block]:
        """One block: all samples in order."""
        order = np.zeros((1, self.steps * self.rows), np.int32)
        order[0, : self.samples.count] = np.arange(self.samples.count)
        yield self._whole_block(order, self.steps, min(slots, self.steps), calls=by_batch > 0)

    def _whole_block(self, order: np.ndarray, end: int, slots: int, calls: bool) -> Block:
        order = order.reshape(-1, self.rows)
        at_hand = jax.device_put(order) if calls else order  # which costs more than one call gains
        return Block(self.samples, at_hand, 0, end, self.rows, self._last, self.steps, slots)


class BackgroundReader:
    """A thread that reads a source from beginning to end, as some sources require.

    It may use the locks of the thread that makes it, which waits for it: a source may run the model
    that it is read for.
    """

    def __init__(self):
        self._worker = ThreadPoolExecutor(
            1, thread_name_prefix="legato-feeding", initializer=acting_for_this_thread()
        )

    def __call__(self, do: Callable, *arguments):
        """The result of a function, called on the thread."""
        return self._worker.submit(do, *arguments).result()

    def each(self, items: Iterator, ahead: bool) -> Iterator:
        """The items of an iterator; with ``ahead``, the next is read while one is used."""
        end = object()
        coming = self._worker.submit(next, items, end)
        while (item := coming.result()) is not end:
            if ahead:
                coming = self._worker.submit(next, items, end)
            yield item
            if not ahead:
                coming = self._worker.submit(next, items, end)


class BlockedData:
    """Batches that are read one after the other, an epoch at a time.

    Args:
        read: begins an epoch, whose number it is given; returns an iterator over its batches.
        steps: batches in an epoch; None while unknown.
        reader: the thread to read on. Default: a new one.

    Attributes:
        steps: as given, else the number of batches in the last epoch.
    """

    def __init__(
        self,
        read: Callable[[int], Iterator[SampleArrays]],
        steps: int | None = None,
        reader: BackgroundReader | None = None,
    ):
        self._read, self.steps, self._reader = read, steps, reader or BackgroundReader()

    def keep_on_device(self) -> None:
        """Do nothing: blocks are sent once each."""

    def training(self, epochs: int, by_batch: int = 0, first: int = 0) -> Iterator[Block]:
        """The blocks of one epoch.

        Args:
            epochs: ignored, for the signature of ``WholeData``.
            by_batch: the number of batches in a call of the program for callbacks with batch
                methods, for which nothing is read ahead; else 0.
            first: the number of the epoch.

        Raises:
            InputError: the data have no batch.
        """
        batches = self._read(first)
        blocks = _blocks(batches, by_batch or BLOCK_BATCHES, self.steps)
        step = 0
        for block in self._reader.each(blocks, ahead=not by_batch):
            yield block._replace(begin=step, end=step + block.end)
            step += block.end
        if not step and self.steps is None:
            raise InputError("The data are empty: they have no batch. At least one is needed.")
        if step < (self.steps or 0):
            warnings.warn(
                f"The data ran out: an epoch had {step} batches, and {self.steps} were expected. A "
                "generator is read once: make it endless and give steps_per_epoch, or give a "
                "source that can be read again, such as a keras.utils.PyDataset.",
                stacklevel=2,
            )
        self.steps = step

    def single_pass(self, slots: int, by_batch: int = 0) -> Iterator[Block]:
        """The blocks of all batches, once."""
        for block in self.training(1, by_batch):
            yield block._replace(slots=min(slots, len(block.order)))


DataSource = WholeData | BlockedData


def in_blocks(samples: SampleArrays, rows: int, shuffle: Shuffle) -> BlockedData:
    """A source of batches of arrays that are too large to be sent as a whole."""
    random = order_generator()  # here: reading is done on another thread

    def read(_: int) -> Iterator[SampleArrays]:
        count = samples.count
        order = epoch_order(count, rows, shuffle, random)
        for begin in range(0, count, rows):
            at = order[begin : begin + rows] if shuffle else slice(begin, begin + rows)
            yield samples.take(at)

    return BlockedData(read, -(-samples.count // rows))


def blocks_from_iterator(
    source: Any,
    reader: BackgroundReader,
    to_samples: Callable[..., SampleArrays],
    restart: bool = False,
) -> BlockedData:
    """A source of the batches of an iterator of Keras.

    Args:
        source: Keras's iterator over an epoch.
        reader: the thread it was made on.
        to_samples: reads and checks ``x, y, sample_weight`` of a batch.
        restart: whether every epoch begins with the first batch, as evaluations do. Otherwise a
            generator with a given number of steps continues from epoch to epoch.
    """

    def read(_: int) -> Iterator[SampleArrays]:
        if restart:
            source.reset()
        with source.catch_stop_iteration():
            for number, _, (batch,) in source:
                try:
                    samples = to_samples(*_parts(batch))
                except LegatoError as error:
                    raise type(error)(f"Batch {number} is invalid: {error}") from error
                yield samples

    return BlockedData(read, source.num_batches, reader)


def _parts(batch) -> tuple:
    """Inputs, targets and weights of a batch; None for those that it has not.

    Raises:
        InputError: it has more parts.
    """
    if isinstance(batch, tuple) and len(batch) not in (1, 2, 3):
        raise InputError(
            f"it has {len(batch)} parts; x, (x, y) or (x, y, sample_weight) was expected. Batches "
            "of FileLanes have their starts too: hand the FileLanes itself to fit, evaluate or "
            "predict, or its batches to train_on_batch."
        )
    return keras.utils.unpack_x_y_sample_weight(batch)


def _blocks(batches: Iterator[SampleArrays], most: int, steps: int | None) -> Iterator[Block]:
    """Blocks of consecutive batches of one shape."""
    waiting: list[SampleArrays] = []
    room = 1
    for batch in batches:
        if waiting and batch.shapes != waiting[0].shapes:
            yield _block(waiting, room)
            waiting = []
        if not waiting:
            room = max(1, min(most, BLOCK_BYTES // max(batch.nbytes, 1), steps or most))
        waiting.append(batch)
        if len(waiting) == room:
            yield _block(waiting, room)
            waiting = []
    if waiting:
        yield _block(waiting, room)


def _block(batches: list[SampleArrays], room: int) -> Block:
    """A block of some batches, in arrays with room for ``room``, so that one program runs all.

    A single batch has no spare room.
    """
    size = batches[0].count
    room = room if len(batches) > 1 else 1
    order = np.arange(room * size, dtype=np.int32).reshape(room, size)
    samples = _stacked(batches, room).on_device()
    return Block(samples, order, 0, len(batches), size, size, ENDLESS, 1)


def _stacked(batches: list[SampleArrays], room: int) -> SampleArrays:
    if room == 1:
        return batches[0]

    def stack(*arrays):
        whole = empty_for_jax((room * len(arrays[0]), *arrays[0].shape[1:]), arrays[0].dtype)
        np.concatenate(arrays, out=whole[: len(arrays) * len(arrays[0])])
        return whole

    parts = jax.tree.map(stack, *[batch[:4] for batch in batches])
    return SampleArrays(*parts, count=room * batches[0].count)
