"""Trained models and plans as text, tables and JSON values: inputs, training data and scores."""

import os
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.text import Text

from legato import InputError, Plan, Trained
from legato._platform.atomic_files import write_whole
from legato._platform.wording import counted, describe_settings
from legato._series.sequences import Column
from legato.report import _terminal
from legato.report._model_text import format_state_shapes, state_shapes
from legato.report._terminal import align_numbers, make_console, print_columns, print_fields

MAX_ROWS, MAX_LABELS = 24, 12  # of a table, and of a list, that are printed


SHOWN_SETTINGS = 30  # of a search


def facts(trained: Trained) -> dict[str, Any]:
    """All facts about a trained model as JSON values.

    Examples:
        >>> import legato
        >>> wave = {"load": [1.0, 2.0, 4.0, 3.0] * 9}
        >>> trained = legato.train(wave, units=2, epochs=1, verbose=0)
        >>> facts = legato.report.facts(trained)
        >>> facts["task"]["horizon"], facts["training"]["epochs"]
        (1, 1)
    """
    return {
        "task": trained.task.as_numbers(),
        "input": ["rows", "time steps", len(trained.task.inputs)],
        "output": ["any" if axis is None else axis for axis in trained.model.output_shape],
        "states": state_shapes(trained.model),
        **trained.known,
    }


def print_summary(trained: Trained, console: Console | None = None) -> None:
    """Print a model's task, training data and scores in a few lines.

    Examples:
        >>> import legato
        >>> wave = {"load": [1.0, 2.0, 4.0, 3.0] * 9}
        >>> trained = legato.train(wave, units=2, epochs=1, verbose=0)
        >>> legato.report.print_summary(trained)  # doctest: +ELLIPSIS
        data      the dictionary: 1 sequence of 36 steps, 36 in all
        task      forecast load, 1 step ahead
        takes     load
        ...
    """
    console = console or make_console()
    print_fields(summary_lines(trained), console)
    if "search" in trained.known["training"]:
        console.print()
        _print_search(trained.known["training"]["search"], console)
    if "scores" in trained.known:
        console.print()
        print_scores(trained.known["scores"], console)


def summary_lines(trained: Trained) -> list[tuple[str, str]]:
    """The lines of a summary, each with its name and text."""
    data, training = trained.known["data"], trained.known["training"]
    course = training["course"]
    states = state_shapes(trained.model)  # none of an ensemble, which looks back at a window
    return [
        *_data_lines(data, trained.task, trained.covariates),
        *_network_lines(trained.task, trained.shape, course),
        ("training", _describe_training(training)),
        ("split", _describe_split(data)),
        *([("refit", _describe_refit(data, course))] if trained.known.get("refit") else []),
        *([("states", format_state_shapes(states))] if states else []),
    ]


def _print_search(search: dict, console: Console) -> None:
    """Print the settings that a search tried, the best first."""
    trials = sorted(
        search["trials"], key=lambda each: (each["score"] is None, each["score"] or 0.0)
    )
    count, metric = counted(len(trials), "setting"), search["metric"]
    shown = trials[:SHOWN_SETTINGS]
    console.print(f"Search over {count}, scored on the validation part, the best first")
    columns = {
        metric: [each["score"] for each in shown],
        "setting": [
            f"{describe_settings(each['options'])}{': failed' if each['error'] else ''}"
            for each in shown
        ],
    }
    print_table(columns, console)


def plan_facts(plan: Plan) -> dict[str, Any]:
    """A plan of training as JSON values.

    Examples:
        >>> import numpy as np, legato
        >>> planned = legato.plan({"load": np.sin(np.arange(60) / 3)}, framing="chunks")
        >>> legato.report.plan_facts(planned)["laid"]
        {'steps': 48, 'rows': 1, 'batches': 1}
    """
    laid = {"steps": plan.shape.steps}
    if plan.lanes is not None:
        laid |= {"rows": plan.lanes.rows, "batches": plan.lanes.batches}
    return {
        "data": plan.data,
        "task": plan.task.as_numbers(),
        "covariates": plan.covariates.as_numbers(),
        "network": asdict(plan.shape),
        "laid": laid,
        "training": plan.config.training,
        "refit": plan.refits,
        "season": plan.season,
    }


