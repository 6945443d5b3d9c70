"""The recurrent state of a whole Keras model: the memories of all its stateful layers together.

``ModelState`` finds the memories, checks that they agree on the number of rows, gives their values
to compiled programs and sets them afterwards, and converts them to a ``State`` and back.
"""

import jax
import keras
import numpy as np

from legato._errors import InputError, StateError
from legato._platform import keras_private, keras_variables
from legato._platform.locks import TRACING, ModelLock
from legato._platform.plain_arrays import check_keeps_meaning
from legato._platform.row_devices import mesh_of
from legato._recurrent.layer_memory import LayerMemory, memories_in_use, row_count_message
from legato._recurrent.state import State, without_number
from legato._recurrent.stateful_layers import LayerRunner, StatefulLayer, adopt


class ModelState:
    """The memories of one model's stateful layers.

    Args:
        model: a ``legato.Model`` or ``legato.Sequential``.
        runner: registered with the layers, so that the model is called back when their ``stateful``
            is switched. It must live as long as the model.
        lock: of the model.

    Attributes:
        model, lock: as given.
    """

    def __init__(self, model, runner: LayerRunner, lock: ModelLock):
        self.model, self._runner, self.lock = model, runner, lock
        self._memories: list[LayerMemory] | None = None
        self._inputs: list | None = None

    # Layers and their memory.

    def adopt(self) -> None:
        """Make every stateful layer carry state, and find the memories of layers added since."""
        self._memories = None
        adopt(self.model)

    @property
    def stateful_layers(self) -> list:
        """The layers that carry state, in order; one that runs backwards has none to carry."""
        layers = keras_private.flatten_layers(self.model)
        layers = [each for each in layers if isinstance(each, StatefulLayer)]
        return [each for each in layers if each.stateful and not each.go_backwards]

    @property
    def memories(self) -> list[LayerMemory]:
        """The memories of the layers that are built, in order, or those of ``using_memories``."""
        if (in_use := memories_in_use()) is not None:
            return in_use
        if (known := self._memories) is not None:  # another thread may be in ``adopt``
            return known
        layers = [
            each
            for each in keras_private.flatten_layers(self.model)
            if isinstance(each, StatefulLayer)
        ]
        found = [layer.memory for layer in layers]
        found = [memory for memory in found if memory is not None]
        if not keras_private.in_stateless_scope() and self.model.built:
            self._memories = found
            for layer in layers:
                layer.register_runner(self._runner)
        return found

    def agreed_rows(self) -> int:
        """The number of rows remembered; 0 when nothing is.

        Layers that were reset by themselves, or are fresh, are given as many rows as the others.

        Raises:
            StateError: layers remember different numbers of rows.
        """
        counts = {memory.rows for memory in self.memories}
        if len(counts) < 2:
            return max(counts, default=0)
        used = {memory.rows for memory in self.memories if not memory.is_fresh}
        if len(used) > 1:
            raise StateError(_different_rows_message(self._by_path()))
        rows = max(used or counts)
        for memory in self.memories:
            memory.allocate(rows)
        return rows

    def check_rows(self, rows: int) -> None:
        """Refuse a batch whose number of rows differs from that of a state that is not fresh.

        Raises:
            StateError: the numbers differ; the message has both and the remedies.
        """
        remembered = self.agreed_rows()
        if remembered in (0, rows):
            return
        if not all(memory.is_fresh for memory in self.memories):
            raise StateError(row_count_message(remembered, rows))
        self.reset()

    def check_batch(self, batch: int, rows: int) -> int:
        """The rows of state for a further batch of a run, which may be smaller than the first.

        Args:
            batch: samples in the batch.
            rows: rows of the run's first batch.

        Raises:
            StateError: the batch has more samples than there are rows.
        """
        if not self.memories:
            return batch
        if batch > rows:
            raise StateError(row_count_message(rows, batch))
        return rows

    def memory_values(self, rows: int, fresh: bool = False) -> list:
        """The values of all memory variables for a batch.

        Args:
            rows: samples in the batch.
            fresh: whether all rows are fresh, whatever is remembered.

        Raises:
            StateError: another number of rows is remembered.
        """
        if not fresh:
            self.check_rows(rows)
        return [
            value
            for memory in self.memories
            for value in (
                keras_variables.values_of(memory.variables)
                if memory.rows and not fresh
                else memory.fresh_values(rows)
            )
        ]

    def set_memory_values(self, values: list) -> None:
        """Set all memory variables to values of any number of rows."""
        variables = [each for memory in self.memories for each in memory.variables]
        with self.lock.values:
            for variable, value in zip(variables, values, strict=True):
                variable.set_value(value)

    @property
    def declared_rows(self) -> int | None:
        """The batch size the model was declared with, if any."""
        return self.inputs[0].shape[0] if self.inputs else None

    @property
    def inputs(self) -> list | None:
        """The model's input tensors, flat; None while they are not known."""
        if self._inputs is None:
            self._inputs = keras_private.known_inputs(self.model)
        return self._inputs

    # The state as a value.

    def state(self) -> State:
        """The state of the model; fresh rows have the initial state that they will start from."""
        with TRACING, self.lock.values:  # tracing changes shapes
            return self._state()

    def _state(self) -> State:
        self.agreed_rows()
        values, fresh = {}, {}
        for path, memory in self._by_path().items():
            shown = memory.states
            if memory.rows and bool(memory.fresh.value.any()):
                shown = memory.start_state(memory.layer.get_initial_state(memory.rows))
            values[path] = [
                each.value if hasattr(each, "value") else each for each in keras.tree.flatten(shown)
            ]
            fresh[path] = memory.fresh.value
        return State(values, fresh)

    def initial_state(self, rows: int) -> State:
        """The state of fresh rows."""
        by_path = self._by_path()
        self._check_place(by_path)
        values = {
            path: [
                part.astype(variable.dtype)
                for part, variable in zip(
                    keras.tree.flatten(memory.layer.get_initial_state(rows)),
                    memory.variables[:-1],
                    strict=True,
                )
            ]
            for path, memory in by_path.items()
        }
        return State(
            values, {path: memory.fresh_values(rows)[-1] for path, memory in by_path.items()}
        )

    def set_state(self, state: State) -> None:
        """Set the state of the model.

        Raises:
            StateError: the state is another model's: other layers, shapes or dtypes.
        """
        if not isinstance(state, State):
            raise StateError(
                f"A legato.State was expected, and {type(state).__name__} came: read one from "
                "model.states, model.initial_states(rows) or State.load(path), or make one of "
                "arrays, legato.State({layer path: [array, …]})."
            )
        by_path = self._by_path()
        self._check_place(by_path)
        if [without_number(path) for path in by_path] != [without_number(path) for path in state]:
            raise StateError(
                f"This state is another model's: it has layers {list(state)}, and this model has "
                f"{list(by_path)}."
            )
        values = []
        for (path, memory), parts, fresh in zip(
            by_path.items(), state.values(), state.fresh.values(), strict=True
        ):
            *expected, flag = memory.variables
            wanted = [(each.shape[1:], each.dtype) for each in expected]
            came = [(tuple(each.shape[1:]), str(each.dtype)) for each in parts]
            if wanted != came:
                raise StateError(
                    f"The state of layer {path!r} does not fit: it has {described_parts(came)} a "
                    f"row, and the layer keeps {described_parts(wanted)}."
                )
            values += [*parts, fresh.astype(flag.dtype)]
        self.set_memory_values(values)

    def _check_place(self, by_path: dict) -> None:
        if not by_path and self.stateful_layers:
            raise StateError(
                "The model is not built yet, so it has no place for a state: build it first, by "
                "model.build(input_shape) or by running it once."
            )

    def reset(self, rows=None) -> None:
        """Reset all rows, or only some.

        Args:
            rows: row indices, one index, or a mask of shape (rows,). Default: all, after which any
                number of rows fits.

        Raises:
            StateError: a row that is not remembered.
        """
        if rows is None:
            for memory in self.memories:
                memory.clear()
            return
        if not self.agreed_rows() and np.size(rows):
            raise StateError(
                f"Rows {rows!r} were to be reset, but the model remembers none yet: every row "
                "still starts from the initial state. model.reset_states() is right at any time."
            )
        for memory in self.memories:
            chosen = _indices(rows, memory.rows)
            outside = [row for row in chosen if not 0 <= row < memory.rows]
            if outside:
                raise StateError(
                    f"Row {outside[0]} cannot be reset: the model remembers {memory.rows} rows, "
                    f"numbered from 0."
                )
            chosen = jax.numpy.asarray(chosen, "int32")  # also of none
            memory.fresh.set_value(memory.fresh.value.at[chosen].set(True))

    def _by_path(self) -> dict[str, LayerMemory]:
        return self.by_path(self.memories)

    def by_path(self, memories: list[LayerMemory]) -> dict[str, LayerMemory]:
        """A dictionary from layer paths below the model to memories; equal paths are numbered."""
        found: dict[str, LayerMemory] = {}
        for memory in memories:
            path = memory.layer.path.removeprefix(f"{self.model.name}/")
            unique, number = path, 1
            while unique in found:
                unique, number = f"{path}_{number}", number + 1
            found[unique] = memory
        return found

    # Checks before a run.

    @property
    def is_built(self) -> bool:
        """Whether the forward pass has all its variables, so that all memories were found."""
        return self._memories is not None

    def check_supported(self) -> None:
        """Refuse devices over which legato does not split a batch.

        Raises:
            UnsupportedError: a ``keras.distribution`` is set that is not data parallel, or that has
                devices of other processes.
        """
        mesh_of()


def _different_rows_message(memories: dict[str, LayerMemory]) -> str:
    counts = ", ".join(f"{path} {memory.rows}" for path, memory in memories.items())
    return (
        f"The layers of this model remember different numbers of rows: {counts}. One of them was "
        "run outside this model, alone or in another. Forget with model.reset_states(), or run "
        "it with as many rows as the others."
    )


def described_parts(parts: list[tuple]) -> str:
    """Shapes and dtypes of a state's arrays, for messages."""
    return " and ".join(f"{dtype} {shape}" for shape, dtype in parts)


def _indices(rows, count: int) -> list[int]:
    """Row indices out of indices, one index, or a mask of the right length."""
    check_keeps_meaning("rows", rows)
    array = np.atleast_1d(np.asarray(rows))
    if array.dtype == bool:
        if len(array) != count:
            raise StateError(
                f"A mask of {len(array)} rows was given, and the model remembers {count}."
            )
        return [int(row) for row in array.nonzero()[0]]
    if array.size and array.dtype.kind not in "iu":
        raise InputError(f"Rows are given as indices or a boolean mask; {rows!r} came.")
    return [int(row) for row in array]
