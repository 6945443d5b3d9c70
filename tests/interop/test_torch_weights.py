"""Weights of torch's recurrent modules, imported and exported: outputs stay equal, to rounding.

`tests/goldens/torch.npz` holds the outputs of real modules, so most tests need no torch; where it
is installed, modules are compared directly, in both directions. Invalid input raises an error and
changes nothing.
"""

import itertools
from pathlib import Path

import keras
import ml_dtypes
import numpy as np
import pytest
from cells import set_weights

import legato
from legato import InputError, State, from_torch, layers, to_torch

FEATURES, UNITS = 3, 4
TOLERANCE = {"rtol": 1e-5, "atol": 1e-6}
KINDS = ("LSTM", "GRU", "tanh", "relu")
CASES = list(itertools.product(KINDS, (1, 3), (1, 2), ("bias", "plain")))
IDS = ["-".join(map(str, case)) for case in CASES]
with np.load(Path(__file__).parents[1] / "goldens" / "torch.npz", allow_pickle=False) as _file:
    GOLDEN = dict(_file)
X = GOLDEN["X"]


def nonlinearity(kind):
    return {"nonlinearity": kind} if kind in ("tanh", "relu") else {}


def state_dict(name):
    """The golden state dict of one case by itself."""
    begins = f"{name}."
    return {key.removeprefix(begins): GOLDEN[key] for key in GOLDEN if key.startswith(begins)}


def layer(kind, directions=1, bias="bias", units=UNITS, **options):
    """A layer as torch's is."""
    made = {"LSTM": layers.LSTM, "GRU": layers.GRU}.get(kind, layers.SimpleRNN)
    if kind in ("tanh", "relu"):
        options["activation"] = kind
    one = made(units, return_sequences=True, use_bias=bias == "bias", **options)
    return one if directions == 1 else layers.Bidirectional(one)


def model_of(*stack, features=FEATURES):
    model = legato.Sequential([layers.Input((None, features)), *stack])
    set_weights(model)
    return model


def predict(model, x=X):
    return model.predict(x, batch_size=len(x), verbose=0)


def assert_close(one, other):
    np.testing.assert_allclose(np.asarray(one), np.asarray(other), **TOLERANCE)


def effective_weights(kind, weights):
    """A state dict with every number that outputs depend on: only a GRU's biases do one by one."""
    if kind == "GRU":
        return weights
    return {
        name: each + weights[name.replace("_ih_", "_hh_")] if name.startswith("bias_ih") else each
        for name, each in weights.items()
        if not name.startswith("bias_hh")
    }


def assert_same_weights(kind, one, other):
    """Check that both state dicts are of one module, in torch's order, and compute the same."""
    assert [(name, each.shape) for name, each in one.items()] == [
        (name, tuple(each.shape)) for name, each in other.items()
    ]
    mine, theirs = effective_weights(kind, one), effective_weights(kind, other)
    for name in mine:
        assert_close(mine[name], theirs[name])


# Without torch: its outputs from a file.


@pytest.mark.quick_cases(16)
@pytest.mark.parametrize(("case", "name"), list(zip(CASES, IDS, strict=True)), ids=IDS)
def test_a_new_model_computes_what_the_module_does(case, name):
    model = from_torch(GOLDEN, prefix=f"{name}.", **nonlinearity(case[0]))
    assert isinstance(model, legato.Sequential)
    assert not model.stateful
    assert_close(predict(model), GOLDEN[f"output:{name}"])
    assert_same_weights(case[0], to_torch(model), state_dict(name))


@pytest.mark.parametrize("bias", ["bias", "plain"])
@pytest.mark.parametrize("depth", [1, 3])
@pytest.mark.parametrize("kind", KINDS)
def test_a_stateful_model_on_pieces_computes_what_the_module_does_on_the_whole(kind, depth, bias):
    name = f"{kind}-{depth}-1-{bias}"
    model = from_torch(GOLDEN, prefix=f"{name}.", stateful=True, **nonlinearity(kind))
    pieces = [predict(model, piece) for piece in np.split(X, X.shape[1], axis=1)]
    assert_close(np.concatenate(pieces, axis=1), GOLDEN[f"output:{name}"])
    ends = [np.stack(parts) for parts in zip(*model.states.values(), strict=True)]
    for parts, end in zip(ends, ("h_n", "c_n"), strict=False):
        assert_close(parts, GOLDEN[f"{end}:{name}"])


def test_a_state_of_the_module_can_be_set():
    model = from_torch(GOLDEN, prefix="LSTM-3-1-bias.", stateful=True)
    begun = predict(model, X[:, :3])
    h_n, c_n = (np.stack(parts) for parts in zip(*model.states.values(), strict=True))
    assert h_n.shape == c_n.shape == (3, len(X), UNITS)
    other = from_torch(GOLDEN, prefix="LSTM-3-1-bias.", stateful=True)
    other.states = State(
        {path: (h_n[at], c_n[at]) for at, path in enumerate(other.initial_states())}
    )
    whole = np.concatenate([begun, predict(other, X[:, 3:])], axis=1)
    assert_close(whole, GOLDEN["output:LSTM-3-1-bias"])


