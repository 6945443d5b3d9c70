"""Commands on a trained model: evaluate, forecast, generate, classify, show.

Each calls the method of ``legato.Trained`` of its name and prints or writes the result.
"""

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from legato._errors import InputError, LegatoError
from legato._platform.input_files import shown_reason
from legato._platform.keras_import import import_keras_alone
from legato._platform.output_streams import make_printable
from legato.cli._error_reporting import report_errors
from legato.cli._options import (
    TABLE_SUFFIXES,
    AnyModelFile,
    Data,
    Debug,
    Json,
    ModelFile,
    TableFile,
    check_is_no_model,
    check_output_file,
)
from legato.cli._output import print_json, print_written, show_status
from legato.cli._worker_processes import worker_processes

if TYPE_CHECKING:
    from legato import Trained


def evaluate(
    model: ModelFile,
    data: Data,
    fresh: Annotated[
        bool,
        typer.Option(
            "--fresh",
            help="Score from the initial state, without the steps before the scored part.",
        ),
    ] = False,
    season: Annotated[
        int | None,
        typer.Option(
            help="Length of a season in steps, for the seasonal baseline; 0: no such baseline; "
            "default: as in training.",
            min=0,
        ),
    ] = None,
    processes: Annotated[
        int,
        typer.Option(
            help="Processes of this machine that predict side by side; the scores are the same. "
            "Each takes seconds to start, so that pays for a million predictions or more.",
            min=1,
        ),
    ] = 1,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Score a trained model on data that it was not trained on, next to baselines.

    Every prediction sees all the actual values before it, and the model is not trained further.
    Sequences that the model was trained on are scored from the end of their training part; all
    others are scored from their beginning. If fewer steps than the horizon can be scored, the first
    steps ahead are.

    Examples:

    - `legato evaluate model.keras sales.csv`
    - `legato evaluate model.keras sales.csv --season 12 --json`
    """
    with report_errors(debug):
        trained = load_trained(model, json, data)
        from legato import report

        recording = warnings.catch_warnings(record=True, action="always")
        with (
            show_status(f"scoring {data}", json) as show,
            worker_processes(processes) as executor,
            recording as caught,
        ):
            scores = trained.evaluate(
                data, fresh=fresh, season=season, executor=executor, report=show
            )
        notes = [str(each.message) for each in caught or () if each.filename == __file__]
        if json:
            print_json({**scores.as_numbers(), "notes": notes})
            return
        for note in notes:
            print(make_printable(note))
        report.print_scores(scores.as_numbers())


def forecast(
    model: ModelFile,
    data: Data,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps",
            "-n",
            help="Number of steps ahead; default: as many as DATA has rows at its end without a "
            "target, else the horizon of training, beyond which forecasts are made from forecasts.",
            min=1,
        ),
    ] = None,
    future: Annotated[
        Path | None,
        typer.Option(
            help="File of the rows after the end of DATA, with the columns known ahead, if they "
            "are not in DATA."
        ),
    ] = None,
    quantiles: Annotated[
        str | None,
        typer.Option(
            help="Quantiles in place of intervals, ascending and separated by commas, such as "
            "0.1,0.5,0.9.",
        ),
    ] = None,
    paths: Annotated[
        int | None,
        typer.Option(
            help="Number of sample paths, which are the result in place of the forecast: a row for "
            "each path and step.",
            min=1,
        ),
    ] = None,
    seed: Annotated[
        int | None, typer.Option(help="Random seed of the paths; default: a new one.", min=0)
    ] = None,
    out: TableFile = None,
    png: Annotated[Path | None, typer.Option(help="File for a plot; ends in .png.")] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Forecast the steps after the end of each sequence, with prediction intervals.

    The intervals come from the errors that the model made on the test part. Steps further ahead
    than were scored, and intervals that are missing or widened, are named below the table.

    Rows at the end of DATA without a target are the future: columns known ahead, such as a price,
    are taken from them.

    Examples:

    - `legato forecast model.keras sales.csv`
    - `legato forecast model.keras sales.csv -n 12 -o next.csv --png next.png`
    - `legato forecast model.keras sales.csv --quantiles 0.1,0.5,0.9`
    - `legato forecast model.keras sales.csv --paths 100 -o paths.csv`
    """
    with report_errors(debug):
        check_output_file(out, *TABLE_SUFFIXES)
        check_output_file(png, ".png")
        if future is not None:
            check_is_no_model(future)
        trained = load_trained(model, json, data)
        from legato import report

        with show_status(f"forecasting {data}", json):
            asked: Any = None if quantiles is None else quantiles.split(",")
            predicted = trained.forecast(
                data, steps, future=future, quantiles=asked, paths=paths, seed=seed
            )
        _output_table(predicted.path_columns() or predicted.columns(), out, json)
        if png is not None:
            with show_status(f"drawing {png}", json):
                report.save_figure(report.forecast_figure(predicted), png)
            if not json:
                print_written(png)
        if not json:
            for note in predicted.notes:
                print(note)


def generate(
    model: ModelFile,
    length: Annotated[
        int,
        typer.Option("--length", "-n", help="Number of characters or labels to generate.", min=1),
    ] = 400,
    prompt: Annotated[
        str,
        typer.Option("--prompt", "-p", help="Text to continue, or labels separated by spaces."),
    ] = "",
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature",
            "-t",
            help="Below 1 favours likelier labels, above 1 the others; 0: always the likeliest.",
            min=0,
        ),
    ] = 1.0,
    seed: Annotated[
        int | None, typer.Option(help="Random seed of the sampling; default: a new one.", min=0)
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Generate text, or a sequence of labels, from a model that was trained on such.

    Examples:

    - `legato generate book.keras`
    - `legato generate book.keras -p "It was" -t 0.7 -n 1000 --seed 1`
    """
    with report_errors(debug):
        trained = load_trained(model, json)
        is_text = trained.is_text
        start: Any = prompt if is_text else prompt.split()
        with show_status("generating", json):
            labels = trained.generate(length, prompt=start, temperature=temperature, seed=seed)
        if json:
            print_json({"prompt": prompt, "labels": labels})
        else:
            print(prompt + "".join(labels) if is_text else " ".join([*start, *labels]))


def classify(
    model: ModelFile,
    data: Data,
    out: TableFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Predict the label of each sequence, or of each step, and its probability.

    Examples:

    - `legato classify walks.keras new.csv`
    - `legato classify walks.keras new.csv -o labels.csv`
    """
    with report_errors(debug):
        check_output_file(out, *TABLE_SUFFIXES)
        trained = load_trained(model, json, data)
        with show_status(f"classifying {data}", json):
            labels = trained.classify(data)
        _output_table(labels.columns(), out, json)


def show(model: AnyModelFile, json: Json = False, debug: Debug = False) -> None:
    """Show a model's inputs, its training data, its scores and the sizes of its states.

    A model that does not record what it was trained on, such as one saved by plain Keras, is shown
    by its layers and the sizes of their states.

    Examples:

    - `legato show model.keras`
    - `legato show model.keras --json`
    """
    with report_errors(debug):
        import_keras_alone()
        from legato import load_model, report

        try:
            trained = load_trained(model, json)
        except InputError as error:
            with show_status(f"opening {model}", json):
                plain = load_model(model)  # raises the same again if it is no model
            if json:
                print_json(report.model_facts(plain))
            else:
                report.print_model(plain, str(error))
            return
        with name_damaged_record(model):
            if json:
                print_json(report.facts(trained))
            else:
                report.print_summary(trained)


@contextmanager
def name_damaged_record(model: Path) -> Generator[None]:
    """Turn errors of a record that lacks something into an InputError that names the file."""
    try:
        yield
    except LegatoError:
        raise
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        raise InputError(
            f"The record of the training in {model} cannot be shown ({shown_reason(error)}): "
            "it was altered, or written by another version. Train again."
        ) from error


def load_trained(model: Path, quiet: bool, data: Path | None = None) -> "Trained":
    """Load a model, after checking that DATA is not a model file too.

    Raises:
        InputError: DATA and MODEL are the wrong way round, or MODEL was not written by train.
    """
    if data is not None:
        check_is_no_model(data, model)
    with show_status(f"opening {model}", quiet):
        import_keras_alone()
        from legato import Trained

        return Trained.load(model)


def _output_table(columns: dict[str, list], out: Path | None, json: bool) -> None:
    """Write a table to a file, or print it as JSON or as text."""
    from legato import report

    if out is not None:
        report.write_table(columns, out)
    if json:
        print_json(columns)
    elif out is not None:
        print_written(out)
    else:
        report.print_table(columns)
