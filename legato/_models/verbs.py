"""``fit``, ``evaluate``, ``predict`` and the other methods of Keras that run a model.

Each has Keras's signature and runs the compiled program of ``compiled_loop`` in place of Keras's
loop over batches. Its docstring says how it changes the recurrent state.
"""

import warnings
from functools import partial

import jax
import keras
import numpy as np

from legato._errors import InputError
from legato._execution.batches import DataSource, WholeData
from legato._execution.callbacks import in_process, make_callback_list
from legato._execution.compiled_loop import Verb
from legato._execution.data_adapter import (
    split_validation,
    unpack_validation_data,
    with_class_weights,
)
from legato._execution.evaluate_predict import run_evaluate, run_predict
from legato._execution.fit_loop import FitLoop, Validation
from legato._execution.progress import Progress, check_verbose
from legato._execution.repeated_prediction import can_be_repeated, known_prediction
from legato._execution.run import Run, fetch, logs_of
from legato._execution.sample_orders import check_shuffle, resolve_shuffle
from legato._execution.samples import SampleArrays
from legato._models.compiled_call import CompiledCall
from legato._models.explain import ExplainMethod
from legato._models.saving import SaveMethods, set_training_record
from legato._platform.checks import check_count, check_flag, check_share
from legato._platform.locks import with_fit_lock, with_model_lock
from legato._platform.processes import telling_processes
from legato._platform.row_devices import check_rows, mesh_of, spans_processes
from legato._recurrent.recomputation import Remat, check_remat
from legato._recurrent.reset_rules import (
    Reset,
    ValidationState,
    check_reset,
    check_validation_state,
)
from legato._streams.model_methods import StreamMethods


