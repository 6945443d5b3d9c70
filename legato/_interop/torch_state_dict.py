"""Reads a state dict of ``torch.nn.LSTM``, ``GRU`` or ``RNN``, and infers the module from it.

The names and shapes are those in torch's documentation of the three modules. A state dict is a
mapping of names to anything that ``numpy.asarray`` reads, so torch is not needed. Kind, sizes,
layers, directions and biases follow from the names and shapes; the nonlinearity of an RNN does not.
Limits: no projection (``proj_size``), and no single-step cells (``torch.nn.LSTMCell``).
"""

import re
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from legato._errors import InputError

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
_NAME = re.compile(r"(?:weight|bias)_(?:ih|hh)_l(\d+)(?:_reverse)?")
_SHOWN = 4  # names listed in an error


class TorchModule(NamedTuple):
    """The options of a torch module.

    Attributes:
        kind: ``"LSTM"``, ``"GRU"`` or ``"RNN"``.
        features: size of the input of the first layer (``input_size``).
        units: size of the output of one direction of a layer (``hidden_size``).
        layers, directions, bias: number of layers, 1 or 2 directions, whether there are biases.
        nonlinearity: ``"tanh"`` or ``"relu"`` of an RNN; None for the others, or if not known.
    """

    kind: str
    features: int
    units: int
    layers: int
    directions: int
    bias: bool
    nonlinearity: str | None = None

    def __str__(self) -> str:
        options = {
            "num_layers=": self.layers if self.layers > 1 else None,
            "nonlinearity=": self.nonlinearity and repr(self.nonlinearity),
            "bias=": None if self.bias else False,
            "bidirectional=": True if self.directions > 1 else None,
        }
        arguments = [str(self.features), str(self.units)]
        arguments += [f"{name}{value}" for name, value in options.items() if value is not None]
        return f"torch.nn.{self.kind}({', '.join(arguments)})"

    @property
    def names(self) -> list[list[str]]:
        """The names of the weights of each direction of each layer, in torch's order."""
        return _names(self.layers, self.directions, self.bias)

    @property
    def shapes(self) -> dict[str, tuple]:
        """The shape of each weight, by name."""
        rows = GATES[self.kind] * self.units
        found = {}
        for index, names in enumerate(self.names):
            inputs = self.features if index < self.directions else self.directions * self.units
            shapes = [(rows, inputs), (rows, self.units), (rows,), (rows,)]
            found |= dict(zip(names, shapes, strict=False))  # without biases there are two names
        return found


def read_state_dict(
    state_dict: Mapping[str, Any], prefix: str = ""
) -> tuple[TorchModule, dict[str, np.ndarray]]:
    """Read the weights of one module.

    Args:
        state_dict: names and torch tensors, or anything that ``numpy.asarray`` reads.
        prefix: prefix of the module's names.

    Returns:
        The module, and its weights by torch's names without the prefix, in float64, which holds
        the values of every dtype that torch's weights have.

    Raises:
        InputError: names, values or shapes that are not one module's.
    """
    if not isinstance(state_dict, Mapping):
        raise InputError(
            f"A state dict was expected, names and arrays, and {type(state_dict).__name__} came. "
            "Give module.state_dict()."
        )
    all_names = [name for name in state_dict if isinstance(name, str)]
    names = [name.removeprefix(prefix) for name in all_names if name.startswith(prefix)]
    _check_names(names, prefix, all_names)
    arrays = {name: _array(prefix + name, state_dict[prefix + name]) for name in names}
    module = _module_of_shapes(arrays, prefix)
    for name, shape in module.shapes.items():
        if arrays[name].shape != shape:
            raise InputError(
                f"{prefix + name!r} has shape {arrays[name].shape}, and {module} has {shape} "
                "there. Give the state dict of one module as torch wrote it."
            )
    return module, arrays


