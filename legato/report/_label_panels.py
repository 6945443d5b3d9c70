"""Plots of predicted labels: confusion, certainty, and examples of each class."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

from legato import Diagnostics, Sequences
from legato.report._panels import (
    COOL,
    INK,
    MUTED,
    PROBABILITY_COLOURS,
    RULE,
    SMALL,
    TEXT,
    WARM,
    WIDTH,
    Panel,
    label_axes,
    style_axes,
    title_axes,
    width_of,
)
from legato.report._series_axis import draw_line, line_of, name_shown, style_time_axis

MAX_CLASSES, MAX_COUNTED = 40, 12  # of a confusion matrix; of one that shows its counts
MAX_EXAMPLE_CLASSES, EXAMPLES = 6, 4  # classes, and sequences of each


def confusion_panel(scores: Mapping[str, Any]) -> Panel | None:
    """The confusion matrix: true classes down, predicted ones across; None for many classes."""
    counts = np.array(scores["confusion"] or [])
    if not counts.size or len(counts) > MAX_CLASSES:
        return None
    classes = [name_shown(each, 10) for each in scores["classes"]]
    right = int(np.trace(counts))
    wrong = counts * (1 - np.eye(len(counts), dtype=int))
    worst = np.unravel_index(int(wrong.argmax()), wrong.shape)
    description = (
        f"Confusion matrix of {len(classes)} classes: {right:,} of {counts.sum():,} right."
    )
    if wrong.any():
        description += (
            f" The most frequent mistake: {wrong[worst]:,} times {classes[worst[1]]} in place of "
            f"{classes[worst[0]]}."
        )

    def draw(fig: FigureBase) -> None:
        axes = fig.subplots()
        shares = counts / counts.sum(1, keepdims=True).clip(1)
        axes.imshow(shares, cmap=PROBABILITY_COLOURS, vmin=0, vmax=1, interpolation="none")
        style_axes(axes)
        for spine in axes.spines.values():
            spine.set(color=RULE, visible=True)
        every = max(1, -(-len(classes) // 20))
        for axis in (axes.xaxis, axes.yaxis):
            axis.set_ticks(range(0, len(classes), every), classes[::every])
            for label in axis.get_ticklabels():
                label.set_parse_math(False)
        if len(classes) > 6 or max(map(len, classes)) > 4:
            axes.tick_params("x", labelrotation=90)
        if len(classes) <= MAX_COUNTED:
            for (row, column), count in np.ndenumerate(counts):
                if count:
                    centre = {"ha": "center", "va": "center", "color": INK, "fontsize": TEXT}
                    axes.text(column, row, f"{count:,}", centre)
        label_axes(axes, "predicted", "true")

    return Panel("confusion", "Confusion", description, 3.2, draw)


def calibration_panel(scores: Mapping[str, Any]) -> Panel | None:
    """The share of right labels by the probability that they were given."""
    bins = scores.get("calibration") or []
    if not bins:
        return None
    total = sum(each["predictions"] for each in bins)
    said = sum(each["probability"] * each["predictions"] for each in bins) / total
    right = sum(each["right"] * each["predictions"] for each in bins) / total
    description = (
        f"Certainty: labels were given a probability of {100 * said:.0f} % on average, and "
        f"{100 * right:.0f} % of them are right."
    )

    def draw(fig: FigureBase) -> None:
        above, below = fig.subplots(2, 1, sharex=True, height_ratios=(2.4, 1))
        x = [100 * each["probability"] for each in bins]
        above.plot([0, 100], [0, 100], color=MUTED, lw=0.7, ls=(0, (1, 1.5)))
        above.plot(x, [100 * each["right"] for each in bins], "o-", color=COOL, ms=4, lw=1)
        above.set(xlim=(0, 102), ylim=(-3, 103), yticks=[0, 50, 100])
        places = [100 * each["from"] + 5 for each in bins]
        below.bar(places, [each["predictions"] for each in bins], 8, color=COOL, alpha=0.5)
        below.yaxis.set_major_locator(MaxNLocator(2, integer=True))
        for axes in (above, below):
            style_axes(axes, "left", "bottom")
        title_axes(above, "right, %", "dotted: as right as certain")
        title_axes(below, "labels")
        label_axes(below, "probability of the predicted label, %")

    return Panel("certainty", "Certainty", description, 2.9, draw)


def recall_rows(scores: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """Each class with how often it occurs, and the share of those that were found."""
    counts = np.array(scores["confusion"] or [])
    there = dict(zip(scores["classes"], counts.sum(1).tolist(), strict=True)) if counts.size else {}
    return [
        (
            name,
            f"{there[name]:,}" if name in there else "",
            "–" if share is None else f"{100 * share:.1f} %",
        )
        for name, share in scores["recall"].items()
    ]


def example_panels(found: Diagnostics, task: Any, column: str) -> list[Panel]:
    """A few sequences of each class: those with a wrong label are red."""
    labels, _ = task.answers_of(found.sequences, lenient=True)
    truth = labels[found.sequences.offsets[1:] - 1]
    answers = found.labels
    assert answers is not None
    predicted = np.full(len(truth), -1)
    predicted[answers.sequence] = answers.label
    panels = []
    for at, name in enumerate(task.labels[:MAX_EXAMPLE_CLASSES]):
        own = np.flatnonzero((truth == at) & (predicted >= 0))
        wrong = own[predicted[own] != at]
        right = own[predicted[own] == at]
        chosen = [*right[: EXAMPLES - min(len(wrong), 2)], *wrong[:2]]
        if chosen:
            panels.append(_example_panel(found.sequences, chosen, wrong, name, column, at))
    return panels


def _example_panel(
    sequences: Sequences, chosen: list, wrong: np.ndarray, name: str, column: str, at: int
) -> Panel:
    mistakes = sum(each in wrong for each in chosen)
    description = (
        f"Line plot of {column} in {len(chosen)} sequences of the class {name}, {mistakes} of "
        "which got a wrong label."
    )

    def draw(fig: FigureBase) -> None:
        axes = fig.subplots()
        lines = [line_of(sequences, int(each), column) for each in chosen]
        lines = [line._replace(x=np.arange(len(line.y)), label="time step") for line in lines]
        for each, line in zip(chosen, lines, strict=True):
            is_wrong = each in wrong
            color, width = (WARM, 1.1) if is_wrong else (COOL, 0.8)
            draw_line(axes, line, color=color, lw=width)
        style_time_axis(axes, lines[-1], WIDTH)
        title_axes(axes, name_shown(column), f"{mistakes} wrong" if mistakes else "")

    return Panel(f"class-{at}", f"{name_shown(name)}", description, 1.7, draw)


def steps_panel(found: Diagnostics, task: Any, column: str) -> Panel:
    """A series with the steps whose label was predicted wrongly."""
    answers = found.labels
    assert answers is not None
    sequence = int(np.bincount(answers.sequence).argmax())
    own = answers.sequence == sequence
    labels, _ = task.answers_of(found.sequences, lenient=True)
    steps = answers.step[own]
    truth = labels[found.sequences.offsets[sequence] + steps]
    wrong = steps[answers.label[own] != truth]
    line = line_of(found.sequences, sequence, column)
    description = (
        f"Line plot of {column}; {len(wrong):,} of {len(steps):,} labels shown are wrong, and "
        "marked."
    )

    def draw(fig: FigureBase) -> None:
        axes = fig.subplots()
        draw_line(axes, line, int(steps.min()), int(steps.max()) + 1)
        low = line.y[steps.min() : steps.max() + 1].min()
        axes.plot(line.x[wrong], np.full(len(wrong), low), "|", color=WARM, ms=6, mew=1)
        style_time_axis(axes, line, width_of(fig))
        title_axes(axes, "", f"{len(wrong):,} of {len(steps):,} wrong")
        axes.tick_params(labelsize=SMALL)

    return Panel("labels-over-time", "Labels over time", description, 2.0, draw)
