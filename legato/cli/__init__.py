"""Command-line interface: parse options, call the public API, print results.

Heavy imports stand inside the functions, so that ``--help`` loads neither Keras nor JAX.
"""

import sys
from typing import Annotated

import typer
from typer.core import TyperGroup

from legato import __version__
from legato._errors import OutputError
from legato._platform.output_streams import safe_standard_streams
from legato.cli import (
    _alphabet_command,
    _report_command,
    _run_command,
    _serve_command,
    _stream_command,
    _train_command,
    _trained_commands,
)


class _Commands(TyperGroup):
    """A group whose commands have one word or two, such as ``legato alphabet questions``."""

    def main(self, args=None, *more, **options):
        with safe_standard_streams():
            try:
                return super().main(args, *more, **options)
            except OutputError as error:  # of --help, --version or a command with --debug
                if "--debug" in (sys.argv if args is None else args):
                    raise
                print(f"legato: {error}", file=sys.stderr)
                sys.exit(2)

    def resolve_command(self, ctx, args):
        name = " ".join(args[:2])
        if name in self.commands:
            return name, self.commands[name], args[2:]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="legato",
    cls=_Commands,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)


def main() -> None:
    """The console script."""
    app()


def _show_version(wanted: bool) -> None:
    if wanted:
        print(f"legato {__version__}", flush=True)
        raise typer.Exit


@app.callback()
def _legato(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Train, use and inspect recurrent networks whose state is explicit and can be saved.

    Ctrl-C stops a command; files are then whole, or as they were before. A command that starts with
    SIGINT ignored, as shell scripts start commands in the background, ignores Ctrl-C too: stop it
    with `kill`.
    """


app.command()(_alphabet_command.alphabet)
app.command("alphabet questions")(_alphabet_command.questions)
for command in (
    _train_command.train,
    _trained_commands.evaluate,
    _trained_commands.forecast,
    _trained_commands.generate,
    _trained_commands.classify,
    _trained_commands.show,
    _report_command.report,
    _stream_command.stream,
    _serve_command.serve,
):
    app.command()(command)
app.command(context_settings={"allow_interspersed_args": False})(_run_command.run)
