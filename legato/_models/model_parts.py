"""The parts that legato adds to a Keras model: its state, compiled programs and data adapter."""

from typing import TYPE_CHECKING

import keras

from legato._execution.data_adapter import DataAdapter
from legato._execution.program_cache import ProgramCache
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
            model_state = self.__dict__["_legato_model_state"] = ModelState(self, runner)
        return model_state

    @property
    def _programs(self) -> ProgramCache:
        return ProgramCache(self._model_state)

    @property
    def _data_adapter(self) -> DataAdapter:
        return DataAdapter(self._model_state)

    def _remembered_rows(self) -> int:
        return self._model_state.agreed_rows()

    def _forget_programs(self) -> None:
        """Drop the compiled programs, after the layers or their ``stateful`` have changed."""
        self.__dict__.pop("_legato_model_state", None)
        self.__dict__.pop("_legato_calls", None)
        self.__dict__.pop("_legato_steppers", None)
        self.train_function = self.test_function = self.predict_function = None
