"""Operations of ``keras.ops`` compute in ONNX Runtime what they compute in Keras."""

from collections.abc import Callable

import keras
import numpy as np
import pytest
from cells import FEATURES, STEPS, inputs
from keras import ops
from onnx_files import CLOSE, File

import legato
from legato import UnsupportedError, layers
from legato._interop.onnx.graph_operations import ELEMENTWISE, OPERATIONS, REDUCTIONS

CASES: dict[str, Callable] = {  # of a tensor (rows, time steps, features)
    "absolute": ops.absolute,
    "add": lambda x: x + 1,
    "add an array": lambda x: x + np.array([1.0, 2.0, 3.0]),
    "all": lambda x: ops.all(x > -0.5, axis=-1),
    "any": lambda x: ops.any(x > 0.5, axis=1, keepdims=True),
    "argmax": lambda x: ops.argmax(x, axis=1),
    "argmin": lambda x: ops.argmin(x, axis=-1, keepdims=True),
    "arithmetic": lambda x: (2 - x) * 3 / (4 + x * x),
    "cast": lambda x: ops.cast(5 * x, "int32"),
    "clip": lambda x: ops.clip(x, -0.3, 0.4),
    "compare": lambda x: (x > 0) | ((x <= -0.5) & (x != 0.25)) | (x < -0.9) | (x >= 0.9),
    "concatenate": lambda x: ops.concatenate([x, ops.cast(x > 0, "int32")], axis=1),
    "cumsum": lambda x: ops.cumsum(x, axis=1),
    "divide": lambda x: ops.divide(x, 3),
    "divide whole numbers": lambda x: ops.cast(9 * x, "int32") / 2,
    "einsum": lambda x: ops.einsum("btf,bsf->bts", x, 2 * x),
    "equal": lambda x: ops.equal(ops.floor(2 * x), 1),
    "exp": ops.exp,
    "expand_dims": lambda x: ops.expand_dims(x, 1),
    "flip": lambda x: ops.flip(x, axis=(1, 2)),
    "item": lambda x: x[:, 1],
    "items": lambda x: x[:, 1:-1:2, ::-1],
    "items from behind": lambda x: x[..., -1, None, :1],
    "items of a mask": lambda x: (x > 0)[:, :2],
    "log": lambda x: ops.log(ops.maximum(x, 0.1)),
    "logical_not": lambda x: ops.logical_not(x > 0),
    "matmul": lambda x: x @ ops.transpose(x, (0, 2, 1)),
    "matmul of an array": lambda x: ops.matmul(x, np.arange(6.0).reshape(3, 2)),
    "max": lambda x: ops.max(x, axis=(1, 2)),
    "mean": lambda x: ops.mean(x, axis=1, keepdims=True),
    "mean of whole numbers": lambda x: ops.mean(ops.cast(9 * x, "int32"), axis=1),
    "min": lambda x: ops.min(x, axis=-1),
    "minimum": lambda x: ops.minimum(0.2, x),
    "mixed": lambda x: ops.cast(9 * x, "int32") + x,
    "more than a whole number": lambda x: ops.cast(3 * x, "int32") > 0.5,
    "negative": lambda x: -x,
    "one_hot": lambda x: ops.one_hot(ops.cast(3 * x, "int32"), 3),
    "ones_like": ops.ones_like,
    "pad": lambda x: ops.pad(x, ((0, 0), (2, 1), (0, 0)), constant_values=-9.0),
    "pad all": lambda x: ops.pad(x[:, 0], ((0, 0), (1, 2))),
    "power": lambda x: ops.power(ops.absolute(x), 1.5),
    "relu": ops.relu,
    "reshape": lambda x: ops.reshape(x, (-1, STEPS * FEATURES)),
    "sigmoid": ops.sigmoid,
    "softmax": lambda x: ops.softmax(x, axis=1),
    "sqrt": lambda x: ops.sqrt(ops.square(x) + 1),
    "squeeze": lambda x: ops.squeeze(x[:, :1], axis=1),
    "stack": lambda x: ops.stack([x, 2 * x], axis=-1),
    "sum of all": lambda x: x + ops.sum(x) + ops.mean(x),
    "sum": lambda x: ops.sum(x, axis=(1, 2)),
    "sum of a mask": lambda x: ops.sum(x > 0, axis=1),
    "take": lambda x: ops.take(x, [2, 0, -1], axis=-1),
    "take places": lambda x: ops.take(np.array([5.0, 6.0, 7.0]), ops.argmax(x, axis=-1), axis=0),
    "take one": lambda x: ops.take(x, -1, axis=1),
    "tanh": ops.tanh,
    "where": lambda x: ops.where(x > 0, x, -1),
    "zeros_like": ops.zeros_like,
}


