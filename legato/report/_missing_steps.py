"""Which steps of the data had a missing value that was filled in, and how many each column had."""

from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from legato import LegatoError, Sequences, Trained, read

MAX_COLUMNS = 40  # that are counted one by one


class MissingSteps(NamedTuple):
    """What was missing.

    Attributes:
        filled: (time steps,), whether a value of the step was filled in.
        counts: column → missing values; None where they cannot be told.
    """

    filled: np.ndarray
    counts: dict[str, int] | None


def find_missing(trained: Trained, data: Any, sequences: Sequences) -> MissingSteps:
    """Find missing values by reading the data again without the rows that lack one.

    Data that came as ``Sequences`` or through a pipe are read once only, rows that were left out
    are in no sequence, and resampled steps are of many rows: counts are then not known.
    """
    none = np.zeros(len(sequences.values), bool)
    how = trained.known["read"]
    fills = how.get("fill") is not None
    if how["missing"] == "error" and not fills and how.get("every") is None:
        return MissingSteps(none, {})
    is_file = not isinstance(data, (str, Path)) or Path(data).is_file()
    once = isinstance(data, Sequences) or not is_file
    if once or how.get("every") is not None or (how["missing"] == "drop" and not fills):
        return MissingSteps(none, None)
    used = [column.name for column in sequences.columns]
    labels = [column.name for column in sequences.columns if not column.is_numeric]
    options = {**how, "missing": "drop", "fill": None}
    if "fill" not in how:
        del options["fill"]
    try:
        chosen = {"columns": used, "categorical": labels}
        filled = _absent(sequences, read(data, **{**options, **chosen}))
        counts = {}
        for name in used[:MAX_COLUMNS]:
            chosen = {"columns": [name], "categorical": [name] if name in labels else []}
            counts[name] = int(_absent(sequences, read(data, **{**options, **chosen})).sum())
    except LegatoError:  # such as no complete row
        return MissingSteps(none, None)
    return MissingSteps(filled, counts)


def _absent(sequences: Sequences, among: Sequences) -> np.ndarray:
    """Whether each time step is absent among others: by its time, or by its row of the source."""
    found = np.ones(len(sequences.values), bool)
    places = {name: at for at, name in enumerate(among.names)}
    for at, name in enumerate(sequences.names):
        if name in places:
            own = slice(*sequences.offsets[at : at + 2])
            other = slice(*among.offsets[places[name] : places[name] + 2])
            if sequences.times is not None and among.times is not None:
                found[own] = ~np.isin(sequences.times[own], among.times[other])
            elif sequences.lines is not None and among.lines is not None:
                found[own] = ~np.isin(sequences.lines[own], among.lines[other])
    return found
