"""``legato alphabet --report``: the page on the six networks and the questions."""

import math
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from legato._errors import InputError
from legato._platform.wording import duration
from legato.cli._interrupts import InterruptedAfterError
from legato.cli._options import make_output_folder
from legato.cli._output import print_written, show_status

if TYPE_CHECKING:
    from rich.console import Console

    from legato.alphabet import Answer, Look, Outcome

SEEDS, QUICK_SEEDS = 10, 3


class ReportPage:
    """Collects the contents of the page and writes it; does nothing without a folder.

    Args:
        folder: of the page, made at once; None: no page is written.
        quick: use fewer seeds.

    Raises:
        InputError: ``quick`` without a folder.
        OutputError: the folder cannot be written.
    """

    def __init__(self, folder: Path | None, quick: bool):
        if folder is None and quick:
            raise InputError("--quick makes a quick page: name its folder with --report.")
        if folder is not None:
            make_output_folder(folder, "--report")
        self._folder, self._quick = folder, quick
        self._began = time.perf_counter()
        self._looks: dict[str, Look] = {}
        self._answers: list[Answer] = []

    @property
    def replicates(self) -> int:
        """Default number of runs of each network."""
        if self._folder is None:
            return 1
        return QUICK_SEEDS if self._quick else SEEDS

    def inspect(self, outcome: "Outcome", model) -> None:
        """Keep influence and states of the first model of each network, if its loss is finite."""
        name = outcome.network.name
        if self._folder is None or name in self._looks or not math.isfinite(outcome.loss):
            return
        from legato import alphabet

        self._looks[name] = alphabet.look(model, outcome.network)

    def answer_questions(self, console: "Console", quiet: bool) -> None:
        """Answer all questions, and print each when it is begun."""
        if self._folder is None:
            return
        from rich.text import Text

        from legato import alphabet

        questions = alphabet.QUESTIONS
        try:
            with show_status("", quiet) as update:
                for at, question in enumerate(questions, 1):
                    if not quiet:
                        console.print(
                            Text(f"question {at} of {len(questions)} · {question.asks}"),
                            soft_wrap=True,
                        )
                    self._answers += alphabet.answer([question], self._quick, update)
        except KeyboardInterrupt:
            raise InterruptedAfterError(
                f"{len(self._answers)} of {len(questions)} questions were answered"
            ) from None

    def write(self, outcomes: Sequence["Outcome"], networks: Sequence[str], seed: int) -> None:
        """Write the page and its pictures, and print their paths."""
        if self._folder is None:
            return
        from legato import report

        words = ["legato", "alphabet", *networks, "--report", str(self._folder)]
        words += ["--seed", str(seed), "--replicates", str(len({run.seed for run in outcomes}))]
        about = {
            "command": shlex.join([*words, *(["--quick"] if self._quick else [])]),
            "took": duration(time.perf_counter() - self._began),
        }
        looks = list(self._looks.values())
        for path in report.write_page(self._folder, outcomes, looks, self._answers, about):
            print_written(path)
