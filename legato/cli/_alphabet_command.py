"""``legato alphabet`` trains the six networks; ``legato alphabet questions`` runs experiments."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from legato._platform.keras_import import import_keras_alone
from legato.cli._alphabet_report import ReportPage
from legato.cli._error_reporting import report_errors
from legato.cli._interrupts import InterruptedAfterError
from legato.cli._options import Debug, Json, Quiet, make_output_folder
from legato.cli._output import print_json, print_written, show_status

if TYPE_CHECKING:
    from legato.alphabet import Network


def alphabet(
    networks: Annotated[
        list[str] | None,
        typer.Argument(help="Names or numbers of networks; default: all six.", metavar="NETWORK"),
    ] = None,
    seed: Annotated[int, typer.Option(help="Random seed of the first run.", min=0)] = 7,
    replicates: Annotated[
        int | None,
        typer.Option(
            help="Number of runs of each network; each run uses the next seed.",
            min=1,
            show_default="1; with --report 10, with --quick 3",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for alphabet.png (plots) and alphabet.json (all numbers)."),
    ] = None,
    report_folder: Annotated[
        Path | None,
        typer.Option(
            "--report",
            help="Folder for alphabet.html, a page on the networks and on all questions, and its "
            "plots.",
        ),
    ] = None,
    quick: Annotated[
        bool, typer.Option("--quick", help="With --report: use fewer seeds, which is faster.")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train six small LSTM networks to predict the next letter of the alphabet.

    The networks: **1 naive** (one letter → the next), **2 window** (three letters as features),
    **3 steps** (three letters as time steps), **4 batch** (the whole alphabet in one batch),
    **5 stateful** (state carried from letter to letter), **6 variable** (runs of one to five).
    Their accuracy is printed next to the published one, and then the answers of each.

    Examples:

    - `legato alphabet`
    - `legato alphabet 5`
    - `legato alphabet naive window --replicates 10`
    - `legato alphabet --out results`
    - `legato alphabet --report results`
    - `legato alphabet questions` runs experiments on open questions about the six
    """
    with report_errors(debug):
        page = ReportPage(report_folder, quick)
        replicates = page.replicates if replicates is None else replicates
        if out is not None:
            make_output_folder(out)
        from rich.console import Console

        import_keras_alone()
        from legato import alphabet as six
        from legato import report

        chosen = six.find(networks or [])
        console = Console(highlight=False)
        seeds = range(seed, seed + replicates)
        under = f"seeds {seeds[0]}–{seeds[-1]}" if replicates > 1 else f"seed {seed}"
        outcomes: list = []

        def begin(network: "Network") -> None:
            if not quiet:
                console.print(
                    f"[bold]{network.number} {network.name}[/] · {network.title} · {under}"
                )

        def keep(outcome, model) -> None:
            page.inspect(outcome, model)
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
        page.answer_questions(console, quiet)
        if out is not None:
            for path in report.write(outcomes, out):
                print_written(path)
        page.write(outcomes, networks or [], seed)


def questions(
    names: Annotated[
        list[str] | None,
        typer.Argument(help="Names of questions; default: all.", metavar="QUESTION"),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick", help="Use fewer seeds and settings; all questions take about a minute."
        ),
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Answer open questions about the six networks, each by an experiment over several seeds.

    - **window**: Is network 2 (window) more accurate than network 1 (naive)?
    - **perceptron**: Does a large perceptron learn as much from the same windows?
    - **batch**: Does an LSTM use the order of the samples within a batch?
    - **prefix**: Does carried state equal feeding all the letters before?
    - **cold**: Which letters must network 5 see first to answer K?
    - **rows**: Can a stateful network be used with another batch size?
    - **runs**: Does network 6 learn from fewer runs, longer runs, more training?
    - **series**: Does the method work for time-series forecasting?
    - **labels**: Does the method work for sequence classification?

    All questions together take some minutes.

    Examples:

    - `legato alphabet questions`
    - `legato alphabet questions cold batch`
    - `legato alphabet questions --quick`
    """
    with report_errors(debug):
        import_keras_alone()
        from legato import alphabet as six
        from legato import report

        chosen = six.find_questions(names or [])
        answers: list = []
        try:
            with show_status("", quiet or as_json) as update:
                for answer in six.answer(chosen, quick, update):
                    answers.append(answer)
                    if not as_json:
                        report.print_answer(answer, brief=quiet)
        except KeyboardInterrupt:
            raise InterruptedAfterError(
                f"{len(answers)} of {len(chosen)} questions were answered"
            ) from None
        if as_json:
            print_json({"answers": [report.answer_facts(each) for each in answers]})
