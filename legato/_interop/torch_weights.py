"""Converts weights of ``torch.nn.LSTM``, ``GRU`` and ``RNN`` to Keras layers, and back.

Both compute the same, up to rounding, from differently arranged weights. torch's matrices are
(gates · units, inputs), Keras's (inputs, gates · units). The gates of a GRU are reset, update,
candidate in torch and update, reset, candidate in Keras; those of an LSTM have one order. torch
always has two biases, Keras one where only their sum matters. Sources: the equations in torch's
documentation, and Keras's cells. Limits: no GRU with ``reset_after=False``, no activations that
torch does not have, and weights alone: dropout and layers between the recurrent ones are not
converted.
"""

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np

from legato import layers
from legato._errors import InputError
from legato._interop.torch_state_dict import TorchModule, read_state_dict
from legato._models.model import Sequential
from legato._platform import keras_private

# The indices of Keras's gates in torch's order, and of torch's in Keras's: each its own inverse.
_GATE_ORDER = {"LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2), "RNN": (0,)}
_LAYERS = {"LSTM": layers.LSTM, "GRU": layers.GRU, "RNN": layers.SimpleRNN}
_KINDS = {
    keras.layers.LSTMCell: "LSTM",
    keras.layers.GRUCell: "GRU",
    keras.layers.SimpleRNNCell: "RNN",
}
_NONLINEARITIES = {keras.activations.tanh: "tanh", keras.activations.relu: "relu"}


def from_torch(
    state_dict: Mapping[str, Any],
    model=None,
    *,
    prefix: str = "",
    stateful: bool = False,
    nonlinearity: str | None = None,
):
    """Set the weights of a model from a ``torch.nn.LSTM``, ``GRU`` or ``RNN``, or build a model.

    Each layer of the torch module, with its one or two directions, is one recurrent layer or one
    ``Bidirectional`` of the model, in order, also in nested models; in a subclassed model in the
    order of its attributes. Other layers are left as they are. If anything does not fit, nothing
    is changed.

    Args:
        state_dict: the result of ``module.state_dict()``: names and torch tensors, or anything that
            ``numpy.asarray`` reads, of shapes (gates · units, inputs) and (gates · units,).
        model: a built model, a layer or a list of layers, whose recurrent layers get the weights.
            Default: a new ``Sequential`` that computes what the module does with
            ``batch_first=True``: (rows, time steps, features) to (rows, time steps, directions ·
            units).
        prefix: prefix of the module's names in a larger state dict, such as ``"encoder.lstm."``.
        stateful: whether a new model carries its state; not allowed with ``model``.
        nonlinearity: ``"tanh"`` or ``"relu"`` of an RNN, which its weights do not show. Required
            for a new model; checked against a given one.

    Returns:
        The model.

    Raises:
        InputError: names or shapes that are not one module's, another module than the model's
            layers are, or layers that torch has no equivalent for.

    Examples:
        >>> import numpy as np
        >>> import legato
        >>> weights = {"weight_ih_l0": np.ones((8, 3)), "weight_hh_l0": np.ones((8, 2))}
        >>> model = legato.from_torch(weights)
        >>> model.predict(np.ones((1, 5, 3)), verbose=0).shape
        (1, 5, 2)
    """
    module, arrays = read_state_dict(state_dict, prefix)
    _check_nonlinearity(nonlinearity, module, needed=model is None)
    if model is None:
        model = _new_model(module._replace(nonlinearity=nonlinearity), stateful)
    elif stateful:
        raise InputError(
            "stateful=True was given with a model, whose layers have this option themselves: leave "
            "it out. It is for a model that from_torch makes."
        )
    cells, expected = _cells_and_module(model)
    module = module._replace(nonlinearity=nonlinearity or expected.nonlinearity)
    if module != expected:
        raise InputError(
            f"The weights are those of {module}, and the model's recurrent layers take those of "
            f"{expected}. Give a model of that size, or only the layers that are meant: "
            "from_torch(state_dict, [layer, …], prefix=…)."
        )
    values = []
    for names in module.names:
        values += _keras_weights(module.kind, *[arrays[name] for name in names])
    variables = [each for cell in cells for each in _cell_weights(cell)]
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value.astype(variable.dtype))
    return model


