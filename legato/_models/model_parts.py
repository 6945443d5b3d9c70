"""The parts that legato adds to a Keras model: its state, compiled programs and data adapter."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import keras

from legato._execution.compiled_loop import CompiledLoop
from legato._execution.data_adapter import DataAdapter
from legato._execution.program_cache import ProgramCache
from legato._platform.locks import ModelLock
from legato._recurrent.model_state import ModelState
from legato._recurrent.stateful_layers import LayerRunner

_KerasModel = keras.Model if TYPE_CHECKING else object  # the class that the mixin extends


class ModelParts(_KerasModel):
    """The parts of a model that its other methods use; mixed into Keras's model classes.

    They are made on first use and stored in the model's ``__dict__``, so that Keras neither tracks
    nor saves them.
    """

    @property
    def _model_state(self) -> ModelState:
        model_state = self.__dict__.get("_legato_model_state")
        if model_state is None:
            runner = self.__dict__.setdefault(
                "_legato_runner", LayerRunner(self._forget_programs, self._remembered_rows)
            )
            model_state = self.__dict__.setdefault(
                "_legato_model_state", ModelState(self, runner, self._model_lock)
            )
        return model_state

    @property
    def _model_lock(self) -> ModelLock:
        lock = self.__dict__.get("_legato_lock")
        return self.__dict__.setdefault("_legato_lock", ModelLock()) if lock is None else lock

    @property
    def _programs(self) -> ProgramCache:
        return ProgramCache(self._model_state)

    @property
    def _data_adapter(self) -> DataAdapter:
        return DataAdapter(self._model_state)

    def _run_prediction(self, verb: str, call: Callable, program: CompiledLoop | None = None):
        """Call a function that predicts, and return its result.

        The model's lock is held if the prediction changes the model: its recurrent state, or other
        variables that are not trained. Whether it changes those is known once it was traced.

        Args:
            verb: the method that was called.
            call: the function, without arguments.
            program: the compiled loop. Default: that of ``"predict"``.

        Raises:
            UnsupportedError: it changes the model, and ``fit`` runs in another thread.
        """
        updates = (program or self._programs.loop_of("predict")).updates
        if self._model_state.memories or updates.positions:
            return self._model_lock.run(verb, call)
        if updates.is_known or not self.non_trainable_variables:
            return call()
        return self._model_lock.run(verb, call, beside_fit=True)

    def _remembered_rows(self) -> int:
        return self._model_state.agreed_rows()

    def _forget_programs(self) -> None:
        """Drop the compiled programs, after the layers or their ``stateful`` have changed."""
        self.__dict__.pop("_legato_model_state", None)
        self.__dict__.pop("_legato_calls", None)
        self.__dict__.pop("_legato_steppers", None)
        self.train_function = self.test_function = self.predict_function = None
