"""Sentences and table cells of the page on the six networks, computed from the results."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

import legato
from legato._platform.wording import listed
from legato.alphabet import Answer, Look, Outcome, letter_after
from legato.report._network_tables import format_percent, group_by_network

VERDICT_SIGNS = {"holds": "✓", "holds in part": "◐", "does not hold": "✗", "undecided": "?"}
_DIGITS = 4  # of the published shares of 1


class NetworkRow(NamedTuple):
    """A network in the table, with its numbers as text."""

    number: int
    name: str
    title: str
    published: str
    here: str
    interval: str
    spread: str
    whole: str
    share: str
    steps_per_s: str
    seconds: str


class CheckedPrediction(NamedTuple):
    """A predicted letter; ``expected`` is empty if the prediction is right."""

    pattern: str
    predicted: str
    expected: str


def format_seeds(outcomes: Sequence[Outcome]) -> str:
    """'seeds 7–16', or 'seed 7'."""
    seeds = sorted({run.seed for run in outcomes})
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]}–{seeds[-1]}"
    return f"seeds {listed(map(str, seeds))}"


# The six networks and their published accuracies.


def headline(outcomes: Sequence[Outcome]) -> tuple[str, str]:
    """Two sentences: what was trained, and how it compares with the published accuracies."""
    networks = group_by_network(outcomes)
    several = "Six" if len(networks) == 6 else f"{len(networks)} of six"
    plural = "s" if len(networks) > 1 else ""
    done = (
        f"{several} small LSTM network{plural} learnt to predict the next letter of the alphabet, "
        f"under {format_seeds(outcomes)}; they were published with one run each."
    )
    places: dict[str, list[str]] = {"within": [], "below": [], "above": [], "unknown": []}
    for runs in networks:
        places[_compare_with_published(runs)].append(runs[0].network.name)
    one = len(outcomes) == len(networks)
    words = {
        "within": "equals the accuracy here for" if one else "is within the range of the seeds for",
        "below": "is lower for" if one else "is below the range of the seeds for",
        "above": "is higher for" if one else "is above the range of the seeds for",
        "unknown": "cannot be compared, because an accuracy here is not finite, for",
    }
    parts = [
        f"{words[place]} {'all six' if len(names) == 6 else listed(names)}"
        for place, names in places.items()
        if names
    ]
    return done, f"The published accuracy {'; it '.join(parts)}."


def _compare_with_published(runs: Sequence[Outcome]) -> str:
    """Where the published accuracy is, relative to those here."""
    scores = np.round([run.accuracy for run in runs], _DIGITS)
    published = round(runs[0].network.published_accuracy, _DIGITS)
    if not np.isfinite(scores).all():
        return "unknown"
    if published < scores.min():
        return "below"
    return "above" if published > scores.max() else "within"


def table_rows(outcomes: Sequence[Outcome]) -> list[NetworkRow]:
    """The table of the networks."""
    return [_table_row(runs) for runs in group_by_network(outcomes)]


def _table_row(runs: Sequence[Outcome]) -> NetworkRow:
    network = runs[0].network
    scores = np.array([run.accuracy for run in runs])
    return NetworkRow(
        network.number,
        network.name,
        network.title,
        format_percent(network.published_accuracy),
        *_accuracy_cells(scores),
        f"{np.median([run.steps_per_s for run in runs]):,.0f}",
        f"{sum(run.seconds for run in runs):.1f} s",
    )


def _accuracy_cells(scores: np.ndarray) -> tuple[str, str, str, str, str]:
    """Mean, its interval, range, number of seeds at 1, and the interval of their share."""
    wrong = int((~np.isfinite(scores)).sum())
    if wrong:
        return f"not finite in {wrong} of {len(scores)}", "–", "–", "–", "–"
    whole = f"{(scores == 1).sum()} of {len(scores)}"
    if len(scores) == 1:
        return format_percent(scores[0]), "–", "–", whole, "–"
    mean, share = legato.interval(scores, unit="%"), legato.proportion(scores == 1)
    ends = "no spread"
    if mean.low is not None and mean.high is not None:
        ends = f"{100 * mean.low:.1f}–{100 * mean.high:.1f} %"
    return (
        f"{100 * mean.mean:.2f} ± {100 * mean.deviation:.2f} %",
        ends,
        _format_range(100 * scores),
        whole,
        f"{100 * share.low:.0f}–{100 * share.high:.0f} %",
    )


def _format_range(scores: np.ndarray) -> str:
    low, high = f"{scores.min():.1f}", f"{scores.max():.1f} %"
    return high if high == f"{low} %" else f"{low}–{high}"


def check_predictions(lines: Sequence[tuple[str, str]]) -> list[CheckedPrediction]:
    """Each predicted letter, with the expected one if they differ."""
    expected = [letter_after(pattern) for pattern, _ in lines]
    return [
        CheckedPrediction(pattern, predicted, "" if predicted == letter else letter)
        for (pattern, predicted), letter in zip(lines, expected, strict=True)
    ]


def describe_not_finite(runs: Sequence[Outcome]) -> list[str]:
    """Sentences on seeds whose loss or accuracy is not finite in some epochs."""
    sentences = []
    for run in runs:
        for name, values in run.history.items():
            wrong = np.flatnonzero(~np.isfinite(values))
            if len(wrong):
                sentences.append(
                    f"Seed {run.seed}: the {name} is not finite in {len(wrong):,} of "
                    f"{len(values):,} epochs, first in epoch {wrong[0] + 1}; neither line nor band "
                    "is drawn there."
                )
    return sentences


# Influence and states.


def describe_influence(look: Look) -> str:
    """A sentence on an influence map."""
    matrix, network = look.influence.matrix, look.network
    earlier = matrix[np.tril_indices(len(matrix), -1)]
    later = matrix[np.triu_indices(len(matrix), 1)]
    others = len(earlier) + len(later)
    zeros = int((earlier == 0).sum() + (later == 0).sum())
    if zeros == others:
        together = min(network.batch_size, len(matrix))
        batched = f", though {together} samples are in one batch" if together > 1 else ""
        return (
            f"All {others} influences between different samples are exactly 0: no prediction "
            f"depends on another sample{batched}."
        )
    if (earlier > 0).all() and not later.any():
        return (
            f"All {len(earlier)} influences of an earlier sample are above 0, all {len(later)} of "
            f"a later sample are exactly 0: each prediction depends on everything earlier. "
            f"{_count_own_largest(matrix)}"
        )
    return (
        f"{zeros} of {others} influences between different samples are exactly 0; above 0 are "
        f"{(earlier > 0).sum()} of {len(earlier)} of earlier samples and {(later > 0).sum()} of "
        f"{len(later)} of later ones."
    )


def _count_own_largest(matrix: np.ndarray) -> str:
    """A sentence on how many predictions depend most on their own sample."""
    own = int((matrix.argmax(axis=1) == np.arange(len(matrix))).sum())
    return f"Its own sample has the largest influence in {own} of {len(matrix)} predictions."


def describe_states(look: Look) -> str:
    """A sentence on the sizes of h and c."""
    h, c = look.held["h"], look.held["c"]
    saturated = int((np.abs(h) > 0.95).sum())
    return (
        f"The largest size of h is {np.abs(h).max():.3f}, that of c {np.abs(c).max():.2f}; "
        f"{100 * saturated / h.size:.0f} % of the values of h are beyond ±0.95."
    )


# The questions.


def count_verdicts(found: Sequence[Answer]) -> str:
    """A sentence on how many claims hold."""
    counts = {
        verdict: sum(each.found.verdict == verdict for each in found)
        for verdict in ("holds", "holds in part", "does not hold", "undecided")
    }
    words = {
        "holds": ("holds", "hold"),
        "holds in part": ("holds in part", "hold in part"),
        "does not hold": ("does not hold", "do not hold"),
        "undecided": ("is undecided", "are undecided"),
    }
    parts = [f"{count} {words[each][count > 1]}" for each, count in counts.items() if count]
    several = f"Of {len(found)} claims" if len(found) > 1 else "Of one claim"
    return f"{several} {listed(parts)}."
