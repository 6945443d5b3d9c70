"""The order of a table's rows: by sequence, and by time within each."""

import numpy as np

from legato._errors import InputError
from legato._series.missing_values import check_no_missing, mark_missing
from legato._series.tables import Table
from legato._series.time_column import TimeColumn, is_sorted, read_times, to_instants
from legato._series.time_options import DateOrder
from legato._series.time_zones import NamedZone


def group_rows(
    table: Table, group: str | None
) -> tuple[np.ndarray | None, np.ndarray, tuple[str, ...]]:
    """Sort rows by sequence.

    Returns:
        The order of rows that does so, None if they are sorted; the rows of each sequence,
        (sequences,); and the name of each.
    """
    import polars

    height = table.height
    if group is None:
        lengths = np.array([height]) if table.lengths is None else table.lengths
        numbered = tuple(map(str, range(len(lengths))))
        return None, lengths, numbered if len(lengths) > 1 else (table.source,)
    if table.lengths is not None:
        raise InputError("This input already has several sequences: leave out group=.")
    series = mark_missing(table.pop(group))
    check_no_missing(table, series)
    try:
        if series.dtype.is_nested():
            raise TypeError("it is nested")
        if series.dtype.is_float() and (series == series.round()).all():
            series = series.cast(polars.Int64)
        keys = series.cast(polars.String)
    except (TypeError, polars.exceptions.PolarsError) as error:
        raise InputError(
            f"{table.source}: column {group!r} holds {series.dtype}, which cannot identify "
            "sequences."
        ) from error
    names = keys.unique(maintain_order=True)
    group_index = keys.cast(polars.Enum(names)).to_physical().to_numpy()
    in_order = bool((group_index[1:] >= group_index[:-1]).all())
    order = None if in_order else np.argsort(group_index, kind="stable")
    return order, np.bincount(group_index), tuple(names.to_list())


def sort_by_time(
    table: Table,
    time: str | None,
    order: np.ndarray | None,
    lengths: np.ndarray,
    dates: DateOrder | None,
    zone: NamedZone | None,
) -> tuple[TimeColumn | None, np.ndarray | None]:
    """Sort rows by time within each sequence.

    Returns:
        The times, ascending within each sequence; and the order of rows that makes them so.
    """
    if time is None:
        if zone is not None:
            raise InputError("zone= is that of times: name their column with time=.")
        return None, order
    column = read_times(table, time, dates)
    times = column.times if order is None else column.times[order]
    sequence = np.repeat(np.arange(len(lengths)), lengths)
    if zone is not None:
        if column.zone is None:
            rows = table.rows if order is None else table.rows[order]
            times = to_instants(table, time, times, sequence, rows, zone)
        column = column._replace(zone=zone, is_local=column.zone is None)
    if is_sorted(times, lengths):
        return column._replace(times=times), order
    by_time = np.lexsort((times, sequence))
    order = by_time if order is None else order[by_time]
    notes = (*column.notes, f"Rows were not in order of {time!r}; sorted.")
    return column._replace(times=times[by_time], notes=notes), order
