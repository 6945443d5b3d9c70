"""What a model remembers, as a value that is read, put back, reset and kept in a file."""

from legato._recurrent.model_state import ModelState
from legato._recurrent.state import State


class StateMethods:
    """Recurrent state by name, mixed into Keras's model classes."""

    @property
    def _engine(self) -> ModelState:
        engine = self.__dict__.get("_legato_engine")
        if engine is None:
            engine = self.__dict__["_legato_engine"] = ModelState(self)
        return engine

    @property
    def stateful(self) -> bool:
        """Whether any layer carries state."""
        return bool(self._engine.stateful_layers)

    @property
    def states(self) -> State:
        """What the recurrent layers remember now, as a value. Assign one to put it back.

        Raises:
            StateError: (when assigned) it is another model's: other layers, shapes or dtypes.
        """
        return self._engine.state()

    @states.setter
    def states(self, state: State) -> None:
        self._engine.set_state(state)

    def initial_states(self, rows: int = 1) -> State:
        """The state of ``rows`` rows that have seen nothing: each cell's own initial state."""
        return self._engine.initial_state(rows)

    def reset_states(self, rows=None) -> None:
        """Put state back to its initial value.

        Args:
            rows: row indices, or a boolean mask of shape (rows,). Default: all, after which any
                number of rows fits.

        Raises:
            StateError: a row that is not remembered.
        """
        self._engine.reset(rows)

    reset_state = reset_states

    def save_states(self, path) -> None:
        """Write the state to a safetensors file, whole or not at all.

        Raises:
            OutputError: the folder is missing or cannot be written.
        """
        self.states.save(path)

    def load_states(self, path) -> None:
        """Take up a state that ``save_states`` wrote, to the bit.

        Raises:
            StateError: no such file, a damaged one, or the state of another model.
        """
        self.states = State.load(path)

    @property
    def non_trainable_variables(self) -> list:
        """Keras's non-trainable variables, and after them what the recurrent layers remember.

        Keras's pure steps carry what is listed here, and nothing else.
        """
        remembered = [each for memory in self._engine.memories for each in memory.variables]
        own = super().non_trainable_variables  # pyright: ignore[reportAttributeAccessIssue]  Keras's
        return [*own, *remembered]
