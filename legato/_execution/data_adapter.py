"""Data adapter: turns inputs of ``fit``, ``evaluate`` and ``predict`` into batches on the device.

Arrays are read and checked, and the model is built for their shapes. They are sent to the device as
a whole, or in blocks if they take more than a set share of its memory. Generators, data sets and
data loaders are read through Keras's own iterator over an epoch, ``FileLanes`` batch by batch.
"""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import islice
from types import GeneratorType
from typing import Any, NamedTuple

import jax
import keras

from legato._errors import InputError, StateError
from legato._execution.batches import (
    BackgroundReader,
    BlockedData,
    DataSource,
    WholeData,
    blocks_from_iterator,
    in_blocks,
)
from legato._execution.sample_orders import Shuffle
from legato._execution.samples import (
    SampleArrays,
    check_shapes,
    class_weights,
    read_samples,
    yields_batches,
)
from legato._platform import keras_private
from legato._platform.backend import device_share_bytes
from legato._platform.checks import check_count
from legato._platform.locks import TRACING
from legato._recurrent.model_state import ModelState
from legato._series.file_lanes import FileLanes


class BatchIterable(NamedTuple):
    """A source of batches: a generator, data set, data loader or ``FileLanes``.

    Attributes:
        source: as the user gave it.
        class_weight: class index → weight, or None.
    """

    source: Any
    class_weight: dict | None

    def iterator(self, steps: int | None, shuffle: Shuffle):
        """Keras's iterator over an epoch's batches.

        Raises:
            InputError: Keras cannot read batches from the source.
        """
        try:
            return keras_private.epoch_batches(self.source, steps, shuffle)
        except ValueError as error:
            raise InputError(
                f"x is a {type(self.source).__module__}.{type(self.source).__qualname__}, and "
                f"Keras makes no batches of it: {error}"
            ) from error


