"""Any model as text and numbers: what it takes and gives, its layers, and what is carried."""

from typing import Any

from rich.console import Console

from legato import InputError, Model
from legato.report._terminal import TextColumn, print_columns, print_lines, screen


def model_facts(model: Model) -> dict[str, Any]:
    """What can be seen of a model, as JSON takes it; ``"any"`` for axes of any length.

    Raises:
        InputError: it is not built, so that nothing is settled.
    """
    if not model.built:
        raise InputError(
            f"The model {model.name!r} is not built: it does not know yet what it takes. Run it "
            "once, or give it an Input, and save it again."
        )
    return {
        "name": model.name,
        "input": _shapes(model.inputs),
        "output": _shapes(model.outputs),
        "states": states_of(model),
        "parameters": model.count_params(),
        "layers": [
            {
                "name": layer.name,
                "kind": type(layer).__name__,
                "output": _shapes([layer.output])[0] if hasattr(layer.output, "shape") else None,
                "parameters": layer.count_params(),
            }
            for layer in model.layers
        ],
    }


def print_model(model: Model, note: str = "", console: Console | None = None) -> None:
    """What can be seen of a model, and a note on what cannot."""
    console, told = console or screen(), model_facts(model)
    lines = [("model", f"{told['name']}, {told['parameters']:,} parameters")]
    lines += [("note", note)] if note else []
    lines += [(name, "; ".join(map(_told, told[name]))) for name in ("input", "output")]
    lines += [("states", carried(told["states"]))]
    print_lines(lines, console)
    console.print()
    layers = told["layers"]
    shapes = ["" if each["output"] is None else _told(each["output"]) for each in layers]
    columns = [
        TextColumn("layer", [each["name"] for each in layers], numbers=False),
        TextColumn("kind", [each["kind"] for each in layers], numbers=False),
        TextColumn("gives", shapes, numbers=False),
        TextColumn("parameters", [f"{each['parameters']:,}" for each in layers]),
    ]
    print_columns(columns, console)


def states_of(model: Model) -> dict[str, list[list[int]]]:
    """The shapes of what each layer carries of one row."""
    state = model.initial_states()
    return {path: [list(part.shape) for part in state[path]] for path in state}


def carried(states: dict[str, list[list[int]]]) -> str:
    """What is carried of one row: the sizes of each layer's states, from their shapes."""
    parts = [
        f"{path} {', '.join('×'.join(map(str, shape[1:])) for shape in shapes)}"
        for path, shapes in states.items()
    ]
    return "; ".join(parts) + " numbers a row" if parts else "none carried"


def _shapes(tensors: list) -> list[list]:
    return [["any" if axis is None else axis for axis in tensor.shape] for tensor in tensors]


def _told(shape: list) -> str:
    return f"({', '.join(map(str, shape))})"
