"""ONNX files compute what the model computes, including state.

The file, run as a whole, in chunks and step by step, is compared with the model for every cell of
the list and for every mask that can be exported. Anything else raises an error that names it.
"""

import json
import sys
from pathlib import Path

import keras
import numpy as np
import onnx
import pytest
from cells import (
    CARRY,
    CELLS,
    FEATURES,
    ROWS,
    STEPS,
    UNITS,
    inputs,
    predict,
    ready,
    set_weights,
    spread,
)
from onnx_files import (
    CLOSE,
    File,
    assert_exported,
    assert_same,
    feed,
    randomized,
    sequential,
)

import legato
from legato import InputError, MissingError, OutputError, UnsupportedError, layers

NOT_EXPORTED = {  # cell of the list → a part of the error's message
    "warm-initial-state": r"Layer 'rnn.*' \(RNN\) .*: its cell WarmCell has a call of its own",
    "learnt-initial-state": r"its cell LearntCell has a call of its own",
    "subclassed": r"Model '.*' \(_Subclassed\) cannot be written as ONNX: it has a call of its own",
    "ConvLSTM1D": r"Layer 'conv_lstm1d.*' \(ConvLSTM1D\) .*: known are models of LSTM, GRU",
    "bfloat16": r"Layer 'simple_rnn.*' \(SimpleRNN\) .*: it computes in bfloat16, not in float32",
}
EXPORTED = [cell for cell in CELLS if cell.name not in NOT_EXPORTED]
both = pytest.mark.parametrize("stateful", [False, True], ids=["stateless", "stateful"])


# The laws, over the list of cells.


@pytest.mark.quick_cases(13)
@pytest.mark.parametrize("masked", [False, True], ids=["plain", "masked"])
@pytest.mark.parametrize("cell", EXPORTED, ids=lambda cell: cell.name)
def test_the_file_continues_from_any_state_as_the_model_does(cell, masked, tmp_path):
    if masked and not cell.masks:
        pytest.skip("no mask reaches the layer")
    model, X = ready(cell, masked), inputs(seed=2)
    file = File(model, tmp_path)
    if masked:
        X[:, :2] = X[0, -1] = 0.0
        X[1:, 4] = X[2:] = 0.0
    predict(model, inputs(seed=1))
    before = model.states
    expected = predict(model, X)
    for rows in (1, ROWS):
        chosen = range(rows)
        (y,), after = file.run(X[:rows], states=feed(before.select(chosen)))
        np.testing.assert_allclose(y, expected[:rows], **CLOSE)
        assert_same(after, feed(model.states.select(chosen)))


@pytest.mark.parametrize("cell", EXPORTED, ids=lambda cell: cell.name)
def test_whole_chunks_and_single_steps_give_the_same(cell, tmp_path):
    model, X = ready(cell), inputs()
    file = File(model, tmp_path)
    (whole,), after = file.run(X)
    np.testing.assert_allclose(whole, predict(model, X), **CLOSE)
    for lengths in ([4, 2], [1] * STEPS):
        y, states = file.in_chunks(X, lengths)
        carried = slice(cell.carried)  # of a Bidirectional the forward half
        np.testing.assert_allclose(y[..., carried], whole[..., carried], **CLOSE)
        assert_same(states, after)


@pytest.mark.parametrize(("name", "message"), NOT_EXPORTED.items(), ids=list(NOT_EXPORTED))
def test_a_cell_that_cannot_be_exported_is_refused_by_name(name, message, tmp_path):
    (cell,) = [each for each in CELLS if each.name == name]
    with pytest.raises(UnsupportedError, match=message):
        legato.export_onnx(ready(cell), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())


# State.


@both
def test_state_is_input_and_output_whether_the_model_is_stateful_or_not(stateful, tmp_path):
    memory = layers.LSTM(UNITS, stateful=stateful, return_sequences=True, name="memory")
    model = sequential(memory, layers.GRU(UNITS, stateful=stateful, name="end"))
    file = assert_exported(model, tmp_path, inputs())
    assert file.inputs == ["signal", "memory:0", "memory:1", "end:0"]
    assert file.outputs == ["end", "memory:0.next", "memory:1.next", "end:0.next"]
    axes = [each.shape for each in file.session.get_inputs()]
    assert axes[:2] == [["rows", "time_steps", FEATURES], ["rows", UNITS]]
    last = None
    states = file.start(ROWS)
    for step in range(STEPS):
        (last,), states = file.run(inputs()[:, step : step + 1], states=states)
    model.reset_states()
    np.testing.assert_allclose(last, predict(model, inputs()), **CLOSE)


