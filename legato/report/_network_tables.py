"""Outcomes of the six networks as text: one table, and each network's answers as letters."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from rich.console import Console
from rich.table import Table

from legato.alphabet import Outcome, letter_after


def by_network(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    """Outcomes of one network beside each other."""
    return [list(each) for _, each in groupby(outcomes, key=lambda one: one.network.number)]


def table(outcomes: Sequence[Outcome]) -> Table:
    """Published accuracy beside the accuracy here, steps a second, seconds; a row a network."""
    several = max((len(each) for each in by_network(outcomes)), default=1) > 1
    made = Table(
        title="Accuracy on the training set",
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    spread = ["mean ± sd", "range", "at 100 %"] if several else ["here"]
    made.add_column("network", no_wrap=True)
    for heading in ["published", *spread, "steps/s", "seconds"]:
        made.add_column(heading, justify="right", no_wrap=True)
    for runs in by_network(outcomes):
        network = runs[0].network
        scores = np.array([run.accuracy for run in runs])
        made.add_row(
            f"{network.number} {network.name}",
            percent(network.published_accuracy),
            *(_spread(scores) if several else [percent(scores[0])]),
            f"{np.median([run.steps_per_s for run in runs]):,.0f}",
            f"{sum(run.seconds for run in runs):.1f}",
        )
    return made


def _spread(scores: np.ndarray) -> list[str]:
    deviation = scores.std(ddof=1) if len(scores) > 1 else 0.0
    return [
        f"{100 * scores.mean():.2f} ± {100 * deviation:.2f} %",
        f"{100 * scores.min():.1f}–{100 * scores.max():.1f}",
        f"{(scores == 1).sum()} of {len(scores)}",
    ]


def percent(share: float) -> str:
    """0.84 → '84.00 %'."""
    return f"{100 * share:.2f} %"


def print_answers(outcomes: Sequence[Outcome], console: Console) -> None:
    """Each network's answers, of its first run, with the letters that should have come instead."""
    for runs in by_network(outcomes):
        run = runs[0]
        console.print()
        console.print(
            f"[bold]{run.network.number} {run.network.name}[/] · {run.network.title} · "
            f"seed {run.seed}\n  published: {run.network.published_behaviour}"
        )
        for heading, lines in run.answers.items():
            console.print(f"  {heading}:")
            console.print(_paragraph([_told(asked, answer) for asked, answer in lines]))


def _told(asked: str, answer: str) -> str:
    """An answer, and the right one beside a wrong one."""
    right = letter_after(asked)
    return f"{asked} → {answer}" + ("" if answer == right else f" [red]✗[/] {right}")


def _paragraph(items: Sequence[str], columns: int = 6) -> str:
    """Items in rows of a few, aligned by what is seen of them."""
    seen = [len(item.replace("[red]", "").replace("[/]", "")) for item in items]
    width = max(seen, default=0) + 3
    padded = [item + " " * (width - length) for item, length in zip(items, seen, strict=True)]
    rows = [padded[at : at + columns] for at in range(0, len(padded), columns)]
    return "\n".join("    " + "".join(row).rstrip() for row in rows)