# Into models of many shapes.


def deep():
    """The three layers of a module, one of them two models down."""
    first = layers.Input((None, FEATURES))
    third = layers.LSTM(UNITS, return_sequences=True, name="third")  # made first, called last
    inner = legato.Sequential([layers.LSTM(UNITS, return_sequences=True, name="second")])
    middle = legato.Sequential([layers.LSTM(UNITS, return_sequences=True, name="first"), inner])
    x = third(middle(first))
    return legato.Model(first, layers.Dense(2)(x)), legato.Model(first, x)


class Subclassed(legato.Model):
    def __init__(self):
        super().__init__()
        self.below = [layers.LSTM(UNITS, return_sequences=True) for _ in range(2)]
        self.above = layers.RNN(layers.LSTMCell(UNITS), return_sequences=True)

    def call(self, x):
        for each in self.below:
            x = each(x)
        return self.above(x)


def test_nested_models_take_the_layers_in_the_order_they_are_called_in():
    model, recurrent = deep()
    dense = model.layers[-1].get_weights()
    assert from_torch(GOLDEN, model, prefix="LSTM-3-1-bias.") is model
    assert_close(predict(recurrent), GOLDEN["output:LSTM-3-1-bias"])
    assert_same_weights("LSTM", to_torch(model), state_dict("LSTM-3-1-bias"))
    for mine, before in zip(model.layers[-1].get_weights(), dense, strict=True):
        np.testing.assert_array_equal(mine, before)


def test_a_subclassed_model_takes_the_weights_in_the_order_of_its_attributes():
    model = Subclassed()
    predict(model)
    from_torch(GOLDEN, model, prefix="LSTM-3-1-bias.")
    assert_close(predict(model), GOLDEN["output:LSTM-3-1-bias"])


def test_a_plain_keras_model_takes_the_weights_too():
    model = keras.Sequential([keras.Input((None, FEATURES)), keras.layers.GRU(UNITS)])
    from_torch(GOLDEN, model, prefix="GRU-1-1-bias.")
    assert_close(predict(model), GOLDEN["output:GRU-1-1-bias"][:, -1])


def test_layers_take_the_weights_of_several_modules():
    model = model_of(layer("LSTM"), layers.Dense(FEATURES), layer("GRU"), layer("GRU"))
    lstm, _, *grus = model.layers
    from_torch(GOLDEN, lstm, prefix="LSTM-1-1-bias.")
    taken = to_torch(grus, prefix="decoder.")
    assert list(taken)[:2] == ["decoder.weight_ih_l0", "decoder.weight_hh_l0"]
    set_weights(model, seed=4)
    from_torch(taken | to_torch(lstm, prefix="encoder."), grus, prefix="decoder.")
    for name, each in to_torch(grus, prefix="decoder.").items():
        np.testing.assert_array_equal(each, taken[name])


def test_a_layer_used_twice_is_one_layer():
    shared = layer("LSTM", units=FEATURES)
    first = layers.Input((None, FEATURES))
    model = legato.Model(first, shared(shared(first)))
    assert list(to_torch(model)) == list(to_torch([shared, shared])) == list(to_torch(shared))


def test_programs_compiled_before_use_the_new_weights():
    model = model_of(layer("tanh"))
    predict(model)
    predict(model)
    from_torch(GOLDEN, model, prefix="tanh-1-1-bias.")
    assert_close(predict(model), GOLDEN["output:tanh-1-1-bias"])


@pytest.mark.parametrize("dtype", ["float64", "float16", ml_dtypes.bfloat16, "int8"])
def test_any_dtype_is_read(dtype):
    weights = {
        name: np.asarray(each * 8, dtype) for name, each in state_dict("GRU-1-1-bias").items()
    }
    model = from_torch(weights)
    for name, each in to_torch(model).items():
        assert each.dtype == np.float32
        np.testing.assert_array_equal(each, weights[name].astype("float32"))


def test_exported_arrays_are_copies():
    model = from_torch(GOLDEN, prefix="tanh-1-1-bias.", nonlinearity="tanh")
    weights = to_torch(model)
    for each in weights.values():
        assert each.flags.writeable
        assert each.flags.c_contiguous
        each[...] = 0
    assert_close(predict(model), GOLDEN["output:tanh-1-1-bias"])


# With torch.


def module_of(torch, kind, depth, directions, bias):
    make = getattr(torch.nn, kind, torch.nn.RNN)
    return make(
        FEATURES,
        UNITS,
        num_layers=depth,
        bidirectional=directions == 2,
        bias=bias == "bias",
        batch_first=True,
        **nonlinearity(kind),
    )


