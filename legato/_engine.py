"""A Keras model, its memories and its programs: values out of the variables, and back in.

One engine belongs to one model. It finds the stateful layers, builds what is not built, opens the
memory for a batch's rows, and makes the pure step of each verb, which is Keras's own
``train_step``, ``test_step`` or ``predict_step`` (or the user's).
"""

from collections.abc import Callable
from contextlib import contextmanager
from typing import NamedTuple

import jax
import keras
import numpy as np

from legato import _keras
from legato._data import Samples, known_inputs
from legato._errors import InputError, StateError, UnsupportedError
from legato._feeding import Piece
from legato._memory import Memory, other_rows
from legato._program import Feed, Plan, Program, Reset, Values, Verb
from legato._state import State, numberless
from legato.layers import Carries, adopt

_CHANGED: dict[Verb, tuple[str, ...]] = {
    "train": Values._fields,
    "test": ("non_trainable", "metrics"),
    "predict": ("non_trainable",),
}


class Ready(NamedTuple):
    """A program for the shapes of some samples.

    Attributes:
        variables: the variables whose values it takes. They are found once: as Keras documents,
            which of them are trained is settled by ``compile``, which drops all programs.
        run: the compiled loop, or the compiled single batch where outputs of one are wanted; plain
            Python where ``run_eagerly`` or ``jit_compile=False`` ask for it.
    """

    variables: Values
    run: Callable


class Check(NamedTuple):
    """A validation that is a part of the training's program.

    Attributes:
        piece: the validation data.
        fresh: whether it starts from the initial state, or goes on from the epoch's end.
    """

    piece: Piece
    fresh: bool

    @property
    def feed(self) -> Feed:
        """What it runs over: all of the piece."""
        samples, span = self.piece.samples, np.array((0, self.piece.end, 0), np.int32)
        return Feed(samples.packed, samples.starts, [], self.piece.order, span)


