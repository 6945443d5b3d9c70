"""Prediction of samples whose shape was predicted before, with everything prepared.

Making the objects of a ``Run`` takes longer than computing a small network's output, and after a
large one they are no longer in the processor's cache.
"""

from typing import Any, TypeGuard

import jax
import keras
import numpy as np

from legato._execution.batches import OUTPUT_SLOTS, DataSource, WholeData
from legato._execution.compiled_loop import CompiledLoop, LoopInputs, LoopValues
from legato._execution.samples import needs_range
from legato._platform import keras_variables
from legato._platform.checks import check_count
from legato._platform.large_arrays import finite_for_jax
from legato._recurrent.model_state import ModelState


class RepeatedPrediction:
    """A function that predicts other samples of one shape and dtype.

    The model's lock is held only if the prediction changes the model.

    Args:
        model_state: the state of the model.
        source: the samples that were predicted, in at most ``OUTPUT_SLOTS`` batches.
        loop: the compiled loop.
        key: of the program among those that the loop keeps.

    Attributes:
        batches: how many batches the samples are.
    """

    def __init__(self, model_state: ModelState, source: WholeData, loop: CompiledLoop, key: tuple):
        (block,) = source.single_pass(OUTPUT_SLOTS, by_batch=1)
        self.batches = block.steps
        self._rows, self._count = block.batch, source.samples.count
        self._dtype = source.samples.x.dtype
        self._order, self._span = block.order, jax.device_put(np.array((0, block.end, 0), np.int32))
        self._loop, self._key = loop, key
        self._memories = model_state.memories
        self._memory = [each for memory in self._memories for each in memory.variables]
        self._lock = model_state.lock

    def __call__(self, x: np.ndarray, advance: bool) -> np.ndarray | None:
        """The outputs of samples of that shape; None if they need the checks of a full ``Run``.

        Raises:
            UnsupportedError: it changes the model, and ``fit`` runs in another thread.
        """
        if self._memory or self._loop.updates.positions:
            return self._lock.run("predict", self._predict, x, advance)
        return self._predict(x, advance)

    def _predict(self, x: np.ndarray, advance: bool) -> np.ndarray | None:
        prepared = self._loop.recently_used(self._key)
        if prepared is None or any(memory.rows != self._rows for memory in self._memories):
            return None
        if x.dtype != self._dtype:
            with np.errstate(over="ignore"):  # infinity is reported by a full run
                x = x.astype(self._dtype)
        data = finite_for_jax(x)
        if data is None:
            return None
        with self._lock.values:
            values = LoopValues(*map(keras_variables.values_of, prepared.variables))
        memory = keras_variables.values_of(self._memory)
        if self.batches == 1:
            outputs, changed, memory = prepared.run(values, memory, (data,), None)
        else:
            inputs = LoopInputs((data,), None, [], self._order, self._span)
            outputs, changed, memory = prepared.run(values, memory, inputs)
        if positions := self._loop.updates.positions:
            updated = [prepared.variables.non_trainable[at] for at in positions]
            updates = [changed.non_trainable[at] for at in positions]
            keras_variables.set_values(updated, updates)
        if advance and memory:
            with self._lock.values:
                keras_variables.set_values(self._memory, memory)  # as many rows as before
        return np.array(outputs) if self.batches == 1 else first_outputs(outputs, self._count)


def can_be_repeated(
    source: DataSource, model_state: ModelState, x, verbose, outputs
) -> TypeGuard[WholeData]:
    """Whether a prediction of other samples like ``x`` needs no further check than whether they are
    finite, and shows no progress.
    """
    if not isinstance(source, WholeData) or (verbose and source.steps > 1):
        return False
    plain = type(x) is np.ndarray and x.dtype.kind == "f" and isinstance(outputs, np.ndarray)
    if not plain or source.steps > OUTPUT_SLOTS or needs_range(model_state.inputs):
        return False
    return keras.distribution.distribution() is None


def known_prediction(program: Any, x, batch_size, verbose) -> RepeatedPrediction | None:
    """What predicts ``x``, if samples of its shape and dtype were predicted before; else None.

    Args:
        program: of ``predict``; one of another kind than ``CompiledLoop`` keeps none.
        x, batch_size, verbose: as ``predict`` was given them; progress is shown by a full run.

    Raises:
        InputError: ``batch_size`` is no count.
    """
    if type(x) is not np.ndarray or not isinstance(program, CompiledLoop):
        return None
    if keras.distribution.distribution() is not None:  # of devices other than before
        return None
    if batch_size is not None:  # as True and 1.0 are 1 in a key, and a list is none
        batch_size = check_count("batch_size", batch_size)
    repeated = program.repeated.get((x.shape, x.dtype, batch_size))
    return None if repeated is None or (verbose and repeated.batches > 1) else repeated


def first_outputs(outputs, count: int) -> np.ndarray:
    """The first outputs of (batches, samples of a batch, …): (count, …), a new array."""
    array = np.asarray(outputs)
    return array.reshape(-1, *array.shape[2:])[:count].copy()