@pytest.mark.parametrize("case", CASES, ids=IDS)
def test_torch_computes_what_a_model_does_with_its_weights_and_back(case):
    torch = pytest.importorskip("torch")
    kind, depth, directions, bias = case
    model = model_of(*[layer(kind, directions, bias) for _ in range(depth)])
    module = module_of(torch, *case)
    weights = to_torch(model)
    module.load_state_dict({name: torch.from_numpy(each) for name, each in weights.items()})
    expected = module(torch.from_numpy(X))[0].detach().numpy()
    assert_close(predict(model), expected)
    set_weights(model, seed=4)
    from_torch(dict(module.named_parameters()), model)  # parameters require gradients
    assert_close(predict(model), expected)
    assert_same_weights(kind, to_torch(model), weights)


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float64"])
def test_tensors_of_any_dtype_are_read(dtype):
    torch = pytest.importorskip("torch")
    module = module_of(torch, "GRU", 1, 2, "bias").to(getattr(torch, dtype))
    for name, each in to_torch(from_torch(module.state_dict())).items():
        np.testing.assert_array_equal(each, module.state_dict()[name].float().numpy())


def test_a_module_inside_another_is_read_by_its_prefix():
    torch = pytest.importorskip("torch")
    net = torch.nn.ModuleDict(
        {"lstm": torch.nn.LSTM(FEATURES, UNITS), "head": torch.nn.Linear(4, 2)}
    )
    model = model_of(layer("LSTM"), layers.Dense(2))
    from_torch(net.state_dict(), model, prefix="lstm.")
    weights = net.state_dict()
    model.layers[-1].set_weights([weights["head.weight"].numpy().T, weights["head.bias"].numpy()])
    with torch.no_grad():
        hidden, _ = net["lstm"](torch.from_numpy(X).transpose(0, 1))
        assert_close(predict(model), net["head"](hidden).transpose(0, 1))


# Errors change nothing.

LSTM, GRU, RNN = (state_dict(f"{kind}-1-1-bias") for kind in ("LSTM", "GRU", "tanh"))
TALL = state_dict("LSTM-3-1-bias")
BOTH_WAYS = state_dict("LSTM-1-2-bias")


def without(weights, *names):
    return {name: each for name, each in weights.items() if name not in names}


STATE_DICTS = {
    "a list": ([1, 2], {}, "names and arrays, and list came. Give module.state_dict"),
    "empty": ({}, {}, "no 'weight_ih_l0' among none: every torch.nn.LSTM, GRU and RNN has one"),
    "no prefix": (
        {f"encoder.lstm.{name}": each for name, each in LSTM.items()},
        {},
        r"no 'weight_ih_l0' among 'encoder.lstm.weight_ih_l0',.* as prefix=: 'encoder.lstm.'\.",
    ),
    "wrong prefix": (LSTM, {"prefix": "lstm"}, "no 'lstmweight_ih_l0'.* as prefix=: ''"),
    "projection": (
        LSTM | {"weight_hr_l0": np.ones((2, 4))},
        {},
        "'weight_hr_l0' is the projection",
    ),
    "missing": (without(LSTM, "bias_hh_l0"), {}, "missing 'bias_hh_l0'; not expected none"),
    "one direction": (
        without(BOTH_WAYS, "weight_hh_l0_reverse"),
        {},
        "missing 'weight_hh_l0_reverse'",
    ),
    "a layer left out": (
        {name: each for name, each in TALL.items() if "l1" not in name},
        {},
        "missing 'weight_ih_l1', 'weight_hh_l1', .*; not expected 'weight_ih_l2'",
    ),
    "unexpected": (LSTM | {"scale": np.ones(1)}, {}, "missing none; not expected 'scale'"),
    "shape": (LSTM | {"bias_hh_l0": np.ones(15)}, {}, r"'bias_hh_l0' has shape \(15,\), and torch"),
    "scalar": (LSTM | {"weight_hh_l0": np.ones(())}, {}, r"shapes \(16, 3\) and \(\); \(gates"),
    "two gates": (LSTM | {"weight_hh_l0": np.ones((8, 4))}, {}, "with 4 gates of an LSTM, 3 of"),
    "left over": (LSTM | {"weight_hh_l0": np.ones((17, 4))}, {}, r"has shape \(17, 4\), and torch"),
    "words": (LSTM | {"bias_hh_l0": np.array(["a"] * 16)}, {}, "'bias_hh_l0' holds <U1 where"),
    "ragged": (LSTM | {"bias_hh_l0": [[1], [1, 2]]}, {}, "'bias_hh_l0' cannot be read as an array"),
    "complex": (LSTM | {"bias_hh_l0": np.ones(16, complex)}, {}, "'bias_hh_l0' holds complex128"),
    "RNN of what": (RNN, {}, "nonlinearity is None.* 'tanh' .torch's default. or 'relu'"),
    "RNN of another": (RNN, {"nonlinearity": "sin"}, "nonlinearity is 'sin'.* 'tanh'"),
    "not an RNN": (LSTM, {"nonlinearity": "tanh"}, "nonlinearity='tanh' came with.*LSTM.*Leave it"),
}


