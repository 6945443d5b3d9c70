"""``model(x)`` on arrays: runs one compiled program and advances the recurrent state."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import keras
import numpy as np
from jax.core import Tracer

from legato._execution.run import Run
from legato._models.model_parts import ModelParts
from legato._platform import keras_private
from legato._platform.locks import TRACING


class CompiledCall(ModelParts):
    """``model(x)``, mixed into Keras's model classes."""

    def __call__(self, *args, **kwargs):
        """Compute the model's outputs, as Keras does, and advance the state.

        Called on arrays it runs one compiled program. Symbolic inputs, calls inside another JAX
        transformation, and arguments other than ``training=`` go to Keras's own call.
        """
        if not args or not _is_concrete(args[0]):
            return super().__call__(*args, **kwargs)
        if len(args) != 1 or not kwargs.keys() <= {"training"}:
            return self._run_keras_call(partial(super().__call__, *args, **kwargs))
        samples = self._data_adapter.samples(args[0], check_values=False)
        (block,) = self._data_adapter.single_batch(samples, loss=False).single_pass(1)
        training = kwargs.get("training")
        programs = self.__dict__.setdefault("_legato_calls", {})
        if training not in programs:
            programs.setdefault(
                training,
                self._programs.call_loop(training, lambda: programs.__setitem__(training, None)),
            )
        program = programs[training]

        def call():
            if program is not None:
                run = Run(self._model_state, "predict", program=program)
                outputs = run.call_once(block)
                if programs[training] is not None:
                    run.write_back()
                    return outputs
            # Layers added losses, which only Keras's own call keeps.
            self._model_state.memory_values(samples.count)
            return super(CompiledCall, self).__call__(*args, **kwargs)

        return self._run_prediction("model(x)", call, program)

    def _run_keras_call(self, call: Callable):
        """Run Keras's own call, which may build the model; one thread at a time if it carries."""
        carries = bool(self._model_state.memories)
        if self._model_state.is_built:
            return self._model_lock.run("model(x)", call) if carries else call()

        def build_and_call():
            with TRACING:
                return call()

        return self._model_lock.run("model(x)", build_and_call)


def _is_concrete(value: Any) -> bool:
    """Whether a call on this computes values: arrays only, outside any other transformation."""
    if keras_private.in_stateless_scope():
        return False
    leaves = keras.tree.flatten(value)
    return bool(leaves) and all(
        isinstance(leaf, (np.ndarray, jax.Array, int, float, np.number))
        and not isinstance(leaf, Tracer)
        for leaf in leaves
    )
