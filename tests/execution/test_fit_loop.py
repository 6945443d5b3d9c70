"""``compile`` and ``fit`` give plain Keras's numbers, with and without callbacks.

One list, ``CASES``, of models, what they are compiled with and the options of ``fit``, and two laws
over it. Without carried state, runs without callbacks, with one by epoch and with one by batch
equal the run of plain Keras with the same weights and seeds. With carried state, where plain Keras
has no such run, they equal each other and that of ``run_eagerly=True``.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import jax
import keras
import numpy as np
import pytest
from cells import FEATURES, ROWS, STEPS, inputs, spread
from test_callbacks import TOLERANCE

import legato

COUNT, CLASSES, WORDS = 2 * ROWS + 1, 3, 5
X = inputs(COUNT, seed=4)
RNG = np.random.default_rng(5)
Y = spread(RNG, COUNT, 2)
Y_STEPS = spread(RNG, COUNT, STEPS, 2)
LABELS = np.arange(COUNT) % CLASSES
ONE_HOT = np.eye(CLASSES, dtype="float32")[LABELS]
WORD_IDS = RNG.integers(1, WORDS, (COUNT, STEPS)) * (np.arange(STEPS) < 4 + LABELS[:, None] % 2)
WEIGHTS = np.linspace(0.5, 1.5, COUNT).astype("float32")
STEP_WEIGHTS = np.linspace(0.2, 1.8, COUNT * STEPS).astype("float32").reshape(COUNT, STEPS)

CALLBACKS = {
    "none": list,
    "by epoch": lambda: [keras.callbacks.LambdaCallback(on_epoch_end=lambda epoch, logs: None)],
    "by batch": lambda: [
        keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: None)
    ],
}


# Models: functions of the package they are made with and of what a recurrent layer is given.


def sequential(*make_layers: Callable, shape=(STEPS, FEATURES), dtype=None) -> Callable:
    """A model of a recurrent layer and others after it; each is made by a function of the kit."""

    def build(kit, **carry):
        made = [make(kit, carry) for make in make_layers]
        return kit.Sequential([keras.Input(shape, dtype=dtype), *made])

    return build


def rnn(units=3, **options):
    return lambda kit, carry: kit.layers.SimpleRNN(units, **options, **carry)


def lstm(units=3, **options):
    return lambda kit, carry: kit.layers.LSTM(units, **options, **carry)


def layer(kind: str, *arguments, **options):
    return lambda kit, carry: getattr(kit.layers, kind)(*arguments, **options)


plain = sequential(rnn(), layer("Dense", 2))
by_step = sequential(rnn(return_sequences=True), layer("Dense", 2))
classifier = sequential(rnn(), layer("Dense", CLASSES, activation="softmax"))


def two_outputs(outputs: Callable = lambda a, b: [a, b], model: Callable | None = None):
    """A functional model with outputs "a" and "b" in the structure that ``outputs`` makes."""

    def build(kit, **carry):
        first = keras.Input((STEPS, FEATURES), name="first")
        seen = kit.layers.SimpleRNN(3, **carry)(first)
        a = kit.layers.Dense(2, name="a")(seen)
        b = kit.layers.Dense(CLASSES, activation="softmax", name="b")(seen)
        make = kit.Model if model is None else model(kit)
        return make(first, outputs(a, b))

    return build


def as_dict(a, b):
    return {"a": a, "b": b}


def two_inputs(as_named: bool):
    def build(kit, **carry):
        first = keras.Input((STEPS, FEATURES), name="first")
        second = keras.Input((2,), name="second")
        seen = kit.layers.SimpleRNN(3, **carry)(first)
        joined = kit.layers.Concatenate()([seen, second])
        given = {"first": first, "second": second} if as_named else [first, second]
        return kit.Model(given, kit.layers.Dense(2)(joined))

    return build


def subclassed(kind: Callable) -> Callable:
    """A functional model of a user's class, which ``kind`` derives from the kit's Model."""

    def build(kit, **carry):
        first = keras.Input((STEPS, FEATURES))
        outputs = kit.layers.Dense(2)(kit.layers.SimpleRNN(3, **carry)(first))
        return kind(kit)(first, outputs)

    return build


class Penalty(keras.layers.Layer):
    """Adds a loss of its inputs."""

    def call(self, x):
        self.add_loss(0.1 * keras.ops.mean(keras.ops.square(x)))
        return x


class Counted(keras.metrics.Metric):
    """Counts batches; resetting does nothing."""

    def __init__(self, name="counted"):
        super().__init__(name=name)
        self.count = self.add_weight(shape=(), initializer="zeros", name="count")

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.count.assign(self.count + 1)

    def result(self):
        return 1.0 * self.count

    def reset_state(self):
        pass


def documented_step(kit):
    """A ``train_step`` and a ``test_step`` as Keras's guide writes them for JAX."""

    class Custom(kit.Model):
        def loss_and_updates(self, trainable, non_trainable, x, y, training=False):
            y_pred, non_trainable = self.stateless_call(
                trainable, non_trainable, x, training=training
            )
            return self.compute_loss(x, y, y_pred), (y_pred, non_trainable)

        def measured(self, variables, loss, y, y_pred):
            logs, after = {}, []
            for metric in self.metrics:
                own = variables[len(after) : len(after) + len(metric.variables)]
                given = (loss,) if metric.name == "loss" else (y, y_pred)
                own = metric.stateless_update_state(own, *given)
                logs[metric.name] = metric.stateless_result(own)
                after += own
            return logs, after

        def train_step(self, state, data):
            trainable, non_trainable, optimizer, metrics = state
            x, y = data
            step = jax.value_and_grad(self.loss_and_updates, has_aux=True)
            (loss, (y_pred, non_trainable)), gradients = step(
                trainable, non_trainable, x, y, training=True
            )
            trainable, optimizer = self.optimizer.stateless_apply(optimizer, gradients, trainable)
            logs, metrics = self.measured(metrics, loss, y, y_pred)
            return logs, (trainable, non_trainable, optimizer, metrics)

        def test_step(self, state, data):
            trainable, non_trainable, metrics = state
            x, y = data
            loss, (y_pred, non_trainable) = self.loss_and_updates(trainable, non_trainable, x, y)
            logs, metrics = self.measured(metrics, loss, y, y_pred)
            return logs, (trainable, non_trainable, metrics)

        def predict_step(self, state, data):
            outputs, non_trainable = super().predict_step(state, data)
            return 10 * outputs, non_trainable

    return Custom


