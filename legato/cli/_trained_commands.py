"""The commands that ask a trained model: evaluate, forecast, generate, classify, show.

Each is a call of a verb of ``legato.Trained``, and words around it.
"""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from legato._errors import InputError
from legato.cli._command_support import (
    Data,
    Debug,
    Json,
    busy,
    check_is_no_model,
    check_place,
    print_json,
    told_plainly,
)

if TYPE_CHECKING:
    from legato import Trained

ModelFile = Annotated[
    Path,
    typer.Argument(help="What legato train wrote.", metavar="MODEL", show_default=False),
]
TableFile = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="File for the result: .csv, .parquet or .json."),
]
TABLES = (".csv", ".parquet", ".json")


def evaluate(
    model: ModelFile,
    data: Data,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Begin with nothing remembered of what came before."),
    ] = False,
    season: Annotated[
        int | None,
        typer.Option(
            help="Steps of a season, for the seasonal baseline; 0: none; default: as in training.",
            min=0,
        ),
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Score a trained model on data it was not trained on, beside baselines.

    It walks forward: each answer is given by what came before, then the truth is fed in. Of the
    sequences it was trained on, what came after its training is scored; of others, all.

    Examples:

    - `legato evaluate model.keras sales.csv`
    - `legato evaluate model.keras sales.csv --season 12 --json`
    """
    with told_plainly(debug):
        trained = _opened(model, json, data)
        from legato import report

        with busy(f"walking through {data}", json):
            sequences = trained.read(data)
            notes = trained.task.strangers_in(sequences)
            with warnings.catch_warnings(action="ignore", category=UserWarning):  # these notes
                scores = trained.evaluate(sequences, fresh=fresh, season=season)
        if json:
            print_json({**scores.as_numbers(), "notes": notes})
            return
        for note in notes:
            print(note)
        report.print_scores(scores.as_numbers())


def forecast(
    model: ModelFile,
    data: Data,
    steps: Annotated[
        int | None,
        typer.Option("--steps", "-n", help="Steps ahead; default: the horizon.", min=1),
    ] = None,
    out: TableFile = None,
    png: Annotated[Path | None, typer.Option(help="File for a picture; ends in .png.")] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say what comes after the end of each sequence, with intervals from past errors.

    Examples:

    - `legato forecast model.keras sales.csv`
    - `legato forecast model.keras sales.csv -n 12 -o next.csv --png next.png`
    """
    with told_plainly(debug):
        check_place(out, *TABLES)
        check_place(png, ".png")
        trained = _opened(model, json, data)
        from legato import report

        with busy(f"walking through {data}", json):
            found = trained.forecast(data, steps)
        _give(found.columns(), out, json)
        if png is not None:
            with busy(f"drawing {png}", json):
                report.save_figure(report.forecast_figure(found), png)
            if not json:
                print(f"wrote {png}")


def generate(
    model: ModelFile,
    length: Annotated[
        int, typer.Option("--length", "-n", help="How many characters, or labels.", min=1)
    ] = 400,
    prompt: Annotated[
        str,
        typer.Option("--prompt", "-p", help="A text that comes before, or labels between spaces."),
    ] = "",
    temperature: Annotated[
        float,
        typer.Option(
            "--temperature",
            "-t",
            help="Below 1 the likely becomes likelier; 0: always the likeliest.",
            min=0,
        ),
    ] = 1.0,
    seed: Annotated[int | None, typer.Option(help="Of the draws.", min=0)] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Go on with a text, or with the labels of a sequence.

    Examples:

    - `legato generate book.keras`
    - `legato generate book.keras -p "It was" -t 0.7 -n 1000 --seed 1`
    """
    with told_plainly(debug):
        trained = _opened(model, json)
        is_text = trained.is_text
        given: Any = prompt if is_text else prompt.split()
        with busy("generating", json):
            labels = trained.generate(length, prompt=given, temperature=temperature, seed=seed)
        if json:
            print_json({"prompt": prompt, "labels": labels})
        else:
            print(prompt + "".join(labels) if is_text else " ".join([*given, *labels]))


def classify(
    model: ModelFile,
    data: Data,
    out: TableFile = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Say the label of each sequence, or of each step.

    Examples:

    - `legato classify walks.keras new.csv`
    - `legato classify walks.keras new.csv -o labels.csv`
    """
    with told_plainly(debug):
        check_place(out, *TABLES)
        trained = _opened(model, json, data)
        with busy(f"walking through {data}", json):
            found = trained.classify(data)
        _give(found.columns(), out, json)


def show(model: ModelFile, json: Json = False, debug: Debug = False) -> None:
    """Show what a model expects, what it was trained on, how well it did, and its states.

    Of a model that does not say what it was trained on, such as one of plain Keras: its layers and
    their states.

    Examples:

    - `legato show model.keras`
    - `legato show model.keras --json`
    """
    with told_plainly(debug):
        from legato import load_model, report

        try:
            trained = _opened(model, json)
        except InputError as error:
            with busy(f"opening {model}", json):
                plain = load_model(model)  # raises the same again if it is no model
            if json:
                print_json(report.model_facts(plain))
            else:
                report.print_model(plain, str(error))
            return
        if json:
            print_json(report.facts(trained))
        else:
            report.print_summary(trained)


def _opened(model: Path, quiet: bool, data: Path | None = None) -> "Trained":
    """The model, once it is known that the data are not another.

    Raises:
        InputError: DATA and MODEL are the wrong way round, or MODEL was not written by train.
    """
    if data is not None:
        check_is_no_model(data, model)
    with busy(f"opening {model}", quiet):
        from legato import Trained

        return Trained.load(model)


def _give(columns: dict[str, list], out: Path | None, json: bool) -> None:
    """A table as JSON, as a file, or at the terminal."""
    from legato import report

    if out is not None:
        report.write_table(columns, out)
    if json:
        print_json(columns)
    elif out is not None:
        print(f"wrote {out}")
    else:
        report.print_table(columns)