@pytest.mark.parametrize(("weights", "options", "message"), STATE_DICTS.values(), ids=STATE_DICTS)
def test_a_state_dict_that_is_not_one_modules_is_refused(weights, options, message):
    with pytest.raises(InputError, match=message):
        from_torch(weights, **options)


MISFITS = {
    "kind": (lambda: [layer("GRU")], LSTM, r"LSTM\(3, 4\), and the model's .*GRU\(3, 4\)\. Give"),
    "units": (lambda: [layer("LSTM", units=5)], LSTM, r"LSTM\(3, 4\), .*LSTM\(3, 5\)"),
    "depth": (lambda: [layer("LSTM")], TALL, r"LSTM\(3, 4, num_layers=3\), .*LSTM\(3, 4\)"),
    "directions": (lambda: [layer("LSTM")], BOTH_WAYS, r"\(3, 4, bidirectional=True\)"),
    "bias": (lambda: [layer("LSTM", bias="plain")], LSTM, r"LSTM\(3, 4, bias=False\)"),
    "nothing recurrent": (lambda: [layers.Dense(4)], LSTM, "There is no recurrent layer in 'seq"),
    "two sizes": (
        lambda: [layer("LSTM"), layer("LSTM", units=5)],
        LSTM,
        r"is torch.nn.LSTM\(4, 5\); behind .*, torch.nn.LSTM\(4, 4\) was expected. Give the layers",
    ),
    "backwards": (lambda: [layer("LSTM", go_backwards=True)], LSTM, "has go_backwards=True"),
    "reset before": (lambda: [layer("GRU", reset_after=False)], GRU, "reset_after=False, which"),
    "activation": (lambda: [layer("LSTM", activation="relu")], LSTM, "other activations than"),
    "gates": (
        lambda: [layer("GRU", recurrent_activation="hard_sigmoid")],
        GRU,
        "expected. Make it with those; its weights would mean something else in torch",
    ),
    "RNN of another": (lambda: [layers.SimpleRNN(4, activation="elu")], RNN, "'tanh' or 'relu'"),
    "merged": (
        lambda: [layers.Bidirectional(layers.LSTM(4), merge_mode="sum")],
        BOTH_WAYS,
        "has merge_mode='sum'",
    ),
    "unlike directions": (
        lambda: [
            layers.Bidirectional(
                layers.LSTM(4), backward_layer=layers.LSTM(4, use_bias=False, go_backwards=True)
            )
        ],
        BOTH_WAYS,
        "The directions of layer .* differ",
    ),
    "stacked cells": (
        lambda: [layers.RNN([layers.LSTMCell(4), layers.LSTMCell(4)])],
        LSTM,
        "is a RNN of StackedRNNCells, and torch has LSTM, GRU and RNN",
    ),
}


@pytest.mark.parametrize(("stack", "weights", "message"), MISFITS.values(), ids=MISFITS)
def test_a_model_that_is_another_module_is_refused_and_left_as_it_was(stack, weights, message):
    model = model_of(*stack())
    before = model.get_weights()
    with pytest.raises(InputError, match=message):
        from_torch(weights, model)
    for mine, theirs in zip(model.get_weights(), before, strict=True):
        np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize("case", ["backwards", "reset before", "gates", "merged", "two sizes"])
def test_a_layer_that_torch_does_not_have_is_not_exported(case):
    stack, _, message = MISFITS[case]
    if case == "two sizes":
        message = r"or to_torch\(\[layer"
    with pytest.raises(InputError, match=message):
        to_torch(model_of(*stack()))


def test_a_given_model_takes_no_options_of_a_new_one():
    model = model_of(layer("relu"))
    with pytest.raises(InputError, match="stateful=True was given with a model"):
        from_torch(RNN, model, stateful=True)
    with pytest.raises(InputError, match=r"nonlinearity='tanh'\), and .*nonlinearity='relu'\)"):
        from_torch(RNN, model, nonlinearity="tanh")
    from_torch(RNN, model, nonlinearity="relu")


def test_a_model_must_be_built():
    with pytest.raises(InputError, match="has no weights yet: build the model first"):
        to_torch(legato.Sequential([layers.LSTM(4)]))


def test_only_models_are_accepted():
    with pytest.raises(InputError, match="a list of layers was expected, and 'lstm' came"):
        from_torch(LSTM, ["lstm"])
