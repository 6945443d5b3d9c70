"""The kernels equal Keras's own scan, in outputs, states, gradients and every other derivative."""

from dataclasses import dataclass

import jax
import jax.export
import keras
import numpy as np
import pytest
from jax import numpy as jnp

from legato import Sequential, layers
from legato._recurrent import kernels, native_kernel

ROWS, STEPS, FEATURES, UNITS = 5, 7, 3, 6
CELLS = ("LSTM", "GRU", "SimpleRNN")
OPTIONS = {
    "sequences": {"return_sequences": True},
    "backwards": {
        "return_sequences": True,
        "go_backwards": True,
        "zero_output_for_mask": True,
        "use_bias": False,
    },
    "masked": {},
    "dropout": {"dropout": 0.4, "return_sequences": True},
    "recurrent dropout": {"recurrent_dropout": 0.4},
    "both dropouts": {"dropout": 0.3, "recurrent_dropout": 0.4},
    "relu": {"activation": "relu"},
}
MASKED = ("backwards", "masked", "both dropouts")
INITIAL = ("sequences", "masked")
needs_native = pytest.mark.skipif(
    native_kernel.unavailable() is not None, reason=f"{native_kernel.unavailable()}"
)


@pytest.fixture
def without_native(monkeypatch):
    """The JAX kernel is chosen, for work of any size."""
    monkeypatch.setattr(native_kernel, "unavailable", lambda: "it is turned off")
    monkeypatch.setattr(kernels, "_JAX_PRODUCTS", 0)


def built(namespace, cell: str, dtype: str, **options):
    """A layer with weights of a fixed seed."""
    keras.utils.set_random_seed(3)
    layer = getattr(namespace, cell)(UNITS, dtype=dtype, return_state=True, **options)
    layer.build((ROWS, STEPS, FEATURES))
    rng = np.random.default_rng(2)
    for variable in layer.trainable_variables:
        variable.assign(rng.normal(size=variable.shape, scale=0.5))
    return layer


def run(namespace, cell: str, case: str, dtype: str, draw: int = 4, **options):
    """Outputs and final states; and the gradients of a loss with respect to the weights, the
    inputs and the initial state."""
    layer = built(namespace, cell, dtype, **OPTIONS[case], **options)
    rng = np.random.default_rng(draw)
    xs = jnp.asarray(rng.normal(size=(ROWS, STEPS, FEATURES)), layer.compute_dtype)
    states = [
        jnp.asarray(rng.normal(size=(ROWS, UNITS)), layer.compute_dtype)
        for _ in range(1 + (cell == "LSTM"))
    ]
    mask = jnp.asarray(rng.random((ROWS, STEPS)) < 0.6) if case in MASKED else None
    others = [each.value for each in layer.non_trainable_variables]

    @jax.jit
    def results(weights, xs, states):
        def loss(weights, xs, states):
            given = {"initial_state": states} if case in INITIAL else {}
            results, _ = layer.stateless_call(
                weights, others, xs, mask=mask, training=True, **given
            )
            return sum(
                (jnp.cos(jnp.arange(each.size)) * each.ravel()).sum() for each in results
            ), results

        return jax.value_and_grad(loss, (0, 1, 2), has_aux=True)(weights, xs, states)

    (_, found), gradients = results([v.value for v in layer.trainable_variables], xs, states)
    return [np.asarray(each) for each in jax.tree.leaves((found, gradients))]


def largest_difference(some, others) -> float:
    """Between arrays of both, relative to the largest element of an array."""
    pairs = zip(some, others, strict=True)
    return max(float(abs(a - b).max() / (abs(b).max() + 1e-30)) for a, b in pairs)