def print_plan(plan: Plan, console: Console | None = None) -> None:
    """Print a plan of training: the lines of a summary that are known, and the lanes.

    Examples:
        >>> import legato
        >>> wave = {"load": [1.0, 2.0, 4.0, 3.0] * 9}
        >>> legato.report.print_plan(legato.plan(wave, units=2, epochs=1))  # doctest: +ELLIPSIS
        data      the dictionary: 1 sequence of 36 steps, 36 in all
        task      forecast load, 1 step ahead
        takes     load
        network   lstm of 2 units, state carried; chunks of 29 steps in 1 row, 0.0 % padding
        ...
    """
    console, config = console or make_console(), plan.config
    rate = f"learning rate {config.learning_rate:g}"
    if config.epochs is not None:
        rate = f"{counted(config.epochs, 'epoch')}, {rate}"
    if config.early_stop:
        rate = f"at most {rate}; stops after {config.early_stop:,} that are no better"
    rows, padding = (plan.lanes.rows, plan.lanes.padding) if plan.lanes else (None, 0.0)
    lines = [
        *_data_lines(plan.data, plan.task, plan.covariates),
        *_network_lines(plan.task, plan.shape, {"rows": rows, "padding": padding}),
        ("training", rate),
        ("split", _describe_split(plan.data)),
        *([("refit", _describe_refit(plan.data))] if plan.refits else []),
    ]
    print_fields(lines, console)
    if plan.lanes is not None:
        console.print()
        console.print(Text(str(plan.lanes)), soft_wrap=True)


def _data_lines(data: dict, task, covariates) -> list[tuple[str, str]]:
    """The lines on the data, the task and its inputs."""
    taken = [each for each in task.inputs if each.name not in covariates.made]
    ahead, country = list(covariates.ahead), covariates.holidays
    if country is not None:
        ahead = [f"{name} of {country}" if "holiday" in name else name for name in ahead]
    return [
        ("data", _describe_data(data)),
        *(("note", note) for note in data["notes"]),
        ("task", _describe_task(task)),
        ("takes", _describe_columns(taken)),
        *([("static", ", ".join(covariates.static))] if covariates.static else []),
        *([("ahead", ", ".join(ahead))] if ahead else []),
    ]


def _describe_data(data: dict) -> str:
    many = counted(data["sequences"], "sequence")
    spread = f"{data['longest']:,}"
    if data["shortest"] != data["longest"]:
        spread = f"{data['shortest']:,} to {data['longest']:,}"
    times = ""
    if data["times"]:
        apart = f", {data['spacing']} apart" if data["spacing"] else ""
        times = f", {' to '.join(data['times'])}{apart}"
    return f"{data['source']}: {many} of {spread} steps, {data['steps']:,} in all{times}"


def _describe_split(data: dict) -> str:
    learnt, kept = data["learnt_steps"], data["test_steps"]
    if data["split"] == "cross-validation":
        return "cross-validation: each sequence is scored by members that did not learn from it"
    parts = f"{counted(learnt, 'step')} learnt from, {kept:,} kept for the score"
    return f"by {data['split']}: {parts}"


def _describe_refit(data: dict, course: dict | None = None) -> str:
    text = f"after the score on all {counted(data['steps'], 'step')}: the model that is kept"
    return (
        f"{text}, whose weights these are"
        if "targets" in (course or {}).get("ensemble", {})
        else text
    )


def _network_lines(task, shape, course: dict) -> list[tuple[str, str]]:
    """The lines on the network, or on the members of an ensemble and why they were chosen."""
    if shape.framing != "ensemble":
        return [("network", _describe_network(shape, course["rows"], course["padding"]))]
    window = f"a window of {counted(shape.steps, 'step')}"
    networks = f"{shape.cell} networks of {counted(shape.units, 'unit')}"
    found = course.get("ensemble")
    beside = "" if found is not None and found.get("networks") is None else f" and {networks}"
    lines = [("ensemble", f"linear forecasters{beside}, on {window}")]
    if task.whole:
        lines = [("ensemble", f"random convolutions, summaries and {networks}, of sequences")]
        return lines if found is None else lines + _member_lines(found)
    if found is None:
        return lines
    several = len(found["targets"]) > 1
    for each in found["targets"]:
        members = [member for member in each["members"] if member["weight"] > 0]
        members.sort(key=lambda member: -member["weight"])
        shares = [f"{member['name']} {100 * member['weight']:.0f} %" for member in members]
        best = min(each["members"], key=lambda member: member["mae"])
        of = f" of {each['target']}" if several else ""
        lines.append((f"weights{of}", ", ".join(shares)))
        lines.append(
            (
                f"backtest{of}",
                f"MAE {each['mae']:.4g} over {counted(found['origins'], 'origin')}; the best "
                f"member alone, {best['name']}, {best['mae']:.4g}",
            )
        )
    return lines


