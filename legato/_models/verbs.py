"""Keras's verbs on the compiled program: what ``Model`` and ``Sequential`` do with state.

Every verb has Keras's signature, and runs the compiled program of ``compiled_loop`` in the place of
Keras's loop over batches. What a verb does to the recurrent state is said in its docstring.
"""

import warnings
from typing import Any, get_args

import jax
import keras
import numpy as np
from jax.core import Tracer

from legato._errors import InputError
from legato._execution.batches import Shuffle, WholeData
from legato._execution.callbacks import Progress, watching
from legato._execution.compiled_loop import CompiledLoop, Reset, Verb
from legato._execution.data_adapter import (
    DataAdapter,
    split_validation,
    unpacked,
    with_class_weights,
)
from legato._execution.evaluate_predict import run_evaluate, run_predict
from legato._execution.fit_loop import FitLoop, Validation
from legato._execution.program_cache import ProgramCache
from legato._execution.run import Run, fetch, logs_of
from legato._execution.samples import SampleArrays
from legato._models.explain import SHUFFLE_CHOICES, ExplainMethod
from legato._models.remembering import StateMethods
from legato._models.saving import SaveMethods, set_about
from legato._platform import keras_private
from legato._platform.checks import check_choice
from legato._streams.model_methods import StreamMethods


