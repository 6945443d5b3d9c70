"""Scores of several groups as a picture: a strip a group, a dot a seed, the mean below."""

from collections.abc import Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import FigureBase
from matplotlib.ticker import MaxNLocator

import legato
from legato.alphabet import Answer, Group
from legato.report._answer_text import scale_of
from legato.report._panels import (
    COOL,
    GROUND,
    INK,
    MUTED,
    RULE,
    SMALL,
    TEXT,
    Panel,
    name_axes,
    tidy,
)
from legato.report._terminal import plain, shortened

_STRIP, _BELOW = 0.7, 0.42  # inches
_MOST_NAME = 52
_MOST_APART = 12  # dots on each other that an edge can tell apart
_SPREAD = 0.25  # of a strip, to either side of its middle


def strips(answer: Answer, name: str) -> Panel:
    """The scores of an answer's groups.

    Args:
        answer: one with groups.
        name: of the picture.
    """
    question, groups = answer.question, answer.found.groups
    told = f"{question.what} of each seed. " + " ".join(told_of(each, answer) for each in groups)
    height = _BELOW + _STRIP * len(groups)
    return Panel(name, question.name, told, height, lambda drawn: _draw(drawn, answer))


def mean_of(group: Group, unit: str) -> legato.Interval | None:
    """The mean with its interval, if there are two seeds and every score is a number."""
    if len(group.scores) > 1 and np.isfinite(group.scores).all():
        return legato.interval(group.scores, unit=unit)
    return None


def told_of(group: Group, answer: Answer) -> str:
    """A group's scores in a sentence; those that are no numbers are told, and not averaged."""
    scores = np.asarray(group.scores)
    wrong = int((~np.isfinite(scores)).sum())
    if wrong:
        return f"{group.name}: {wrong} of {len(scores)} scores are not finite, so no mean is told."
    mean = mean_of(group, answer.question.unit)
    return f"{group.name}: {mean or _alone(scores, answer.question.unit)}"


def _alone(scores: np.ndarray, unit: str) -> str:
    """One score, or none."""
    if not len(scores):
        return "no scores."
    return f"{scale_of(unit) * scores[0]:.4g}{f' {unit}' if unit else ''}, one score."


def _draw(drawn: FigureBase, answer: Answer) -> None:
    axes = drawn.subplots()
    question, groups = answer.question, answer.found.groups
    tidy(axes, "bottom")
    low, high = _ends(groups, question.unit)
    axes.set(xlim=(low, high), ylim=(len(groups) - 0.45, -0.55), yticks=[])
    axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    for at, group in enumerate(groups):
        _draw_strip(axes, at, group, question.unit)
    unit = "" if question.unit == question.what else question.unit
    words = f"{question.what}, {unit}" if unit else question.what
    name_axes(axes, shortened(plain(words), _MOST_NAME))


def _ends(groups: Sequence[Group], unit: str) -> tuple[float, float]:
    """Of the axis: all that is drawn, and some room."""
    found = [scale_of(unit) * np.asarray(group.scores, float) for group in groups]
    for group in groups:
        mean = mean_of(group, unit)
        if mean is not None and mean.low is not None:
            found.append(scale_of(unit) * np.array([mean.low, mean.high]))
    every = np.concatenate(found)
    every = every[np.isfinite(every)]
    if not len(every):
        return 0.0, 1.0
    low, high = float(every.min()), float(every.max())
    room = 0.05 * (high - low) or 0.05 * abs(high) or 0.5
    low, high = low - room, high + room
    return low, min(high, 100 + 0.03 * (100 - low)) if unit == "%" else high


def _draw_strip(axes: Axes, at: int, group: Group, unit: str) -> None:
    scores = scale_of(unit) * np.sort(np.asarray(group.scores, float))
    scores = scores[np.isfinite(scores)]
    low, high = axes.get_xlim()
    axes.axhline(at, color=RULE, lw=0.6, zorder=0)
    axes.text(
        low,
        at - 0.38,
        shortened(plain(group.name), _MOST_NAME),
        fontsize=TEXT,
        color=INK,
        va="center",
        parse_math=False,
    )
    heights = at - _SPREAD * _stacked(scores, (high - low) / 45)
    edge = 0.5 if len(scores) <= _MOST_APART else 0.0
    axes.plot(scores, heights, "o", color=COOL, ms=4, mec=GROUND, mew=edge, clip_on=False)
    wrong = len(group.scores) - len(scores)
    if wrong:
        words = f"{wrong} of {len(group.scores)} not finite"
        axes.text(high, at + 0.34, words, fontsize=SMALL, color=MUTED, ha="right", va="center")
    mean = mean_of(group, unit)
    if mean is None:
        return
    if mean.low is not None and mean.high is not None:
        ends = scale_of(unit) * np.array([mean.low, mean.high])
        axes.plot(ends, [at + 0.34] * 2, color=INK, lw=1.2, solid_capstyle="butt", clip_on=False)
    axes.plot(scale_of(unit) * mean.mean, at + 0.34, "d", color=INK, ms=4, mew=0, clip_on=False)


def _stacked(scores: np.ndarray, width: float) -> np.ndarray:
    """Where dots stand that would lie on each other: -1 to 1; scores in order."""
    bins = np.floor((scores - scores[:1].sum()) / width).astype(int)
    _, places, counts = np.unique(bins, return_inverse=True, return_counts=True)
    firsts = np.concatenate([[0], np.cumsum(counts)])[:-1]
    rank = np.arange(len(scores)) - firsts[places] - (counts[places] - 1) / 2
    return rank * np.minimum(0.25, 2 / np.maximum(counts[places] - 1, 1))