def _member_lines(found: dict) -> list[tuple[str, str]]:
    """The lines on the members of an ensemble of labels."""
    members = sorted(found["members"], key=lambda member: -member["weight"])
    total = sum(member["weight"] for member in members)
    shares = [
        f"{member['name']} {100 * member['weight'] / total:.0f} %"
        for member in members
        if member["weight"] > 0
    ]
    right = [f"{member['name']} {100 * member['accuracy']:.1f} %" for member in found["members"]]
    held_out = f"{counted(found['held_out'], 'sequence')} held out"
    if found["parts"] > 1:
        held_out += f" in {found['parts']} parts"
    alone = f"right in {held_out}, each alone: {', '.join(right)}"
    return [("weights", ", ".join(shares)), ("members", alone)]


def _describe_network(shape, rows: int | None, padding: float) -> str:
    carried = "state carried" if shape.stateful else "no state carried"
    stacked = f"{shape.layers} × " if shape.layers > 1 else ""
    ways = "bidirectional " if shape.bidirectional else ""
    shares = {"dropout": shape.dropout, "recurrent dropout": shape.recurrent_dropout}
    dropped = "".join(f", {name} {share:g}" for name, share in shares.items() if share)
    cell = f"{stacked}{ways}{shape.cell} of {counted(shape.units, 'unit')}{dropped}, {carried}"
    laid = f"{cell}; {shape.framing} of {counted(shape.steps, 'step')}"
    if rows is None:
        return laid
    return f"{laid} in {counted(rows, 'row')}, {100 * padding:.1f} % padding"


def _describe_training(training: dict) -> str:
    losses, seconds = training["course"]["history"].get("loss"), training["course"]["seconds"]
    if losses is None:  # an ensemble of data too short for networks
        return f"{seconds:.1f} s"
    text = f"{counted(len(losses), 'epoch')} in {seconds:.1f} s"
    if "trial" not in training:
        return text
    tried = len(training["trial"]["history"]["loss"])
    return f"{text}, the best of {tried:,} tried on a part in {training['trial']['seconds']:.1f} s"


def _describe_task(task) -> str:
    targets = ", ".join(column.name for column in task.targets)
    if task.kind == "forecast":
        return f"forecast {targets}, {counted(task.horizon, 'step')} ahead"
    whole = " of a whole sequence" if task.whole else " of each step"
    if task.kind == "generate":
        whole = " of the next step"
    return f"{task.kind} {targets}{whole}, one of {len(task.labels)}: {_first_labels(task.labels)}"


def _describe_columns(columns: Sequence[Column]) -> str:
    parts = [
        each.name
        if each.categories is None
        else f"{each.name} (one of {len(each.categories)}: {_first_labels(each.categories)})"
        for each in columns
    ]
    return ", ".join(parts)


def _first_labels(labels: tuple[str, ...]) -> str:
    shown = [repr(label) if label.split() != [label] else label for label in labels[:MAX_LABELS]]
    return " ".join(shown) + (" …" if len(labels) > MAX_LABELS else "")


def print_scores(scores: dict, console: Console | None = None) -> None:
    """Print a model's scores with those of the baselines, and the verdict.

    Args:
        scores: from ``Scores.as_numbers``.
        console: default: standard output.

    Examples:
        >>> import legato
        >>> wave = {"load": [1.0, 2.0, 4.0, 3.0] * 9}
        >>> trained = legato.train(wave, units=2, epochs=1, verbose=0)
        >>> legato.report.print_scores(trained.scores)  # doctest: +ELLIPSIS
        Errors over 7 forecasts
                           MAE   RMSE
        model            ...
        The model's error 1 step ahead from 7 origins (MAE ...) is ...
    """
    console = console or make_console()
    what, columns = score_table(scores)
    console.print(what)
    print_columns(columns, console)
    console.print(Text(scores["verdict"]))