@both
def test_a_model_built_by_its_data_takes_any_number_of_time_steps(stateful, tmp_path):
    model = legato.Sequential([layers.SimpleRNN(UNITS, stateful=stateful)])
    X = inputs()
    expected = predict(model, X)
    file = File(model, tmp_path)
    _, states = file.run(X[:, :2])
    (y,), _ = file.run(X[:, 2:], states=states)
    np.testing.assert_allclose(y, expected, **CLOSE)


def test_the_order_of_the_states_is_that_of_the_model(tmp_path):
    first = layers.Input((None, FEATURES), name="signal")
    inner = legato.Sequential(
        [layers.GRU(UNITS, **CARRY), layers.LSTM(UNITS, **CARRY)], name="inner"
    )
    model = legato.Model(first, inner(layers.SimpleRNN(UNITS, **CARRY)(first)))
    file = assert_exported(model, tmp_path, inputs())
    assert list(file.first) == list(feed(model.initial_states(1)))


@keras.saving.register_keras_serializable("tests")
class LearntLSTMCell(keras.layers.LSTMCell):
    """Its initial h is a weight, its initial c is 0.5."""

    def build(self, input_shape):
        super().build(input_shape)
        self.first = self.add_weight(shape=(self.units,), name="first")

    def get_initial_state(self, batch_size=None):
        h = keras.ops.broadcast_to(self.first, (batch_size, self.units))
        return [h, keras.ops.full((batch_size, self.units), 0.5)]


@both
def test_an_initial_state_other_than_zero_is_in_the_metadata(stateful, tmp_path):
    model = sequential(layers.RNN(LearntLSTMCell(UNITS), stateful=stateful, name="memory"))
    file = assert_exported(model, tmp_path, inputs())
    h, c = file.first.values()
    np.testing.assert_array_equal(h[0], model.layers[0].cell.first)
    np.testing.assert_array_equal(c, np.full((1, UNITS), 0.5, "float32"))
    initial_states = file.session.get_modelmeta().custom_metadata_map["initial_states"]
    for name, one_row in json.loads(initial_states).items():
        np.testing.assert_array_equal(np.float32(one_row), file.first[name])


def test_a_backward_layer_starts_fresh_from_its_own_initial_state(tmp_path):
    learnt = layers.RNN(LearntLSTMCell(UNITS), go_backwards=True, return_sequences=True)
    file = assert_exported(sequential(learnt), tmp_path, inputs())
    assert file.first == {}


@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("merge_mode", ["sum", "mul", "ave", "concat", None])
def test_both_halves_of_a_bidirectional(merge_mode, return_sequences, tmp_path):
    first = layers.Input((None, FEATURES), name="signal")
    inside = layers.LSTM(UNITS, return_sequences=return_sequences, return_state=True)
    model = legato.Model(first, layers.Bidirectional(inside, merge_mode=merge_mode)(first))
    set_weights(model)
    file = assert_exported(model, tmp_path, inputs())
    assert len(file.first) == 2


def test_a_decoder_starts_from_its_encoder(tmp_path):
    signal, target = layers.Input((None, FEATURES), name="signal"), layers.Input((None, FEATURES))
    _, *state = layers.LSTM(UNITS, return_state=True, name="encoder")(signal)
    decoded, *_ = layers.LSTM(UNITS, return_sequences=True, return_state=True, name="decoder")(
        target, initial_state=state
    )
    model = legato.Model([signal, target], layers.Dense(2)(decoded))
    set_weights(model)
    file = assert_exported(model, tmp_path, inputs(), inputs(steps=4))
    assert list(file.first) == ["encoder:0", "encoder:1"]


def test_an_initial_state_given_by_the_user_is_an_input(tmp_path):
    signal = layers.Input((None, FEATURES), name="signal")
    before = layers.Input((UNITS,), name="before")
    y, after = layers.GRU(UNITS, return_state=True)(signal, initial_state=before)
    model = legato.Model([signal, before], [y, after])
    set_weights(model)
    assert_exported(model, tmp_path, inputs(), spread(np.random.default_rng(8), ROWS, UNITS))


