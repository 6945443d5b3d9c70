"""The NumPy oracle and Keras on TensorFlow compute the same forward pass.

Only NumPy and the golden files are needed: if this fails, the oracle or the files are wrong, and
no other comparison with them means anything.
"""

import numpy as np
import pytest
from goldens import CASES, EPOCHS, OPTIMIZERS, ROWS, UNITS, load
from oracles.cells import CELLS, fresh_state, run, softmax

TOLERANCE = 1e-5  # float32 against float64, absolute
TRAINED_SLOWLY = ("simple_rnn",)  # differences take a second for each gated case, so few are tried


def cell_of(layer_name, arguments):
    """Return the oracle's cell for a Keras layer."""
    kind = {"reset_after": arguments["reset_after"]} if layer_name == "GRU" else {}
    cells = [cell for cell in CELLS.values() if cell.layer_name == layer_name]
    return next(cell for cell in cells if cell.layer_arguments in (kind, {}))


def forward_batch(golden, weights, X, states):
    """Pass one batch through the recurrent layers and the dense head, as TensorFlow does."""
    mask = X.any(axis=-1) if golden.masked else None
    after = []
    for index, (layer, before) in enumerate(zip(golden.layers, states, strict=True)):
        X, state = run(
            cell_of(*layer).step,
            weights[3 * index : 3 * index + 3],
            X,
            before,
            mask,
            masked_output=np.zeros((ROWS, UNITS)),
        )
        after.append(state)
    kernel, bias = weights[-2:]
    return softmax(X[:, -1] @ kernel + bias), after


def forward(golden, weights, X, states):
    """Pass the batches through in order; a stateful network carries its state along."""
    predictions = []
    for first in range(0, len(X), ROWS):
        batch, after = forward_batch(golden, weights, X[first : first + ROWS], states)
        predictions.append(batch)
        states = after if golden.stateful else states
    return np.concatenate(predictions), states


def fresh(golden):
    """Return the initial state of every recurrent layer."""
    return [fresh_state(cell_of(*layer), ROWS, UNITS) for layer in golden.layers]


def equal(ours, golden):
    """Compare lists of arrays within the tolerance of this module."""
    for mine, theirs in zip(ours, golden, strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=0, atol=TOLERANCE)


@pytest.fixture(params=CASES)
def golden(request):
    return load(request.param)


def test_predictions_and_states(golden):
    states = fresh(golden)
    for name in ("first", "second"):
        found, states = forward(golden, golden.numbered("weights"), golden["X"], states)
        equal([found], [golden[f"{name}_predictions"]])
        if golden.stateful:
            arrays = [array for state in states for array in state]
            equal(arrays, golden.numbered(f"{name}_state"))


def test_inputs_are_all_different_and_none_zero(golden):
    steps = golden["X"].any(axis=-1)
    assert steps.all() != golden.masked
    for array in (golden["X"][steps], *golden.numbered("weights")):
        assert array.all()
        assert len(np.unique(array)) == array.size


def test_the_goldens_distinguish_carried_state_from_fresh(golden):
    apart = np.abs(golden["second_predictions"] - golden["first_predictions"]).max()
    assert apart > 0.01 if golden.stateful else apart == 0


def loss_of(golden, weights, batch, states):
    """Return the mean cross-entropy of one batch, started from `states`, and the states after."""
    predictions, after = forward_batch(golden, weights, golden["X"][batch], states)
    return -(golden["y"][batch] * np.log(predictions)).sum(axis=-1).mean(), after


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_first_loss_of_training_is_the_forward_pass(golden, optimizer):
    loss, _ = loss_of(golden, golden.numbered("weights"), slice(0, ROWS), fresh(golden))
    equal([loss], [golden[f"{optimizer}_batch_losses"][0, 0]])


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_epoch_losses_are_means_of_batch_losses(golden, optimizer):
    means = golden[f"{optimizer}_batch_losses"].mean(axis=1)
    equal(means, golden[f"{optimizer}_epoch_losses"])


def slope(function, weights):
    """Return the gradient of `function(weights)` by central differences, one weight at a time."""
    small, slopes = 1e-6, [np.empty_like(array) for array in weights]
    for array, found in zip(weights, slopes, strict=True):
        for place in np.ndindex(array.shape):
            value = array[place]
            array[place] = value + small
            above = function(weights)
            array[place] = value - small
            below = function(weights)
            array[place] = value
            found[place] = (above - below) / (2 * small)
    return slopes