def score_table(scores: dict) -> tuple[str, list[_terminal.TextColumn]]:
    """A caption and the columns of a table of scores: the model's, and those of the baselines."""
    rows = {"model": scores["model"], **scores["baselines"]}
    names = _terminal.TextColumn("", list(rows), numbers=False)
    if "horizon" in scores:
        columns = _error_columns(rows, scores["horizon"])
        return f"Errors over {counted(scores['predictions'], 'forecast')}", [names, *columns]
    what = f"Labels over {counted(scores['predictions'], 'prediction')}"
    return what, [names, *_label_columns(rows)]


def _error_columns(rows: dict[str, dict], horizon: int) -> list[_terminal.TextColumn]:
    columns = {name.upper(): [row[name] for row in rows.values()] for name in ("mae", "rmse")}
    for lead in _shown_leads(horizon):
        columns[f"{lead + 1} ahead"] = [row["mae_by_lead"][lead] for row in rows.values()]
    return [
        _terminal.TextColumn(name, align_numbers(values, 4)) for name, values in columns.items()
    ]


def _label_columns(rows: dict[str, dict]) -> list[_terminal.TextColumn]:
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


def _shown_leads(horizon: int) -> list[int]:
    """Up to five steps ahead that get a column, with the first and the last; counted from 0."""
    if horizon == 1:
        return []
    count = min(horizon, 5)
    return sorted({round(each * (horizon - 1) / (count - 1)) for each in range(count)})


def print_table(columns: dict[str, list], console: Console | None = None) -> None:
    """Print a table; of more than ``MAX_ROWS`` rows, only the first and the last.

    Examples:
        >>> from legato import report
        >>> report.print_table({"step": [1, 2], "load": [0.5, 0.25]})
        step      load
           1  0.500000
           2  0.250000
    """
    console = console or make_console()
    count = len(next(iter(columns.values())))
    shown = list(range(count))
    if count > MAX_ROWS:
        shown = [*range(MAX_ROWS - 4), *range(count - 3, count)]
    made = [_text_column(name, [values[at] for at in shown]) for name, values in columns.items()]
    if count > MAX_ROWS:
        for column in made:
            column.cells.insert(MAX_ROWS - 4, "…")
    measured = [any(isinstance(each, float) for each in values) for values in columns.values()]
    keys = measured.index(True) if True in measured else len(measured) - 1
    print_columns(made, console, keys)
    if count > MAX_ROWS:
        console.print(f"{count:,} rows; --out FILE writes them all.")


def _text_column(name: str, values: list) -> _terminal.TextColumn:
    if any(isinstance(each, float) for each in values):
        return _terminal.TextColumn(name, align_numbers(values, 6))
    numbers = all(isinstance(each, int) for each in values)
    return _terminal.TextColumn(
        name, ["" if each is None else str(each) for each in values], numbers
    )


def write_table(columns: dict[str, list], path: str | os.PathLike) -> Path:
    """Write a table to a ``.csv``, ``.parquet`` or ``.json`` file, whole or not at all.

    Raises:
        InputError: the path ends otherwise.
        OutputError: the folder cannot be written.

    Examples:
        >>> from legato import report
        >>> path = report.write_table({"step": [1, 2], "load": [0.5, 0.25]}, "table.csv")
        >>> path.read_text().splitlines()
        ['step,load', '1,0.5', '2,0.25']
    """
    import polars

    frame = polars.DataFrame(columns, strict=False)
    writers = {
        ".csv": frame.write_csv,
        ".parquet": frame.write_parquet,
        ".json": frame.write_json,
    }
    suffix = Path(path).suffix
    if suffix not in writers:
        raise InputError(
            f"The path of a table is {os.fspath(path)!r}; it must end in .csv, .parquet or .json."
        )
    return write_whole(path, writers[suffix])
