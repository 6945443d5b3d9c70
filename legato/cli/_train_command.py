"""The command that trains: ``legato.read``, ``legato.plan`` and ``Plan.train``, and words around.

All that can be refused is refused before anything takes time.
"""

from pathlib import Path
from typing import Annotated, Literal

import typer

from legato._errors import InputError
from legato.cli._error_reporting import report_errors
from legato.cli._options import Data, Debug, Json, Quiet, check_is_no_model, check_output_file
from legato.cli._output import print_json, show_status

Kind = Literal["forecast", "classify", "generate"]
Missing = Literal["error", "drop", "forward"]
Framing = Literal["chunks", "window", "features", "prefix", "runs"]
Split = Literal["time", "group"]
Cell = Literal["lstm", "gru", "simple"]
_DATA, _NETWORK, _TRAINING = "The data", "The network", "The training"


def train(
    data: Data,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="File for the model; ends in .keras.")
    ] = Path("model.keras"),
    target: Annotated[
        list[str] | None,
        typer.Option(
            help="Column to be answered; default: the last. Give it again to forecast several.",
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
        typer.Option(
            help="Column to be used; default: all. Give it again for more.", rich_help_panel=_DATA
        ),
    ] = None,
    categorical: Annotated[
        list[str] | None,
        typer.Option(
            help="Column of numbers that stand for labels. Give it again for more.",
            rich_help_panel=_DATA,
        ),
    ] = None,
    missing: Annotated[
        Missing,
        typer.Option(
            help="What a missing value is: an error, drop the row, or forward the last known.",
            rich_help_panel=_DATA,
        ),
    ] = "error",
    shortest: Annotated[
        int, typer.Option(help="Leave out sequences of fewer steps.", rich_help_panel=_DATA, min=1)
    ] = 1,
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
            help="Share kept for the score, or a whole number: of steps, or of sequences; 0: none.",
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

    **--plan** shows what would be trained, and how the sequences are laid in batches.

    Examples:

    - `legato train sales.csv --time month --target sold`
    - `legato train sensors.parquet --group machine --time at --target temperature --horizon 6`
    - `legato train walks.csv --group walk --early-stop 20 -o walks.keras`
    - `legato train book.txt -o book.keras --units 128`
    - `legato train sensors.parquet --group machine --time at --rows 2 --plan`
    """
    with report_errors(debug):
        if not plan:
            check_output_file(out, ".keras")
        check_is_no_model(data)
        import legato
        from legato import report

        quiet = quiet or json
        with show_status(f"reading {data}", quiet):
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
            shortest=shortest,
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
            print_json(report.plan_facts(planned)) if json else report.print_plan(planned)
            return
        trained = planned.train(show_status("scoring", quiet))
        trained.save(out)
        if json:
            print_json({"model": str(out), **report.facts(trained)})
            return
        if not quiet:
            report.print_summary(trained)
        print(f"wrote {out}")


def _share(share: float, option: str) -> float:
    """A share, or a whole number.

    Raises:
        InputError: it is neither.
    """
    if not share >= 1:
        return share
    if share % 1:
        raise InputError(f"{option} is {share}; a share below 1 or a whole number was expected.")
    return int(share)
