"""Layers that cannot be written as ONNX are refused by name, and no file is touched."""

import keras
import numpy as np
import pytest
from cells import CARRY, FEATURES, STEPS, UNITS
from onnx_files import model_of, sequential

import legato
from legato import UnsupportedError, layers


def _used_twice():
    first, memory = layers.Input((None, FEATURES)), layers.SimpleRNN(FEATURES, **CARRY)
    return legato.Model(first, memory(memory(first)))


def _started_and_stateful():
    signal, before = layers.Input((None, FEATURES)), layers.Input((UNITS,))
    memory = layers.GRU(UNITS, stateful=True, name="memory")
    return legato.Model([signal, before], memory(signal, initial_state=before))


REFUSED = {
    "layer": (
        lambda: sequential(layers.Conv1DTranspose(2, 2, name="look")),
        r"Layer 'look' \(Conv1DTranspose\) .*: known are models of LSTM, .*Dense",
    ),
    "activation": (
        lambda: sequential(layers.Dense(2, activation="sparsemax", name="out")),
        r"Layer 'out' \(Dense\) .*: its activation sparsemax is none of linear, relu",
    ),
    "own activation": (
        lambda: sequential(layers.Dense(2, activation=lambda x: 2 * x)),
        r"its activation <lambda> is not one of Keras's own",
    ),
    "activation inside": (
        lambda: sequential(layers.LSTM(UNITS, activation="gelu", name="memory")),
        r"Layer 'memory' \(LSTM\) .*: its activation gelu is none of elu",
    ),
    "used twice": (_used_twice, r"it is used twice, and both uses would share one state"),
    "initial state of a stateful layer": (
        _started_and_stateful,
        r"Layer 'memory' \(GRU\) .*: it is stateful and given an initial_state in the model",
    ),
    "operation": (
        lambda: model_of(keras.ops.sort(layers.Input((None, FEATURES)), axis=1)),
        r"Operation 'sort.*' \(Sort\) .*: of operations outside layers, known are Absolute, Add",
    ),
    "mask that is joined": (
        lambda: model_of(
            layers.Concatenate(axis=1, name="join")([*[layers.Masking()(layers.Input((2, 1)))] * 2])
        ),
        r"Layer 'join' \(Concatenate\) .*: a mask reaches it",
    ),
    "mask of attention": (
        lambda: model_of(
            layers.MultiHeadAttention(2, 3, name="look")(
                *[layers.Masking()(layers.Input((None, FEATURES)))] * 2
            )
        ),
        r"Layer 'look' \(MultiHeadAttention\) .*: a mask reaches it",
    ),
    "causal attention": (
        lambda: model_of(
            layers.MultiHeadAttention(2, 3)(
                *[layers.Input((None, FEATURES))] * 2, use_causal_mask=True
            )
        ),
        r"it is called with other arguments than its input",
    ),
    "attention by sums of features": (
        lambda: model_of(
            layers.Attention(score_mode="concat")([layers.Input((None, FEATURES))] * 2)
        ),
        r"its score_mode is 'concat', not 'dot'",
    ),
    "unrolled": (
        lambda: sequential(layers.Masking(), layers.LSTM(UNITS, unroll=True), shape=(3, FEATURES)),
        r"it is unrolled and a mask reaches it",
    ),
    "halves apart": (
        lambda: model_of(
            layers.Bidirectional(layers.GRU(UNITS), merge_mode=None)(
                layers.Masking()(layers.Input((None, FEATURES)))
            )[0]
        ),
        r"it does not merge its halves, and a mask reaches it",
    ),
    "axis": (
        lambda: sequential(layers.LayerNormalization(axis=1), shape=(STEPS, FEATURES)),
        r"it normalizes axis \[1\], not the last one alone",
    ),
    "integers": (
        lambda: model_of(layers.Dense(2)(layers.Input((3,), dtype="int32"))),
        r"its input is int32, which only Discretization, Embedding, Normalization, Rescaling take",
    ),
    "distributed": (
        lambda: sequential(
            layers.TimeDistributed(layers.LSTM(2, name="memory")), shape=(STEPS, 4, 2)
        ),
        r"\(TimeDistributed\) .*: the state of 'memory' in it is not carried",
    ),
    "distributed over parts of any length": (
        lambda: sequential(
            layers.TimeDistributed(layers.GlobalMaxPooling1D()), shape=(STEPS, None, 2)
        ),
        r"its input has the shape \(None, 6, None, 2\), of unknown size inside",
    ),
    "normalized steps": (
        lambda: sequential(
            layers.Normalization(axis=1, mean=np.ones(STEPS), variance=np.ones(STEPS)),
            shape=(STEPS, FEATURES),
        ),
        r"\(Normalization\) .*: it normalizes axis \(1,\), not the last one alone",
    ),
    "one-hot bins": (
        lambda: sequential(layers.Discretization([0.0], output_mode="one_hot"), shape=(1,)),
        r"\(Discretization\) .*: its output_mode is 'one_hot', not 'int'",
    ),
    "slope": (lambda: sequential(layers.ReLU(negative_slope=0.1)), r"it has a threshold or a"),
}


@pytest.mark.parametrize(("build", "message"), REFUSED.values(), ids=list(REFUSED))
def test_a_layer_that_cannot_be_exported_is_refused_by_name(build, message, tmp_path):
    path = tmp_path / "model.onnx"
    path.write_text("the old one")
    with pytest.raises(UnsupportedError, match=message):
        legato.export_onnx(build(), path)
    assert path.read_text() == "the old one"
    assert [each.name for each in tmp_path.iterdir()] == ["model.onnx"]
