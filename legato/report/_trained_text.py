"""Models of one's own data as text and tables: what they expect, were trained on, and reached."""

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from legato import Plan, Trained
from legato._platform.atomic_files import write_whole
from legato._platform.wording import counted
from legato._series.sequences import Column
from legato.report import _terminal
from legato.report._model_text import carried, states_of
from legato.report._terminal import aligned, print_columns, print_lines, screen

MOST_ROWS, MOST_LABELS = 24, 12  # of a table, and of a list, at the terminal


def facts(trained: Trained) -> dict[str, Any]:
    """All that is known of a trained model, as JSON takes it."""
    return {
        "task": trained.task.as_numbers(),
        "input": ["rows", "time steps", len(trained.task.inputs)],
        "output": ["any" if axis is None else axis for axis in trained.model.output_shape],
        "states": states_of(trained.model),
        **trained.known,
    }


def print_summary(trained: Trained, console: Console | None = None) -> None:
    """What a model is for, was trained on and reached, in a few lines."""
    console = console or screen()
    print_lines(summary(trained), console)
    if "scores" in trained.known:
        console.print()
        print_scores(trained.known["scores"], console)


def summary(trained: Trained) -> list[tuple[str, str]]:
    """The lines of a summary: what each is of, and its words."""
    data, training = trained.known["data"], trained.known["training"]
    course = training["course"]
    return [
        *_about(data, trained.task),
        ("network", _network(trained.shape, course["rows"], course["padding"])),
        ("training", _training(training)),
        ("split", _split(data)),
        ("states", carried(states_of(trained.model))),
    ]


def plan_facts(plan: Plan) -> dict[str, Any]:
    """What ``train`` is about to do, as JSON takes it."""
    laid = {"steps": plan.shape.steps}
    if plan.lanes is not None:
        laid |= {"rows": plan.lanes.rows, "batches": plan.lanes.batches}
    return {
        "data": plan.data,
        "task": plan.task.as_numbers(),
        "network": asdict(plan.shape),
        "laid": laid,
        "training": asdict(plan.course),
        "season": plan.season,
    }


def print_plan(plan: Plan, console: Console | None = None) -> None:
    """What ``train`` is about to do: the lines of a summary that are known, and the lanes."""
    console, course = console or screen(), plan.course
    asked = f"{counted(course.epochs, 'epoch')}, learning rate {course.learning_rate:g}"
    if course.early_stop:
        asked = f"at most {asked}; stops after {course.early_stop:,} that are no better"
    rows, padding = (plan.lanes.rows, plan.lanes.padding) if plan.lanes else (None, 0.0)
    lines = [
        *_about(plan.data, plan.task),
        ("network", _network(plan.shape, rows, padding)),
        ("training", asked),
        ("split", _split(plan.data)),
    ]
    print_lines(lines, console)
    if plan.lanes is not None:
        console.print()
        console.print(Text(str(plan.lanes)), soft_wrap=True)


def _about(data: dict, task) -> list[tuple[str, str]]:
    """The lines on the data and on what is asked of them."""
    return [
        ("data", _data(data)),
        *(("note", note) for note in data["notes"]),
        ("task", _task(task)),
        ("takes", _columns(task.inputs)),
    ]


def _data(data: dict) -> str:
    many = counted(data["sequences"], "sequence")
    spread = f"{data['longest']:,}"
    if data["shortest"] != data["longest"]:
        spread = f"{data['shortest']:,} to {data['longest']:,}"
    times = ""
    if data["times"]:
        apart = f", {data['spacing']} apart" if data["spacing"] else ""
        times = f", {' to '.join(data['times'])}{apart}"
    return f"{data['source']}: {many} of {spread} steps, {data['steps']:,} in all{times}"


def _split(data: dict) -> str:
    learnt, kept = data["learnt_steps"], data["test_steps"]
    parts = f"{counted(learnt, 'step')} learnt from, {kept:,} kept for the score"
    return f"by {data['split']}: {parts}"


def _network(shape, rows: int | None, padding: float) -> str:
    carried = "state carried" if shape.stateful else "no state carried"
    stacked = f"{shape.layers} × " if shape.layers > 1 else ""
    cell = f"{stacked}{shape.cell} of {counted(shape.units, 'unit')}, {carried}"
    laid = f"{cell}; {shape.framing} of {counted(shape.steps, 'step')}"
    if rows is None:
        return laid
    return f"{laid} in {counted(rows, 'row')}, {100 * padding:.1f} % padding"


