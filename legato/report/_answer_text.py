"""Answers to the alphabet's questions, as words and as plain numbers."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from legato.alphabet import Answer, Group
from legato.report._terminal import print_lines, screen

_COLOURS = {
    "holds": "green",
    "holds in part": "yellow",
    "does not hold": "red",
    "undecided": "yellow",
}


def print_answer(answer: Answer, brief: bool = False, console: Console | None = None) -> None:
    """A question and its answer.

    Args:
        answer: which.
        brief: only whether the claim holds, and the sentence.
        console: where; default: the terminal.
    """
    console, question, found = console or screen(), answer.question, answer.found
    claim = "" if found.verdict == "undecided" else "the claim "
    verdict = Text(claim + found.verdict, style=_COLOURS[found.verdict])
    console.print(Text.assemble((question.name, "bold"), " · ", verdict))
    if brief:
        print_lines([("", found.sentence)], console)
        return
    quickly = " (quick: fewer seeds and settings)" if answer.quick else ""
    lines = [("asked", question.asks), ("claimed", question.claimed), ("answer", found.sentence)]
    lines += [("also", each) for each in found.remarks]
    print_lines([*lines, ("took", f"{answer.seconds:.1f} s{quickly}")], console)
    console.print()
    console.print(_scores(answer))
    console.print()


def _scores(answer: Answer) -> Table:
    """The groups: mean, spread, range and seeds."""
    made = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    unit = "" if answer.question.unit == "%" else f", {answer.question.unit}"
    made.add_column(answer.question.what + unit)
    for heading in ("mean ± sd", "range", "seeds"):
        made.add_column(heading, justify="right", no_wrap=True)
    for group in answer.found.groups:
        made.add_row(group.name, *spread_of(group, answer.question.unit), str(len(group.scores)))
    return made


def spread_of(group: Group, unit: str) -> tuple[str, str]:
    """Mean ± standard deviation, and the range, as they are told."""
    sign = " %" if unit == "%" else ""
    scores = scale_of(unit) * group.scores
    deviation = f" ± {scores.std(ddof=1):.1f}" if len(scores) > 1 else ""
    return f"{scores.mean():.1f}{deviation}{sign}", f"{scores.min():.1f}–{scores.max():.1f}"


def scale_of(unit: str) -> int:
    """What scores are multiplied by when they are told."""
    return 100 if unit == "%" else 1


def answer_facts(answer: Answer) -> dict[str, Any]:
    """All of it, as JSON takes it."""
    question, found = answer.question, answer.found
    return {
        "question": question.name,
        "asks": question.asks,
        "claimed": question.claimed,
        "verdict": found.verdict,
        "answer": found.sentence,
        "remarks": [*found.remarks],
        "what": question.what,
        "unit": question.unit,
        "scores": {each.name: each.scores.tolist() for each in found.groups},
        "comparisons": [each.as_numbers() for each in found.comparisons],
        "quick": answer.quick,
        "seconds": answer.seconds,
    }
