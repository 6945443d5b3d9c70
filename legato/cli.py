"""Words → calls → words. Heavy imports stand inside the functions, so that ``--help`` is quick."""

import os
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from legato import __version__
from legato._errors import LegatoError, OutputError

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
    quiet: Annotated[bool, typer.Option("--quiet", help="Only the table at the end.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show a traceback on errors.")] = False,
) -> None:
    """Train six small LSTM networks that learn the alphabet, and show what each has learnt.

    The networks: **1 naive** (one letter → the next), **2 window** (three letters as features),
    **3 steps** (three letters as time steps), **4 batch** (the whole alphabet in one batch),
    **5 stateful** (state carried from letter to letter), **6 variable** (runs of one to five).

    Examples: `legato alphabet` · `legato alphabet 5` ·
    `legato alphabet naive window --replicates 10` · `legato alphabet --out results`
    """
    with _told_plainly(debug):
        if out is not None:
            _make_folder(out)
        from rich.console import Console

        from legato import alphabet as six
        from legato import report

        chosen = six.find(networks or [])
        console = Console(highlight=False)
        outcomes: list = []

        def begin(network: "Network", run_seed: int) -> None:
            if not quiet:
                console.print(
                    f"[bold]{network.number} {network.name}[/] · {network.title} · seed {run_seed}"
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
            raise _InterruptedError(
                f"{len(outcomes)} of {len(chosen) * replicates} runs had finished"
            ) from None
        console.print(report.table(outcomes))
        if not quiet:
            report.print_answers(outcomes, console)
        if out is not None:
            for path in report.write(outcomes, out):
                console.print(f"wrote {path}")


class _InterruptedError(Exception):
    """Ctrl-C, with what had been done."""


@contextmanager
def _told_plainly(debug: bool):
    """Errors as one sentence and an exit status, not as a traceback unless asked for."""
    try:
        yield
    except (_InterruptedError, KeyboardInterrupt) as stop:
        print(
            f"\nInterrupted: {stop or 'nothing had finished'}; no file was written.",
            file=sys.stderr,
        )
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(130)  # XLA's threads may still be compiling, and crash an interpreter that ends
    except LegatoError as error:
        if debug:
            raise
        print(f"legato: {error}", file=sys.stderr)
        raise typer.Exit(2) from None
    except Exception as error:
        if debug:
            raise
        print(
            f"legato: {type(error).__name__}: {error} (Unexpected: --debug shows where.)",
            file=sys.stderr,
        )
        raise typer.Exit(1) from None


def _make_folder(path: Path) -> None:
    """Make an output folder and see that it can be written, before anything takes time."""
    from legato._files import write_whole

    probe = path / ".legato"
    try:
        path.mkdir(parents=True, exist_ok=True)
        write_whole(probe, lambda temporary: temporary.write_bytes(b""))
        probe.unlink()
    except (OSError, LegatoError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "not writable"
        raise OutputError(
            f"The folder {path} cannot be written ({reason}). Name another with --out."
        ) from error
