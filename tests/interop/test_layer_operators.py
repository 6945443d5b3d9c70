"""Layers without state, and activations, compute in ONNX Runtime what they compute in Keras."""

import keras
import numpy as np
import pytest
from cells import CARRY, FEATURES, STEPS, UNITS, inputs, set_weights, spread
from onnx_files import assert_exported, sequential

import legato
from legato import layers
from legato._interop.onnx.activation_operators import ACTIVATIONS
from legato._interop.onnx.layer_operators import INFERENCE_IDENTITIES, LAYER_OPERATORS
from legato._interop.onnx.recurrent_operators import _ACTIVATIONS

IMAGES = [
    keras.layers.SpatialDropout2D,
    *(keras.layers.AveragePooling2D, keras.layers.MaxPooling2D, keras.layers.Conv2D),
    *(keras.layers.GlobalAveragePooling2D, keras.layers.GlobalMaxPooling2D),
]
PLAIN_LAYERS = [
    layers.Activation("softmax"),
    layers.BatchNormalization(),
    layers.BatchNormalization(scale=False, center=False),
    layers.AveragePooling1D(2),
    layers.AveragePooling1D(3, strides=2, padding="same"),
    layers.Conv1D(2, 3),
    layers.Conv1D(2, 3, activation="relu", padding="causal", dilation_rate=2),
    layers.Conv1D(2, 4, padding="same", use_bias=False),
    layers.Conv1D(2, 4, padding="same", strides=2),
    layers.Conv1D(3, 3, padding="same", dilation_rate=2, groups=3),
    layers.Cropping1D((1, 2)),
    layers.Cropping1D((2, 0)),
    layers.Dense(2, activation="gelu"),
    layers.Dense(2, use_bias=False),
    layers.Discretization([-0.5, 0.0, 0.5]),
    layers.ELU(0.3),
    layers.GlobalAveragePooling1D(),
    layers.GlobalMaxPooling1D(keepdims=True),
    layers.LayerNormalization(),
    layers.LayerNormalization(scale=False, center=False, epsilon=0.1),
    layers.LeakyReLU(0.1),
    layers.MaxPooling1D(2),
    layers.MaxPooling1D(3, strides=1, padding="same"),
    layers.Normalization(mean=[1.0, -2.0, 3.0], variance=[0.1, 0.0, 3.0]),
    layers.Normalization(mean=[1.0, -2.0, 3.0], variance=[0.1, 2.0, 3.0], invert=True),
    layers.Normalization(axis=None, mean=0.5, variance=2.0),
    layers.Permute((2, 1)),
    layers.RMSNormalization(),
    layers.ReLU(),
    layers.ReLU(max_value=0.4),
    layers.Rescaling(2.0, 0.5),
    layers.Reshape((FEATURES, -1)),
    layers.Softmax(axis=1),
    layers.UpSampling1D(3),
    layers.ZeroPadding1D((2, 1)),
    *[kind(0.5) for kind in INFERENCE_IDENTITIES if kind not in (keras.layers.Identity, IMAGES[0])],
    layers.Identity(),
]
MERGES = [
    *(keras.layers.Add, keras.layers.Average, keras.layers.Concatenate, keras.layers.Maximum),
    *(keras.layers.Minimum, keras.layers.Multiply, keras.layers.Subtract),
]
ELSEWHERE = {
    *(keras.layers.Embedding, keras.layers.Flatten),
    *(keras.layers.MultiHeadAttention, keras.layers.RepeatVector),
}


@pytest.mark.quick_cases(20)
@pytest.mark.parametrize("layer", PLAIN_LAYERS, ids=lambda layer: layer.name)
def test_a_layer_without_state(layer, tmp_path):
    model = sequential(layer, shape=(STEPS, FEATURES))
    if isinstance(layer, keras.layers.BatchNormalization):
        _mean, variance = layer.non_trainable_variables
        variance.assign(np.abs(variance.value) + 0.1)
    assert_exported(model, tmp_path, inputs())


@pytest.mark.parametrize("kind", MERGES, ids=lambda kind: kind.__name__)
def test_a_layer_with_several_inputs(kind, tmp_path):
    first = layers.Input((None, FEATURES))
    branches = [layers.Dense(FEATURES)(first), first]
    branches += (
        [] if kind is keras.layers.Subtract else [layers.SimpleRNN(FEATURES, **CARRY)(first)]
    )
    model = legato.Model(first, kind()(branches))
    set_weights(model)
    assert_exported(model, tmp_path, inputs())


ATTENTION = [
    layers.Attention(),
    layers.Attention(use_scale=True, dropout=0.5),
    layers.AdditiveAttention(),
    layers.AdditiveAttention(use_scale=False),
]


@pytest.mark.parametrize("layer", ATTENTION, ids=lambda layer: layer.name)
def test_attention_over_the_outputs_of_a_recurrent_layer(layer, tmp_path):
    signal = layers.Input((None, FEATURES), name="signal")
    seen = layers.LSTM(UNITS, return_sequences=True)(signal)
    query = layers.Dense(UNITS)(signal)
    for given in ([query, seen], [query, seen, layers.Dense(UNITS)(seen)]):
        model = legato.Model(signal, type(layer).from_config(layer.get_config())(given))
        set_weights(model)
        assert_exported(model, tmp_path, inputs())