class Engine:
    """What stands between the verbs of a model and its compiled programs.

    Args:
        model: a ``legato.Model`` or ``legato.Sequential``.
    """

    def __init__(self, model):
        self.model = model
        self._memories: list[Memory] | None = None
        self._inputs: list | None = None

    # Layers and their memory.

    def adopt(self) -> None:
        """Let every stateful layer carry; also those that were added since the last look."""
        self._memories = None
        adopt(self.model)

    @property
    def stateful_layers(self) -> list:
        """The layers that carry state, in order; one that runs backwards has none to carry."""
        layers = _keras.flatten_layers(self.model)
        layers = [each for each in layers if isinstance(each, Carries)]
        return [each for each in layers if each.stateful and not each.go_backwards]

    @property
    def memories(self) -> list[Memory]:
        """What they remember; layers that are not built yet remember nothing."""
        if self._memories is not None:
            return self._memories
        layers = [each for each in _keras.flatten_layers(self.model) if isinstance(each, Carries)]
        found = [layer.memory for layer in layers]
        found = [memory for memory in found if memory is not None]
        if not _keras.in_stateless_scope() and self.model.built:
            self._memories = found
            for layer in layers:
                layer.runs_in(self.model)
        return found

    def agreed_rows(self) -> int:
        """Rows remembered; 0 when nothing is.

        A layer that was reset by itself, or is fresh, gets as many as the others.

        Raises:
            StateError: layers remember different numbers of rows.
        """
        counts = {memory.rows for memory in self.memories}
        if len(counts) < 2:
            return max(counts, default=0)
        fed = {memory.rows for memory in self.memories if not memory.is_fresh}
        if len(fed) > 1:
            raise StateError(_other_rows_each(self._by_path()))
        rows = max(fed or counts)
        for memory in self.memories:
            memory.open(rows)
        return rows

    def check_rows(self, rows: int) -> None:
        """Refuse a batch of another number of rows than is remembered.

        Raises:
            StateError: naming both counts and the remedies.
        """
        remembered = self.agreed_rows()
        if remembered in (0, rows):
            return
        if not all(memory.is_fresh for memory in self.memories):
            raise StateError(other_rows(remembered, rows))
        self.reset()

    def check_batch(self, batch: int, rows: int) -> int:
        """The rows of state that a batch of another size than the first runs with.

        Raises:
            StateError: it has more samples than there are rows.
        """
        if not self.memories:
            return batch
        if batch > rows:
            raise StateError(other_rows(rows, batch))
        return rows

    def memory_values(self, rows: int, fresh: bool = False) -> list:
        """The memory variables' values for a batch, blank where nothing is remembered."""
        if not fresh:
            self.check_rows(rows)
        return [
            value
            for memory in self.memories
            for value in (
                map(_keras.value_of, memory.variables)
                if memory.rows and not fresh
                else memory.blank(rows)
            )
        ]

    def hold_memory(self, values: list) -> None:
        """Put values into the memory variables, whatever their rows."""
        variables = [each for memory in self.memories for each in memory.variables]
        for variable, value in zip(variables, values, strict=True):
            variable.hold(value)

    @property
    def declared_rows(self) -> int | None:
        """The batch size the model was declared with, if any."""
        return self.inputs[0].shape[0] if self.inputs else None

    @property
    def inputs(self) -> list | None:
        """The model's input tensors, flat; None while they are not known."""
        if self._inputs is None:
            self._inputs = known_inputs(self.model)
        return self._inputs

    # The state as a value.

    def state(self) -> State:
        """What the model remembers; fresh rows show the initial state they will start from."""
        self.agreed_rows()
        values, fresh = {}, {}
        for path, memory in self._by_path().items():
            shown = memory.states
            if memory.rows and bool(memory.fresh.value.any()):
                shown = memory.start(memory.layer.get_initial_state(memory.rows))
            values[path] = [
                each.value if hasattr(each, "value") else each for each in keras.tree.flatten(shown)
            ]
            fresh[path] = memory.fresh.value
        return State(values, fresh)

    def initial_state(self, rows: int) -> State:
        """The state of rows that have seen nothing."""
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
        return State(values, {path: memory.blank(rows)[-1] for path, memory in by_path.items()})

    def set_state(self, state: State) -> None:
        """Remember what a state holds.

        Raises:
            StateError: it is another model's: other layers, shapes or dtypes.
        """
        if not isinstance(state, State):
            raise StateError(
                f"A legato.State was expected, and {type(state).__name__} came: read one from "
                "model.states, model.initial_states(rows) or State.load(path), or make one of "
                "arrays, legato.State({layer path: [array, …]})."
            )
        by_path = self._by_path()
        self._check_place(by_path)
        if [numberless(path) for path in by_path] != [numberless(path) for path in state]:
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
                    f"The state of layer {path!r} does not fit: it has {_readable(came)} a row, "
                    f"and the layer keeps {_readable(wanted)}."
                )
            values += [*parts, fresh.astype(flag.dtype)]
        self.hold_memory(values)

    def _check_place(self, by_path: dict) -> None:
        if not by_path and self.stateful_layers:
            raise StateError(
                "The model is not built yet, so it has no place for a state: build it first, by "
                "model.build(input_shape) or by running it once."
            )

    def reset(self, rows=None) -> None:
        """Forget everything, or only some rows.

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
            memory.fresh.hold(memory.fresh.value.at[chosen].set(True))

    def _by_path(self) -> dict[str, Memory]:
        """Layer paths below the model → memories; layers of one name are numbered."""
        found: dict[str, Memory] = {}
        for memory in self.memories:
            path = memory.layer.path.removeprefix(f"{self.model.name}/")
            unique, number = path, 1
            while unique in found:
                unique, number = f"{path}_{number}", number + 1
            found[unique] = memory
        return found

    # Variables.

    def build(self, samples: Samples, loss: bool) -> None:
        """Make every variable that is still missing; only shapes and dtypes are looked at.

        Args:
            samples: data like those to come.
            loss: whether those of the loss, the metrics and the optimizer are wanted too.
        """
        self.adopt()
        shapes = jax.tree.map(
            # Without a number of samples, which Keras would take for declared.
            lambda each: keras.KerasTensor((None, *each.shape[1:]), str(each.dtype)),
            (samples.x, samples.y, samples.weight),
        )
        _keras.build(self.model, *shapes, loss=loss)

    @property
    def is_built(self) -> bool:
        """Whether the forward pass has all its variables and every layer was looked at."""
        return self._memories is not None

    def variables(self, verb: Verb) -> Values:
        """The variables a verb uses, without the memory's."""
        model = self.model
        non_trainable = model.non_trainable_variables
        remembered = sum(len(each.variables) for each in self.memories)
        return Values(
            model.trainable_variables,
            non_trainable[: len(non_trainable) - remembered],
            model.optimizer.variables if verb == "train" else [],
            [] if verb == "predict" else model.metrics_variables,
        )

    # Programs.

    def program(self, verb: Verb) -> Program:
        """The compiled loop of a verb; ``compile`` drops it, as it drops Keras's own functions."""
        name = f"{verb}_function"
        if not isinstance(getattr(self.model, name), Program):
            step = {"train": self._train, "test": self._test, "predict": self._predict}[verb]
            program = Program(step, self.memories, _CHANGED[verb])
            setattr(self.model, name, program)
        return getattr(self.model, name)

    def ready(
        self,
        verb: Verb,
        piece: Piece,
        rows: int,
        reset: Reset,
        program: Program | None = None,
        check: Check | None = None,
    ) -> Ready:
        """What runs a piece; made when its shapes are first met."""
        program = program or self.program(verb)
        checked = check and (check.fresh, *check.piece[2:], check.piece.samples.shapes)
        key = (rows, reset, *piece[4:], len(piece.order), piece.samples.shapes, checked)
        if key not in program.ready:
            plan = _plan(verb, piece, rows, reset)
            program.ready[key] = self._prepare(program, verb, plan, check)
        return program.ready[key]

    def _prepare(self, program: Program, verb: Verb, plan: Plan, check: Check | None) -> Ready:
        variables = self.variables(verb)
        eagerly = self.runs_eagerly
        if verb == "predict" and plan.steps == 1:
            return Ready(variables, program.once(plan, compiled=not eagerly))
        values = Values(*[[each.value for each in part] for part in variables])
        empty = self._empty_metrics(variables.metrics)
        if eagerly:
            return Ready(variables, program.step_by_step(plan, empty))
        validate = check and self._validation(check, empty)
        return Ready(variables, program.compiled(plan, values, empty, validate))

    def _validation(self, check: Check, empty_metrics: list) -> Callable:
        """A validation to be traced inside the training's program."""
        program, piece = self.program("test"), check.piece
        plan = _plan("test", piece, piece.batch, "never")

        def validate(values: Values, memory: list, feed: Feed):
            if check.fresh:
                memory = [value for each in self.memories for value in each.blank(piece.batch)]
            values = values._replace(optimizer=[])
            logs, changed, _ = program.loop(plan, empty_metrics, values, memory, feed)
            return jax.tree.map(lambda each: each[0], logs), changed

        return validate

    def _empty_metrics(self, variables: list) -> list:
        """Values of the metrics' variables at an epoch's beginning; None for one that runs on.

        What a metric of the user's own does not reset stays what it was, so each is given another
        value first, to see which.
        """
        before = [each.value for each in variables]
        marks = [np.full(each.shape, 17, each.dtype) for each in before]
        for variable, mark in zip(variables, marks, strict=True):
            variable.assign(mark)
        self.model.reset_metrics()
        after = [np.asarray(each.value) for each in variables]
        for variable, value in zip(variables, before, strict=True):
            variable.assign(value)
        return [
            None if np.array_equal(value, mark) else value
            for value, mark in zip(after, marks, strict=True)
        ]

    @property
    def runs_eagerly(self) -> bool:
        """Whether steps are run one by one, as ``run_eagerly`` and ``jit_compile=False`` ask."""
        model = self.model
        return model.compiled and (model.run_eagerly or not model.jit_compile)

    def call_program(self, training: bool | None, on_losses: Callable[[], None]) -> Program:
        """The compiled forward pass, as calling the model is; says if the call added losses."""
        kwargs = {} if training is None else {"training": training}

        def step(values: Values, batch):
            _keras.check_inputs(self.model, batch[0])
            outputs, non_trainable, losses = self.model.stateless_call(
                values.trainable, values.non_trainable, batch[0], return_losses=True, **kwargs
            )
            weights = self.model.trainable_weights
            if len(losses) > sum(each.regularizer is not None for each in weights):
                on_losses()
            return outputs, values._replace(non_trainable=non_trainable)

        return Program(step, self.memories, _CHANGED["predict"])

    def _train(self, values: Values, batch):
        with self._metrics_outside():
            emitted, state = self.model.train_step(tuple(values), batch)
        return _scalars(emitted), Values(*map(list, state))

    def _test(self, values: Values, batch):
        trainable, non_trainable, _, metrics = values
        with self._metrics_outside():
            emitted, state = self.model.test_step((trainable, non_trainable, metrics), batch)
        trainable, non_trainable, metrics = map(list, state)
        return _scalars(emitted), Values(trainable, non_trainable, [], metrics)

    @contextmanager
    def _metrics_outside(self):
        """Refuse metrics that layers update in their ``call``, which Keras's steps do not carry.

        As in Keras's trainer, metrics have no values but those a step is given.

        Raises:
            UnsupportedError: a layer updates one.
        """
        try:
            with _keras.without_values(self.model.metrics_variables):
                yield
        except TypeError as error:
            owners = [each for each in _keras.sublayers(self.model) if each.metrics_variables]
            if not owners or "NoneType" not in str(error):
                raise
            raise UnsupportedError(
                f"Layer {owners[0].name!r} updates a metric in its call, and Keras's training step "
                "on JAX carries no metric through the layers. Let the layer return the number as "
                "an output, or update the metric in the model's compute_metrics."
            ) from error

    def _predict(self, values: Values, batch):
        state = (values.trainable, values.non_trainable)
        outputs, non_trainable = self.model.predict_step(state, batch)
        return outputs, values._replace(non_trainable=list(non_trainable))

    def check_supported(self) -> None:
        """Refuse what would need another way of running, rather than run it without state.

        Raises:
            UnsupportedError: a device distribution is set.
        """
        if keras.distribution.distribution() is not None:
            raise UnsupportedError(
                "A keras.distribution is set; legato runs on one device so far. Unset it with "
                "keras.distribution.set_distribution(None)."
            )