def test_several_inputs_and_outputs(tmp_path):
    signal = layers.Input((None, FEATURES), name="signal")
    words = layers.Input((None,), dtype="int32", name="words")
    mood = layers.Input((2,), name="mood")
    summary, read = layers.LSTM(UNITS)(signal), layers.GRU(UNITS)(layers.Embedding(9, 3)(words))
    both = layers.Dense(3, name="both")(layers.Concatenate()([summary, read, mood]) * 2 + 1)
    model = legato.Model([signal, words, mood], [both, layers.Dense(1, name="one")(read - 0.5)])
    set_weights(model)
    numbers = np.arange(ROWS * 4, dtype="int32").reshape(ROWS, 4) % 9
    file = assert_exported(model, tmp_path, inputs(), numbers, inputs()[:, 0, :2])
    assert file.outputs[:2] == ["both", "one"]
    axes = [each.shape for each in file.session.get_inputs()[:3]]
    assert axes == [["rows", "signal.time_steps", 3], ["rows", "words.time_steps"], ["rows", 2]]


def test_a_plain_keras_model_is_exported_too(tmp_path):
    model = keras.Sequential([keras.layers.Input((None, FEATURES)), keras.layers.LSTM(UNITS)])
    assert_exported(model, tmp_path, inputs())


def test_time_steps_stay_fixed_where_a_layer_reshapes_them(tmp_path):
    model = sequential(
        layers.LSTM(UNITS, return_sequences=True), layers.Flatten(), shape=(STEPS, FEATURES)
    )
    file = assert_exported(model, tmp_path, inputs())
    assert file.session.get_inputs()[0].shape == ["rows", STEPS, FEATURES]


def _windows(stateful: bool):
    signal = layers.Input((None, FEATURES), name="signal")
    return legato.Model(signal, layers.GRU(UNITS, stateful=stateful, name="gru")(signal[:, -4:]))


@both
def test_a_layer_behind_other_time_steps_carries_state_if_it_is_stateful(stateful, tmp_path):
    model = _windows(stateful)
    set_weights(model)
    file = File(model, tmp_path)
    assert list(file.first) == (["gru:0"] if stateful else [])
    states = file.start(ROWS)
    for seed in (1, 2):
        X = inputs(seed=seed)
        (y,), states = file.run(X, states=states)
        np.testing.assert_allclose(y, predict(model, X), **CLOSE)


def test_features_may_be_chosen_before_a_layer_that_carries_state(tmp_path):
    signal = layers.Input((None, FEATURES), name="signal")
    for chosen in (signal[..., 1:], signal[:, :, :2], keras.ops.take(signal, [2, 0], axis=-1)):
        model = legato.Model(signal, layers.GRU(UNITS)(chosen))
        set_weights(model)
        assert len(assert_exported(model, tmp_path, inputs()).first) == 1


# Masks.


def holes() -> np.ndarray:
    """Inputs with masked steps at the start, in the middle, at the end, and everywhere."""
    X = inputs(5)
    X[0, :2] = X[1, 2:4] = X[2, -1] = X[3] = 0.0
    return X


@pytest.mark.parametrize("return_sequences", [False, True])
@pytest.mark.parametrize("zero", [False, True], ids=["repeat", "zero"])
def test_masked_steps_keep_the_state(return_sequences, zero, tmp_path):
    options = {"return_sequences": return_sequences, "zero_output_for_mask": zero}
    cells = layers.StackedRNNCells([layers.LSTMCell(UNITS), layers.GRUCell(UNITS)])
    for layer in (layers.RNN(cells, **options), layers.LSTM(UNITS, go_backwards=True, **options)):
        assert_exported(sequential(layers.Masking(0.0), layer), tmp_path, holes())


def test_a_mask_passes_through_layers_and_models(tmp_path):
    inner = legato.Sequential([layers.Masking(0.0), layers.GRU(UNITS, return_sequences=True)])
    distributed = layers.TimeDistributed(layers.Dense(UNITS, activation="tanh"))
    model = sequential(inner, layers.Dropout(0.5), distributed, layers.SimpleRNN(UNITS))
    assert_exported(model, tmp_path, holes())


