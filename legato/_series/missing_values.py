"""Missing values: which values count as missing, and the policies that refuse, drop or fill them.

Values are filled from earlier ones of the same sequence only, but where they are interpolated.
"""

from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

from legato._errors import InputError
from legato._platform.wording import counted
from legato._series.time_options import FillPolicy

# NumPy is not imported with this module, so that ``legato train --help`` is quick.
if TYPE_CHECKING:
    import numpy as np
    import polars

    from legato._series.sequences import Column
    from legato._series.tables import Table

MissingPolicy = Literal["error", "drop", "forward"]  # how missing values are handled
MISSING_TOKENS = ("", "NA", "N/A", "NaN", "nan", "null", "None")
_FILLED = {
    "forward": "filled with the last known of the same sequence",
    "interpolate": "interpolated between the known ones before and after of the same sequence, or "
    "the last known where none is after",
    "zero": "filled with 0, labels with the last known",
}
_NEEDS_CLEANING = rf"^\s|\s$|^({'|'.join(MISSING_TOKENS)})$"


class MissingValueError(InputError):
    """A value is missing, and none may be.

    Attributes:
        found: the sentence that says where, without advice.
    """

    def __init__(self, found: str):
        super().__init__(
            f"{found} Leave such rows out with missing='drop', let the last known value of the "
            "same sequence stand for them with missing='forward', or fill them with "
            "fill='interpolate'."
        )
        self.found = found


@contextmanager
def missing_values_advised(advice: str) -> Generator[None]:
    """Within it, a ``MissingValueError`` becomes an InputError with other advice."""
    try:
        yield
    except MissingValueError as error:
        raise InputError(f"{error.found} {advice}") from error


def mark_missing(series: "polars.Series") -> "polars.Series":
    """Turn NaN and the strings in ``MISSING_TOKENS`` into null; strip spaces around strings."""
    import polars

    if series.dtype in (polars.Categorical, polars.Enum, polars.Null):
        series = series.cast(polars.String)
    if series.dtype.is_float():
        return series.fill_nan(None)
    if series.dtype != polars.String:
        return series
    if not series.str.contains(_NEEDS_CLEANING).any():
        return series
    strings = series.str.strip_chars()
    return strings.set(strings.is_in(MISSING_TOKENS).fill_null(False), None)


def check_no_missing(table: "Table", series: "polars.Series") -> None:
    """Check that a column of groups or times has a value in every row.

    Raises:
        InputError: one is missing.
    """
    if count := series.null_count():
        at = int(series.is_null().arg_max() or 0)
        raise InputError(
            f"{table.describe_cell(at, series.name)}: the value is missing, the first of "
            f"{count:,}. A column named as group= or time= must have one in every row: fill it in, "
            "or take the row out."
        )


def handle_missing(
    table: "Table",
    columns: "tuple[Column, ...]",
    values: "np.ndarray",
    rows: "np.ndarray",
    lengths: "np.ndarray",
    policy: "MissingPolicy | FillPolicy",
    times: "np.ndarray | None" = None,
) -> "tuple[np.ndarray | None, tuple[str, ...]]":
    """Refuse, leave out or fill in place the rows whose values are missing.

    Args:
        table: the table, for messages.
        columns: of the values; labels are always filled with the last known one.
        values: (rows, columns), NaN where one is missing.
        rows, lengths: the line of each row, and the rows of each sequence.
        policy: what is done.
        times: (rows,), between which values are interpolated; None: between rows.

    Returns:
        Which rows are kept, (rows,), None if all are; and a note.

    Raises:
        InputError: a value is missing with the policy "error", or no row would be left.
    """
    import numpy as np

    is_missing = np.isnan(values)
    count = int(is_missing.sum())
    if not count:
        return None, ()
    many = f"{count:,} value{'s were' if count > 1 else ' was'} missing"
    if policy == "error":
        incomplete = np.flatnonzero(is_missing.any(axis=1))
        first = incomplete[rows[incomplete].argmin()]
        name = columns[int(is_missing[first].argmax())].name
        others = f", the first of {count:,} such" if count > 1 else ""
        cell = table.describe_cell(int(np.searchsorted(table.rows, rows[first])), name)
        raise MissingValueError(f"{cell}: the value is missing{others}.")
    if policy == "drop":
        kept = np.logical_not(is_missing.any(axis=1))
        note = f"{many}: {counted(int((~kept).sum()), 'row')} left out."
    else:
        kept = fill_values(columns, values, lengths, policy, times)
        left = counted(int((~kept).sum()), "row")
        note = f"{many}: {is_missing[kept].sum():,} {_FILLED[policy]}"
        note += "." if kept.all() else f", {left} before the first known left out."
    if not kept.any():
        raise InputError(
            f"{table.source}: {many}, and no row would be left with missing={policy!r}."
        )
    return kept, (note,)


def fill_values(
    columns: "tuple[Column, ...]",
    values: "np.ndarray",
    lengths: "np.ndarray",
    policy: "MissingPolicy | FillPolicy",
    times: "np.ndarray | None" = None,
) -> "np.ndarray":
    """Fill missing values in place; see ``handle_missing``.

    Returns:
        Which rows have every value then, (rows,): not those before the first known one.
    """
    import numpy as np

    if policy != "forward":
        numeric = [at for at, column in enumerate(columns) if column.is_numeric]
        _fill_quantities(values, numeric, lengths, None if policy == "zero" else times)
    return _fill_forward(values, np.isnan(values), lengths)


def _fill_quantities(
    values: "np.ndarray", numeric: list[int], lengths: "np.ndarray", times: "np.ndarray | None"
) -> None:
    """Fill in, in place, zeros (``times`` None), or what is between two known values."""
    import numpy as np

    if times is None:
        values[:, numeric] = np.nan_to_num(values[:, numeric], nan=0.0)
        return
    ends = np.cumsum(lengths)
    for begin, end in zip(ends - lengths, ends, strict=True):
        for at in numeric:
            column = values[begin:end, at]
            known = np.flatnonzero(~np.isnan(column))
            if not 0 < len(known) < len(column):
                continue
            clock = (times[begin:end] - times[begin]).astype(float)
            within = slice(known[0], known[-1] + 1)  # what is before or after it is not between
            column[within] = np.interp(clock[within], clock[known], column[known])


def _fill_forward(
    values: "np.ndarray", is_missing: "np.ndarray", lengths: "np.ndarray"
) -> "np.ndarray":
    """Fill in the last known value of the same sequence; (rows,) where every column has one."""
    import numpy as np

    begins = np.repeat(np.cumsum(lengths) - lengths, lengths)
    kept = np.ones(len(values), bool)
    for at in np.flatnonzero(is_missing.any(axis=0)):
        last = np.maximum.accumulate(np.where(is_missing[:, at], -1, np.arange(len(values))))
        kept &= last >= begins
        values[:, at] = values[last, at]
    return kept
