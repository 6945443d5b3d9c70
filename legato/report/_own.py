"""Models of one's own data as text and tables: what they expect, were trained on, and reached."""

from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from legato import Trained
from legato._files import write_whole
from legato._sequences import Column

MOST_ROWS, MOST_LABELS = 24, 12  # of a table, and of a list, at the terminal


def facts(trained: Trained) -> dict[str, Any]:
    """All that is known of a trained model, as JSON takes it."""
    state = trained.model.initial_states()
    return {
        "task": trained.task.as_numbers(),
        "input": ["rows", "time steps", len(trained.task.inputs)],
        "output": [str(axis or "any") for axis in trained.model.output_shape],
        "states": {path: [list(part.shape) for part in state[path]] for path in state},
        **trained.known,
    }


def print_summary(trained: Trained, console: Console | None = None) -> None:
    """What a model is for, was trained on and reached, in a few lines."""
    console = console or Console(highlight=False)
    grid = Table.grid(padding=(0, 2, 0, 0))
    grid.add_column(style="bold", no_wrap=True)
    grid.add_column()
    for name, text in summary(trained):
        grid.add_row(name, escape(text))
    console.print(grid)
    if "scores" in trained.known:
        print_scores(trained.known["scores"], console)


def summary(trained: Trained) -> list[tuple[str, str]]:
    """The lines of a summary: what each is of, and its words."""
    known, shape = trained.known, trained.shape
    data, training = known["data"], known["training"]
    course = training["course"]
    lines = [("data", _data(data))]
    lines += [("note", note) for note in data["notes"]]
    lines += [("task", _task(trained)), ("takes", _columns(trained.task.inputs))]
    carried = "state carried" if shape.stateful else "no state carried"
    stacked = f"{shape.layers} × " if shape.layers > 1 else ""
    lines.append(
        (
            "network",
            f"{stacked}{shape.cell} of {shape.units} units, {carried}; {shape.framing} of "
            f"{shape.steps} steps in {course['rows']} rows, {course['padding']:.1%} padding",
        )
    )
    lines.append(("training", _training(training)))
    parts = f"{data['learnt_steps']:,} steps learnt from, {data['test_steps']:,} kept for the score"
    lines.append(("split", f"by {data['split']}: {parts}"))
    state = trained.model.initial_states()
    shapes = [f"{path} {[part.shape[1] for part in state[path]]}" for path in state]
    lines.append(("states", "; ".join(shapes) + " numbers a row" if shapes else "none"))
    return lines


def _data(data: dict) -> str:
    many = "1 sequence" if data["sequences"] == 1 else f"{data['sequences']:,} sequences"
    spread = f"{data['longest']:,}"
    if data["shortest"] != data["longest"]:
        spread = f"{data['shortest']:,} to {data['longest']:,}"
    times = ""
    if data["times"]:
        apart = f", {data['spacing']} apart" if data["spacing"] else ""
        times = f", {' to '.join(data['times'])}{apart}"
    return f"{data['source']}: {many} of {spread} steps, {data['steps']:,} in all{times}"


def _training(training: dict) -> str:
    epochs, seconds = len(training["course"]["history"]["loss"]), training["course"]["seconds"]
    told = f"{epochs:,} epochs in {seconds:.1f} s"
    if "trial" not in training:
        return told
    tried = len(training["trial"]["history"]["loss"])
    return f"{told}, the best of {tried:,} tried on a part in {training['trial']['seconds']:.1f} s"


def _task(trained: Trained) -> str:
    task = trained.task
    targets = ", ".join(column.name for column in task.targets)
    if task.kind == "forecast":
        ahead = "1 step" if task.horizon == 1 else f"{task.horizon} steps"
        return f"forecast {targets}, {ahead} ahead"
    whole = " of a whole sequence" if task.whole else " of each step"
    if task.kind == "generate":
        whole = " of the next step"
    return f"{task.kind} {targets}{whole}, one of {len(task.labels)}: {_some(task.labels)}"