def descend(golden, rate):
    """Train by plain gradient descent, the state a constant at the beginning of each batch."""
    weights = [array.astype(np.float64) for array in golden.numbered("weights")]
    losses, states = [], fresh(golden)
    for _ in range(EPOCHS):
        states = fresh(golden)
        for first in range(0, len(golden["X"]), ROWS):
            batch = slice(first, first + ROWS)
            loss, after = loss_of(golden, weights, batch, states)
            slopes = slope(lambda w, b=batch, s=states: loss_of(golden, w, b, s)[0], weights)
            weights = [array - rate * step for array, step in zip(weights, slopes, strict=True)]
            losses.append(loss)
            states = after if golden.stateful else states
    return np.reshape(losses, (EPOCHS, -1)), weights, states


@pytest.mark.parametrize("case", [case for case in CASES if case.startswith(TRAINED_SLOWLY)])
def test_gradients_stop_at_sample_boundaries(case):
    golden = load(case)
    losses, weights, states = descend(golden, OPTIMIZERS["sgd"][1]["learning_rate"])
    equal(losses, golden["sgd_batch_losses"])
    equal(weights, golden.numbered("sgd_weights"))
    if golden.stateful:
        equal([array for state in states for array in state], golden.numbered("sgd_state"))


@pytest.mark.parametrize("cell", CELLS.values(), ids=CELLS)
class TestRun:
    """The oracle obeys its own laws, independently of Keras."""

    def drive(self, cell, xs, state=None, **arguments):
        generator = np.random.RandomState(7)
        units, features = 5, xs.shape[-1]
        gates = {"LSTM": 4, "GRU": 3, "SimpleRNN": 1}[cell.layer_name]
        bias = (2, gates * units) if cell.layer_arguments.get("reset_after") else (gates * units,)
        shapes = [(features, gates * units), (units, gates * units), bias]
        weights = [generator.uniform(0.1, 0.9, shape) for shape in shapes]
        state = fresh_state(cell, len(xs), units) if state is None else state
        return run(cell.step, weights, xs, state, **arguments)

    def inputs(self, rows=3, steps=6):
        return np.random.RandomState(3).uniform(-1.0, 1.0, (rows, steps, 2))

    def test_any_chunks_give_the_whole(self, cell):
        xs = self.inputs()
        whole, end = self.drive(cell, xs)
        first, state = self.drive(cell, xs[:, :2])
        rest, state = self.drive(cell, xs[:, 2:], state)
        np.testing.assert_array_equal(np.concatenate([first, rest], axis=1), whole)
        np.testing.assert_array_equal(state, end)

    def test_a_start_is_a_fresh_start(self, cell):
        xs, starts = self.inputs(), np.zeros((3, 6), bool)
        starts[1, 2] = True
        outputs, end = self.drive(cell, xs, starts=starts)
        fresh_outputs, fresh_end = self.drive(cell, xs[1:2, 2:])
        np.testing.assert_allclose(outputs[1:2, 2:], fresh_outputs, rtol=0, atol=1e-15)
        np.testing.assert_allclose(np.array(end)[:, 1:2], fresh_end, rtol=0, atol=1e-15)

    def test_masked_steps_keep_the_state_and_repeat_the_last_output(self, cell):
        xs, mask = self.inputs(), np.ones((3, 6), bool)
        mask[:, [0, 3, 5]] = False
        outputs, end = self.drive(cell, xs, mask=mask)
        kept, kept_end = self.drive(cell, xs[:, [1, 2, 4]])
        np.testing.assert_array_equal(outputs[:, 1:][:, [0, 1, 1, 3, 3]], outputs[:, 1:])
        np.testing.assert_array_equal(outputs[:, [1, 2, 4]], kept)
        np.testing.assert_array_equal(outputs[:, 0], np.zeros((3, 5)))
        np.testing.assert_array_equal(end, kept_end)

    def test_a_fully_masked_row_outputs_its_carried_state(self, cell):
        xs = self.inputs()
        outputs, state = self.drive(cell, xs)
        repeated, after = self.drive(cell, xs, state, mask=np.zeros((3, 6), bool))
        np.testing.assert_array_equal(repeated, np.repeat(outputs[:, -1:], 6, axis=1))
        np.testing.assert_array_equal(after, state)
