"""The command that answers as life goes on: ``streams`` of any model, fed by lines on a pipe."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from legato._errors import InputError
from legato.cli._command_support import Debug, check_is_no_model, told_plainly
from legato.cli._line_formats import batches
from legato.cli._line_steps import Known, Plain
from legato.cli._stream_session import StreamSession

if TYPE_CHECKING:
    from legato import Model, Trained


def stream(
    model: Annotated[
        Path, typer.Argument(help="Any model file.", metavar="MODEL", show_default=False)
    ],
    state: Annotated[
        Path | None,
        typer.Option(help="File that keeps all states: a later run goes on from there."),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(help="Column that says whose step a line is; default: all are one stream."),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            help="Steps an answer looks back on, instead of all; default: as in training.", min=1
        ),
    ] = None,
    pad: Annotated[
        float | None,
        typer.Option(help="What stands in a window before the first step; default: no answer."),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(help="The most streams; default: what a GiB holds.", min=1)
    ] = None,
    keep_going: Annotated[
        bool, typer.Option("--keep-going", help="Tell of a bad line, and go on with the next.")
    ] = False,
    other_weights: Annotated[
        bool,
        typer.Option("--other-weights", help="Go on from states that other weights have made."),
    ] = False,
    debug: Debug = False,
) -> None:
    """Answer every line on standard input by a line on standard output, as soon as it comes.

    A line is a step, as JSON or as a CSV row below a header, and the answer comes in the same form,
    with how many steps that stream has seen. Of a model of **legato train**, columns go by their
    names; of any other, a step is `[0.1, 0.2]`, or `{"x": [0.1, 0.2]}`, or a row of numbers.

    With **--state**, whatever was answered is kept, even if the process is killed. With **--key**,
    each value of that column is a stream of its own.

    Examples:

    - `legato stream model.keras < steps.jsonl`
    - `legato stream sensors.keras --key machine --state sensors.state < new.csv`
    - `tail -f readings.jsonl | legato stream model.keras --state model.state --keep-going`
    """
    with told_plainly(debug):
        if state is not None:
            check_is_no_model(state)
        options: dict[str, Any] = {"window": window, "pad": pad}
        options = {name: value for name, value in options.items() if value is not None}
        opened = _opened(model)
        with opened.streams(limit, file=state, other_weights=other_weights, **options) as pool:
            talk = StreamSession(_steps_of(opened, options), pool, key, keep_going)
            for lines in batches(sys.stdin.buffer):
                talk.hear(lines)
            talk.end()


def _opened(path: Path) -> "Trained | Model":
    """A model, with what it was trained on if it says so."""
    from legato import Trained, load_model

    try:
        return Trained.load(path)
    except InputError:
        return load_model(path)  # raises the same again if it is no model


def _steps_of(opened: "Trained | Model", options: dict[str, Any]) -> Known | Plain:
    from legato import Trained

    return Known(opened) if isinstance(opened, Trained) else Plain(opened.stream(**options))
