"""Scores of several groups as a strip plot: a strip per group, a dot per seed, the mean below."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

import legato
from legato.alphabet import Answer, Group
from legato.report._answer_text import display_scale
from legato.report._panels import (
    COOL,
    GROUND,
    INK,
    MUTED,
    RULE,
    SMALL,
    TEXT,
    Panel,
    label_axes,
    style_axes,
)
from legato.report._terminal import make_printable, shorten

_STRIP, _BELOW = 0.7, 0.42  # inches
_MAX_NAME = 52
_MAX_EDGED = 12  # dots of a strip up to which each has an edge
_SPREAD = 0.25  # of a strip's height, to either side of its middle


def strip_panel(answer: Answer, name: str) -> Panel:
    """Plot the scores of an answer's groups.

    Args:
        answer: an answer with groups.
        name: of the panel.
    """
    question, groups = answer.question, answer.found.groups
    description = f"{question.what} of each seed. " + " ".join(
        describe_group(each, answer) for each in groups
    )
    height = _BELOW + _STRIP * len(groups)
    return Panel(name, question.name, description, height, lambda fig: _draw(fig, answer))


def mean_with_interval(group: Group, unit: str) -> legato.Interval | None:
    """The mean with its interval, if there are two seeds or more and all scores are finite."""
    if len(group.scores) > 1 and np.isfinite(group.scores).all():
        return legato.interval(group.scores, unit=unit)
    return None


def describe_group(group: Group, answer: Answer) -> str:
    """A group's scores in a sentence; no mean if some are not finite."""
    scores = np.asarray(group.scores)
    wrong = int((~np.isfinite(scores)).sum())
    if wrong:
        return f"{group.name}: {wrong} of {len(scores)} scores are not finite, so no mean is shown."
    mean = mean_with_interval(group, answer.question.unit)
    if mean is None:
        return f"{group.name}: {_describe_single(scores, answer.question.unit)}"
    return f"{group.name}: {mean.as_numbers()['sentence']}"


def _describe_single(scores: np.ndarray, unit: str) -> str:
    """A single score, or none, in words."""
    if not len(scores):
        return "no scores."
    return f"{display_scale(unit) * scores[0]:.4g}{f' {unit}' if unit else ''}, one score."


def _draw(fig: FigureBase, answer: Answer) -> None:
    axes = fig.subplots()
    question, groups = answer.question, answer.found.groups
    style_axes(axes, "bottom")
    low, high = _axis_limits(groups, question.unit)
    axes.set(xlim=(low, high), ylim=(len(groups) - 0.45, -0.55), yticks=[])
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    for at, group in enumerate(groups):
        _draw_strip(axes, at, group, question.unit)
    unit = "" if question.unit == question.what else question.unit
    words = f"{question.what}, {unit}" if unit else question.what
    label_axes(axes, shorten(make_printable(words), _MAX_NAME))


def _axis_limits(groups: Sequence[Group], unit: str) -> tuple[float, float]:
    """Limits of the axis: all scores and intervals, and a margin."""
    values = [display_scale(unit) * np.asarray(group.scores, float) for group in groups]
    for group in groups:
        mean = mean_with_interval(group, unit)
        if mean is not None and mean.low is not None:
            values.append(display_scale(unit) * np.array([mean.low, mean.high]))
    every = np.concatenate(values)
    every = every[np.isfinite(every)]
    if not len(every):
        return 0.0, 1.0
    low, high = float(every.min()), float(every.max())
    margin = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    low, high = low - margin, high + margin
    return low, min(high, 100 + 0.03 * (100 - low)) if unit == "%" else high


def _draw_strip(axes: Axes, at: int, group: Group, unit: str) -> None:
    scores = display_scale(unit) * np.sort(np.asarray(group.scores, float))
    scores = scores[np.isfinite(scores)]
    low, high = axes.get_xlim()
    axes.axhline(at, color=RULE, lw=0.6, zorder=0)
    axes.text(
        low,
        at - 0.38,
        shorten(make_printable(group.name), _MAX_NAME),
        fontsize=TEXT,
        color=INK,
        va="center",
        parse_math=False,
    )
    heights = at - _SPREAD * _stack_offsets(scores, (high - low) / 45)
    edge = 0.5 if len(scores) <= _MAX_EDGED else 0.0
    axes.plot(scores, heights, "o", color=COOL, ms=4, mec=GROUND, mew=edge, clip_on=False)
    wrong = len(group.scores) - len(scores)
    if wrong:
        words = f"{wrong} of {len(group.scores)} not finite"
        axes.text(high, at + 0.34, words, fontsize=SMALL, color=MUTED, ha="right", va="center")
    mean = mean_with_interval(group, unit)
    if mean is None:
        return
    if mean.low is not None and mean.high is not None:
        ends = display_scale(unit) * np.array([mean.low, mean.high])
        axes.plot(ends, [at + 0.34] * 2, color=INK, lw=1.2, solid_capstyle="butt", clip_on=False)
    axes.plot(
        display_scale(unit) * mean.mean, at + 0.34, "d", color=INK, ms=4, mew=0, clip_on=False
    )


def _stack_offsets(scores: np.ndarray, width: float) -> np.ndarray:
    """Vertical offsets, -1 to 1, of dots that would overlap; the scores are sorted."""
    bins = np.floor((scores - scores[:1].sum()) / width).astype(int)
    _, places, counts = np.unique(bins, return_inverse=True, return_counts=True)
    firsts = np.concatenate([[0], np.cumsum(counts)])[:-1]
    rank = np.arange(len(scores)) - firsts[places] - (counts[places] - 1) / 2
    return rank * np.minimum(0.25, 2 / np.maximum(counts[places] - 1, 1))
