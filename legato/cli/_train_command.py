"""The command that trains: its options are the fields of ``legato.TrainConfig``.

All options and data are checked before training starts.
"""

from dataclasses import fields
from inspect import Parameter, signature
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, get_args, get_type_hints

import typer

from legato import TrainConfig
from legato._errors import InputError
from legato._platform.keras_import import import_keras_alone
from legato.cli._error_reporting import report_errors
from legato.cli._interrupts import InterruptedAfterError
from legato.cli._options import Data, Debug, Json, Quiet, check_is_no_model, check_output_file
from legato.cli._output import print_json, print_written, show_status
from legato.cli._worker_processes import worker_processes

if TYPE_CHECKING:
    from legato import Plan

FLAGS = {  # others: the field's name
    "columns": "--column",
    "stateful": "--stateful/--stateless",
    "bidirectional": "--bidirectional",
}


def _option(name: str, kind, default, metadata) -> Parameter:
    """A field of ``TrainConfig`` as an option; a list is an option that may be repeated."""
    text = metadata["help"]
    if list[str] in get_args(kind):
        kind, default, text = list[str] | None, None, f"{text} Repeat the option to name several."
    option = typer.Option(
        *([FLAGS[name]] if name in FLAGS else []),
        help=text,
        min=metadata["least"],
        rich_help_panel=metadata["panel"],
        show_default=default is not None,
    )
    return Parameter(
        name, Parameter.KEYWORD_ONLY, default=default, annotation=Annotated[kind, option]
    )


def train(
    data: Data,
    out: Annotated[
        Path, typer.Option("--out", "-o", help="File for the model; ends in .keras.")
    ] = Path("model.keras"),
    plan: Annotated[
        bool, typer.Option("--plan", help="Show what would be trained; train and write nothing.")
    ] = False,
    processes: Annotated[
        int,
        typer.Option(
            help="Processes of this machine that try the settings of --search side by side; what "
            "is found is the same. One network trains in one process; from Python, "
            "legato.join_processes trains one on several machines.",
            min=1,
        ),
    ] = 1,
    json: Json = False,
    quiet: Quiet = False,
    debug: Debug = False,
    **options,
) -> None:
    """Train a network on sequences of your own, and score it on a part that it has not seen.

    The target is the last column unless **--target** names another: quantities are forecast, labels
    are classified from the other columns, and a text is continued. Quantities are forecast by an
    ensemble, weighed by a backtest, unless an option of the network is given; so are labels of
    whole sequences, weighed and scored by cross-validation. Otherwise the last fifth of every
    sequence (or a fifth of the sequences, if each has one label) is kept for the score, and the
    model is compared with baselines. Then the model learns from all the data, unless
    **--no-refit**.

    **--plan** shows what would be trained, and how the sequences are laid in batches.

    Examples:

    - `legato train sales.csv --time month --target sold`
    - `legato train sensors.parquet --group machine --time at --target temperature --horizon 6`
    - `legato train sales.csv --time month --target sold --calendar auto --holidays US-CA`
    - `legato train walks.csv --group walk --early-stop 20 -o walks.keras`
    - `legato train sales.csv --time month --search 20 --study sales.study`
    - `legato train book.txt -o book.keras --units 128`
    - `legato train sensors.parquet --group machine --time at --rows 2 --plan`
    """
    with report_errors(debug):
        if not plan:
            check_output_file(out, ".keras")
        check_is_no_model(data)
        if processes > 1 and not options.get("search"):
            raise InputError(
                f"--processes is {processes}, and one training uses all cores of one process "
                "already. Processes try the settings of a search: give --search 20 too, or leave "
                "--processes out."
            )
        import legato
        from legato import report

        quiet = quiet or json
        given = {name: value for name, value in options.items() if value not in (None, [])}
        with show_status(f"reading {data}", quiet):
            planned = legato.plan(data, **given, verbose=0 if quiet else "auto")
        if plan:
            print_json(report.plan_facts(planned)) if json else report.print_plan(planned)
            return
        import_keras_alone()
        planned = _search(planned, quiet, processes)
        trained = planned.train(show_status("scoring", quiet))
        trained.save(out)
        if json:
            print_json({"model": str(out), **report.facts(trained)})
            return
        if not quiet:
            report.print_summary(trained)
        print_written(out)


def _search(planned: "Plan", quiet: bool, processes: int) -> "Plan":
    """The plan of the best of the settings that are to be tried; else the plan as it is."""
    count, study = planned.config.search, planned.config.study
    if not count:
        return planned
    try:
        with (
            show_status(f"trying {count} settings, first that of the options", quiet) as show,
            worker_processes(processes) as executor,
        ):
            return planned.search(show, executor)
    except KeyboardInterrupt:
        if study is None:
            raise
        raise InterruptedAfterError(
            f"{study} keeps the settings that were tried, and the same command goes on from there"
        ) from None


def _signature():
    """The command's own parameters, and an option for each field but ``verbose`` (--quiet)."""
    types, own = get_type_hints(TrainConfig), signature(train)
    options = [
        _option(each.name, types[each.name], each.default, each.metadata)
        for each in fields(TrainConfig)
        if each.name != "verbose"
    ]
    return own.replace(parameters=[*list(own.parameters.values())[:-1], *options])


train.__signature__ = _signature()  # pyrefly: ignore[missing-attribute]  typer reads it
