"""Answers to the alphabet's questions, as text at the terminal and as JSON values."""

from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from legato.alphabet import Answer, Group
from legato.report._terminal import make_console, print_fields

_COLOURS = {
    "holds": "green",
    "holds in part": "yellow",
    "does not hold": "red",
    "undecided": "yellow",
}


def print_answer(answer: Answer, brief: bool = False, console: Console | None = None) -> None:
    """Print a question and its answer.

    Args:
        answer: from ``alphabet.answer``.
        brief: print only the verdict and the sentence.
        console: default: standard output.

    Examples:
        >>> import numpy as np
        >>> from legato import alphabet, report
        >>> groups = (alphabet.Group("guesses", np.linspace(0, 1, 20)),)
        >>> found = alphabet.Found("holds", "Guesses average 0.5.", groups)
        >>> question = alphabet.Question("guess", "Right?", "Half.", lambda experiment: found)
        >>> (answer,) = alphabet.answer([question])
        >>> report.print_answer(answer, brief=True)
        guess · the claim holds
          Guesses average 0.5.
    """
    console, question, found = console or make_console(), answer.question, answer.found
    claim = "" if found.verdict == "undecided" else "the claim "
    verdict = Text(claim + found.verdict, style=_COLOURS[found.verdict])
    console.print(Text.assemble((question.name, "bold"), " · ", verdict))
    if brief:
        print_fields([("", found.sentence)], console)
        return
    quickly = " (quick: fewer seeds and settings)" if answer.quick else ""
    lines = [("question", question.asks), ("claimed", question.claimed), ("answer", found.sentence)]
    lines += [("also", each) for each in found.remarks]
    print_fields([*lines, ("took", f"{answer.seconds:.1f} s{quickly}")], console)
    console.print()
    console.print(_scores_table(answer))
    console.print()


def _scores_table(answer: Answer) -> Table:
    """A table of the groups: mean, deviation, range and number of seeds."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    unit = "" if answer.question.unit == "%" else f", {answer.question.unit}"
    table.add_column(answer.question.what + unit)
    for heading in ("mean ± sd", "range", "seeds"):
        table.add_column(heading, justify="right", no_wrap=True)
    for group in answer.found.groups:
        table.add_row(
            group.name, *format_spread(group, answer.question.unit), str(len(group.scores))
        )
    return table


def format_spread(group: Group, unit: str) -> tuple[str, str]:
    """Mean ± standard deviation, and the range, as shown."""
    sign = " %" if unit == "%" else ""
    scores = display_scale(unit) * group.scores
    deviation = f" ± {scores.std(ddof=1):.1f}" if len(scores) > 1 else ""
    return f"{scores.mean():.1f}{deviation}{sign}", f"{scores.min():.1f}–{scores.max():.1f}"


def display_scale(unit: str) -> int:
    """The factor by which scores are multiplied when they are shown."""
    return 100 if unit == "%" else 1


def answer_facts(answer: Answer) -> dict[str, Any]:
    """An answer with its question as JSON values.

    Examples:
        >>> import numpy as np
        >>> from legato import alphabet, report
        >>> groups = (alphabet.Group("guesses", np.linspace(0, 1, 20)),)
        >>> found = alphabet.Found("holds", "Guesses average 0.5.", groups)
        >>> question = alphabet.Question("guess", "Right?", "Half.", lambda experiment: found)
        >>> (answer,) = alphabet.answer([question])
        >>> facts = report.answer_facts(answer)
        >>> facts["verdict"], len(facts["scores"]["guesses"])
        ('holds', 20)
    """
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