def _training(training: dict) -> str:
    epochs, seconds = len(training["course"]["history"]["loss"]), training["course"]["seconds"]
    told = f"{counted(epochs, 'epoch')} in {seconds:.1f} s"
    if "trial" not in training:
        return told
    tried = len(training["trial"]["history"]["loss"])
    return f"{told}, the best of {tried:,} tried on a part in {training['trial']['seconds']:.1f} s"


def _task(task) -> str:
    targets = ", ".join(column.name for column in task.targets)
    if task.kind == "forecast":
        return f"forecast {targets}, {counted(task.horizon, 'step')} ahead"
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
    shown = [repr(label) if label.split() != [label] else label for label in labels[:MOST_LABELS]]
    return " ".join(shown) + (" …" if len(labels) > MOST_LABELS else "")


def print_scores(scores: dict, console: Console | None = None) -> None:
    """A model's scores beside those of the baselines, and what they say.

    Args:
        scores: what ``Scores.as_numbers`` gives.
        console: default: standard output.
    """
    console = console or screen()
    rows = {"model": scores["model"], **scores["baselines"]}
    by_lead = "horizon" in scores
    what = f"Errors over {counted(scores['predictions'], 'forecast')}"
    console.print(
        what if by_lead else f"Labels over {counted(scores['predictions'], 'prediction')}"
    )
    columns = _errors(rows, scores["horizon"]) if by_lead else _shares(rows)
    print_columns([_terminal.TextColumn("", list(rows), numbers=False), *columns], console)
    console.print(Text(scores["verdict"]))


def _errors(rows: dict[str, dict], horizon: int) -> list[_terminal.TextColumn]:
    columns = {name.upper(): [row[name] for row in rows.values()] for name in ("mae", "rmse")}
    for lead in _leads(horizon):
        columns[f"{lead + 1} ahead"] = [row["mae_by_lead"][lead] for row in rows.values()]
    return [_terminal.TextColumn(name, aligned(values, 4)) for name, values in columns.items()]


def _shares(rows: dict[str, dict]) -> list[_terminal.TextColumn]:
    spans = [[f"{100 * end:.1f}" for end in row["interval"]] for row in rows.values()]
    bits = [row["cross_entropy_bits"] for row in rows.values()]
    shares = [f"{100 * row['accuracy']:.1f} %" for row in rows.values()]
    return [
        _terminal.TextColumn("accuracy", shares),
        _terminal.TextColumn("95 % interval", [f"{low} to {high} %" for low, high in spans]),
        _terminal.TextColumn(
            "bits a label", ["" if each is None else f"{each:.3f}" for each in bits]
        ),
    ]


def _leads(horizon: int) -> list[int]:
    """Which steps ahead get a column of their own: the first, the last, and some between."""
    if horizon == 1:
        return []
    count = min(horizon, 5)
    return sorted({round(each * (horizon - 1) / (count - 1)) for each in range(count)})


def print_table(columns: dict[str, list], console: Console | None = None) -> None:
    """A table of columns, its first rows and its last."""
    console = console or screen()
    count = len(next(iter(columns.values())))
    shown = list(range(count))
    if count > MOST_ROWS:
        shown = [*range(MOST_ROWS - 4), *range(count - 3, count)]
    made = [_shown(name, [values[at] for at in shown]) for name, values in columns.items()]
    if count > MOST_ROWS:
        for column in made:
            column.cells.insert(MOST_ROWS - 4, "…")
    measured = [any(isinstance(each, float) for each in values) for values in columns.values()]
    keys = measured.index(True) if True in measured else len(measured) - 1
    print_columns(made, console, keys)
    if count > MOST_ROWS:
        console.print(f"{count:,} rows; --out FILE writes them all.")


def _shown(name: str, values: list) -> _terminal.TextColumn:
    if any(isinstance(each, float) for each in values):
        return _terminal.TextColumn(name, aligned(values, 6))
    numbers = all(isinstance(each, int) for each in values)
    return _terminal.TextColumn(
        name, ["" if each is None else str(each) for each in values], numbers
    )


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