def _plan(verb: Verb, piece: Piece, rows: int, reset: Reset) -> Plan:
    every = 1 if verb == "predict" else piece.steps
    return Plan(rows, piece.batch, piece.last, piece.steps, reset, every, piece.slots)


def _scalars(logs):
    """Logs as arrays, whatever a custom step returned."""
    return jax.tree.map(jax.numpy.asarray, logs)


def _other_rows_each(memories: dict[str, Memory]) -> str:
    counts = ", ".join(f"{path} {memory.rows}" for path, memory in memories.items())
    return (
        f"The layers of this model remember different numbers of rows: {counts}. One of them was "
        "run outside this model, alone or in another. Forget with model.reset_states(), or run "
        "it with as many rows as the others."
    )


def _readable(parts: list[tuple]) -> str:
    return " and ".join(f"{dtype} {shape}" for shape, dtype in parts)


def _indices(rows, count: int) -> list[int]:
    """Row indices out of indices, one index, or a mask of the right length."""
    array = np.atleast_1d(np.asarray(rows))
    if array.dtype == bool:
        if len(array) != count:
            raise StateError(
                f"A mask of {len(array)} rows was given, and the model remembers {count}."
            )
        return [int(row) for row in array.nonzero()[0]]
    if array.size and not np.issubdtype(array.dtype, np.integer):
        raise InputError(f"Rows are given as indices or a boolean mask; {rows!r} came.")
    return [int(row) for row in array]
