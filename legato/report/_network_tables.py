"""Outcomes of the six networks as text: a table of accuracies, and the predicted letters."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
from rich.console import Console
from rich.table import Table

from legato.alphabet import Outcome, letter_after


def group_by_network(outcomes: Sequence[Outcome]) -> list[list[Outcome]]:
    """Lists of adjacent outcomes of one network."""
    return [list(each) for _, each in groupby(outcomes, key=lambda one: one.network.number)]


def table(outcomes: Sequence[Outcome]) -> Table:
    """A table with a row per network: published accuracy, accuracy here, steps per second, time.

    Examples:
        >>> from dataclasses import replace
        >>> from legato import alphabet, report
        >>> network = replace(alphabet.NETWORKS[3], epochs=2)  # of 5,000
        >>> model, outcome = alphabet.train(network)
        >>> table = report.table([outcome])
        >>> [column.header for column in table.columns], table.row_count
        (['network', 'published', 'here', 'steps/s', 'seconds'], 1)
    """
    several = max((len(each) for each in group_by_network(outcomes)), default=1) > 1
    rich_table = Table(
        title="Accuracy on the training set",
        title_justify="left",
        box=None,
        pad_edge=False,
        padding=(0, 2, 0, 0),
    )
    spread = ["mean ± sd", "range", "at 100 %"] if several else ["here"]
    rich_table.add_column("network", no_wrap=True)
    for heading in ["published", *spread, "steps/s", "seconds"]:
        rich_table.add_column(heading, justify="right", no_wrap=True)
    for runs in group_by_network(outcomes):
        network = runs[0].network
        scores = np.array([run.accuracy for run in runs])
        rich_table.add_row(
            f"{network.number} {network.name}",
            format_percent(network.published_accuracy),
            *(_spread_cells(scores) if several else [format_percent(scores[0])]),
            f"{np.median([run.steps_per_s for run in runs]):,.0f}",
            f"{sum(run.seconds for run in runs):.1f}",
        )
    return rich_table


def _spread_cells(scores: np.ndarray) -> list[str]:
    deviation = scores.std(ddof=1) if len(scores) > 1 else 0.0
    return [
        f"{100 * scores.mean():.2f} ± {100 * deviation:.2f} %",
        f"{100 * scores.min():.1f}–{100 * scores.max():.1f}",
        f"{(scores == 1).sum()} of {len(scores)}",
    ]


def format_percent(share: float) -> str:
    """0.84 → '84.00 %'."""
    return f"{100 * share:.2f} %"


def print_answers(outcomes: Sequence[Outcome], console: Console) -> None:
    """Print the predictions of each network's first run, with the right letter after wrong ones.

    Examples:
        >>> from dataclasses import replace
        >>> from rich.console import Console
        >>> from legato import alphabet, report
        >>> network = replace(alphabet.NETWORKS[3], epochs=2)  # of 5,000
        >>> model, outcome = alphabet.train(network)
        >>> report.print_answers([outcome], Console())  # doctest: +ELLIPSIS
        <BLANKLINE>
        4 batch · the whole data set in one batch · seed 7
          published: also right for 20 letters picked at random
          every pattern:
            A → ...
    """
    for runs in group_by_network(outcomes):
        run = runs[0]
        console.print()
        console.print(
            f"[bold]{run.network.number} {run.network.name}[/] · {run.network.title} · "
            f"seed {run.seed}\n  published: {run.network.published_behaviour}"
        )
        for heading, lines in run.answers.items():
            console.print(f"  {heading}:")
            console.print(
                _align_in_rows([_format_prediction(pattern, answer) for pattern, answer in lines])
            )


def _format_prediction(pattern: str, answer: str) -> str:
    """A pattern and its prediction, followed by the right letter if that is wrong."""
    right = letter_after(pattern)
    return f"{pattern} → {answer}" + ("" if answer == right else f" [red]✗[/] {right}")


def _align_in_rows(items: Sequence[str], columns: int = 6) -> str:
    """Items in aligned rows of ``columns``; markup does not count towards the width."""
    lengths = [len(item.replace("[red]", "").replace("[/]", "")) for item in items]
    width = max(lengths, default=0) + 3
    padded = [item + " " * (width - length) for item, length in zip(items, lengths, strict=True)]
    rows = [padded[at : at + columns] for at in range(0, len(padded), columns)]
    return "\n".join("    " + "".join(row).rstrip() for row in rows)
