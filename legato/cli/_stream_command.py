"""``legato stream``: the streams of any model, fed by lines on standard input."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from legato._errors import InputError
from legato._platform.keras_import import import_keras_alone
from legato._serve.row_codecs import PlainModelCodec, TrainedModelCodec
from legato.cli._error_reporting import report_errors
from legato.cli._line_formats import has_input, read_line_batches
from legato.cli._options import AnyModelFile, Debug, check_is_no_model
from legato.cli._stream_session import StreamSession

if TYPE_CHECKING:
    from legato import Model, Trained


def stream(
    model: AnyModelFile,
    state: Annotated[
        Path | None,
        typer.Option(
            help="File that keeps the states of all streams; a later run continues from it."
        ),
    ] = None,
    sync: Annotated[
        Literal["off", "close", "feed"] | None,
        typer.Option(
            help="When the states are forced onto the disk, for a loss of power: hardly ever, at "
            "the end (default), or before every answer.",
            show_default=False,
        ),
    ] = None,
    key: Annotated[
        str | None,
        typer.Option(
            help="Column that names the stream of a line; default: all lines are one stream."
        ),
    ] = None,
    window: Annotated[
        int | None,
        typer.Option(
            help="Answer from the last so many steps only; default: as in training, or all steps.",
            min=1,
        ),
    ] = None,
    pad: Annotated[
        float | None,
        typer.Option(
            help="Value that fills a window before the first step; default: no answer until the "
            "window is full."
        ),
    ] = None,
    limit: Annotated[
        int | None,
        typer.Option(help="Maximum number of streams; default: as many as 1 GiB holds.", min=1),
    ] = None,
    keep_going: Annotated[
        bool,
        typer.Option("--keep-going", help="Write an error record for a bad line, and continue."),
    ] = False,
    other_weights: Annotated[
        bool,
        typer.Option(
            "--other-weights", help="Accept a state file that other weights of the model made."
        ),
    ] = False,
    debug: Debug = False,
) -> None:
    """Feed lines from standard input to a model, and write its answer to each at once.

    A line is one time step: a JSON value, or a CSV row below a header. The answer is a line in the
    same format on standard output, with the number of steps that the stream has seen. A model of
    **legato train** takes columns by name; any other takes numbers: `[0.1, 0.2]`, or
    `{"x": [0.1, 0.2]}`, or a CSV row.

    With **--state**, the state behind every answer is saved, even if the process is killed. With
    **--key**, each value of that column is a stream with a state of its own; while a line of many
    thousand steps is fed, lines of other streams are answered before it. The first bad line
    ends the command with an error; with **--keep-going** it produces an error record instead, and
    processing continues.

    Examples:

    - `legato stream model.keras < steps.jsonl`
    - `legato stream sensors.keras --key machine --state sensors.state < new.csv`
    - `tail -f readings.jsonl | legato stream model.keras --state model.state --keep-going`
    """
    with report_errors(debug):
        if state is not None:
            check_is_no_model(state)
        elif sync is not None:
            raise InputError("--sync is about the file of --state, and none is given: name one.")
        options: dict[str, Any] = {"window": window, "pad": pad}
        options = {name: value for name, value in options.items() if value is not None}
        loaded = _load(model)
        with loaded.streams(
            limit, file=state, sync=sync or "close", other_weights=other_weights, **options
        ) as streams:
            session = StreamSession(_codec_for(loaded, options), streams, key, keep_going)
            source = sys.stdin.buffer
            for lines in read_line_batches(source):
                session.answer(lines)
                session.catch_up(until=lambda: has_input(source))
            session.finish()


def _load(path: Path) -> "Trained | Model":
    """A model, with its task and columns if the file records them."""
    import_keras_alone()
    from legato import Trained, load_model

    try:
        return Trained.load(path)
    except InputError:
        return load_model(path)  # raises the same again if it is no model


def _codec_for(
    model: "Trained | Model", options: dict[str, Any]
) -> TrainedModelCodec | PlainModelCodec:
    from legato import Trained

    if isinstance(model, Trained):
        return TrainedModelCodec(model)
    return PlainModelCodec(model.stream(**options))
