"""Sentences and tables of the page on a trained model, computed from it and from the data."""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from legato import Diagnostics, Forecast, Sequences, Trained
from legato._platform.wording import counted, listed
from legato.report._terminal import TextColumn, align_numbers, make_printable
from legato.report._trained_text import score_table

MAX_ROWS, EACH_END = 15, 5  # of a table of sequences; rows at each end of a longer one
MAX_COLUMNS, MAX_AHEAD = 40, 48  # rows of the table of columns, and of that of a forecast


class PageTable(NamedTuple):
    """A table: its caption, headings, and rows whose first cell names them."""

    caption: str
    headings: tuple[str, ...]
    rows: Sequence[tuple[str | Markup, ...]]


def page_title(trained: Trained) -> str:
    """What the model predicts."""
    targets = listed(column.name for column in trained.task.targets)
    if trained.is_text:
        return "A model of a text"
    words = {"forecast": "Forecasts of", "classify": "Classes of", "generate": "Next labels of"}
    return f"{words[trained.task.kind]} {make_printable(targets)}"


def scores_table(scores: dict[str, Any]) -> PageTable:
    """The model's scores and those of the baselines."""
    caption, columns = score_table(scores)
    return _page_table(caption, columns)


def columns_table(sequences: Sequences) -> PageTable:
    """Each column: what it holds, how many of its values were filled in, and its range."""
    rows = []
    for at, column in enumerate(sequences.columns[:MAX_COLUMNS]):
        values = sequences.values[:, at]
        gone = f"{sequences.filled_in([column.name]).sum():,}"
        if column.is_numeric:
            found = [values.min(), values.mean(), values.max()]
            rows.append((column.name, "quantities", gone, *(f"{each:,.4g}" for each in found)))
        else:
            count = len(np.unique(values))
            rows.append((column.name, counted(count, "label"), gone, "", "", ""))
    shown = ""
    if len(sequences.columns) > MAX_COLUMNS:
        shown = f", the first {MAX_COLUMNS} of {len(sequences.columns):,}"
    headings = ("column", "holds", "filled in", "least", "mean", "largest")
    return PageTable(f"Columns{shown}", headings, rows)


def describe_extent(sequences: Sequences) -> str:
    """A sentence on how many sequences and steps there are, and over which times."""
    many = counted(len(sequences), "sequence")
    shortest, longest = int(sequences.lengths.min()), int(sequences.lengths.max())
    spread = f"{longest:,}" if shortest == longest else f"{shortest:,} to {longest:,}"
    text = f"{sequences.source}: {many} of {spread} time steps"
    if sequences.times is None:
        return f"{text}, without times."
    ends = sequences.format_times(np.array([sequences.times.min(), sequences.times.max()]))
    text = f"{text}, {ends[0]} to {ends[1]}"
    spacing = sequences.spacing
    if spacing is None:
        return f"{text}."
    if not spacing.is_regular:
        return f"{text}, at irregular times."
    gaps = int(spacing.gaps.sum())
    with_gaps = f", with {counted(gaps, 'gap')}" if gaps else ""
    return f"{text}, {spacing} apart{with_gaps}."


def sequences_table(found: Diagnostics) -> tuple[str, PageTable] | None:
    """The error in each sequence beside that of the best baseline; None for one sequence."""
    if found.errors is None or len(found.sequences) == 1:
        return None
    best = found.scores["best_baseline"]
    model, beside = (found.errors.by_sequence[name] for name in ("model", best))
    order = sorted(model, key=lambda at: -relative_error(model[at], beside[at]))
    ahead = sum(model[at] < beside[at] for at in order)
    sentence = (
        f"The model's error is smaller than that of {best} in {ahead:,} of "
        f"{counted(len(order), 'scored sequence')}."
    )
    shown, caption = (
        order,
        "Mean absolute error by sequence, the worst relative to the baseline first",
    )
    if len(order) > MAX_ROWS:
        middle = len(order) // 2
        shown = [*order[:EACH_END], *order[middle - 1 : middle + 2], *order[-EACH_END:]]
        caption += f": {len(shown)} of {len(order):,}, from both ends and the middle"
    numbers = [align_numbers([each[at] for at in shown], 4) for each in (model, beside)]
    rows = [
        (
            make_printable(found.sequences.names[at]),
            f"{found.sequences.lengths[at]:,}",
            *cells,
            f"{relative_error(model[at], beside[at]):.2f}",
        )
        for at, *cells in zip(shown, *numbers, strict=True)
    ]
    return sentence, PageTable(caption, ("sequence", "steps", "model", best, "relative"), rows)


def relative_error(error: float, baseline: float) -> float:
    """An error divided by a baseline's; infinite for a baseline without error."""
    if baseline > 0:
        return error / baseline
    return 1.0 if error == 0 else float("inf")


