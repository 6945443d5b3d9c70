"""The commands for one's own data: train, evaluate, forecast, generate, classify, show.

Each is a call of ``legato.train`` or of a verb of ``legato.Trained``, and words around it.
"""

import json as text_of
import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from legato._errors import InputError
from legato.cli._telling import Debug, Json, Quiet, busy, check_place, told_plainly

if TYPE_CHECKING:
    from legato import Trained

Data = Annotated[
    Path,
    typer.Argument(help="CSV, Parquet, NumPy or text file.", metavar="DATA", show_default=False),
]
ModelFile = Annotated[
    Path,
    typer.Argument(help="What legato train wrote.", metavar="MODEL", show_default=False),
]
TableFile = Annotated[
    Path | None,
    typer.Option("--out", "-o", help="File for the result: .csv, .parquet or .json."),
]
Kind = Literal["forecast", "classify", "generate"]
Missing = Literal["error", "drop", "forward"]
Framing = Literal["chunks", "window", "features", "prefix", "runs"]
Split = Literal["time", "group"]
Cell = Literal["lstm", "gru", "simple"]
_DATA, _NETWORK, _TRAINING = "The data", "The network", "The training"
TABLES = (".csv", ".parquet", ".json")


def train(
    data: Data,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="File for the model; ends in .keras.")
    ] = Path("model.keras"),
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="Column to be answered; default: the last. Several may be forecast.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(help="Column that tells sequences apart.", rich_help_panel=_DATA),
    ] = None,
    time: Annotated[
        str | None, typer.Option(help="Column of the times.", rich_help_panel=_DATA)
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option(help="Column to be used; default: all.", rich_help_panel=_DATA),
    ] = None,
    categorical: Annotated[
        list[str] | None,
        typer.Option(help="Column of numbers that stand for labels.", rich_help_panel=_DATA),
    ] = None,
    missing: Annotated[
        Missing,
        typer.Option(
            help="What a missing value is: an error, drop the row, or forward the last known.",
            rich_help_panel=_DATA,
        ),
    ] = "error",
    task: Annotated[
        Kind | None,
        typer.Option(
            help="Default: what the target suggests.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    horizon: Annotated[
        int | None,
        typer.Option(help="Steps ahead of a forecast; default: 1.", min=1, rich_help_panel=_DATA),
    ] = None,
    framing: Annotated[
        Framing,
        typer.Option(
            help="Chunks, through which state goes on, or samples that stand alone.",
            rich_help_panel=_NETWORK,
        ),
    ] = "chunks",
    steps: Annotated[
        int | None,
        typer.Option(
            help="Time steps of a chunk, which is how far gradients reach, or of a window.",
            min=1,
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    rows: Annotated[
        int | None,
        typer.Option(
            help="Sequences side by side in a batch; with more than there are, each is read in "
            "several places at once.",
            min=1,
            rich_help_panel=_NETWORK,
        ),
    ] = None,
    cell: Annotated[
        Cell, typer.Option(help="What a recurrent layer is made of.", rich_help_panel=_NETWORK)
    ] = "lstm",
    units: Annotated[
        int, typer.Option(help="Units of each layer.", min=1, rich_help_panel=_NETWORK)
    ] = 32,
    layers: Annotated[
        int, typer.Option(help="Recurrent layers.", min=1, rich_help_panel=_NETWORK)
    ] = 1,
    stateful: Annotated[
        bool | None,
        typer.Option(
            "--stateful/--stateless",
            help="Whether state is carried from chunk to chunk; default: it is.",
            rich_help_panel=_NETWORK,
            show_default=False,
        ),
    ] = None,
    epochs: Annotated[
        int, typer.Option(help="Passes over the data.", min=1, rich_help_panel=_TRAINING)
    ] = 200,
    early_stop: Annotated[
        int,
        typer.Option(
            help="First find on a part how many epochs are worth it: stop after so many no better.",
            min=0,
            rich_help_panel=_TRAINING,
        ),
    ] = 0,
    learning_rate: Annotated[
        float, typer.Option(help="Of Adam: how far a step goes.", rich_help_panel=_TRAINING)
    ] = 0.003,
    split: Annotated[
        Split | None,
        typer.Option(
            help="Keep the last steps of every sequence for the score, or whole sequences.",
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    test: Annotated[
        float,
        typer.Option(
            help="Share kept for the score, or a whole number of steps of each sequence; 0: none.",
            rich_help_panel=_TRAINING,
        ),
    ] = 0.2,
    validation: Annotated[
        float,
        typer.Option(help="Share that decides where --early-stop asks.", rich_help_panel=_TRAINING),
    ] = 0.15,
    season: Annotated[
        int | None,
        typer.Option(
            help="Steps of a season, for the seasonal baseline; 0: none; default: from the times.",
            min=0,
            rich_help_panel=_TRAINING,
        ),
    ] = None,
    seed: Annotated[
        int,
        typer.Option(help="Of initial weights and of draws.", min=0, rich_help_panel=_TRAINING),
    ] = 7,
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would be trained; train and write nothing.")
    ] = False,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
) -> None:
    """Train a network on sequences of your own, and score it on what it has not seen.

    The last column is what is learnt, unless **--target** says otherwise: quantities are forecast,
    labels told from the other columns, and a text goes on. The last fifth of every sequence (or a
    fifth of the sequences, if each has one label) is kept for the score, and baselines stand
    beside it.

    Examples: `legato train sales.csv --time month --target sold` ·
    `legato train sensors.parquet --group machine --time at --target temperature --horizon 6` ·
    `legato train book.txt -o book.keras --units 128`
    """
    with told_plainly(debug):
        if not plan:
            check_place(out, ".keras")
        _check_is_no_model(data)
        import legato
        from legato import report

        quiet = quiet or json
        with busy(f"reading {data}", quiet):
            sequences = legato.read(
                data,
                group=group,
                time=time,
                columns=column or None,
                categorical=categorical or (),
                missing=missing,
            )
        planned = legato.plan(
            sequences,
            target=target or None,
            task=task,
            horizon=horizon,
            framing=framing,
            steps=steps,
            rows=rows,
            cell=cell,
            units=units,
            layers=layers,
            stateful=stateful,
            epochs=epochs,
            early_stop=early_stop,
            learning_rate=learning_rate,
            split=split,
            test=_share(test, "--test"),
            validation=_share(validation, "--validation"),
            season=season,
            seed=seed,
            verbose=0 if quiet else "auto",
        )
        if plan:
            _print_json(report.plan_facts(planned)) if json else report.print_plan(planned)
            return
        trained = planned.train()
        trained.save(out)
        if json:
            _print_json({"model": str(out), **report.facts(trained)})
            return
        if not quiet:
            report.print_summary(trained)
        print(f"wrote {out}")


def evaluate(
    model: ModelFile,
    data: Data,
    fresh: Annotated[
        bool,
        typer.Option("--fresh", help="Begin with nothing remembered of what came before."),
    ] = False,
    season: Annotated[
        int | None, typer.Option(help="Steps of a season, for the seasonal baseline.", min=1)
    ] = None,
    json: Json = False,
    debug: Debug = False,
) -> None:
    """Score a trained model on data it was not trained on, beside baselines.

    It walks forward: each answer is given by what came before, then the truth is fed in. Of the
    sequences it was trained on, what came after its training is scored; of others, all.

    Example: `legato evaluate model.keras sales.csv`
    """
    with told_plainly(debug):
        trained = _opened(model, json, data)
        from legato import report

        with busy(f"walking through {data}", json):
            scores = trained.evaluate(data, fresh=fresh, season=season)
        if json:
            _print_json(scores.as_numbers())
        else:
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

    Example: `legato forecast model.keras sales.csv -n 12 -o next.csv --png next.png`
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

    Example: `legato generate book.keras -p "It was" -t 0.7 -n 1000`
    """
    with told_plainly(debug):
        trained = _opened(model, json)
        is_text = trained.is_text
        given: Any = prompt if is_text else prompt.split()
        with busy("generating", json):
            labels = trained.generate(length, prompt=given, temperature=temperature, seed=seed)
        if json:
            _print_json({"prompt": prompt, "labels": labels})
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

    Example: `legato classify model.keras new.csv -o labels.csv`
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

    Example: `legato show model.keras`
    """
    with told_plainly(debug):
        from legato import load_model, report

        try:
            trained = _opened(model, json)
        except InputError as error:
            with busy(f"opening {model}", json):
                plain = load_model(model)  # raises the same again if it is no model
            if json:
                _print_json(report.model_facts(plain))
            else:
                report.print_model(plain, str(error))
            return
        if json:
            _print_json(report.facts(trained))
        else:
            report.print_summary(trained)


def _opened(model: Path, quiet: bool, data: Path | None = None) -> "Trained":
    """The model, once it is known that the data are not another.

    Raises:
        InputError: DATA and MODEL are the wrong way round, or MODEL was not written by train.
    """
    if data is not None:
        _check_is_no_model(data, model)
    with busy(f"opening {model}", quiet):
        from legato import Trained

        return Trained.load(model)


def _check_is_no_model(data: Path, model: Path | None = None) -> None:
    if data.suffix != ".keras":
        return
    order = "" if model is None or model.suffix == ".keras" else " MODEL comes first, then DATA."
    raise InputError(f"{data} is a model by its name; a file of data was expected.{order}")


def _share(share: float, option: str) -> float:
    """A share, or a whole number.

    Raises:
        InputError: it is neither.
    """
    if share < 1:
        return share
    if share != int(share):
        raise InputError(f"{option} is {share}; a share below 1 or a whole number was expected.")
    return int(share)


def _give(columns: dict[str, list], out: Path | None, json: bool) -> None:
    """A table as JSON, as a file, or at the terminal."""
    from legato import report

    if out is not None:
        report.write_table(columns, out)
    if json:
        _print_json(columns)
    elif out is not None:
        print(f"wrote {out}")
    else:
        report.print_table(columns)


def _print_json(value: dict) -> None:
    print(text_of.dumps(_strict(value), indent=1, ensure_ascii=False, allow_nan=False))


def _strict(value: Any) -> Any:
    """The same without NaN and infinity, which JSON has not: null."""
    if isinstance(value, dict):
        return {name: _strict(each) for name, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_strict(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
