"""What a page says of the six networks: sentences and cells, each taken from the numbers."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

import legato
from legato._platform.wording import listed
from legato.alphabet import Answer, Look, Outcome, letter_after
from legato.report._network_tables import by_network, percent

SIGNS = {"holds": "✓", "holds in part": "◐", "does not hold": "✗", "undecided": "?"}
_DIGITS = 4  # of the published shares of 1


class Row(NamedTuple):
    """A network in the table; every number as it is told."""

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


class Reply(NamedTuple):
    """What a network answered; ``right`` is told only where it should have answered otherwise."""

    asked: str
    answer: str
    right: str


def seeds_of(outcomes: Sequence[Outcome]) -> str:
    """'seeds 7–16', or 'seed 7'."""
    seeds = sorted({run.seed for run in outcomes})
    if len(seeds) == 1:
        return f"seed {seeds[0]}"
    if seeds == list(range(seeds[0], seeds[-1] + 1)):
        return f"seeds {seeds[0]}–{seeds[-1]}"
    return f"seeds {listed(map(str, seeds))}"


# The six beside what was published.


def headline(outcomes: Sequence[Outcome]) -> tuple[str, str]:
    """What was done, and how it compares with what was published."""
    networks = by_network(outcomes)
    several = "Six" if len(networks) == 6 else f"{len(networks)} of six"
    plural = "s" if len(networks) > 1 else ""
    done = (
        f"{several} small LSTM network{plural} learnt which letter of the alphabet comes next, "
        f"under {seeds_of(outcomes)}; they were published with one run each."
    )
    places: dict[str, list[str]] = {"within": [], "below": [], "above": [], "unknown": []}
    for runs in networks:
        places[_place(runs)].append(runs[0].network.name)
    one = len(outcomes) == len(networks)
    told = {
        "within": "equals the one here for" if one else "lies within what the seeds gave for",
        "below": "is lower for" if one else "is below what any seed gave for",
        "above": "is higher for" if one else "is above what any seed gave for",
        "unknown": "cannot be compared, as one here is no number, for",
    }
    said = [
        f"{told[place]} {'all six' if len(names) == 6 else listed(names)}"
        for place, names in places.items()
        if names
    ]
    return done, f"The published accuracy {'; it '.join(said)}."


def _place(runs: Sequence[Outcome]) -> str:
    """Where the published accuracy lies beside those here."""
    scores = np.round([run.accuracy for run in runs], _DIGITS)
    published = round(runs[0].network.published_accuracy, _DIGITS)
    if not np.isfinite(scores).all():
        return "unknown"
    if published < scores.min():
        return "below"
    return "above" if published > scores.max() else "within"


def rows(outcomes: Sequence[Outcome]) -> list[Row]:
    """The table of the networks."""
    return [_row(runs) for runs in by_network(outcomes)]


def _row(runs: Sequence[Outcome]) -> Row:
    network = runs[0].network
    scores = np.array([run.accuracy for run in runs])
    return Row(
        network.number,
        network.name,
        network.title,
        percent(network.published_accuracy),
        *_accuracy(scores),
        f"{np.median([run.steps_per_s for run in runs]):,.0f}",
        f"{sum(run.seconds for run in runs):.1f} s",
    )


def _accuracy(scores: np.ndarray) -> tuple[str, str, str, str, str]:
    """Mean, its interval, range, how many are 1, what share of all seeds may be."""
    wrong = int((~np.isfinite(scores)).sum())
    if wrong:
        return f"not finite in {wrong} of {len(scores)}", "–", "–", "–", "–"
    whole = f"{(scores == 1).sum()} of {len(scores)}"
    if len(scores) == 1:
        return percent(scores[0]), "–", "–", whole, "–"
    mean, share = legato.interval(scores, unit="%"), legato.proportion(scores == 1)
    ends = "no spread"
    if mean.low is not None and mean.high is not None:
        ends = f"{100 * mean.low:.1f}–{100 * mean.high:.1f} %"
    return (
        f"{100 * mean.mean:.2f} ± {100 * mean.deviation:.2f} %",
        ends,
        _range(100 * scores),
        whole,
        f"{100 * share.low:.0f}–{100 * share.high:.0f} %",
    )


def _range(scores: np.ndarray) -> str:
    low, high = f"{scores.min():.1f}", f"{scores.max():.1f} %"
    return high if high == f"{low} %" else f"{low}–{high}"


def replies(lines: Sequence[tuple[str, str]]) -> list[Reply]:
    """Each answer, and the right one beside a wrong one."""
    rights = [letter_after(asked) for asked, _ in lines]
    return [
        Reply(asked, answer, "" if answer == right else right)
        for (asked, answer), right in zip(lines, rights, strict=True)
    ]


def not_finite(runs: Sequence[Outcome]) -> list[str]:
    """Which seeds' losses or accuracies stop being numbers, and when."""
    told = []
    for run in runs:
        for name, values in run.history.items():
            wrong = np.flatnonzero(~np.isfinite(values))
            if len(wrong):
                told.append(
                    f"Seed {run.seed}: the {name} is not finite in {len(wrong):,} of "
                    f"{len(values):,} epochs, first in epoch {wrong[0] + 1}; neither line nor band "
                    "is drawn there."
                )
    return told


# Inside.


def flows(look: Look) -> str:
    """What is seen in an influence map."""
    matrix, network = look.influence.matrix, look.network
    earlier = matrix[np.tril_indices(len(matrix), -1)]
    later = matrix[np.triu_indices(len(matrix), 1)]
    others = len(earlier) + len(later)
    zeros = int((earlier == 0).sum() + (later == 0).sum())
    if zeros == others:
        together = min(network.batch_size, len(matrix))
        beside = f", though {together} samples stand in one batch" if together > 1 else ""
        return (
            f"Exactly 0 off the diagonal, {zeros} of {others}: nothing flows from sample to "
            f"sample{beside}."
        )
    if (earlier > 0).all() and not later.any():
        return (
            f"Above 0 for all {len(earlier)} pairs of a prediction and an earlier sample, exactly "
            f"0 for all {len(later)} of a later one: each prediction depends on everything "
            f"earlier. {_largest(matrix)}"
        )
    return (
        f"Off the diagonal {zeros} of {others} are exactly 0; above 0 are {(earlier > 0).sum()} of "
        f"{len(earlier)} of earlier samples and {(later > 0).sum()} of {len(later)} of later ones."
    )


def _largest(matrix: np.ndarray) -> str:
    """How often a prediction depends most on its own sample."""
    own = int((matrix.argmax(axis=1) == np.arange(len(matrix))).sum())
    return f"Its own sample has the largest influence in {own} of {len(matrix)} predictions."


def holds(look: Look) -> str:
    """What is seen in the states."""
    h, c = look.held["h"], look.held["c"]
    saturated = int((np.abs(h) > 0.95).sum())
    return (
        f"h reaches {np.abs(h).max():.3f}, c {np.abs(c).max():.2f} in size; "
        f"{100 * saturated / h.size:.0f} % of h is beyond 0.95."
    )


# The questions.


def tally(found: Sequence[Answer]) -> str:
    """How many of the claims hold."""
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
    said = [f"{count} {words[each][count > 1]}" for each, count in counts.items() if count]
    several = f"Of {len(found)} claims" if len(found) > 1 else "Of one claim"
    return f"{several} {listed(said)}."