def ahead_table(forecast: Forecast, chosen: Sequence[int]) -> PageTable:
    """The forecasts of some sequences as a table, of each up to ``MAX_AHEAD`` steps."""
    columns = forecast.columns()
    steps = forecast.values.shape[1]
    rows = [at * steps + step for at in chosen for step in range(min(steps, MAX_AHEAD))]
    measured = {
        name: align_numbers([values[at] for at in rows], 6)
        if any(isinstance(each, float) for each in values)
        else [make_printable(str(values[at])) for at in rows]
        for name, values in columns.items()
    }
    shown = "" if steps <= MAX_AHEAD else f", the first {MAX_AHEAD} of {steps:,} steps"
    cells = [*zip(*measured.values(), strict=True)]
    return PageTable(f"The forecasts as a table{shown}", tuple(measured), cells)


def describe_coverage(found: Diagnostics) -> str:
    """A sentence on how many of the values lie within the intervals."""
    if found.ends is None or found.backtest is None:
        return ""
    parts = []
    for level, (low, high) in zip(Forecast.levels, found.ends, strict=False):
        if not np.isnan(low).all():
            within = (found.backtest.actual >= low) & (found.backtest.actual <= high)
            share = f"{100 * within.mean():.0f} %"
            parts.append(f"{share} {'' if parts else 'lie '}within the {100 * level:g} % interval")
    if not parts:
        return ""
    count = counted(len(found.backtest.t), "origin")
    return f"Of the values forecast from {count}, {listed(parts)}."


def lead_table(scores: dict[str, Any]) -> PageTable:
    """The mean absolute error by step ahead."""
    rows = {"model": scores["model"], **scores["baselines"]}
    cells = [align_numbers(row["mae_by_lead"][:MAX_AHEAD], 4) for row in rows.values()]
    leads = [(f"{at + 1}", *row) for at, row in enumerate(zip(*cells, strict=True))]
    return PageTable("Mean absolute error by step ahead", ("steps ahead", *rows), leads)


def members_tables(target: dict[str, Any]) -> tuple[PageTable, PageTable]:
    """The members of an ensemble: those that were chosen, by weight, and the others, by error."""
    members = sorted(target["members"], key=lambda each: (-each["weight"], each["mae"]))
    whole, *errors = align_numbers([target["mae"], *(each["mae"] for each in members)], 4)
    longest = 2.5 * target["mae"] or 1.0
    chosen, others = [], []
    for each, error in zip(members, errors, strict=True):
        size = each["mae"] / longest
        if each["weight"]:
            weight = f"{100 * each['weight']:.0f} %"
            chosen.append((each["name"], weight, error, _bar(size, "cool")))
        else:
            others.append((each["name"], error, _bar(size, "muted")))
    chosen.append(("the ensemble", "100 %", whole, _bar(target["mae"] / longest, "ink")))
    name, error = make_printable(target["target"]), "MAE in the backtest"
    return (
        PageTable(f"Members chosen for {name}", ("member", "weight", error, ""), chosen),
        PageTable(f"Members left out for {name}", ("member", error, ""), others),
    )


def label_members_table(found: dict[str, Any]) -> PageTable:
    """The members of an ensemble that labels sequences, by weight."""
    members = sorted(found["members"], key=lambda each: (-each["weight"], -each["accuracy"]))
    total = sum(each["weight"] for each in members) or 1.0
    rows = [
        (
            each["name"],
            f"{100 * each['weight'] / total:.0f} %" if each["weight"] else "left out",
            f"{100 * each['accuracy']:.1f} %",
            _bar(each["accuracy"], "cool" if each["weight"] else "muted"),
        )
        for each in members
    ]
    return PageTable("Members", ("member", "weight", "right alone", ""), rows)


def _bar(share: float, colour: str) -> Markup:
    """A bar in a table's cell; cut off, with an open end, where it is longer than the cell."""
    width = min(share, 1.0) * 120
    cut = '<path d="M116 -1 l6 10 M110 -1 l6 10" stroke="var(--ground)" stroke-width="2"/>'
    return Markup(
        f'<svg class="bar" viewBox="0 0 124 8" aria-hidden="true"><rect width="{width:.1f}" '
        f'height="8" fill="var(--{colour})" opacity="0.7"/>{cut if share > 1 else ""}</svg>'
    )


def describe_season(known: dict[str, Any]) -> str:
    """Where the season comes from."""
    season = known["season"]
    if "season" in known.get("options", {}):
        return "as given" + (f", {counted(season, 'step')}" if season else ", none")
    if season is None:
        return "none: neither the times nor the values suggest one"
    spacing = known["data"]["spacing"]
    reason = f"by times {spacing} apart" if known["data"]["times"] and spacing else "by the values"
    return f"{counted(season, 'step')}, {reason}"


def describe_options(known: dict[str, Any]) -> str:
    """The options that were given for the training."""
    given = known.get("options")
    if given is None:
        return "not recorded: the file was written by an earlier version"
    if not given:
        return "none: all as by default"
    return ", ".join(f"{name} = {_shown_value(value)}" for name, value in given.items())


def _shown_value(value: Any) -> str:
    if isinstance(value, list):
        return listed(map(str, value))
    return ("no", "yes")[value] if isinstance(value, bool) else str(value)


def _page_table(caption: str, columns: Iterable[TextColumn]) -> PageTable:
    columns = [*columns]
    rows = [*zip(*(column.cells for column in columns), strict=True)]
    return PageTable(caption, tuple(column.heading for column in columns), rows)