def own_logs(kit):
    """A ``train_step`` whose logs are not the metrics'."""

    class Custom(kit.Model):
        def train_step(self, state, data):
            logs, state = super().train_step(state, data)
            return {"twice": 2 * logs["loss"], "first": data[0][0, 0, 0]}, state

        def test_step(self, state, data):
            logs, state = super().test_step(state, data)
            return {"thrice": 3 * logs["loss"]}, state

    return Custom


def own_loss(kit):
    """A user's ``compute_loss`` and ``compute_metrics``."""

    class Custom(kit.Model):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            self.far = keras.metrics.Mean(name="far")

        def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
            return keras.ops.mean(keras.ops.abs(y - y_pred)) + 0.1 * keras.ops.mean(x)

        def compute_metrics(self, x, y, y_pred, sample_weight=None):
            logs = super().compute_metrics(x, y, y_pred, sample_weight)
            self.far.update_state(keras.ops.max(keras.ops.abs(y - y_pred)))
            return logs | {"far": self.far.result()}

    return Custom


def half_of_mae(y_true, y_pred):
    return keras.ops.mean(keras.ops.abs(y_true - y_pred) / 2, axis=-1)


@dataclass(frozen=True)
class Case:
    """One line of the list.

    Attributes:
        build: ``build(kit, **carry)``: the model, before ``compile``.
        compiled: arguments of ``compile``, made anew for every model.
        data: ``x``, ``y`` and weights, for ``fit``.
        fit: its other arguments.
        count: samples; an odd number makes the last batch smaller.
        verbs: whether ``evaluate`` and ``predict`` are compared too.
        carries: whether the law about carried state is tried too.
        after: called with the compiled model before it is fitted.
        policy: the dtype policy it is built under.
        tolerance: how close to Keras's its numbers are.
    """

    build: Callable = plain
    compiled: Callable[[], dict] = dict
    data: dict[str, Any] = field(default_factory=lambda: {"x": X, "y": Y})
    fit: dict[str, Any] = field(default_factory=dict)
    count: int = 2 * ROWS
    verbs: bool = False
    carries: bool = False
    after: Callable | None = None
    policy: str = "float32"
    tolerance: dict[str, float] = field(default_factory=lambda: TOLERANCE)

    def make(self, kit, *, eagerly=False, **carry):
        """A model of the package's, compiled, with the same weights and seeds every time."""
        keras.utils.set_random_seed(7)
        keras.config.set_dtype_policy(self.policy)
        try:
            model = self.build(kit, **carry)
        finally:
            keras.config.set_dtype_policy("float32")
        options = {"optimizer": keras.optimizers.SGD(0.1), "loss": "mse"} | self.compiled()
        model.compile(**options | ({"run_eagerly": True} if eagerly else {}))
        if self.after is not None:
            self.after(model)
        return model

    def taken(self) -> dict:
        """The first ``count`` samples of the data."""
        return jax.tree.map(lambda each: each[: self.count], self.data)

    def run(self, model, callbacks: list) -> dict:
        """All numbers of a fit."""
        options = {"batch_size": ROWS, "epochs": 3, "verbose": 0, "shuffle": False} | self.fit
        data = self.taken()
        history = model.fit(**data, **options, callbacks=callbacks)
        numbers: dict = {"epoch": history.epoch, **history.history}
        numbers["weights"] = model.get_weights()
        if kept := getattr(model, "states", None):
            numbers["states"] = [np.asarray(part) for parts in kept.values() for part in parts]
        if model.optimizer is not None:
            numbers["optimizer"] = [np.asarray(each) for each in model.optimizer.variables]
        if self.verbs:
            whole = {"batch_size": ROWS, "verbose": 0}
            numbers["evaluated"] = model.evaluate(**data, **whole, return_dict=True)
            numbers["predicted"] = model.predict(data["x"], **whole)
        return numbers