@pytest.mark.parametrize("bias", [True, False])
def test_attention_of_several_heads(bias, tmp_path):
    signal = layers.Input((None, FEATURES), name="signal")
    seen = layers.GRU(UNITS, return_sequences=True)(signal)
    kind, options = layers.MultiHeadAttention, {"value_dim": 5, "use_bias": bias, "dropout": 0.5}
    own = kind(2, 3, **options)(seen, seen)
    other = kind(2, 3, output_shape=7, **options)(
        query=signal, value=seen, key=own, use_causal_mask=False
    )
    model = legato.Model(signal, [own, other])
    set_weights(model)
    assert_exported(model, tmp_path, inputs())


@pytest.mark.parametrize("pool", [layers.MaxPooling2D, layers.AveragePooling2D])
@pytest.mark.parametrize("end", [layers.GlobalMaxPooling2D, layers.GlobalAveragePooling2D])
def test_images_at_every_time_step(pool, end, tmp_path):
    look = [layers.Conv2D(4, (3, 2), activation="relu", padding="same"), pool((2, 1))]
    seen = [*look, layers.SpatialDropout2D(0.5), layers.Conv2D(5, 2, strides=2, padding="same")]
    signal = layers.Input((None, 5, 4, FEATURES), name="signal")
    each = signal
    for layer in (*seen, end()):
        each = layers.TimeDistributed(layer)(each)
    model = legato.Model(signal, layers.LSTM(UNITS, return_sequences=True)(each))
    set_weights(model)
    X = spread(np.random.default_rng(3), 2, STEPS, 5, 4, FEATURES)
    file = assert_exported(model, tmp_path, X)
    y, _ = file.in_chunks(X, [1] * STEPS)
    np.testing.assert_allclose(y, file.run(X)[0][0], rtol=1e-5, atol=1e-6)


def test_a_model_at_every_time_step(tmp_path):
    inner = legato.Sequential(
        [layers.Input((4, 2)), layers.Conv1D(3, 2), layers.MaxPooling1D(2), layers.Flatten()]
    )
    model = sequential(layers.TimeDistributed(inner), layers.GRU(UNITS), shape=(None, 4, 2))
    X = spread(np.random.default_rng(3), 2, STEPS, 4, 2)
    assert len(assert_exported(model, tmp_path, X).first) == 1


def test_words_at_every_time_step(tmp_path):
    words = layers.Input((None, 3), dtype="int32", name="words")
    points = layers.TimeDistributed(layers.Embedding(9, 2))(words)
    model = legato.Model(words, layers.GRU(UNITS)(layers.TimeDistributed(layers.Flatten())(points)))
    set_weights(model)
    X = np.arange(24, dtype="int32").reshape(2, 4, 3) % 9
    assert len(assert_exported(model, tmp_path, X).first) == 1


def test_layers_with_the_channels_first(tmp_path):
    first = {"data_format": "channels_first"}
    signal = layers.Input((FEATURES, STEPS), name="signal")
    y = layers.ZeroPadding1D((1, 2), **first)(signal)
    y = layers.AveragePooling1D(2, **first)(layers.MaxPooling1D(2, **first)(y))
    model = legato.Model(signal, [y, layers.GlobalMaxPooling1D(**first)(signal)])
    assert_exported(model, tmp_path, np.swapaxes(inputs(), 1, 2).copy())


def test_whole_numbers_are_scaled_and_looked_up(tmp_path):
    words = layers.Input((None,), dtype="int32", name="words")
    bins = layers.Discretization([1.0, 3.5])(words)
    scaled = [
        layers.Rescaling(0.5, 1.0)(words),
        layers.Normalization(mean=1.0, variance=4.0, axis=None)(words),
    ]
    model = legato.Model(words, [layers.Embedding(3, 2)(bins), *scaled])
    set_weights(model)
    assert_exported(model, tmp_path, np.arange(10, dtype="int32").reshape(2, 5))


def test_a_vector_is_repeated(tmp_path):
    model = sequential(layers.LSTM(UNITS), layers.RepeatVector(3), layers.GRU(UNITS))
    assert_exported(model, tmp_path, inputs())


def test_every_exportable_layer_has_its_case():
    tested = {type(layer) for layer in (*PLAIN_LAYERS, *ATTENTION)} | {*MERGES, *IMAGES, *ELSEWHERE}
    assert tested == set(LAYER_OPERATORS)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_an_activation(name, tmp_path):
    assert_exported(sequential(layers.Activation(name)), tmp_path, 5 * inputs())


@pytest.mark.parametrize("name", _ACTIVATIONS)
def test_an_activation_inside_a_recurrent_layer(name, tmp_path):
    model = sequential(
        layers.LSTM(2, activation=name, return_sequences=True, use_bias=False),
        layers.LSTM(2, recurrent_activation=name, return_sequences=True),
        layers.GRU(2, activation=name, recurrent_activation=name, return_sequences=True),
        layers.SimpleRNN(2, activation=name, return_sequences=True),
    )
    assert_exported(model, tmp_path, inputs())
