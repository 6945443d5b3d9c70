"""Words → calls → words. Heavy imports stand inside the functions, so that ``--help`` is quick."""

from typing import Annotated

import typer
from typer.core import TyperGroup

from legato import __version__
from legato.cli import _alphabet_command, _stream_command, _train_command, _trained_commands


class _Commands(TyperGroup):
    """Commands of one word, or of two: ``legato alphabet questions``."""

    def resolve_command(self, ctx, args):
        two = " ".join(args[:2])
        if two in self.commands:
            return two, self.commands[two], args[2:]
        return super().resolve_command(ctx, args)


app = typer.Typer(
    name="legato",
    cls=_Commands,
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


app.command()(_alphabet_command.alphabet)
app.command("alphabet questions")(_alphabet_command.questions)
for command in (
    _train_command.train,
    _trained_commands.evaluate,
    _trained_commands.forecast,
    _trained_commands.generate,
    _trained_commands.classify,
    _trained_commands.show,
    _stream_command.stream,
):
    app.command()(command)