class KerasVerbs(StateMethods, SaveMethods, StreamMethods, ExplainMethod):
    """The verbs, mixed into Keras's model classes."""

    @property
    def _programs(self) -> ProgramCache:
        return ProgramCache(self._engine)

    @property
    def _intake(self) -> DataAdapter:
        return DataAdapter(self._engine)

    # Training.

    def fit(
        self,
        x=None,
        y=None,
        batch_size=None,
        epochs=1,
        verbose: int | str = "auto",
        callbacks=None,
        validation_split=0.0,
        validation_data=None,
        shuffle=None,
        class_weight=None,
        sample_weight=None,
        initial_epoch=0,
        steps_per_epoch=None,
        validation_steps=None,
        validation_batch_size=None,
        validation_freq=1,
        *,
        starts=None,
        reset: Reset = "epoch",
        validation_state="fresh",
    ):
        """Train, as ``keras.Model.fit`` does, with state carried from batch to batch.

        A run that is interrupted leaves the model as the last step that was made left it.

        Args:
            x: inputs, arrays of shape (samples, time steps, features) or as the model takes them;
                or all the data, batch by batch: a generator of tuples, a ``PyDataset``, a
                ``tf.data.Dataset``, a PyTorch ``DataLoader``, a Grain loader.
            y: targets, arrays (samples, …).
            batch_size: samples in a batch, which is rows carried. Default: the batch size the model
                was built with, else 32. A last, smaller batch advances only the rows it has.
            epochs, verbose, callbacks, validation_split, class_weight, sample_weight,
            initial_epoch, steps_per_epoch, validation_steps, validation_batch_size,
            validation_freq: as in Keras; ``verbose=1`` is one line for the whole run, and
                ``"auto"`` shows it at a terminal or in a notebook.
            validation_data: also ``(x, y, sample_weight, starts)``; the weights may be None.
            shuffle: default: True without stateful layers, False with them. True with them takes
                ``reset="batch"``, where no batch goes on from another. ``"batch"``: within each
                batch only, as in Keras.
            starts: booleans (samples,): where True, that row is reset before that sample.
            reset: ``"epoch"``: every epoch replays the data from the state ``fit`` began with;
                ``"batch"``: every batch starts from the initial state; ``"never"``: runs on.
            validation_state: ``"fresh"``: validation starts from the initial state; ``"continue"``:
                from the epoch's end. Neither touches the state of the training.

        Returns:
            Keras's ``History``: ``history.history`` has one number an epoch for every log.

        Raises:
            InputError: data that do not fit, or ``shuffle=True`` with carried state.
            StateError: another number of rows is remembered.
            UnsupportedError: a ``keras.distribution`` is set.
        """
        self._assert_compile_called("fit")
        set_about(self, None)  # what it knew of another training
        check_choice("reset", reset, get_args(Reset))
        check_choice("shuffle", shuffle, SHUFFLE_CHOICES)
        check_choice("validation_state", validation_state, ("fresh", "continue"))
        _check_validation_freq(validation_freq)
        epochs, steps_per_epoch = _capped(epochs, steps_per_epoch)
        data = self._intake.read(x, y, sample_weight, starts, class_weight)
        if validation_data is not None:
            validation_data = self._intake.read(*unpacked(validation_data))
        elif validation_split:
            data, validation_data = split_validation(data, validation_split)
        if isinstance(data, SampleArrays):  # which validation has no part in
            data = with_class_weights(data, class_weight)
        elif not isinstance(data.source, keras.utils.PyDataset):
            shuffle = shuffle or False  # their order is their own; Keras warns if it is asked for
        order = self._order(shuffle, reset)
        feeding = self._intake.training(data, batch_size, steps_per_epoch, order)
        validation = None
        if validation_data is not None:
            rows = validation_batch_size or batch_size
            validation = Validation(
                self._engine,
                self._intake.once(validation_data, rows, validation_steps),
                fresh=validation_state == "fresh",
                due=lambda epoch: self._should_eval(epoch, validation_freq),
            )
            validation.check_feeding(feeding)
        told = watching(
            callbacks, self, history=True, verbose=verbose, epochs=epochs, steps=feeding.steps
        )
        progress = Progress(verbose, epochs, feeding.steps)
        training = FitLoop(self, feeding, reset, told, progress, validation)
        training(initial_epoch, epochs)
        return self.history

    def train_on_batch(
        self,
        x,
        y=None,
        sample_weight=None,
        class_weight=None,
        return_dict=False,
        *,
        starts=None,
    ):
        """One training step on one batch, carrying state on; returns that batch's logs.

        Args:
            x, y, sample_weight, class_weight, return_dict: as in Keras.
            starts: booleans (samples,): rows that are reset before the step.

        Raises:
            InputError, StateError, UnsupportedError: as ``fit`` does.
        """
        self._assert_compile_called("train_on_batch")
        set_about(self, None)
        samples = self._intake.samples(x, y, sample_weight, starts, class_weight)
        logs = self._single_logs("train", samples)
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    # Evaluation.

    def evaluate(
        self,
        x=None,
        y=None,
        batch_size=None,
        verbose: int | str = "auto",
        sample_weight=None,
        steps=None,
        callbacks=None,
        return_dict=False,
        *,
        starts=None,
        advance=True,
    ):
        """Loss and metrics, as ``keras.Model.evaluate`` gives them; state is carried on.

        Args:
            x, y, batch_size, verbose, sample_weight, steps, callbacks, return_dict: as in Keras.
            starts: booleans (samples,): where True, that row is reset before that sample.
            advance: whether the model remembers what it saw; False leaves its state as it was.

        Raises:
            InputError, StateError, UnsupportedError: as ``fit`` does.
        """
        self._assert_compile_called("evaluate")
        data = self._intake.read(x, y, sample_weight, starts)
        feeding = self._intake.once(data, batch_size, steps)
        run = Run(self._engine, "test")
        told = watching(
            callbacks, self, history=False, verbose=verbose, epochs=1, steps=feeding.steps
        )
        progress = Progress(verbose, 1, feeding.steps, patience_s=2.0)
        logs = run_evaluate(run, feeding, told, progress, advance)
        progress.end()
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    def test_on_batch(
        self, x, y=None, sample_weight=None, return_dict=False, *, starts=None, advance=True
    ):
        """Loss and metrics of one batch; state is carried on, unless ``advance=False``.

        Raises:
            InputError, StateError, UnsupportedError: as ``fit`` does.
        """
        self._assert_compile_called("test_on_batch")
        logs = self._single_logs("test", self._intake.samples(x, y, sample_weight, starts), advance)
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    # Prediction.

    def predict(
        self,
        x,
        batch_size=None,
        verbose: int | str = "auto",
        steps=None,
        callbacks=None,
        *,
        starts=None,
        advance=True,
    ):
        """Outputs for all samples, as NumPy arrays; state is carried on.

        Args:
            x, batch_size, verbose, steps, callbacks: as in Keras.
            starts: booleans (samples,): where True, that row is reset before that sample.
            advance: whether the model remembers what it saw; False leaves its state as it was.

        Raises:
            InputError, StateError, UnsupportedError: as ``fit`` does.
        """
        if batch_size is steps is starts is None and not callbacks:
            outputs = self._predict_again(x, advance)
            if outputs is not None:
                return outputs
        data = self._intake.read(x, starts=starts)
        feeding = self._intake.once(data, batch_size, steps, loss=False)
        if isinstance(feeding, WholeData) and feeding.steps == 1 and not callbacks:
            return self._predict_whole(feeding, advance, again=x if batch_size is None else None)
        run = Run(self._engine, "predict")
        told = watching(
            callbacks, self, history=False, verbose=verbose, epochs=1, steps=feeding.steps
        )
        progress = Progress(verbose, 1, feeding.steps, patience_s=2.0)
        outputs = run_predict(run, feeding, told, progress, advance)
        progress.end()
        return outputs

    def predict_on_batch(self, x, *, starts=None, advance=True):
        """Outputs for one batch; state is carried on, unless ``advance=False``.

        Raises:
            InputError, StateError, UnsupportedError: as ``fit`` does.
        """
        return self._predict_whole(
            self._intake.single(self._intake.samples(x, starts=starts), False), advance
        )

    def _predict_whole(self, feeding: WholeData, advance: bool, again=None):
        """Outputs of all samples as one batch, the caller's own; ready to be done ``again``."""
        run, (piece,) = Run(self._engine, "predict"), feeding.once(1)
        outputs = jax.tree.map(np.array, run.call_once(piece))
        run.hold(memory=advance)
        one_output = piece.samples.starts is None and isinstance(outputs, np.ndarray)
        if one_output and isinstance(again, np.ndarray) and again.dtype.kind == "f":
            ready = self._programs.of("predict").ready
            ready[again.shape, again.dtype] = run.again(piece.samples.x)
        return outputs

    def _predict_again(self, x, advance: bool):
        """Outputs if a batch of just this shape was predicted before; None to do it all."""
        program = self.predict_function
        if type(x) is not np.ndarray or not isinstance(program, CompiledLoop):
            return None
        self._engine.check_supported()
        again = program.ready.get((x.shape, x.dtype))
        return None if again is None else again(x, advance)

    def __call__(self, *args, **kwargs):
        """The model's outputs, as Keras gives them; state is carried on.

        On arrays this is one compiled program; on symbolic inputs, inside another transformation,
        or with arguments beyond ``training=``, it is Keras's own call.
        """
        if len(args) != 1 or not kwargs.keys() <= {"training"} or not _is_concrete(args[0]):
            return super().__call__(*args, **kwargs)
        engine = self._engine
        samples = self._intake.samples(args[0], check_values=False)
        (piece,) = self._intake.single(samples, loss=False).once(1)
        training = kwargs.get("training")
        programs = self.__dict__.setdefault("_legato_calls", {})
        if training not in programs:
            programs[training] = self._programs.of_call(
                training, lambda: programs.__setitem__(training, None)
            )
        program = programs[training]
        if program is not None:
            run = Run(engine, "predict", program=program)
            outputs = run.call_once(piece)
        if programs[training] is None:  # losses were added: only Keras's own call can keep them
            engine.memory_values(samples.count)
            return super().__call__(*args, **kwargs)
        run.hold()
        return outputs

    # What the verbs share.

    def _forget_programs(self) -> None:
        """Make new programs from now on: the layers are others, or carry otherwise."""
        self.__dict__.pop("_legato_engine", None)
        self.__dict__.pop("_legato_calls", None)
        self.__dict__.pop("_legato_steppers", None)
        self.train_function = self.test_function = self.predict_function = None

    def _single_logs(self, verb: Verb, samples: SampleArrays, advance: bool = True) -> dict:
        """One step on one batch; returns its logs."""
        run, (piece,) = Run(self._engine, verb), self._intake.single(samples).once(1)
        logs = logs_of(fetch(run.call(piece, 0, 1)), 0)
        run.hold(memory=advance)
        return logs

    def _order(self, shuffle: Shuffle | None, reset: Reset) -> Shuffle:
        """Whether the samples are shuffled, or those of each ``"batch"``."""
        if shuffle is None:
            return not self.stateful
        if shuffle and self.stateful and reset != "batch":
            raise InputError(
                f"shuffle={shuffle!r} with a stateful layer: row r of a batch would go on from a "
                "sample drawn at random, and what is carried would mean nothing. Leave shuffle "
                'out, start every batch afresh with reset="batch", or make the layers '
                "stateful=False."
            )
        return "batch" if shuffle == "batch" else bool(shuffle)


