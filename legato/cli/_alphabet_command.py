"""``legato alphabet``: the six networks trained and shown; ``questions``: what they leave open."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from legato.cli._alphabet_page import Page
from legato.cli._command_support import (
    Debug,
    InterruptedAfterError,
    Json,
    Quiet,
    busy,
    make_folder,
    print_json,
    told_plainly,
)

if TYPE_CHECKING:
    from legato.alphabet import Network


def alphabet(
    networks: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names or numbers of networks; all six if none is given.", metavar="NETWORK"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the first run.", min=0)] = 7,
    replicates: Annotated[
        int | None,
        typer.Option(
            help="Runs of each network, under as many seeds in a row.",
            min=1,
            show_default="1; with --report 10, with --quick 3",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for alphabet.png (pictures) and alphabet.json (every number)."),
    ] = None,
    report_folder: Annotated[
        Path | None,
        typer.Option(
            "--report",
            help="Folder for alphabet.html, a page on the networks and on the questions that they "
            "leave open, and its pictures.",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="With --report: fewer seeds, for a first look.")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train six small LSTM networks that learn the alphabet, and show what each has learnt.

    The networks: **1 naive** (one letter → the next), **2 window** (three letters as features),
    **3 steps** (three letters as time steps), **4 batch** (the whole alphabet in one batch),
    **5 stateful** (state carried from letter to letter), **6 variable** (runs of one to five).

    Examples:

    - `legato alphabet`
    - `legato alphabet 5`
    - `legato alphabet naive window --replicates 10`
    - `legato alphabet --out results`
    - `legato alphabet --report results`
    - `legato alphabet questions` answers what the six leave open
    """
    with told_plainly(debug):
        page = Page(report_folder, quick)
        replicates = page.replicates if replicates is None else replicates
        if out is not None:
            make_folder(out)
        from rich.console import Console

        from legato import alphabet as six
        from legato import report

        chosen = six.find(networks or [])
        console = Console(highlight=False)
        seeds = range(seed, seed + replicates)
        told = f"seeds {seeds[0]}–{seeds[-1]}" if replicates > 1 else f"seed {seed}"
        outcomes: list = []

        def begin(network: "Network") -> None:
            if not quiet:
                console.print(
                    f"[bold]{network.number} {network.name}[/] · {network.title} · {told}"
                )

        def keep(outcome, model) -> None:
            page.look(outcome, model)
            outcomes.append(outcome)

        try:
            six.train_all(
                chosen,
                seeds,
                verbose=0 if quiet else 1,
                on_begin=begin,
                on_outcome=keep,
            )
        except KeyboardInterrupt:
            raise InterruptedAfterError(
                f"{len(outcomes)} of {len(chosen) * replicates} runs had finished"
            ) from None
        console.print(report.table(outcomes))
        if not quiet:
            report.print_answers(outcomes, console)
        page.ask(console, quiet)
        if out is not None:
            for path in report.write(outcomes, out):
                print(f"wrote {path}")
        page.write(outcomes, networks or [], seed)


def questions(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Names of questions; all if none is given.", metavar="QUESTION"),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="Fewer seeds and settings: all in a minute.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Answer what was claimed of the six networks and left open, each by an experiment.

    **window**: is its lift over naive real? **perceptron**: does a large enough one do?
    **batch**: does an LSTM use the order within a batch? **prefix**: is carried state the same as
    the whole prefix? **cold**: what must be heard before K? **rows**: is a network tied to one
    batch size? **runs**: fewer, longer, more? **series**, **labels**: other tasks?

    Each is asked over several seeds, and answered with numbers. All take some minutes.

    Examples:

    - `legato alphabet questions`
    - `legato alphabet questions cold batch`
    - `legato alphabet questions --quick`
    """
    with told_plainly(debug):
        from legato import alphabet as six
        from legato import report

        asked = six.find_questions(names or [])
        answers: list = []
        try:
            with busy("", quiet or as_json) as tell:
                for answer in six.answer(asked, quick, tell):
                    answers.append(answer)
                    if not as_json:
                        report.print_answer(answer, brief=quiet)
        except KeyboardInterrupt:
            raise InterruptedAfterError(
                f"{len(answers)} of {len(asked)} questions were answered"
            ) from None
        if as_json:
            print_json({"answers": [report.answer_facts(each) for each in answers]})
