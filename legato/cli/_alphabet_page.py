"""``--report``: what a page on the six networks takes beyond training them."""

import math
import shlex
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from legato._errors import InputError
from legato._platform.wording import duration
from legato.cli._command_support import InterruptedAfterError, busy, make_folder

if TYPE_CHECKING:
    from rich.console import Console

    from legato.alphabet import Answer, Look, Outcome

SEEDS, QUICK_SEEDS = 10, 3


class Page:
    """A page in the making; does nothing if none was asked for.

    Args:
        folder: where it shall be; None for nowhere. It is made at once.
        quick: with fewer seeds.

    Raises:
        InputError: quick, and no folder.
        OutputError: the folder cannot be written.
    """

    def __init__(self, folder: Path | None, quick: bool):
        if folder is None and quick:
            raise InputError("--quick makes a quick page: name its folder with --report.")
        if folder is not None:
            make_folder(folder, "--report")
        self._folder, self._quick = folder, quick
        self._began = time.perf_counter()
        self._looks: dict[str, Look] = {}
        self._answers: list[Answer] = []

    @property
    def replicates(self) -> int:
        """Runs of each network, if nothing else is said."""
        if self._folder is None:
            return 1
        return QUICK_SEEDS if self._quick else SEEDS

    def look(self, outcome: "Outcome", model) -> None:
        """Look inside the first trained model of each network, if its loss is a number."""
        name = outcome.network.name
        if self._folder is None or name in self._looks or not math.isfinite(outcome.loss):
            return
        from legato import alphabet

        self._looks[name] = alphabet.look(model, outcome.network)

    def ask(self, console: "Console", quiet: bool) -> None:
        """Answer the questions, a line each."""
        if self._folder is None:
            return
        from rich.text import Text

        from legato import alphabet

        asked = alphabet.QUESTIONS
        try:
            with busy("", quiet) as tell:
                for at, question in enumerate(asked, 1):
                    if not quiet:
                        console.print(
                            Text(f"question {at} of {len(asked)} · {question.asks}"), soft_wrap=True
                        )
                    self._answers += alphabet.answer([question], self._quick, tell)
        except KeyboardInterrupt:
            raise InterruptedAfterError(
                f"{len(self._answers)} of {len(asked)} questions were answered"
            ) from None

    def write(self, outcomes: Sequence["Outcome"], networks: Sequence[str], seed: int) -> None:
        """Write the page, and say so."""
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
            print(f"wrote {path}")