def compiled(optimizer: Callable | None = None, loss: Any = "mse", **options) -> Callable:
    made = {} if optimizer is None else {"optimizer": optimizer}
    return lambda: {name: make() for name, make in made.items()} | {"loss": loss} | options


def with_optimizer(name: str, rate: float = 0.01, **options) -> Case:
    make = getattr(keras.optimizers, name)
    return Case(compiled=compiled(lambda: make(rate, **options)))


def labelled(**more) -> dict:
    return {"x": X, "y": LABELS, **more}


def _frozen(model):
    model.layers[0].trainable = False


def _frozen_and_compiled_again(model):
    model.fit(X, Y, batch_size=ROWS, verbose=0, shuffle=False)
    model.layers[0].trainable = False
    model.compile(keras.optimizers.SGD(0.1), "mse")


def _frozen_part(kit, **carry):
    model = plain(kit, **carry)
    model.layers[0].trainable = False
    return model


def _penalised(kit, **carry):
    first = keras.Input((STEPS, FEATURES))
    seen = Penalty()(kit.layers.SimpleRNN(3, **carry)(first))
    return kit.Model(first, kit.layers.Dense(2)(seen))


two = {"x": X, "y": [Y, ONE_HOT]}
two_named = {"x": X, "y": {"a": Y, "b": ONE_HOT}}
TWO_LOSSES = ["mse", "categorical_crossentropy"]
TWO_NAMED = dict(zip("ab", TWO_LOSSES, strict=True))
SPARSE = "sparse_categorical_crossentropy"
check = (X[:ROWS], Y[:ROWS])  # one full batch; in some cases a smaller one follows it
half = keras.optimizers.schedules.ExponentialDecay(0.1, 2, 0.5)