class DataAdapter:
    """Checks data for one model, builds the model for them, and makes sources of batches.

    Args:
        model_state: the state of the model.
    """

    def __init__(self, model_state: ModelState):
        self.model_state, self._model = model_state, model_state.model

    def samples(self, x, y=None, sample_weight=None, starts=None, class_weight=None, **options):
        """Arrays, read and checked.

        Args:
            x, y, sample_weight, starts, class_weight: as in ``fit``.
            options: for ``read_samples``.
        """
        self.model_state.check_supported()
        samples = read_samples(x, y, sample_weight, starts, self.model_state.inputs, **options)
        return with_class_weights(samples, class_weight)

    def read(self, x, y=None, sample_weight=None, starts=None, class_weight=None):
        """Checked ``SampleArrays``, or a ``BatchIterable`` of the source of batches.

        ``class_weight`` is kept for batches only: ``fit`` weights arrays after it has split off the
        validation data, which have no class weights.
        """
        if not yields_batches(x):
            return self.samples(x, y, sample_weight, starts)
        if starts is not None or y is not None or sample_weight is not None:
            raise InputError(
                f"x is a {type(x).__name__}, which yields batches of (inputs, targets, weights) "
                "itself: y, sample_weight and starts go with arrays only."
            )
        if hasattr(x, "__next__") and not isinstance(x, GeneratorType):
            x = (each for each in x)  # Keras takes generators, and no other iterators
        return BatchIterable(x, class_weight)

    def for_training(self, data, batch_size, steps: int | None, shuffle: Shuffle) -> DataSource:
        """The source of batches of a training run.

        Args:
            data: from ``read``.
            batch_size, steps, shuffle: as in ``fit``.
        """
        if isinstance(data, SampleArrays):
            self.build_for(data)
            rows = self._rows(batch_size, data, steps)
            if steps is None or steps >= -(-data.count // rows):
                return self._array_source(data, rows, shuffle)
            if data.starts is not None:
                raise InputError(
                    f"steps_per_epoch={steps} cuts epochs where the data go on, and starts= counts "
                    "from their beginning: leave out one of them."
                )
            arrays = (data.x, data.y, data.weight)
            source = keras_private.epoch_batches(arrays, steps, shuffle, rows)
            return blocks_from_iterator(
                source, BackgroundReader(), partial(self.samples, check_values=False)
            )
        if isinstance(data.source, FileLanes):
            _check_batch_size(data.source, batch_size)
            _check_whole_epochs(data.source, steps)
            return self._lanes_source(data, data.source.epoch)
        to_samples = partial(self.samples, class_weight=data.class_weight)
        return blocks_from_iterator(*self._iterator_source(data, steps, shuffle), to_samples)

    def for_single_pass(self, data, batch_size, steps: int | None, loss=True) -> DataSource:
        """The source of batches of an evaluation or a prediction.

        Args:
            data: from ``read``.
            batch_size, steps: as in ``evaluate``.
            loss: whether the loss and the metrics are computed.
        """
        if isinstance(data, SampleArrays):
            self.build_for(data, loss)
            if self.model_state.inputs is not None:
                check_shapes(data.x, self.model_state.inputs)  # building may have defined them
            rows = self._rows(batch_size, data, steps)
            if steps is not None:
                data = data.take(slice(steps * rows))
            return self._array_source(data, min(rows, data.count), shuffle=False)
        if isinstance(data.source, FileLanes):
            _check_batch_size(data.source, batch_size)
            return self._lanes_source(data, lambda _: iter(data.source), steps, loss)
        return blocks_from_iterator(
            *self._iterator_source(data, steps, loss=loss), self.samples, restart=True
        )

    def whole_data(self, x, batch_size: int | None, starts=None) -> WholeData:
        """Arrays as ``predict`` takes them, for analyses that need all samples at once.

        Raises:
            InputError: x is a source of batches, or too large for the device's memory.
        """
        if yields_batches(x):
            raise InputError(
                f"x is a {type(x).__name__}, which yields batches; arrays were expected."
            )
        source = self.for_single_pass(self.samples(x, starts=starts), batch_size, None, loss=False)
        if not isinstance(source, WholeData):
            raise InputError(
                "x takes more memory than data may take as a whole. Give fewer samples, such as "
                "x[:1000]."
            )
        return source

    def _array_source(self, samples: SampleArrays, rows: int, shuffle: Shuffle) -> DataSource:
        """Samples sent as a whole, or batch by batch if they would take too much memory."""
        large = samples.nbytes > device_share_bytes()
        return (in_blocks if large else WholeData)(samples, rows, shuffle)

    def _iterator_source(
        self, data: BatchIterable, steps: int | None, shuffle: Shuffle = False, loss=True
    ):
        """Keras's iterator over batches, with the thread to read it on; the model is built."""
        reader = BackgroundReader()
        source = reader(data.iterator, steps, shuffle)
        if not self._is_ready(loss):
            # After an interruption, batches that Keras reads ahead on threads come out of order:
            # read the first one from another iterator, unless the data can be read only once (of a
            # generator, Keras keeps the first batch).
            once = isinstance(data.source, GeneratorType)
            iterator = source if once else reader(data.iterator, steps, shuffle)
            first = next(blocks_from_iterator(iterator, reader, self.samples).training(1, 1))
            self.build_for(first.samples, loss)
            reader(iterator.reset)
        reader(source.reset)
        return source, reader

    def _lanes_source(
        self, data: BatchIterable, read: Callable, steps: int | None = None, loss: bool = True
    ) -> BlockedData:
        """The batches of ``FileLanes``; the model is built.

        Args:
            data: the source.
            read: a function from the number of an epoch to an iterator over its batches.
            steps: the number of batches; None: all.
            loss: whether the loss is computed, and so targets are needed.
        """

        def batches(epoch: int) -> Iterator[SampleArrays]:
            for x, y, weights, starts in islice(read(epoch), steps):
                kept = (y, None if y is None else weights) if loss else (None, None)
                yield self.samples(x, *kept, starts, check_values=False)

        lanes = data.source
        if data.class_weight is not None:
            raise InputError(
                "class_weight does not go with FileLanes, whose sample weights mark padding. "
                "Multiply the weights of its batches by those of the classes, and give them to "
                "train_on_batch(x, y, sample_weight=weights, starts=starts)."
            )
        if loss:
            _check_has_targets(self._model, lanes.targets or None)
        reader = BackgroundReader()
        first = None if self._is_ready(loss) else reader(next, batches(0))
        if first is not None:
            self.build_for(first, loss=False)
        if loss:
            _check_outputs_have_steps(self._model, lanes)
        if first is not None:
            self.build_for(first, loss)
        count = lanes.batches
        return BlockedData(batches, min(steps or count, count), reader)

    def single_batch(self, samples: SampleArrays, loss=True) -> WholeData:
        """All the samples as one batch."""
        self.build_for(samples, loss)
        return WholeData(samples, samples.count)

    def build_for(self, samples: SampleArrays, loss=True) -> None:
        """Create the variables that are missing; with ``loss``, those of ``compile`` too."""
        if loss:
            _check_has_targets(self._model, samples.y)
        if self._is_ready(loss):
            return
        with TRACING:
            if not self._is_ready(loss):  # another thread may have built it meanwhile
                self._build(samples, loss)

    def _build(self, samples: SampleArrays, loss: bool) -> None:
        """Create the variables, as ``build_for`` does."""
        _check_first_layer(self._model, samples)
        self.model_state.adopt()
        shapes = jax.tree.map(
            # No number of samples: Keras would take it for a declared batch size.
            lambda each: keras.KerasTensor((None, *each.shape[1:]), str(each.dtype)),
            (samples.x, samples.y, samples.weight),
        )
        keras_private.build_variables(self._model, *shapes, loss=loss and self._model.compiled)
        if self._model.stateful and not self.model_state.memories:
            raise StateError(
                f"Model {self._model.name!r} has stateful layers that were not built by "
                "running it once. Build the model first, by model.build(input_shape)."
            )

    def _is_ready(self, loss: bool) -> bool:
        """Whether all variables exist; with ``loss``, those of loss, metrics and optimizer too.

        A model without targets may have those too: layers add losses, and it has an optimizer.
        """
        model = self._model
        if not self.model_state.is_built or not (loss and model.compiled):
            return self.model_state.is_built
        parts = (model.optimizer, model._compile_loss, model._compile_metrics)
        return all(each is None or each.built for each in parts)

    def _rows(self, batch_size: int | None, samples: SampleArrays, steps: int | None = None) -> int:
        """Rows of a full batch. Default: the declared ones, else the samples divided by ``steps``,
        else 32."""
        if batch_size is None:
            shared = -(-samples.count // steps) if steps else 32
            batch_size = self.model_state.declared_rows or shared
        return min(check_count("batch_size", batch_size), samples.count)


def _check_first_layer(model, samples: SampleArrays) -> None:
    """Refuse arrays that a first recurrent layer cannot take, before Keras fails to build it.

    Raises:
        InputError: the number of axes is wrong; the message says how to reshape.
    """
    layers = model.layers if isinstance(model, keras.Sequential) else []
    first = layers[0] if layers else None
    spec = getattr(first, "input_spec", None)
    if not isinstance(first, keras.layers.RNN) or not isinstance(spec, keras.InputSpec):
        return
    if spec.ndim is not None and spec.ndim != samples.x.ndim:
        raise InputError(
            f"x has shape {samples.x.shape}: {samples.x.ndim} axes, but layer {first.name!r} "
            f"takes {spec.ndim}. Reshape it to (samples, time steps, features), for instance "
            "numpy.reshape(x, (len(x), time_steps, features))."
        )


def _check_has_targets(model, targets) -> None:
    """Refuse to compute a loss of targets that are None.

    Raises:
        InputError: the model was compiled with one loss, which needs targets.
    """
    own = type(model).compute_loss is not keras.Model.compute_loss
    loss = model.loss if model.compiled and not own else None
    if targets is None and (isinstance(loss, str) or callable(loss)):
        name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
        raise InputError(
            f"The model was compiled with the loss {name!r}, and the data have no targets. Give "
            "targets: y of arrays, targets= of FileLanes."
        )


def _check_outputs_have_steps(model, lanes: FileLanes) -> None:
    """Refuse a model with one output a sample, where targets are one for each time step.

    Raises:
        InputError: it has.
    """
    shape = getattr(model, "output_shape", None)
    if not lanes.targets or not isinstance(shape, tuple) or len(shape) != 2:
        return
    if shape[1] not in (None, lanes.steps):
        raise InputError(
            f"The model's output has shape {shape}, without time steps, and FileLanes has targets "
            "for each time step. Make its last recurrent layer with return_sequences=True."
        )


def _check_batch_size(lanes: FileLanes, batch_size) -> None:
    """Refuse a size of batches that is not that of ``FileLanes``.

    Raises:
        InputError: it is another one.
    """
    rows = len(lanes.own_rows)
    if batch_size not in (None, rows):
        raise InputError(
            f"batch_size={batch_size!r} does not go with FileLanes, whose batches have {rows} "
            "rows: leave it out, or make the FileLanes with other rows=."
        )


def _check_whole_epochs(lanes: FileLanes, steps: int | None) -> None:
    """Refuse epochs of fewer batches than ``FileLanes`` has.

    Raises:
        InputError: they are fewer.
    """
    if steps is not None and steps < lanes.batches:
        raise InputError(
            f"steps_per_epoch={steps} cuts epochs where sequences go on: an epoch of the FileLanes "
            f"has {lanes.batches} batches. Leave steps_per_epoch out, or give fewer files."
        )


def unpack_validation_data(data) -> tuple:
    """``validation_data`` as the arguments of ``DataAdapter.read``."""
    if yields_batches(data):
        return (data,)
    if not isinstance(data, (tuple, list)) or len(data) not in (2, 3, 4):
        raise InputError(
            "validation_data is (x, y), (x, y, sample_weight) or (x, y, sample_weight, starts), "
            f"arrays each, or yields batches; {type(data).__name__} came."
        )
    return tuple(data)


def split_validation(samples, share: float) -> tuple[SampleArrays, SampleArrays]:
    """Training part and validation part, the last ``share`` of the samples."""
    if not isinstance(samples, SampleArrays):
        raise InputError(
            "validation_split cuts arrays; batches cannot be cut before they have come. Give "
            "validation_data instead."
        )
    cut = int(samples.count * (1 - share))
    if not 0 < cut < samples.count:
        raise InputError(
            f"validation_split is {share!r}: of {samples.count} samples that leaves "
            f"{cut} to train on. A number between 0 and 1 that leaves both parts a sample "
            "was expected."
        )
    return samples.take(slice(cut)), samples.take(slice(cut, None))


def with_class_weights(samples: SampleArrays, class_weight: dict | None) -> SampleArrays:
    """Samples with the weights of their classes."""
    if class_weight is None:
        return samples
    if samples.weight is not None:
        raise InputError("Give sample_weight or class_weight, not both.")
    return samples._replace(weight=class_weights(samples.y, class_weight))