def _columns(columns: tuple[Column, ...]) -> str:
    parts = [
        each.name
        if each.categories is None
        else f"{each.name} (one of {len(each.categories)}: {_some(each.categories)})"
        for each in columns
    ]
    return ", ".join(parts)


def _some(labels: tuple[str, ...]) -> str:
    shown = [label if label.isprintable() else repr(label) for label in labels[:MOST_LABELS]]
    return " ".join(shown) + (" …" if len(labels) > MOST_LABELS else "")


def print_scores(scores: dict, console: Console | None = None) -> None:
    """A model's scores beside those of the baselines, and what they say."""
    console = console or Console(highlight=False)
    console.print()
    console.print(score_table(scores))
    console.print(escape(scores["verdict"]))


def score_table(scores: dict) -> Table:
    """A row for the model and one for each baseline, from ``Scores.as_numbers``."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), title_justify="left")
    rows = {"model": scores["model"], **scores["baselines"]}
    made.add_column("", no_wrap=True)
    if "horizon" in scores:
        made.title = f"Errors over {scores['predictions']:,} forecasts"
        leads = _leads(scores["horizon"])
        for heading in ["MAE", "RMSE", *(f"{lead + 1} ahead" for lead in leads)]:
            made.add_column(heading, justify="right", no_wrap=True)
        for name, row in rows.items():
            by_lead = [f"{row['mae_by_lead'][lead]:.4g}" for lead in leads]
            made.add_row(name, f"{row['mae']:.4g}", f"{row['rmse']:.4g}", *by_lead)
        return made
    made.title = f"Labels over {scores['predictions']:,} predictions"
    for heading in ("accuracy", "95 % interval", "bits a label"):
        made.add_column(heading, justify="right", no_wrap=True)
    for name, row in rows.items():
        low, high = row["interval"]
        bits = row["cross_entropy_bits"]
        told = "" if bits is None else f"{bits:.3f}"
        made.add_row(name, f"{row['accuracy']:.1%}", f"{low:.1%} to {high:.1%}", told)
    return made


def _leads(horizon: int) -> list[int]:
    """Which steps ahead get a column of their own: the first, the last, and some between."""
    if horizon == 1:
        return []
    count = min(horizon, 5)
    return sorted({round(each * (horizon - 1) / (count - 1)) for each in range(count)})


def print_table(columns: dict[str, list], console: Console | None = None) -> None:
    """A table of columns, its first rows and its last."""
    console = console or Console(highlight=False)
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name, values in columns.items():
        number = bool(values) and isinstance(values[0], (int, float))
        made.add_column(escape(name), justify="right" if number else "left", no_wrap=True)
    rows = list(zip(*columns.values(), strict=True))
    head = rows if len(rows) <= MOST_ROWS else rows[: MOST_ROWS - 4]
    for row in head:
        made.add_row(*map(_cell, row))
    if len(rows) > MOST_ROWS:
        made.add_row(*["…" for _ in columns])
        for row in rows[-3:]:
            made.add_row(*map(_cell, row))
    console.print(made)
    if len(rows) > MOST_ROWS:
        console.print(f"{len(rows):,} rows; --out FILE writes them all.")


def _cell(value) -> str:
    if value is None:
        return ""
    return f"{value:,.6g}" if isinstance(value, float) else escape(str(value))


def write_table(columns: dict[str, list], path: Path) -> Path:
    """Write a table to a ``.csv``, ``.parquet`` or ``.json`` file, whole or not at all.

    Raises:
        legato.OutputError: the folder cannot be written.
    """
    import polars

    frame = polars.DataFrame(columns, strict=False)
    write = {
        ".csv": frame.write_csv,
        ".parquet": frame.write_parquet,
        ".json": frame.write_json,
    }[path.suffix]
    return write_whole(path, write)