CASES: dict[str, Case] = {
    # Weights of classes, samples and steps.
    "class_weight, indices": Case(
        classifier,
        compiled(loss=SPARSE, metrics=["accuracy"], weighted_metrics=["accuracy"]),
        labelled(),
        {"class_weight": {0: 0.5, 1: 2.0, 2: 1.0}, "validation_data": (X[:4], LABELS[:4])},
    ),
    "class_weight, columns": Case(
        classifier,
        compiled(loss=SPARSE),
        {"x": X, "y": LABELS[:, None]},
        {"class_weight": {0: 0.5, 2: 3.0}, "validation_split": 0.3},
    ),
    "class_weight, one-hot": Case(
        classifier,
        compiled(loss="categorical_crossentropy", weighted_metrics=["accuracy"]),
        {"x": X, "y": ONE_HOT},
        {"class_weight": {0: 0.5, 1: 2.0}},
        COUNT,
    ),
    "class_weight, two signs": Case(
        sequential(rnn(1)),
        compiled(loss="hinge"),
        {"x": X, "y": np.where(LABELS > 0, 1.0, -1.0)[:, None]},
        {"class_weight": {-1: 0.5, 1: 3.0}},
    ),
    "sample_weight": Case(
        compiled=compiled(metrics=["mae"], weighted_metrics=["mae", "mse"]),
        data={"x": X, "y": Y, "sample_weight": WEIGHTS},
        fit={"validation_data": (X[:4], Y[:4], WEIGHTS[:4])},
        carries=True,
    ),
    "sample_weight by step": Case(
        by_step,
        compiled(metrics=["mae"], weighted_metrics=["mae"]),
        {"x": X, "y": Y_STEPS, "sample_weight": STEP_WEIGHTS},
        count=COUNT,
        carries=True,
    ),
    "sample_weight in a column": Case(
        data={"x": X, "y": Y, "sample_weight": WEIGHTS[:, None]},
    ),
    # Several outputs and inputs.
    "two outputs, lists": Case(
        two_outputs(),
        compiled(
            loss=TWO_LOSSES,
            loss_weights=[0.3, 2.0],
            metrics=[["mae"], ["accuracy"]],
            weighted_metrics=[[], ["accuracy"]],
        ),
        two,
        verbs=True,
        carries=True,
    ),
    "two outputs, loss by name": Case(
        two_outputs(),
        compiled(loss=TWO_NAMED, loss_weights={"a": 0.5, "b": 1.5}, metrics={"a": "mae"}),
        two,
        {"validation_data": (X[:ROWS], [Y[:ROWS], ONE_HOT[:ROWS]])},
    ),
    "two outputs, a dictionary": Case(
        two_outputs(as_dict),
        compiled(loss=TWO_NAMED, metrics={"b": ["accuracy"]}, weighted_metrics={"a": ["mae"]}),
        two_named,
        verbs=True,
    ),
    "two outputs, one weight": Case(
        two_outputs(),
        compiled(loss=TWO_LOSSES, weighted_metrics=[["mae"], []]),
        {**two, "sample_weight": WEIGHTS},
        {"validation_data": (X[:4], [Y[:4], ONE_HOT[:4]], WEIGHTS[:4])},
    ),
    "two outputs, one weight, named": Case(
        two_outputs(as_dict),
        compiled(loss=TWO_NAMED),
        {**two_named, "sample_weight": WEIGHTS},
        count=COUNT,
    ),
    "two outputs, two weights": Case(
        two_outputs(),
        compiled(loss=TWO_LOSSES),
        {**two, "sample_weight": [WEIGHTS, WEIGHTS[::-1]]},
    ),
    "two outputs, weights by name": Case(
        two_outputs(as_dict),
        compiled(loss=TWO_NAMED),
        {**two_named, "sample_weight": {"a": WEIGHTS, "b": WEIGHTS[::-1]}},
    ),
    "two outputs, one loss": Case(
        two_outputs(), compiled(loss=[None, "categorical_crossentropy"]), two
    ),
    "two inputs, a list": Case(two_inputs(False), data={"x": [X, Y], "y": Y}),
    "two inputs, a dictionary": Case(
        two_inputs(True), data={"x": {"first": X, "second": Y}, "y": Y}, verbs=True
    ),
    "words and masks": Case(
        sequential(
            layer("Embedding", WORDS, 3, mask_zero=True),
            lstm(return_sequences=True),
            layer("Dense", 2),
            shape=(STEPS,),
            dtype="int32",
        ),
        compiled(metrics=["mae"], weighted_metrics=["mae"]),
        {"x": WORD_IDS, "y": Y_STEPS, "sample_weight": STEP_WEIGHTS},
        verbs=True,
        carries=True,
    ),
    # Losses of layers.
    "regularizers and constraints": Case(
        sequential(
            rnn(
                kernel_regularizer="l1",
                recurrent_regularizer="l2",
                kernel_constraint="unit_norm",
                activity_regularizer="l2",
            ),
            layer("Dense", 2, kernel_constraint=keras.constraints.MaxNorm(0.5)),
        ),
        carries=True,
    ),
    "add_loss": Case(_penalised, count=COUNT, carries=True),
    "add_loss only": Case(_penalised, compiled(loss=None), {"x": X}, verbs=True),
    "dropout": Case(
        sequential(
            rnn(dropout=0.3, recurrent_dropout=0.3), layer("Dropout", 0.3), layer("Dense", 2)
        ),
        carries=True,
    ),
    "normalization": Case(
        sequential(
            rnn(return_sequences=True),
            layer("BatchNormalization", momentum=0.5),
            layer("LayerNormalization"),
            lambda kit, carry: kit.layers.SpectralNormalization(kit.layers.Dense(2)),
        ),
        data={"x": X, "y": Y_STEPS},
        fit={"validation_data": (X[:ROWS], Y_STEPS[:ROWS])},
        carries=True,
    ),
    "frozen layer": Case(_frozen_part),
    "frozen after compile": Case(after=_frozen),
    "frozen and compiled again": Case(after=_frozen_and_compiled_again),
    # Optimizers.
    **{
        f"{name} {' '.join(options)}".strip(): with_optimizer(name, **options)
        for name, options in [
            ("SGD", {"momentum": 0.9, "nesterov": True, "clipnorm": 0.1}),
            ("RMSprop", {"global_clipnorm": 0.1, "centered": True}),
            ("Adam", {"clipvalue": 0.01, "amsgrad": True}),
            ("AdamW", {"weight_decay": 0.1}),
            ("Nadam", {"gradient_accumulation_steps": 2}),
            ("Lion", {"use_ema": True, "ema_momentum": 0.5}),
            ("Adagrad", {"use_ema": True, "ema_overwrite_frequency": 2, "ema_momentum": 0.5}),
            ("Ftrl", {}),
            ("Adadelta", {}),
            ("Adafactor", {}),
            ("Muon", {}),
        ]
    },
    "learning-rate schedule": Case(compiled=compiled(lambda: keras.optimizers.Adam(half))),
    "no epochs with averaged weights": Case(
        compiled=compiled(lambda: keras.optimizers.SGD(0.1, use_ema=True, ema_momentum=0.5)),
        after=lambda model: model.fit(X, Y, batch_size=ROWS, verbose=0, shuffle=False),
        fit={"epochs": 0},
    ),
    "loss scaling": Case(
        compiled=compiled(
            lambda: keras.optimizers.LossScaleOptimizer(
                keras.optimizers.Adam(0.01), initial_scale=8.0, dynamic_growth_steps=2
            )
        ),
        carries=True,
    ),
    # Options of the run.
    "run_eagerly": Case(compiled=compiled(run_eagerly=True, metrics=["mae"])),
    "jit_compile=False": Case(compiled=compiled(jit_compile=False)),
    "steps_per_execution": Case(compiled=compiled(steps_per_execution=2, metrics=["mae"])),
    "shuffled within batches": Case(fit={"shuffle": "batch"}, count=COUNT),
    "validation_freq, a list": Case(
        compiled=compiled(metrics=["mae"]),
        fit={"validation_data": check, "validation_freq": [1, 3]},
        carries=True,
    ),
    "validation_batch_size": Case(
        compiled=compiled(metrics=["mae"]),
        fit={
            "validation_data": check,
            "validation_batch_size": 2,
            "validation_steps": 2,
            "validation_freq": 2,
            "epochs": 5,
            "initial_epoch": 1,
        },
    ),
    # Users' steps, losses and metrics.
    "train_step as documented": Case(
        subclassed(documented_step),
        compiled(metrics=["mae"]),
        fit={"validation_data": check},
        verbs=True,
        carries=True,
    ),
    "train_step with logs of its own": Case(
        subclassed(own_logs), fit={"validation_data": check}, verbs=True, carries=True
    ),
    "compute_loss and compute_metrics": Case(
        subclassed(own_loss), compiled(loss=None), fit={"validation_data": check}, verbs=True
    ),
    "a metric that is never reset": Case(
        compiled=lambda: {"metrics": [Counted()]}, fit={"validation_data": check}
    ),
    "mixed_bfloat16": Case(
        policy="mixed_bfloat16", tolerance={"rtol": 2e-2, "atol": 2e-3}, carries=True
    ),
    "mixed_float16": Case(
        policy="mixed_float16", tolerance={"rtol": 2e-2, "atol": 2e-3}, carries=True
    ),
    "a loss that is a function": Case(compiled=compiled(loss=half_of_mae, metrics=[half_of_mae])),
    "a loss that is an object": Case(
        compiled=compiled(
            loss=keras.losses.Huber(0.2, reduction="sum"), metrics=["cosine_similarity"]
        )
    ),
    "metrics of many kinds": Case(
        classifier,
        lambda: {
            "loss": "categorical_crossentropy",
            "metrics": [
                "accuracy",
                keras.metrics.F1Score(name="f1"),  # a number for each class
                keras.metrics.AUC(name="auc"),
                keras.metrics.RootMeanSquaredError(name="rmse"),
            ],
        },
        {"x": X, "y": ONE_HOT},
    ),
}