@pytest.mark.quick_cases(10)
@pytest.mark.parametrize("case", OPTIONS)
@pytest.mark.parametrize("cell", CELLS)
def test_the_jax_kernel_equals_keras_in_float64(cell, case, without_native, chosen):
    with jax.enable_x64(True):
        # Keras's own tanh computes float64 in float32.
        tanh = {} if case == "relu" else {"activation": jnp.tanh}
        ours, keras_s = (
            run(each, cell, case, "float64", **tanh) for each in (layers, keras.layers)
        )
    assert chosen == {"jax"}
    assert largest_difference(ours, keras_s) < 1e-10


def test_the_jax_kernel_is_as_accurate_as_keras_in_bfloat16(without_native, chosen):
    """On the average of some draws: the largest error of one is that of a single rounding."""

    def errors(namespace):
        return np.mean([errors_of(namespace, draw) for draw in exact], axis=0)

    def errors_of(namespace, draw) -> tuple:
        found = map(np.float32, run(namespace, "LSTM", "masked", "mixed_bfloat16", draw))
        pairs = [((a - b) / np.abs(b).max()) for a, b in zip(found, exact[draw], strict=True)]
        return max(np.abs(each).max() for each in pairs), np.mean(
            [np.sqrt(np.square(each).mean()) for each in pairs]
        )

    exact = {draw: run(keras.layers, "LSTM", "masked", "float32", draw) for draw in (4, 5, 6)}
    (largest, usual), (keras_largest, keras_usual) = errors(layers), errors(keras.layers)
    assert chosen == {"jax"}
    assert largest < 1.5 * keras_largest
    assert usual < 1.1 * keras_usual


@pytest.mark.quick_cases(8)
@needs_native
@pytest.mark.parametrize(
    "case", ["sequences", "backwards", "masked", "dropout", "recurrent dropout"]
)
@pytest.mark.parametrize("cell", CELLS)
def test_the_native_kernel_equals_keras(cell, case, chosen):
    ours, keras_s = (run(each, cell, case, "float32") for each in (layers, keras.layers))
    assert chosen == {"native"}
    assert largest_difference(ours, keras_s) < 1e-5


@needs_native
@pytest.mark.parametrize("case", ["sequences", "backwards", "recurrent dropout"])
def test_a_gru_that_resets_before_the_product_equals_keras(case, chosen):
    option = {"reset_after": False}
    ours, keras_s = (run(each, "GRU", case, "float32", **option) for each in (layers, keras.layers))
    assert chosen == {"native"}
    assert largest_difference(ours, keras_s) < 1e-5


@pytest.fixture
def chosen(monkeypatch):
    """The names of the kernels that were chosen."""
    names = set()
    choose = kernels.choose_kernel

    def choose_and_note(*arguments):
        kernel = choose(*arguments)
        names.add(kernel.name)
        return kernel

    monkeypatch.setattr(kernels, "choose_kernel", choose_and_note)
    return names


def derivatives_of(layer):
    """Derivatives of a sum of outputs of every kind that the kernels' own passes do not give."""
    xs = jnp.asarray(np.random.default_rng(4).normal(size=(ROWS, STEPS, FEATURES)), "float32")
    weights = [each.value for each in layer.trainable_variables]
    others = [each.value for each in layer.non_trainable_variables]
    change = [jnp.cos(jnp.arange(each.size)).reshape(each.shape) for each in weights]

    def loss(weights):
        return (layer.stateless_call(weights, others, xs)[0][0] ** 2).sum()

    @jax.jit
    def derivatives(weights):
        forward = jax.jvp(loss, (weights,), (change,))[1]
        hessian_times_change = jax.jvp(jax.grad(loss), (weights,), (change,))[1]
        many = jax.vmap(jax.grad(loss))([jnp.stack([each, 2 * each]) for each in weights])
        return forward, hessian_times_change, many

    return jax.tree.leaves(derivatives(weights))


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("kernel", ["jax", pytest.param("native", marks=needs_native)])
def test_derivatives_of_other_kinds_equal_those_of_keras(kernel, request, chosen):
    if kernel == "jax":
        request.getfixturevalue("without_native")
    cells = {"LSTM": {}, "GRU": {"reset_after": False}} if kernel == "native" else {"LSTM": {}}
    for cell, options in cells.items():
        ours, keras_s = (
            derivatives_of(built(each, cell, "float32", **options))
            for each in (layers, keras.layers)
        )
        assert chosen == {kernel}
        assert largest_difference(ours, keras_s) < 1e-5