def test_a_mask_passes_through_joined_features(tmp_path):
    signal = layers.Input((None, FEATURES), name="signal")
    masked = layers.Masking(0.0)(signal)
    joined = layers.Concatenate()([masked, layers.Dense(2, activation="tanh")(masked)])
    assert_exported(randomized(layers.GRU(UNITS)(joined)), tmp_path, holes())
    beside = layers.Concatenate()([masked, layers.Dense(2)(signal)])  # all of it is unmasked
    assert_exported(randomized(layers.GRU(UNITS)(beside)), tmp_path, holes())


@pytest.mark.parametrize("keepdims", [False, True])
def test_the_mean_over_time_is_that_of_unmasked_steps(keepdims, tmp_path):
    mean = layers.GlobalAveragePooling1D(keepdims=keepdims)
    memory = layers.GRU(UNITS, return_sequences=True)
    X = holes()[:3]  # of no step at all it is not a number
    assert_exported(sequential(layers.Masking(0.0), memory, mean), tmp_path, X)


def test_a_word_0_is_masked(tmp_path):
    words = np.array([[0, 3, 0, 1], [2, 0, 0, 0]], "int32")
    embedding = layers.Embedding(4, FEATURES, mask_zero=True)
    for dtype in ("int32", "float32"):
        model = legato.Sequential(
            [layers.Input((None,), dtype=dtype), embedding, layers.LSTM(UNITS)]
        )
        set_weights(model)
        assert_exported(model, tmp_path, words.astype(dtype))


# Errors.


class OwnCall(legato.Sequential):
    """A Sequential with its own call."""

    def call(self, inputs, training=None, mask=None):
        return 2 * super().call(inputs, training=training, mask=mask)


def test_a_model_with_its_own_call_is_refused_at_any_depth(tmp_path):
    own = OwnCall([layers.Input((None, FEATURES)), layers.SimpleRNN(UNITS)], name="own")
    for model in (own, sequential(own)):
        with pytest.raises(UnsupportedError, match=r"Model 'own' \(OwnCall\) .*a call of its own"):
            legato.export_onnx(model, tmp_path / "model.onnx")


def test_only_built_models_are_exported(tmp_path):
    path = tmp_path / "model.onnx"
    with pytest.raises(InputError, match=r"A Keras model was expected, and LSTM came"):
        legato.export_onnx(layers.LSTM(UNITS), path)
    with pytest.raises(InputError, match=r"Model 'new' is not built yet, .*: begin it with an"):
        legato.export_onnx(legato.Sequential([layers.LSTM(UNITS)], name="new"), path)


# The file.


def test_bad_paths(tmp_path):
    model = sequential(layers.SimpleRNN(UNITS))
    with pytest.raises(OutputError, match=r"is a folder. Name the file, for instance .*model.onnx"):
        legato.export_onnx(model, tmp_path)
    with pytest.raises(OutputError, match=r"cannot be written \(No such file or directory\)"):
        legato.export_onnx(model, tmp_path / "nowhere" / "model.onnx")


def test_an_old_file_is_replaced_as_a_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    path.write_text("the old one")

    def stopped(self, data):
        self.write_text("half")
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", stopped)
        with pytest.raises(KeyboardInterrupt):
            legato.export_onnx(sequential(layers.SimpleRNN(UNITS)), path)
    assert path.read_text() == "the old one"
    legato.export_onnx(sequential(layers.SimpleRNN(UNITS)), path)
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]
    onnx.checker.check_model(onnx.load(path), full_check=True)


def test_the_file_names_its_producer_and_opens_in_runtimes_of_2022(tmp_path):
    path = tmp_path / "model.onnx"
    legato.export_onnx(sequential(layers.LSTM(UNITS)), path)
    made = onnx.load(path)
    assert (made.producer_name, made.ir_version) == ("legato", 8)
    assert [each.version for each in made.opset_import] == [17]


def test_the_state_of_the_model_stays_as_it_was(tmp_path):
    model = sequential(layers.LSTM(UNITS, stateful=True))
    predict(model, inputs())
    before = model.states
    legato.export_onnx(model, tmp_path / "model.onnx")
    assert model.states == before


def test_without_onnx_the_error_says_how_to_install_it(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("legato._interop.onnx.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingError, match=r'pip install "legato\[onnx\]"') as caught:
        legato.export_onnx(sequential(layers.SimpleRNN(UNITS)), tmp_path / "model.onnx")
    assert isinstance(caught.value, ImportError)
