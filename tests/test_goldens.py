"""legato on JAX computes what Keras on TensorFlow computes: predictions, states, training.

The goldens were made with a batch size fixed at construction. legato's own layers need none, so
they are built without; plain `keras.layers` objects, batch size and all, are tested too. Keras on
TensorFlow is the reference except in one place, where Keras on JAX differs: `second_predictions`.
"""

import numpy as np
import pytest
from goldens import CASES, CLASSES, EPOCHS, FEATURES, OPTIMIZERS, ROWS, UNITS, load

from legato import Sequential, layers

TOLERANCE = 1e-5  # float32, absolute
FULLY_MASKED = 1  # the sample, and the row of the first batch, that has no valid step


def build_with_own_layers(golden):
    """Build a golden's network from legato's layers, without a batch size."""
    return build(golden, layers, layers.Input((None, FEATURES)))


def build_with_plain_layers(golden):
    """Build a golden's network from Keras's layers, the way stateful ones must be on TensorFlow."""
    import keras  # after legato, which chooses the backend

    return build(golden, keras.layers, keras.Input(batch_shape=(ROWS, None, FEATURES)))


def build(golden, layers, first):
    """Build a golden's network behind its first layer and give it the golden's weights."""
    model = Sequential([first])
    if golden.masked:
        model.add(layers.Masking(mask_value=0.0))
    for layer_name, arguments in golden.layers:
        make_layer = getattr(layers, layer_name)
        model.add(make_layer(UNITS, stateful=golden.stateful, **arguments))
    model.add(layers.Dense(CLASSES, activation="softmax"))
    model.set_weights(golden.numbered("weights"))
    return model


BUILDS = [(case, build_with_own_layers) for case in CASES]
BUILDS += [(case, build_with_plain_layers) for case in CASES if load(case).stateful]
NAMES = [f"{case}-{make.__name__.removeprefix('build_with_')}" for case, make in BUILDS]


@pytest.fixture(params=BUILDS, ids=NAMES)
def golden_and_model(request):
    """Give a golden and legato's model of it, fresh."""
    case, build_model = request.param
    golden = load(case)
    return golden, build_model(golden)


def compile_with(model, optimizer):
    """Compile a model as the goldens were, with the optimizer of that name."""
    import keras  # after legato, which chooses the backend

    name, arguments = OPTIMIZERS[optimizer]
    made = getattr(keras.optimizers, name)(**arguments)
    model.compile(loss="categorical_crossentropy", optimizer=made)


def assert_equal(ours, theirs):
    """Compare lists of arrays, or two arrays, within the tolerance of this module."""
    assert len(ours) == len(theirs)
    for mine, golden in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(np.asarray(mine), golden, rtol=0, atol=TOLERANCE)


def weights_of(model):
    """Return a model's weights; Keras's own `get_weights` warns under NumPy 2's copy rules."""
    return [np.asarray(variable.value) for variable in model.weights]


def arrays_of(state):
    """Return every array of a state, layer after layer."""
    return [array for arrays in state.values() for array in arrays]


def second_predictions(golden):
    """Return the golden second predictions as JAX has them.

    A fully masked row repeats its last output. Keras on TensorFlow forgets it between calls and
    outputs zeros; on JAX it is part of the carried state. The masked row's lane ended with
    the last sample of the first call, whose prediction it therefore repeats.
    """
    predictions = golden["second_predictions"].copy()
    if golden.masked and golden.stateful:
        predictions[FULLY_MASKED] = golden["first_predictions"][-1]
    return predictions


def test_predict(golden_and_model):
    golden, model = golden_and_model
    first = model.predict(golden["X"], batch_size=ROWS, verbose=0)
    assert_equal(first, golden["first_predictions"])
    assert_equal(arrays_of(model.states), golden.numbered("first_state"))

    second = model.predict(golden["X"], batch_size=ROWS, verbose=0)
    assert_equal(second, second_predictions(golden))
    assert_equal(arrays_of(model.states), golden.numbered("second_state"))

    model.reset_states()
    again = model.predict(golden["X"], batch_size=ROWS, verbose=0)
    assert_equal(again, golden["first_predictions"])


@pytest.mark.quick_cases(15)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_fit(golden_and_model, optimizer):
    golden, model = golden_and_model
    compile_with(model, optimizer)
    history = model.fit(
        golden["X"], golden["y"], batch_size=ROWS, epochs=EPOCHS, shuffle=False, verbose=0
    )
    assert_equal(history.history["loss"], golden[f"{optimizer}_epoch_losses"])
    assert_equal(weights_of(model), golden.numbered(f"{optimizer}_weights"))
    assert_equal(arrays_of(model.states), golden.numbered(f"{optimizer}_state"))


@pytest.mark.quick_cases(15)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_train_on_batch(golden_and_model, optimizer):
    golden, model = golden_and_model
    compile_with(model, optimizer)
    losses = []
    for _ in range(EPOCHS):
        model.reset_states()
        for first in range(0, len(golden["X"]), ROWS):
            batch = slice(first, first + ROWS)
            model.reset_metrics()  # or the loss returned is a mean over the batches so far
            losses.append(float(model.train_on_batch(golden["X"][batch], golden["y"][batch])))
    assert_equal(np.reshape(losses, (EPOCHS, -1)), golden[f"{optimizer}_batch_losses"])
    assert_equal(weights_of(model), golden.numbered(f"{optimizer}_weights"))
    assert_equal(arrays_of(model.states), golden.numbered(f"{optimizer}_state"))