class KerasVerbs(SaveMethods, StreamMethods, ExplainMethod, CompiledCall):
    """The methods that train, evaluate and predict, mixed into Keras's model classes."""

    # Training.

    @property
    def remat(self) -> Remat:
        """Steps after which recurrent layers keep their states for the backward pass of training,
        which computes the steps between again: less memory for somewhat more time.

        True is the square root of the number of steps. None, the default, computes nothing again.
        A model's file does not have it. Setting it compiles training programs anew.

        Raises:
            InputError: it is set to something else.
        """
        return self.__dict__.get("_legato_remat")

    @remat.setter
    def remat(self, remat: Remat) -> None:
        check_remat(remat)
        if (type(remat), remat) != (type(self.remat), self.remat):  # True is not 1 here
            self.__dict__["_legato_remat"] = remat
            self._forget_programs()

    @telling_processes
    @with_fit_lock
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
        validation_state: ValidationState = "fresh",
        devices: int | None = None,
    ):
        """Train, as ``keras.Model.fit`` does, with state carried from batch to batch.

        Interrupted, ``fit`` leaves the model as it was after the last complete step.

        Args:
            x: inputs, arrays of shape (samples, time steps, features) or as the model takes them;
                or a source of batches: a generator of tuples, a ``PyDataset``, a
                ``tf.data.Dataset``, a PyTorch ``DataLoader``, a Grain loader, ``legato.FileLanes``.
            y: targets, arrays (samples, …).
            batch_size: samples in a batch, and so rows of carried state. Default: the batch size
                that the model was built with, else 32. A smaller last batch advances only its own
                rows.
            verbose: 0 is silent, 1 one line for the whole run, 2 a line per epoch; ``"auto"`` is 1
                at a terminal or in a notebook, else 0.
            epochs, callbacks, validation_split, class_weight, sample_weight: as in Keras.
            initial_epoch, steps_per_epoch, validation_steps: as in Keras.
            validation_batch_size, validation_freq: as in Keras.
            validation_data: as in Keras, or ``(x, y, sample_weight, starts)``; the weights may be
                None.
            shuffle: whether to shuffle the samples in each epoch; ``"batch"`` shuffles within each
                batch, as in Keras. Default: True without stateful layers, False with them; with
                them, True needs ``reset="batch"``, where no batch continues from another.
            starts: booleans (samples,); where True, that row is reset before that sample.
            reset: ``"epoch"``: every epoch starts from the state that ``fit`` began with;
                ``"batch"``: every batch starts from the initial state; ``"never"``: state runs on.
            validation_state: ``"fresh"``: validation starts from the initial state; ``"continue"``:
                from the state at the epoch's end. Neither changes the state of the training.
            devices: how many devices compute each batch, equally many rows with their states on
                each, from 1 to JAX's number of devices. The numbers are those of one device but for
                the order of sums. Default: those of the ``keras.distribution.DataParallel`` that is
                set, else one.

        Returns:
            Keras's ``History``; ``history.history`` has one number per epoch for every log.

        Raises:
            InputError: data that do not fit, ``shuffle=True`` with carried state, or devices that
                cannot share the rows of a batch equally.
            StateError: the model remembers another number of rows.
            UnsupportedError: a ``keras.distribution`` other than data parallel is set, or ``fit``
                of the model runs in another thread.
        """
        self._assert_compile_called("fit")
        check_reset(reset)
        check_shuffle(shuffle)
        check_validation_state(validation_state)
        check_verbose(verbose)
        check_count("epochs", epochs, least=0)
        check_count("initial_epoch", initial_epoch, least=0)
        if validation_split is not None:
            check_share("validation_split", validation_split)
        _check_validation_freq(validation_freq)
        _check_counts(
            steps_per_epoch=steps_per_epoch,
            validation_steps=validation_steps,
            validation_batch_size=validation_batch_size,
        )
        mesh = mesh_of(devices)
        epochs, steps_per_epoch = _limited(epochs, steps_per_epoch)
        data = self._data_adapter.read(x, y, sample_weight, starts, class_weight)
        if validation_data is not None:
            validation_data = self._data_adapter.read(*unpack_validation_data(validation_data))
        elif validation_split:
            data, validation_data = split_validation(data, validation_split)
        if isinstance(data, SampleArrays):  # validation data have no class weights
            data = with_class_weights(data, class_weight)
        elif not isinstance(data.source, keras.utils.PyDataset):
            shuffle = shuffle or False  # such sources have their own order; Keras warns if True
        shuffle = resolve_shuffle(shuffle, reset, self.stateful)
        source = self._data_adapter.for_training(data, batch_size, steps_per_epoch, shuffle)
        if isinstance(source, WholeData):
            check_rows(source.rows, mesh)
        validation = None
        if validation_data is not None:
            own = isinstance(validation_data, SampleArrays)
            rows = validation_batch_size or (batch_size if own else None)
            validation = Validation(
                self._model_state,
                self._data_adapter.for_single_pass(validation_data, rows, validation_steps),
                fresh=validation_state == "fresh",
                due=lambda epoch: self._should_eval(epoch, validation_freq),
            )
            validation.check_source(source)
        if spans_processes(mesh):
            callbacks, verbose = in_process(callbacks, verbose)
        callback_list = make_callback_list(
            callbacks, self, history=True, verbose=verbose, epochs=epochs, steps=source.steps
        )
        progress = Progress(verbose, epochs, source.steps)
        training = FitLoop(self, source, reset, callback_list, progress, validation, devices)
        set_training_record(self, None)  # that of an earlier training, after all checks
        training(initial_epoch, epochs)
        return self.history

    @telling_processes
    @with_model_lock
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
        """Make one training step on one batch, advancing the state; return the batch's logs.

        Args:
            x, y, sample_weight, class_weight, return_dict: as in Keras.
            starts: booleans (samples,); where True, that row is reset before the step.

        Raises:
            InputError, StateError, UnsupportedError: as ``fit`` does.
        """
        self._assert_compile_called("train_on_batch")
        check_flag("return_dict", return_dict)
        samples = self._data_adapter.samples(x, y, sample_weight, starts, class_weight)
        set_training_record(self, None)
        return self._run_batch("train", samples, return_dict)

    # Evaluation.

    @telling_processes
    @with_model_lock
    def evaluate(  # pyrefly: ignore[bad-override]  Keras takes any keyword
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
        """Compute loss and metrics, as ``keras.Model.evaluate`` does, with state carried.

        Args:
            x, y, batch_size, verbose, sample_weight, steps, callbacks, return_dict: as in Keras.
            starts: booleans (samples,); where True, that row is reset before that sample.
            advance: whether the model keeps the final state; False leaves its state as it was.

        Raises:
            InputError, StateError, UnsupportedError: as ``fit`` does.
        """
        self._assert_compile_called("evaluate")
        check_flag("return_dict", return_dict)
        check_flag("advance", advance)
        check_verbose(verbose)
        _check_counts(steps=steps)
        data = self._data_adapter.read(x, y, sample_weight, starts)
        source = self._data_adapter.for_single_pass(data, batch_size, steps)
        run = Run(self._model_state, "test")
        logs = self._run_pass(run, source, callbacks, verbose, advance)
        return logs if return_dict else self._flatten_metrics_in_order(logs)

    @telling_processes
    @with_model_lock
    def test_on_batch(
        self, x, y=None, sample_weight=None, return_dict=False, *, starts=None, advance=True
    ):
        """Compute loss and metrics of one batch, advancing the state unless ``advance=False``.

        Raises:
            InputError, StateError, UnsupportedError: as ``fit`` does.
        """
        self._assert_compile_called("test_on_batch")
        check_flag("return_dict", return_dict)
        check_flag("advance", advance)
        samples = self._data_adapter.samples(x, y, sample_weight, starts)
        return self._run_batch("test", samples, return_dict, advance)

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
        """Compute the outputs of all samples, as ``keras.Model.predict`` does, with state carried.

        Args:
            x, batch_size, verbose, steps, callbacks: as in Keras.
            starts: booleans (samples,); where True, that row is reset before that sample.
            advance: whether the model keeps the final state; False leaves its state as it was.

        Returns:
            NumPy arrays (samples, …).

        Raises:
            InputError, StateError, UnsupportedError: as ``fit`` does.
        """
        check_flag("advance", advance)
        check_verbose(verbose)
        repeatable = steps is starts is callbacks is None
        if repeatable:
            known = known_prediction(self.predict_function, x, batch_size, verbose)
            if known is not None and (outputs := known(x, advance)) is not None:
                return outputs
        _check_counts(steps=steps)
        data = self._data_adapter.read(x, starts=starts)
        source = self._data_adapter.for_single_pass(data, batch_size, steps, loss=False)
        run = Run(self._model_state, "predict")
        if isinstance(source, WholeData) and source.steps == 1 and callbacks is None:
            call = partial(self._predict_one_batch, run, source, advance)
        else:
            call = partial(self._run_pass, run, source, callbacks, verbose, advance)
        outputs = self._run_prediction("predict", call)
        if repeatable and can_be_repeated(source, self._model_state, x, verbose, outputs):
            repeated = self._programs.loop_of("predict").repeated
            repeated[x.shape, x.dtype, batch_size] = run.repeated(source)
        return outputs

    def predict_on_batch(self, x, *, starts=None, advance=True):
        """Compute the outputs of one batch, advancing the state unless ``advance=False``.

        Raises:
            InputError, StateError, UnsupportedError: as ``fit`` does.
        """
        check_flag("advance", advance)
        samples = self._data_adapter.samples(x, starts=starts)
        source = self._data_adapter.single_batch(samples, loss=False)
        call = partial(self._predict_one_batch, Run(self._model_state, "predict"), source, advance)
        return self._run_prediction("predict_on_batch", call)

    def _predict_one_batch(self, run: Run, source: WholeData, advance: bool):
        """The outputs of all samples as one batch, in arrays of their own."""
        (block,) = source.single_pass(1)
        outputs = jax.tree.map(np.array, run.call_once(block))
        run.write_back(memory=advance)
        return outputs

    # Shared by all of them.

    def _run_pass(self, run: Run, source: DataSource, callbacks, verbose, advance: bool):
        """Run "test" or "predict" once over the data; returns the logs, or the outputs."""
        run_pass = run_evaluate if run.verb == "test" else run_predict
        if run.verb == "test" and spans_processes(mesh_of()):
            callbacks, verbose = in_process(callbacks, verbose)
        callback_list = make_callback_list(
            callbacks, self, history=False, verbose=verbose, epochs=1, steps=source.steps
        )
        progress = Progress(verbose, 1, source.steps, patience_s=2.0)
        results = run_pass(run, source, callback_list, progress, advance)
        progress.end()
        return results

    def _run_batch(
        self, verb: Verb, samples: SampleArrays, return_dict: bool, advance: bool = True
    ):
        """Run one step of "train" or "test" on one batch; returns its logs, as Keras does."""
        (block,) = self._data_adapter.single_batch(samples).single_pass(1)
        run = Run(self._model_state, verb)
        logs = logs_of(fetch(run.call(block, 0, 1)), 0)
        run.write_back(memory=advance)
        return logs if return_dict else self._flatten_metrics_in_order(logs)


def _limited(epochs: int, steps: int | None) -> tuple[int, int | None]:
    """Epochs and steps per epoch, limited by ``keras.config.max_epochs`` and its like for steps."""
    most_epochs, most_steps = keras.config.max_epochs(), keras.config.max_steps_per_epoch()
    if most_epochs and most_epochs < epochs:
        warnings.warn(
            f"keras.config.max_epochs limits {epochs} epochs to {most_epochs}.", stacklevel=3
        )
        epochs = most_epochs
    return epochs, min(steps or most_steps, most_steps) if most_steps else steps


def _check_counts(**counts) -> None:
    """Refuse an argument that is neither None nor a whole number from 1 up."""
    for name, value in counts.items():
        if value is not None:
            check_count(name, value)


def _check_validation_freq(value) -> None:
    """Refuse a ``validation_freq`` on which Keras would fail after the first epoch."""
    if not isinstance(value, list) and not (isinstance(value, int) and value >= 1):
        raise InputError(
            f"validation_freq is {value!r}; a whole number from 1 up, or a list of epochs, was "
            "expected."
        )