@needs_native
def test_an_exported_gradient_runs_where_there_is_no_native_kernel(chosen):
    layer = built(layers, "LSTM", "float32")
    weights = [each.value for each in layer.trainable_variables]
    others = [each.value for each in layer.non_trainable_variables]
    xs = np.random.default_rng(4).normal(size=(ROWS, STEPS, FEATURES)).astype("float32")

    @jax.jit
    def gradient(weights):
        return jax.grad(lambda w: layer.stateless_call(w, others, xs)[0][0].sum())(weights)

    exported = jax.export.export(gradient)(weights).serialize()
    assert chosen == {"native"}
    assert b"legato_" not in exported
    loaded = jax.export.deserialize(exported).call(weights)
    assert largest_difference(loaded, gradient(weights)) < 1e-5


@needs_native
def test_training_for_200_steps_gives_the_losses_of_keras(chosen):
    rng = np.random.default_rng(0)
    xs = rng.normal(size=(80, STEPS, FEATURES)).astype("float32")
    ys = xs.sum((1, 2))[:, None]

    def losses(sequential, namespace):
        keras.utils.set_random_seed(1)
        model = sequential(
            [
                keras.Input((STEPS, FEATURES)),
                namespace.LSTM(UNITS, return_sequences=True),
                namespace.Bidirectional(namespace.GRU(UNITS)),
                keras.layers.Dense(1),
            ]
        )
        model.compile("adam", "mse")
        return model.fit(xs, ys, batch_size=8, epochs=20, shuffle=False, verbose=0).history["loss"]

    ours, keras_s = losses(Sequential, layers), losses(keras.Sequential, keras.layers)
    assert "native" in chosen  # and Keras's where the model is built, of no number of rows
    np.testing.assert_allclose(ours, keras_s, rtol=1e-4)


class OwnLoop(keras.layers.LSTM):
    def inner_loop(self, sequences, initial_state, mask, training=False):
        return super().inner_loop(sequences, initial_state, mask=mask, training=training)


@dataclass
class Scaled:
    """An activation with an attribute."""

    scale: float

    def __call__(self, x):
        return jnp.tanh(self.scale * x)


class OwnCell(keras.layers.LSTMCell):
    pass