def assert_same(one: dict, other: dict, **tolerance) -> None:
    """The same numbers under the same names."""
    assert sorted(one) == sorted(other)
    for name, value in one.items():
        mine, theirs = keras.tree.flatten(value), keras.tree.flatten(other[name])
        assert len(mine) == len(theirs), name
        for each, its in zip(mine, theirs, strict=True):
            np.testing.assert_allclose(each, its, **tolerance, err_msg=name)


class Beginning:
    """Everything a compiled model holds, to fit it again from the same place."""

    def __init__(self, model, case: Case):
        self._model = model
        model.fit(
            **case.taken(), batch_size=ROWS, epochs=0, verbose=0
        )  # which makes every variable
        self._values = [(each, np.asarray(each)) for each in self._variables()]

    def restore(self) -> None:
        self._model.reset_states()
        for variable, value in self._values:
            variable.assign(value)

    def _variables(self) -> list:
        optimizer = self._model.optimizer
        return [
            *self._model.variables,
            *(optimizer.variables if optimizer else []),
            *self._model.metrics_variables,
        ]


def runs_with_callbacks(case: Case, model) -> dict[str, dict]:
    """The numbers of a run with each kind of callbacks, all from the same beginning."""
    beginning = Beginning(model, case)
    runs = {}
    for name, callbacks in CALLBACKS.items():
        beginning.restore()
        runs[name] = case.run(model, callbacks())
    return runs


