"""Wide tables: a sequence in each row, its label first, then its values from step to step.

The UCR archive and others write sequences like this, without a line of names. Such a table becomes
one with a row for each step, which everything else expects. Shorter sequences are filled up with
missing values at their ends, as in the archive.
"""

import numpy as np

from legato._errors import InputError
from legato._series.column_types import parse_numbers
from legato._series.frame_layout import FrameLayout
from legato._series.missing_values import mark_missing
from legato._series.tables import Table

LABEL, VALUE = "label", "value"  # names of the columns


def lengthen(table: Table) -> Table:
    """A table with a row for each step, of one with a row for each sequence.

    Returns:
        Its columns are ``"value"`` and that of the labels, whose name is kept unless it is a
        number.

    Raises:
        InputError: there are fewer than two columns of values, one holds text, or a row has no
            value.
    """
    import polars

    label, *steps = table.frame.columns
    if len(steps) < 2:
        raise InputError(
            f"{table.source} has {len(steps) + 1} columns; with wide=True each row is a sequence: "
            "its label, then its values, two or more."
        )
    labels = table.pop(label)
    values = np.column_stack([_read_numbers(table, name) for name in steps])  # (sequences, steps)
    lengths = len(steps) - (~np.isnan(values[:, ::-1])).argmax(1)
    if (empty := np.isnan(values).all(1)).any():
        row = table.describe_row(int(empty.argmax()))
        raise InputError(f"{table.source}, {row}: there is no value behind the label.")
    is_step = np.arange(len(steps)) < lengths[:, None]
    which = np.repeat(np.arange(len(labels)), lengths)
    name = label if label != VALUE and not label.isdigit() else LABEL
    frame = polars.DataFrame({VALUE: values[is_step], name: labels[which]})
    return Table(
        frame.with_columns(polars.col(VALUE).fill_nan(None)),
        table.source,
        None if table.lines is None else table.lines[which],
        lengths,
        labels=(name,),
        notes=table.notes,
        layout=None if table.layout is None else FrameLayout(table.layout.library),
    )


def _read_numbers(table: Table, name: str) -> np.ndarray:
    """A column of numbers, NaN where one is missing.

    Raises:
        InputError: one of them is text.
    """
    import polars

    series = mark_missing(table.pop(name))
    if series.dtype == polars.String:
        series, bad = parse_numbers(series)
        if bad.any():
            at = int(bad.arg_true()[0])
            raise InputError(
                f"{table.describe_cell(at, name)} is no number; with wide=True each row is a "
                "sequence: its label, then its values."
            )
    if not series.dtype.is_numeric() and series.null_count() < len(series):
        raise InputError(f"{table.source}: column {name!r} holds {series.dtype}, and no numbers.")
    return series.cast(polars.Float64).to_numpy()
