"""``show_kernels`` says which kernel computes each layer, and why."""

import keras
import numpy as np
import pytest

import legato
from legato import InputError, Sequential, layers
from legato._recurrent import kernels, native_kernel


@pytest.fixture(scope="module")
def model():
    return Sequential(
        [
            layers.Input((None, 3)),
            layers.LSTM(128, return_sequences=True, name="lstm"),
            layers.GRU(8, unroll=True, name="gru", return_sequences=True),
            layers.RNN(keras.layers.StackedRNNCells([keras.layers.LSTMCell(2)]), name="stack"),
        ]
    )


def test_names_the_kernel_and_the_reason_of_each_layer(model):
    found = {each.layer: each for each in legato.show_kernels(model).layers}
    assert found["gru"].kernel == found["stack"].kernel == "keras"
    assert "unrolled" in found["gru"].reason
    assert "not Keras's LSTM, GRU or SimpleRNN" in found["stack"].reason
    lstm = found["lstm"]
    assert lstm.kernel == ("jax" if native_kernel.unavailable() else "native")
    assert f"lstm: {lstm.kernel}, since {lstm.reason}" in str(legato.show_kernels(model))


def test_what_it_names_is_what_runs(model, monkeypatch):
    ran = []
    for name in ("native", "jax"):
        arithmetic = kernels._RECURRENCE[name]
        monkeypatch.setitem(
            kernels._RECURRENCE, name, lambda *a, n=name, c=arithmetic: ran.append(n) or c(*a)
        )
    Sequential([layers.Input((None, 3)), layers.LSTM(128)]).predict(np.ones((4, 5, 3)), verbose=0)
    lstm = legato.show_kernels(model, batch_size=4, steps=5).layers[0]
    assert set(ran) == ({lstm.kernel} - {"keras"})


def test_says_why_there_is_no_native_kernel(model, monkeypatch):
    monkeypatch.setattr(native_kernel, "unavailable", lambda: "it is not built")
    shown = legato.show_kernels(model, batch_size=4096)
    assert shown.native == "it is not built"
    assert shown.layers[0].kernel == "jax"
    assert "it is not built" in shown.layers[0].reason


def test_plain_keras_models_run_keras_s_scan():
    plain = keras.Sequential([keras.Input((None, 3)), keras.layers.LSTM(64)])
    assert [each.kernel for each in legato.show_kernels(plain).layers] == ["keras"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("lstm",), "'lstm' came"),
        ((keras.Sequential([keras.layers.LSTM(2)]),), "not built"),
    ],
)
def test_refuses_what_is_no_built_model(arguments, words):
    with pytest.raises(InputError, match=words):
        legato.show_kernels(*arguments)


@pytest.mark.parametrize("option", ["batch_size", "steps"])
def test_refuses_numbers_below_one(model, option):
    with pytest.raises(InputError, match=option):
        legato.show_kernels(model, **{option: 0})