@pytest.mark.quick_cases(18)
@pytest.mark.parametrize("name", CASES)
def test_a_fit_has_the_numbers_of_keras_with_any_callbacks(name, request):
    if name == "normalization":  # which makes a difference in rounding ten times as large
        request.getfixturevalue("optimized")
    case = CASES[name]
    with_keras = case.run(case.make(keras), [])
    runs = runs_with_callbacks(case, case.make(legato))
    for run in runs.values():
        assert_same(run, with_keras, **case.tolerance)
        assert_same(run, runs["none"], rtol=1e-6, atol=1e-7)


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case.carries])
def test_a_fit_with_carried_state_has_the_same_numbers_with_any_callbacks(name):
    case = CASES[name]
    model = case.make(legato, stateful=True)
    runs = runs_with_callbacks(case, model)
    assert model.states.rows == ROWS
    assert all(part.dtype == "float32" for parts in model.states.values() for part in parts)
    eager = case.make(legato, eagerly=True, stateful=True)
    Beginning(eager, case)
    stepwise = case.run(eager, [])
    for run in runs.values():
        assert_same(run, runs["none"], rtol=1e-6, atol=1e-7)
        assert_same(run, stepwise, **case.tolerance)


def test_every_step_draws_new_dropout_from_the_seed():
    """The same batch repeatedly, at learning rate 0: only the masks can differ."""
    case = CASES["dropout"]
    same = {"x": np.repeat(X[:1], 4 * ROWS, axis=0), "y": np.repeat(Y[:1], 4 * ROWS, axis=0)}
    runs = []
    for _ in range(2):
        model, losses = case.make(legato), []
        model.optimizer.learning_rate = 0.0
        recorder = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs, losses=losses: losses.append(logs["loss"])
        )
        model.fit(**same, batch_size=ROWS, epochs=2, verbose=0, callbacks=[recorder])
        runs.append(losses)
    assert len(set(runs[0])) == 8
    assert runs[0] == runs[1]


class KeepsMetric(keras.layers.Layer):
    """Keeps a metric of its inputs."""

    def __init__(self, **options):
        super().__init__(**options)
        self.size = keras.metrics.Mean(name="size")

    def call(self, x):
        self.size.update_state(keras.ops.abs(x))
        return x


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("eagerly", [False, True])
def test_a_metric_updated_by_a_layer_is_refused_as_keras_does(eagerly):
    case = Case(sequential(rnn(), lambda kit, carry: KeepsMetric(name="seen"), layer("Dense", 2)))
    with pytest.raises(TypeError):
        case.run(case.make(keras, eagerly=eagerly), [])
    model = case.make(legato, eagerly=eagerly)
    for verb in (model.fit, model.evaluate):
        with pytest.raises(legato.UnsupportedError, match="'seen' updates a metric in its call"):
            verb(X, Y, verbose=0)
    assert model.predict(X, verbose=0).shape == (COUNT, 2)
    assert [float(each.value) for each in model.metrics_variables] == [0.0] * 4
