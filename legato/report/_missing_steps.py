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

    Data that came as ``Sequences`` or through a pipe are read once only, and rows that were left
    out are in no sequence: counts are then not known.
    """
    none = np.zeros(len(sequences.values), bool)
    how = trained.known["read"]
    if how["missing"] == "error":
        return MissingSteps(none, {})
    is_file = not isinstance(data, (str, Path)) or Path(data).is_file()
    once = isinstance(data, Sequences) or not is_file
    if once or how["missing"] == "drop" or sequences.lines is None:
        return MissingSteps(none, None)
    used = [column.name for column in sequences.columns]
    labels = [column.name for column in sequences.columns if not column.is_numeric]
    options = {**how, "missing": "drop", "categorical": labels}
    try:
        complete = read(data, **{**options, "columns": used})
        counts = {}
        for name in used[:MAX_COLUMNS]:
            own = [name] if name in labels else []
            there = read(data, **{**options, "columns": [name], "categorical": own})
            counts[name] = len(sequences.values) - len(there.values)
    except LegatoError:  # such as no complete row
        return MissingSteps(none, None)
    if complete.lines is None:
        return MissingSteps(none, None)
    return MissingSteps(~np.isin(sequences.lines, complete.lines), counts)
