"""Checks of the record of a training that was read from a model's file.

A record that parses may still be of another version, or altered: what is wrong with it is said when
it is read, and not by whatever uses it first.
"""

import math
from typing import Any, get_args

from legato._forecasting.covariates import Covariates
from legato._forecasting.network import Shape
from legato._forecasting.prediction_intervals import Intervals
from legato._forecasting.task import Task
from legato._forecasting.train_config import Cell, Framing, Kind
from legato._platform.checks import is_count
from legato._series.sequences import Column

NEEDED = {"read", "season", "label_counts", "seen"}  # keys of what is known of a training
_READING = {"group", "time", "columns", "categorical", "missing"}
_LATER_TEXTS = {"dates", "zone", "fill", "every", "every_by"}  # absent from older files
_LATER_READING = _LATER_TEXTS | {"wide"}


def check_task(task: Task) -> None:
    """Check a task.

    Raises:
        ValueError: it is none.
    """
    is_forecast = task.kind == "forecast"
    _check("task", task.kind in get_args(Kind))
    _check("horizon", is_count(task.horizon, 0 if task.kind == "classify" else 1))
    _check("whole", isinstance(task.whole, bool))
    _check("inputs", bool(task.inputs) and all(map(_is_column, task.inputs)))
    _check("targets", bool(task.targets) and all(map(_is_column, task.targets)))
    _check("targets", all(each.is_numeric == is_forecast for each in task.targets))
    _check("targets", is_forecast or len(task.targets) == 1)
    names = {column.name for column in task.inputs}
    _check("known", _are_texts(task.known) and names.issuperset(task.known))
    _check("static", _are_texts(task.static) and names.issuperset(task.static))


def check_shape(shape: Shape) -> None:
    """Check the architecture of a network.

    Raises:
        ValueError: it is none.
    """
    _check("cell", shape.cell in get_args(Cell))
    _check("framing", shape.framing in get_args(Framing))
    _check("stateful", isinstance(shape.stateful, bool))
    _check("bidirectional", isinstance(shape.bidirectional, bool))
    for name in ("dropout", "recurrent_dropout"):
        _check(name, isinstance(getattr(shape, name), (int, float)))
    for name in ("units", "layers", "steps"):
        _check(name, is_count(getattr(shape, name)))


def check_known(known: dict[str, Any], task: Task) -> None:
    """Check what is known of a training, as far as predictions and scores need it.

    Raises:
        ValueError, LookupError, TypeError: it is not as it was written.
    """
    missing = NEEDED - known.keys()
    if missing:
        raise ValueError(f"it lacks {', '.join(sorted(missing))}")
    read, counts = known["read"], known["label_counts"]
    _check("read", isinstance(read, dict) and read.keys() - _LATER_READING == _READING)
    for name in ("group", "time", *_LATER_TEXTS):
        _check(name, isinstance(read.get(name), (str, type(None))))
    _check("wide", isinstance(read.get("wide", False), bool))
    _check("columns", read["columns"] is None or _are_texts(read["columns"]))
    _check("categorical", _are_texts(read["categorical"]))
    _check("missing", isinstance(read["missing"], str))
    _check("season", known["season"] is None or is_count(known["season"]))
    origins = known.get("origins")  # absent from older files
    _check("origins", origins is None or is_count(origins))
    _check("label_counts", isinstance(counts, list) and all(is_count(each, 0) for each in counts))
    _check("label_counts", len(counts) == len(task.labels))
    for steps, *digests in known["seen"]:
        _check("seen", is_count(steps, 0) and _are_texts(digests))
    Covariates.from_numbers(known.get("covariates"))  # absent from older files
    _check("refit", isinstance(known.get("refit", False), bool))  # absent from older files
    least = known.get("least")  # absent from older files
    if least is not None:
        count = len(task.targets) if task.kind == "forecast" else 0
        _check("least", isinstance(least, list) and len(least) == count)
        _check("least", all(isinstance(each, (int, float)) for each in least))
    if "intervals" in known:
        Intervals.from_numbers(known["intervals"])


def _is_column(column: Column) -> bool:
    """Whether a column has a name, and either no categories or a number for each."""
    if not isinstance(column.name, str):
        return False
    texts, numbers = column.categories, column.numbers
    if texts is None or numbers is None:
        return texts is numbers
    are_numbers = all(isinstance(each, (int, float)) and math.isfinite(each) for each in numbers)
    return bool(texts) and _are_texts(texts) and are_numbers and len(texts) == len(numbers)


def _are_texts(values: Any) -> bool:
    return isinstance(values, (list, tuple)) and all(isinstance(each, str) for each in values)


def _check(name: str, is_right: bool) -> None:
    if not is_right:
        raise ValueError(f"its {name!r} is not as it was written")