KERAS_SCANS = {
    "unrolled": lambda: layers.LSTM(UNITS, unroll=True),
    "reset before the product, not with tanh": lambda: layers.GRU(
        UNITS, reset_after=False, activation="relu"
    ),
    "an activation with weights": lambda: layers.LSTM(UNITS, activation=keras.layers.PReLU()),
    "an activation that is not hashable": lambda: layers.LSTM(UNITS, activation=Scaled(2.0)),
    "an activation for this number of units": lambda: layers.LSTM(
        UNITS, activation=lambda x: x.reshape(-1, 2, UNITS // 2).cumsum(1).reshape(x.shape)
    ),
    "a partial activation": lambda: layers.LSTM(
        UNITS, activation=jax.tree_util.Partial(jax.nn.leaky_relu, negative_slope=0.5)
    ),
    "a cell of one's own": lambda: layers.RNN(OwnCell(UNITS)),
}


@pytest.mark.parametrize("name", KERAS_SCANS)
def test_other_layers_take_keras_s_scan(name, chosen):
    layer = KERAS_SCANS[name]()
    layer(np.ones((ROWS, STEPS, FEATURES), "float32"))
    assert chosen == {"keras"}


MISFITS = {
    "a mask of more steps": {"mask": np.ones((ROWS, STEPS + 1), bool)},
    "a mask of fewer rows": {"mask": np.ones((ROWS - 1, STEPS), bool)},
    "a state of other rows": {"initial_state": [np.ones((ROWS + 1, UNITS), "float32")]},
    "a state of one row": {"initial_state": [np.ones((1, UNITS), "float32")]},
    "a state of other units": {"initial_state": [np.ones((ROWS, UNITS - 1), "float32")]},
    "more features than weights": {"features": FEATURES + 1},
}


@pytest.mark.parametrize("case", MISFITS)
def test_arrays_that_do_not_fit_get_the_error_of_keras(case, chosen):
    given = dict(MISFITS[case])
    xs = np.ones((ROWS, STEPS, given.pop("features", FEATURES)), "float32")
    messages = []
    for each in (keras.layers, layers):
        layer = built(each, "GRU", "float32")
        with pytest.raises((TypeError, ValueError)) as error:
            layer(xs, **given)
        messages.append(str(error.value))
    assert chosen == {"keras"}
    assert messages[0] == messages[1]


def test_one_mask_for_all_rows_is_taken_as_keras_takes_it():
    xs = np.random.default_rng(0).normal(size=(ROWS, STEPS, FEATURES)).astype("float32")
    mask = np.arange(STEPS)[None] % 2 == 0
    ours, keras_s = (
        built(each, "GRU", "float32")(xs, mask=mask) for each in (layers, keras.layers)
    )
    assert largest_difference(ours, keras_s) < 1e-6


def test_an_activation_is_read_at_every_call():
    activation = Scaled(1.0)
    layer = layers.GRU(UNITS, activation=activation.__call__)
    xs = np.ones((ROWS, STEPS, FEATURES), "float32")
    before = layer(xs)
    activation.scale = 0.0
    assert (np.asarray(layer(xs)) != np.asarray(before)).all()


def test_a_loop_of_one_s_own_is_run(chosen):
    model = Sequential([keras.Input((STEPS, FEATURES)), OwnLoop(UNITS)])
    model.predict(np.ones((ROWS, STEPS, FEATURES)), verbose=0)
    assert chosen == {"keras"}


SIZES = {  # cell, rows, units, inputs, steps -> the kernel with the native one, and without it
    ("LSTM", 1, 64, 64): ("keras", "keras"),
    ("LSTM", 1, 64, 64, 100): ("native", "keras"),
    ("LSTM", 1, 16, 8, 100): ("keras", "keras"),
    ("LSTM", 1, 192, 64): ("native", "jax"),
    ("GRU", 1, 64, 8): ("keras", "keras"),
    ("GRU", 1, 64, 64): ("native", "jax"),
    ("GRU", 1, 32, 16): ("native", "keras"),
    ("GRU", 1, 16, 16): ("keras", "keras"),
    ("LSTM", 2, 16, 8): ("native", "keras"),
    ("LSTM", 4, 32, 8): ("native", "jax"),
    ("LSTM", 32, 64, 1): ("native", "jax"),
    ("LSTM", 32, 256, 1): ("native", "jax"),
}


@pytest.mark.parametrize("size", SIZES)
def test_the_kernel_is_the_one_measured_as_fastest(size, monkeypatch):
    cell, rows, units, inputs, *others = size
    steps = others[0] if others else STEPS
    layer = getattr(layers, cell)(units, kernel_initializer="zeros", recurrent_initializer="zeros")
    layer.build((rows, steps, inputs))
    sequences = jax.ShapeDtypeStruct((rows, steps, inputs), "float32")
    for available, expected in zip((None, "it is turned off"), SIZES[size], strict=True):
        monkeypatch.setattr(native_kernel, "unavailable", lambda available=available: available)
        monkeypatch.setattr(native_kernel, "instruction_set", lambda: "any")
        assert kernels.choose_kernel(layer, sequences, None).name == expected