def _is_concrete(value: Any) -> bool:
    """Whether calling the model on this is a computation, not a part of another one."""
    if keras_private.in_stateless_scope():
        return False
    leaves = keras.tree.flatten(value)
    return bool(leaves) and all(
        isinstance(leaf, (np.ndarray, jax.Array, int, float, np.number))
        and not isinstance(leaf, Tracer)
        for leaf in leaves
    )


def _capped(epochs: int, steps: int | None) -> tuple[int, int | None]:
    """Epochs and batches an epoch, within Keras's limits for trying a program out."""
    most_epochs, most_steps = keras.config.max_epochs(), keras.config.max_steps_per_epoch()
    if most_epochs and most_epochs < epochs:
        warnings.warn(
            f"keras.config.max_epochs limits {epochs} epochs to {most_epochs}.", stacklevel=3
        )
        epochs = most_epochs
    return epochs, min(steps or most_steps, most_steps) if most_steps else steps


def _check_validation_freq(value) -> None:
    """Refuse a ``validation_freq`` that Keras would refuse after the first epoch, or divide by."""
    if not isinstance(value, list) and not (isinstance(value, int) and value >= 1):
        raise InputError(
            f"validation_freq is {value!r}; a whole number from 1 up, or a list of epochs, was "
            "expected."
        )
