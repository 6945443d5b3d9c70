"""``legato alphabet``: the six networks trained and shown."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from legato.cli._telling import Debug, InterruptedAfterError, Quiet, make_folder, told_plainly

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
        seeds = range(seed, seed + replicates)
        told = f"seeds {seeds[0]}–{seeds[-1]}" if replicates > 1 else f"seed {seed}"
        outcomes: list = []

        def begin(network: "Network") -> None:
            if not quiet:
                console.print(
                    f"[bold]{network.number} {network.name}[/] · {network.title} · {told}"
                )

        try:
            six.train_all(
                chosen,
                seeds,
                verbose=0 if quiet else 1,
                on_begin=begin,
                on_outcome=lambda outcome, _: outcomes.append(outcome),
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
