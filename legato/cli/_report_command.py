"""The command that writes a page on a trained model and its data."""

import shlex
import webbrowser
from pathlib import Path
from typing import Annotated

import typer

from legato._platform.output_streams import make_printable
from legato.cli._error_reporting import report_errors
from legato.cli._options import Data, Debug, ModelFile, Quiet, check_output_file
from legato.cli._output import print_written, show_status
from legato.cli._trained_commands import load_trained, name_damaged_record


def report(
    model: ModelFile,
    data: Data,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            help="File for the page; ends in .html.",
            show_default="beside the model, with its name",
        ),
    ] = None,
    open: Annotated[  # noqa: A002  the name of the option
        bool, typer.Option("--open", help="Open the page in the browser.")
    ] = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Write a page on a trained model: data, score, forecasts, errors, influence, states, choices.

    The page is one HTML file that loads nothing else, for screens of any size and for print. It
    says which of the data the model learnt from: those of its training show the backtest that the
    model's file records, others are scored now. An earlier page is replaced, no other file is.

    Examples:

    - `legato report model.keras sales.csv`
    - `legato report model.keras sales.csv -o sales.html --open`
    """
    with report_errors(debug):
        out = model.with_suffix(".html") if out is None else out
        check_output_file(out, ".html")
        trained = load_trained(model, quiet, data)
        from legato.report import write_trained_page

        about = {"command": shlex.join(["legato", "report", str(model), str(data)])}
        with name_damaged_record(model), show_status(f"reading {data}", quiet) as update:
            write_trained_page(trained, data, out, about, update)
        print_written(out)
        if open and not webbrowser.open(out.resolve().as_uri()):
            print(f"no browser opened; the page is {make_printable(str(out.resolve()))}")