def to_torch(model, *, prefix: str = "") -> dict[str, np.ndarray]:
    """Convert the weights of a model's recurrent layers to the state dict of one torch module.

    ``module.load_state_dict`` takes them after ``torch.from_numpy`` of each array. Where Keras has
    one bias, it becomes ``bias_ih``, and ``bias_hh`` is zeros. Make the module with
    ``batch_first=True``, and for relu with ``nonlinearity="relu"``.

    Args:
        model: a built model, a layer or a list of layers, whose recurrent layers are equivalent to
            one module: of one kind and one number of units, each taking the outputs of the one
            before.
        prefix: prefix of every name.

    Returns:
        Names and new float32 arrays, in torch's order.

    Raises:
        InputError: there are no such layers, or torch has no equivalent module.

    Examples:
        >>> import legato
        >>> from legato import layers
        >>> model = legato.Sequential([layers.Input((None, 3)), layers.GRU(2), layers.Dense(1)])
        >>> {name: each.shape for name, each in legato.to_torch(model).items()}
        {'weight_ih_l0': (6, 3), 'weight_hh_l0': (6, 2), 'bias_ih_l0': (6,), 'bias_hh_l0': (6,)}
    """
    cells, module = _cells_and_module(model)
    state_dict = {}
    for cell, names in zip(cells, module.names, strict=True):
        values = [keras.ops.convert_to_numpy(each) for each in _cell_weights(cell)]
        for name, value in zip(names, _torch_weights(module.kind, *values), strict=True):
            state_dict[prefix + name] = np.array(value, "float32", order="C")
    return state_dict


# Arrangement of weights.


def _keras_weights(kind: str, *weights: np.ndarray) -> list[np.ndarray]:
    """torch's weights as a cell's kernel, recurrent kernel and, if there is one, bias."""
    weight_ih, weight_hh, *biases = (_reordered(kind, each) for each in weights)
    if not biases:
        return [weight_ih.T, weight_hh.T]
    return [weight_ih.T, weight_hh.T, np.stack(biases) if kind == "GRU" else biases[0] + biases[1]]


def _torch_weights(kind: str, kernel, recurrent_kernel, bias=None) -> list[np.ndarray]:
    """A cell's weights as weight_ih, weight_hh and, if there is a bias, bias_ih and bias_hh."""
    parts = [kernel.T, recurrent_kernel.T]
    if bias is not None:
        parts += list(bias) if kind == "GRU" else [bias, np.zeros_like(bias)]
    return [_reordered(kind, part) for part in parts]


def _reordered(kind: str, array: np.ndarray) -> np.ndarray:
    """An array (gates · units, …) with its gates in the other framework's order."""
    gates = np.split(array, len(_GATE_ORDER[kind]))
    return np.concatenate([gates[index] for index in _GATE_ORDER[kind]])


# The model's layers.


def _check_nonlinearity(nonlinearity: str | None, module: TorchModule, needed: bool) -> None:
    if module.kind != "RNN" and nonlinearity is not None:
        raise InputError(
            f"nonlinearity={nonlinearity!r} came with the weights of {module}: only torch.nn.RNN "
            "has one. Leave it out."
        )
    optional = nonlinearity is None and not needed
    if module.kind == "RNN" and not optional and nonlinearity not in _NONLINEARITIES.values():
        raise InputError(
            f"nonlinearity is {nonlinearity!r}, and the weights of {module} do not show it: give "
            "'tanh' (torch's default) or 'relu', as the module was made with."
        )


def _new_model(module: TorchModule, stateful: bool) -> Sequential:
    """A new model that is equivalent to the module."""
    options: dict[str, Any] = {"use_bias": module.bias, "stateful": stateful}
    if module.nonlinearity is not None:
        options["activation"] = module.nonlinearity
    model = Sequential([layers.Input((None, module.features))])
    for _ in range(module.layers):
        layer = _LAYERS[module.kind](module.units, return_sequences=True, **options)
        model.add(layer if module.directions == 1 else layers.Bidirectional(layer))
    return model


