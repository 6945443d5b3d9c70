"""Any model as text and as JSON values: inputs, outputs, layers and states."""

from typing import Any

from rich.console import Console

from legato import InputError, Model
from legato.report._terminal import TextColumn, make_console, print_columns, print_fields


def model_facts(model: Model) -> dict[str, Any]:
    """A model's shapes, layers and states as JSON values; ``"any"`` for axes of any length.

    Raises:
        InputError: the model is not built, so its shapes are unknown.

    Examples:
        >>> import legato
        >>> gru = legato.layers.GRU(2, stateful=True)
        >>> model = legato.Sequential([legato.layers.Input((None, 1)), gru])
        >>> legato.report.model_facts(model)["states"]
        {'gru': [[1, 2]]}
    """
    if not model.built:
        raise InputError(
            f"The model {model.name!r} is not built, so its input shape is unknown. Call it "
            "once, or give it an Input, and save it again."
        )
    return {
        "name": model.name,
        "input": _shapes_of(model.inputs),
        "output": _shapes_of(model.outputs),
        "states": state_shapes(model),
        "parameters": model.count_params(),
        "layers": [
            {
                "name": layer.name,
                "kind": type(layer).__name__,
                "output": _shapes_of([layer.output])[0] if hasattr(layer.output, "shape") else None,
                "parameters": layer.count_params(),
            }
            for layer in model.layers
        ],
    }


def print_model(model: Model, note: str = "", console: Console | None = None) -> None:
    """Print a model's shapes, layers and states, and a note.

    Examples:
        >>> import legato
        >>> gru = legato.layers.GRU(2, stateful=True)
        >>> model = legato.Sequential([legato.layers.Input((None, 1)), gru], name="small")
        >>> legato.report.print_model(model)
        model   small, 30 parameters
        input   (any, any, 1)
        output  (any, 2)
        states  gru 2 numbers a row
        <BLANKLINE>
        layer  kind  gives     parameters
        gru    GRU   (any, 2)          30
    """
    console, facts = console or make_console(), model_facts(model)
    lines = [("model", f"{facts['name']}, {facts['parameters']:,} parameters")]
    lines += [("note", note)] if note else []
    lines += [(name, "; ".join(map(_format_shape, facts[name]))) for name in ("input", "output")]
    lines += [("states", format_state_shapes(facts["states"]))]
    print_fields(lines, console)
    console.print()
    layers = facts["layers"]
    shapes = ["" if each["output"] is None else _format_shape(each["output"]) for each in layers]
    columns = [
        TextColumn("layer", [each["name"] for each in layers], numbers=False),
        TextColumn("kind", [each["kind"] for each in layers], numbers=False),
        TextColumn("gives", shapes, numbers=False),
        TextColumn("parameters", [f"{each['parameters']:,}" for each in layers]),
    ]
    print_columns(columns, console)


def state_shapes(model: Model) -> dict[str, list[list[int]]]:
    """The shapes of the states of each layer for one row."""
    state = model.initial_states()
    return {path: [list(part.shape) for part in state[path]] for path in state}


def format_state_shapes(states: dict[str, list[list[int]]]) -> str:
    """The sizes of each layer's states in a row, as text."""
    parts = [
        f"{path} {', '.join('×'.join(map(str, shape[1:])) for shape in shapes)}"
        for path, shapes in states.items()
    ]
    return "; ".join(parts) + " numbers a row" if parts else "none carried"


def _shapes_of(tensors: list) -> list[list]:
    return [["any" if axis is None else axis for axis in tensor.shape] for tensor in tensors]


def _format_shape(shape: list) -> str:
    return f"({', '.join(map(str, shape))})"