def _names(layers: int, directions: int, bias: bool) -> list[list[str]]:
    parts = ["weight_ih", "weight_hh", "bias_ih", "bias_hh"][: 4 if bias else 2]
    ends = [f"l{layer}{end}" for layer in range(layers) for end in ("", "_reverse")[:directions]]
    return [[f"{part}_{end}" for part in parts] for end in ends]


def _sizes(names: Iterable[str]) -> tuple[int, int, bool]:
    """The numbers of layers and directions, and whether there are biases."""
    matches = [match for match in map(_NAME.fullmatch, names) if match]
    return (
        len({match[1] for match in matches}),
        1 + any(match[0].endswith("_reverse") for match in matches),
        any(match[0].startswith("bias") for match in matches),
    )


def _check_names(names: list[str], prefix: str, all_names: list[str]) -> None:
    """Refuse names that are not exactly those of one module."""
    if "weight_hr_l0" in names:
        raise InputError(
            f"{prefix + 'weight_hr_l0'!r} is the projection of an LSTM with proj_size, which no "
            "layer of Keras computes: only an LSTM without proj_size can be taken."
        )
    if "weight_ih_l0" not in names:
        raise InputError(
            f"There is no {prefix + 'weight_ih_l0'!r} among {_quoted_list(all_names)}: every "
            f"torch.nn.LSTM, GRU and RNN has one. {_remedy(all_names)}"
        )
    expected = [each for part in _names(*_sizes(names)) for each in part]
    missing = [name for name in expected if name not in names]
    unexpected = [name for name in names if name not in expected]
    if missing or unexpected:
        raise InputError(
            f"The names under prefix {prefix!r} are not those of one torch.nn.LSTM, GRU or RNN: "
            f"missing {_quoted_list(missing)}; not expected {_quoted_list(unexpected)}. "
            f"{_remedy(all_names)}"
        )


def _quoted_list(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return (", ".join(map(repr, names[:_SHOWN])) or "none") + more


def _remedy(all_names: list[str]) -> str:
    """A sentence with the remedy: the prefixes under which there are recurrent weights."""
    first = "weight_ih_l0"
    found = [name.removesuffix(first) for name in all_names if name.endswith(first)]
    if not found:
        return "Give the state dict of such a module, or of one that has it inside."
    return f"Give the whole state dict, and one of these as prefix=: {_quoted_list(found)}."


def _array(name: str, value) -> np.ndarray:
    try:
        if hasattr(value, "detach"):  # a tensor, which may require gradients or be bfloat16
            value = value.detach().cpu().double()
        array = np.asarray(value)
    except (NotImplementedError, TypeError, ValueError) as error:
        raise InputError(
            f"{name!r} cannot be read as an array ({error}): give torch tensors, or what "
            "numpy.asarray can read."
        ) from error
    if array.dtype.kind not in "fiu" and array.dtype.name != "bfloat16":
        raise InputError(
            f"{name!r} holds {array.dtype} where numbers were expected: give torch tensors, or "
            "what numpy.asarray can read."
        )
    return array.astype("float64")


def _module_of_shapes(arrays: dict[str, np.ndarray], prefix: str) -> TorchModule:
    """The module, by the shapes of its first layer."""
    inputs, recurrent = (arrays[name].shape for name in ("weight_ih_l0", "weight_hh_l0"))
    matrices = len(inputs) == len(recurrent) == 2 and min(recurrent) > 0
    gates = recurrent[0] // recurrent[1] if matrices else 0
    kinds = [kind for kind, count in GATES.items() if count == gates]
    if not kinds:
        raise InputError(
            f"'{prefix}weight_ih_l0' and '{prefix}weight_hh_l0' have shapes {inputs} and "
            f"{recurrent}; (gates · units, features) and (gates · units, units) were expected, "
            "with 4 gates of an LSTM, 3 of a GRU or 1 of an RNN."
        )
    return TorchModule(kinds[0], inputs[1], recurrent[1], *_sizes(arrays))
