"""Words → calls → words. Heavy imports stand inside the functions, so that ``--help`` is quick."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from legato import __version__
from legato.cli import _own, _stream, _train
from legato.cli._telling import Debug, InterruptedAfterError, Quiet, make_folder, told_plainly

if TYPE_CHECKING:
    from legato.alphabet import Network

app = typer.Typer(
    name="legato",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    help="The state of recurrent networks, explicit, correct, fast and portable.",
)


def main() -> None:
    """The console script."""
    app()


def _show_version(asked: bool) -> None:
    if asked:
        print(f"legato {__version__}")
        raise typer.Exit


@app.callback()
def _legato(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """The state of recurrent networks, explicit, correct, fast and portable."""


@app.command()
def alphabet(
    networks: Annotated[
        list[str] | None,
        typer.Argument(
            help="Names or numbers of networks; all six if none is given.", metavar="NETWORK"
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the first run.", min=0)] = 7,
    replicates: Annotated[
        int, typer.Option(help="Runs of each network, under as many seeds in a row.", min=1)
    ] = 1,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for alphabet.png (pictures) and alphabet.json (every number)."),
    ] = None,
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
    """
    with told_plainly(debug):
        if out is not None:
            make_folder(out)
        from rich.console import Console

        from legato import alphabet as six
        from legato import report

        chosen = six.find(networks or [])
        console = Console(highlight=False)
        outcomes: list = []

        def begin(network: "Network", seeds: Sequence[int]) -> None:
            if not quiet:
                told = f"seed {seeds[0]}" if len(seeds) == 1 else f"seeds {seeds[0]}–{seeds[-1]}"
                console.print(
                    f"[bold]{network.number} {network.name}[/] · {network.title} · {told}"
                )

        try:
            six.train_all(
                chosen,
                range(seed, seed + replicates),
                verbose=0 if quiet else 1,
                on_begin=begin,
                on_outcome=outcomes.append,
            )
        except KeyboardInterrupt:
            raise InterruptedAfterError(
                f"{len(outcomes)} of {len(chosen) * replicates} runs had finished"
            ) from None
        console.print(report.table(outcomes))
        if not quiet:
            report.print_answers(outcomes, console)
        if out is not None:
            for path in report.write(outcomes, out):
                print(f"wrote {path}")


for command in (
    _train.train,
    _own.evaluate,
    _own.forecast,
    _own.generate,
    _own.classify,
    _own.show,
    _stream.stream,
):
    app.command()(command)