def _model() -> keras.Model:
    signal = layers.Input((STEPS, FEATURES), name="signal")
    return keras.Model(signal, [case(signal) for case in CASES.values()])


def test_every_operation(tmp_path):
    model, X = _model(), inputs()
    found, _ = File(model, tmp_path).run(X)
    expected = model.predict(X, verbose=0)
    for name, mine, theirs in zip(CASES, found, expected, strict=True):
        assert mine.dtype.kind == theirs.dtype.kind, name
        np.testing.assert_allclose(mine, theirs, **CLOSE, err_msg=name)


def test_every_operation_of_the_tables_has_its_case():
    used = {
        type(each).__name__
        for each in _model().operations
        if not isinstance(each, keras.layers.Layer)
    }
    assert used == {*ELEMENTWISE, *REDUCTIONS, *OPERATIONS}


def test_whole_number_comparison_is_exact(tmp_path):
    words = layers.Input((None,), dtype="int32", name="words")
    model = keras.Model(words, [ops.one_hot(words - 1, 3), ops.equal(words, 2**24 + 1)])
    X = np.array([[0, 1, 2], [3, 4, 2**24]], "int32")
    (hot, same), _ = File(model, tmp_path).run(X)
    np.testing.assert_array_equal(hot, np.eye(5, 3, -1)[np.minimum(X, 4)] * (X < 4)[..., None])
    assert not same.any()


@pytest.mark.parametrize("steps", [None, STEPS])
def test_time_steps_are_as_many_as_the_model_takes_where_an_operation_moves_them(steps, tmp_path):
    signal = layers.Input((steps, FEATURES), name="signal")
    for answer, moves in ((signal[:, 1:] - signal[:, :-1], True), (ops.exp(signal) + 1, False)):
        file = File(legato.Model(signal, answer), tmp_path)
        expected = STEPS if moves and steps else "time_steps"
        assert file.session.get_inputs()[0].shape == ["rows", expected, FEATURES]
    places = signal + np.arange(STEPS * FEATURES, dtype="float32").reshape(STEPS, FEATURES)
    assert File(keras.Model(signal, places), tmp_path).session.get_inputs()[0].shape[1] == (
        steps or "time_steps"
    )


@pytest.mark.parametrize(
    ("case", "message"),
    [
        (ops.argmax, r"\(Argmax\) cannot be written as ONNX: it has no axis"),
        (lambda x: ops.clip(x, None, 1), r"it is called with None, which is no number"),
        (lambda x: ops.one_hot(ops.argmax(x, 1), 2, axis=1), r"its axis is 1, not the last one"),
        (lambda x: ops.pad(x, 1, mode="reflect"), r"its mode is 'reflect', not 'constant'"),
        (lambda x: ops.cast(x, "float16"), r"it computes in float16, not in float32"),
    ],
)
def test_an_operation_that_cannot_be_exported_is_refused_by_name(case, message, tmp_path):
    signal = layers.Input((STEPS, FEATURES))
    with pytest.raises(UnsupportedError, match=message):
        legato.export_onnx(keras.Model(signal, case(signal)), tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