def _cells_and_module(model) -> tuple[list, TorchModule]:
    """The cells of each direction of each recurrent layer, in order, and their torch module."""
    found = _recurrent_layers(model)
    if not found:
        raise InputError(
            f"There is no recurrent layer in {getattr(model, 'name', model)!r}, and so no weights "
            "of a torch.nn.LSTM, GRU or RNN: give a model with LSTM, GRU or SimpleRNN layers."
        )
    halves = [_directions(layer) for layer in found]
    first, *others = modules = [
        _module_of(layer, each) for layer, each in zip(found, halves, strict=True)
    ]
    later = first._replace(features=first.units * first.directions)
    for layer, module in zip(found[1:], others, strict=True):
        if module != later:
            raise InputError(
                f"Layer {layer.name!r} is {module}; behind {first} in one torch module, "
                f"{later} was expected. Give the layers of each module by themselves: "
                "from_torch(state_dict, [layer, …], prefix=…), or to_torch([layer, …])."
            )
    cells = [half.cell for each in halves for half in each]
    return cells, first._replace(layers=len(modules))


def _recurrent_layers(model) -> list:
    """Every RNN and Bidirectional of a model, a layer or a list of layers, in order, once."""
    waiting = list(model) if isinstance(model, (list, tuple)) else [model]
    found: dict[int, Any] = {}
    while waiting:
        layer = waiting.pop(0)
        if not isinstance(layer, keras.layers.Layer):
            raise InputError(
                f"A model, a layer or a list of layers was expected, and {layer!r} came."
            )
        if isinstance(layer, (keras.layers.RNN, keras.layers.Bidirectional)):
            found.setdefault(id(layer), layer)
        else:
            waiting = [*keras_private.sublayers(layer), *waiting]
    return list(found.values())


def _directions(layer) -> list:
    """The recurrent layers of a layer's one or two directions.

    Raises:
        InputError: torch has no such combination.
    """
    halves = [layer]
    if isinstance(layer, keras.layers.Bidirectional):
        halves = [layer.forward_layer, layer.backward_layer]
        if layer.merge_mode != "concat":
            raise InputError(
                f"Layer {layer.name!r} has merge_mode={layer.merge_mode!r}, and torch only puts "
                "the two directions side by side: make it with merge_mode='concat'."
            )
    if getattr(halves[0], "go_backwards", False):
        raise InputError(
            f"Layer {halves[0].name!r} has go_backwards=True, and torch reads backwards only "
            "beside a forward direction: make it a Bidirectional."
        )
    return halves


def _module_of(layer, halves: list) -> TorchModule:
    """The one-layer torch module that is equivalent to a layer."""
    first, *others = [_module_of_direction(half, len(halves)) for half in halves]
    if others and others != [first]:
        raise InputError(
            f"The directions of layer {layer.name!r} differ, {first} and {others[0]}, and torch's "
            "are alike. Make both with the same options."
        )
    return first


def _module_of_direction(half, directions: int) -> TorchModule:
    cell: Any = getattr(half, "cell", None)
    kind = _KINDS.get(type(cell))
    if kind is None:
        raise InputError(
            f"Layer {half.name!r} is a {type(half).__name__} of {type(cell).__name__}, and torch "
            "has LSTM, GRU and RNN: give only layers.LSTM, GRU or SimpleRNN, in a list if others "
            "are among them."
        )
    _check_equations(half, cell, kind)
    if getattr(cell, "kernel", None) is None:
        raise InputError(
            f"Layer {half.name!r} has no weights yet: build the model first, by "
            "model.build(input_shape) or by running it once."
        )
    nonlinearity = _NONLINEARITIES[cell.activation] if kind == "RNN" else None
    features = cell.kernel.shape[0]
    return TorchModule(kind, features, cell.units, 1, directions, cell.use_bias, nonlinearity)


def _check_equations(half, cell, kind: str) -> None:
    """Refuse a cell whose equations differ from torch's."""
    if kind == "RNN":
        fits = cell.activation in _NONLINEARITIES
        expected = "activation='tanh' or 'relu'"
    else:
        gates = cell.recurrent_activation is keras.activations.sigmoid
        fits = gates and cell.activation is keras.activations.tanh
        expected = "activation='tanh' and recurrent_activation='sigmoid'"
    if not fits:
        raise InputError(
            f"Layer {half.name!r} has other activations than torch.nn.{kind}: {expected} was "
            "expected. Make it with those; its weights would mean something else in torch."
        )
    if kind == "GRU" and not cell.reset_after:
        raise InputError(
            f"Layer {half.name!r} is a GRU with reset_after=False, which torch does not have: its "
            "weights would mean something else there. Make it with reset_after=True."
        )


def _cell_weights(cell) -> list:
    return [cell.kernel, cell.recurrent_kernel, *([cell.bias] if cell.use_bias else [])]
