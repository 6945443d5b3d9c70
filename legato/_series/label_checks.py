"""Checks that a column of text holds labels, and not faulty numbers, dates or durations.

A column of text whose cells are numbers but for a unit, a mark, separators of thousands or a
decimal comma would be read as labels, and nothing learnt from it. Such a column is refused, and so
is one in which nearly every row would be a label of its own. Text in a column that is named in
``categorical=`` is labels, whatever it looks like.
"""

from typing import TYPE_CHECKING

from legato._errors import InputError
from legato._series.date_patterns import CLOCKS, DATES
from legato._series.number_advice import MARKS, PLAIN_SIGNS, POINT_THOUSANDS, advise
from legato._series.tables import Table
from legato._series.time_formats import parse_times
from legato._series.time_writings import Undecided, find_writing

if TYPE_CHECKING:
    import polars

_FORMATTED = r"[,'’\s%$€£¥]"  # in and around numbers that are formatted for people
_NUMBER = (
    r"[-+]?(?:\d{1,3}(?:\.\d{3})+,\d+|\d{1,3}(?:\.\d{3}){2,}|"  # points between thousands
    r"\d[\d,'’\s]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
)
_CURRENCIES = (  # and words such as "about", that no name of a label ends with
    "eur usd gbp chf jpy cny rmb inr aud cad nzd sek nok dkk pln czk huf brl rub try zar krw mxn "
    "sgd hkd rs fr kr ca circa approx about"
).replace(" ", "|")
# A number between what is before it, signs or words, and a unit or a mark behind it; "#7" has none.
_DECORATED = (
    rf"^([^\p{{L}}\d.+\-,#@№§_]*|-?\p{{L}}{{0,3}}\p{{Sc}}\s?|(?i:{_CURRENCIES})\.?\s?|"
    rf"\p{{L}}[^\d]*[\s:=]|\p{{L}}[\w.]*\()({_NUMBER})([^\d.,:/\-]\S*.{{0,12}}|/\d+|-|)$"
)
_CURRENCY = rf"^-?(?:\p{{L}}{{0,3}}\p{{Sc}}|(?i:{_CURRENCIES})\.?)\n"
_PREFIX = r"\n[kKMGTPmµun](\p{L})"  # of a unit, such as that of kW
_MAGNITUDE = r"\n(?i:k|m|b|g|t|bn|mn|mio\.?|mrd\.?|tsd\.?|thousand|million|billion)$"
_SEVERAL = r"^[\[(].*[,;].*[\])]$"  # an interval or a tuple
_IN_BRACKETS = r"^\(\d{1,3}(?:,\d{3})+(?:\.\d+)?\)$"  # a number, of accounts
_CODE = r"^\d{3} \d{2}$"  # a postal code of Sweden, Greece or Slovakia
_PAIR = (
    r"^[\[({]?\s*([-+]?\d+(?:\.\d+)?)\s*(?:[-–/;,x×|]|to|\.\.)\s*([-+]?\d+(?:\.\d+)?)\s*[\])}]?$"
)
_FEWEST_NUMBERS = 3  # different ones; "4wd" and "2wd" are labels
_FEWEST_BEHIND_WORDS = 8  # "USB 2.0" and "USB 3.1" are labels
_FEWEST_IN_UNITS = 5  # with decimals and different units; "1.4 TSI" and "2.0 TDI" are labels
_FEWEST_PAIRS, _FEWEST_DECIMAL_PAIRS = 20, 8  # scores such as 2-1 are labels, 120/80 is not
_OWN_LABELS_ROWS, _OWN_LABELS_SHARE = 20, 0.9


def check_holds_labels(series: "polars.Series", bad: "polars.Series", table: Table) -> None:
    """Check that a column of text holds labels.

    Args:
        series: the column as strings, null where a value is missing.
        bad: (rows,) where a string is not a number; at least one is.
        table: the table, for messages.

    Raises:
        InputError: at least half of it, or all but one mark, is numbers, decorated or not; or dates
            or durations; or nearly every row would be a label of its own.
    """
    import polars

    values = len(series) - series.null_count()
    strings = (series.drop_nulls() if bad.all() else series.filter(bad)).rename("text").to_frame()
    kinds = strings.group_by("text", maintain_order=True).len("count")
    texts, counts = kinds["text"], kinds["count"]
    plain_texts = texts.str.replace_many(list(PLAIN_SIGNS), list(PLAIN_SIGNS.values()))

    def count(where: "polars.Series") -> int:
        return int(counts.filter(where.fill_null(False)).sum() or 0)

    if bad.all() and texts.str.contains(_CODE).all():
        return
    if 2 * count(texts.str.contains(DATES)) >= values:
        raise InputError(_describe_dates(series, texts, table))
    if 2 * count(texts.str.contains(CLOCKS)) >= values:
        first = texts.filter(texts.str.contains(CLOCKS))[0]
        raise InputError(
            f"{table.source}: column {series.name!r} holds times of day or durations, such as "
            f"{first!r}. Write them as numbers, of seconds say, or say that they are labels with "
            f"categorical={series.name!r}."
        )
    points = plain_texts.str.contains(POINT_THOUSANDS)
    formatted = plain_texts.zip_with(~points, plain_texts.str.replace_all(".", "", literal=True))
    formatted = formatted.str.replace_all(_FORMATTED, "").cast(polars.Float64, strict=False)
    plain = values - int(bad.sum())
    numbers = _strip_decoration(plain_texts, counts)
    like = formatted.is_not_null() | numbers.is_not_null()
    marks = texts.str.to_lowercase().is_in(MARKS)
    known = plain + count(like)
    several = _count_different(series.filter(~bad), numbers.fill_null(formatted))
    enough = several >= _FEWEST_NUMBERS or (plain > 0 and bool(marks.all()))
    if 2 * (plain + count(formatted.is_not_null())) >= values or (
        enough and (2 * known >= values - count(marks) or int((~like).sum()) == 1)
    ):
        raise InputError(_describe_number_fault(series, bad, texts, table))
    pairs = _find_pairs(plain_texts)
    if pairs is not None and 2 * count(pairs) >= values:
        raise InputError(
            f"{table.source}: column {series.name!r} holds two numbers in a cell, such as "
            f"{texts.filter(pairs)[0]!r}. Make a column of each, or say that they are labels with "
            f"categorical={series.name!r}."
        )
    if values >= _OWN_LABELS_ROWS:
        different = series.n_unique() - bool(series.null_count())
        if different >= _OWN_LABELS_SHARE * values:
            raise InputError(
                f"{table.source}: column {series.name!r} is text that differs in {different:,} of "
                f"{values:,} rows, {texts[0]!r} first: a label for nearly every row, from which "
                "nothing is learnt. Leave it out with columns=, write numbers, or say that it "
                f"holds labels with categorical={series.name!r}."
            )


def _strip_decoration(texts: "polars.Series", counts: "polars.Series") -> "polars.Series":
    """The numbers that are left where decorations of one kind are taken off; null elsewhere.

    Of one kind are equal ones, and units that differ in prefix or magnitude only, kW and W; where
    most numbers have decimals, all that is behind a number.
    """
    import polars

    groups = texts.str.extract_groups(_DECORATED)
    before, number, behind = (groups.struct.field(name) for name in ("1", "2", "3"))
    points = number.str.contains(r"\.\d{3}[.,]").fill_null(False)
    number = number.zip_with(~points, number.str.replace_all(".", "", literal=True))
    plain = number.str.replace_all(_FORMATTED, "").cast(polars.Float64, strict=False)
    is_several = texts.str.contains(_SEVERAL) & ~texts.str.contains(_IN_BRACKETS)
    plain = plain.set(is_several, None)
    decoration = before.str.strip_chars() + "\n" + behind.str.strip_chars()
    kind = decoration.str.replace(_PREFIX, "\n$1").str.replace(_MAGNITUDE, "\n")
    frame = polars.DataFrame({"kind": kind, "count": counts, "number": plain}).drop_nulls()
    if not frame.height:
        return plain
    sums = frame.group_by("kind").agg(polars.col("count").sum()).sort("count", "kind")
    chosen = sums["kind"][-1]
    found = plain.set(~(kind == chosen).fill_null(False), None)
    different = found.n_unique() - bool(found.null_count())
    has_name = chosen[:1].isalpha() and not polars.Series([chosen]).str.contains(_CURRENCY)[0]
    if has_name and (different < _FEWEST_BEHIND_WORDS or (found.drop_nulls() % 1 == 0).all()):
        return plain.clear(len(plain))  # "machine 7", "USB 3.1"
    behind_only = plain.set((before.str.strip_chars() != "").fill_null(True), None)
    different = behind_only.n_unique() - bool(behind_only.null_count())
    with_decimals = counts.filter(behind_only.is_not_null() & number.str.contains(r"\.\d"))
    of_units = counts.filter(behind_only.is_not_null())
    if different >= max(
        _FEWEST_IN_UNITS, kind.filter(behind_only.is_not_null()).n_unique() + 1
    ) and 2 * (with_decimals.sum() or 0) >= of_units.sum() > (sums["count"][-1] or 0):
        return behind_only
    return found


def _find_pairs(texts: "polars.Series") -> "polars.Series | None":
    """Where texts are two numbers, such as 120/80; None if they are names or ranges of classes.

    Classes do not overlap, as 10-20 and 20-30.
    """
    import polars

    groups = texts.str.extract_groups(_PAIR)
    numbers = polars.DataFrame(
        {name: groups.struct.field(name).cast(polars.Float64) for name in ("1", "2")}
    )
    known = numbers.drop_nulls()
    is_pair = numbers["1"].is_not_null()
    few = _FEWEST_PAIRS
    if texts.filter(is_pair).str.contains(r"\d\.\d").all():
        few = _FEWEST_DECIMAL_PAIRS
    if known.height < few:
        return None
    ends = known.select(low=polars.min_horizontal("1", "2"), high=polars.max_horizontal("1", "2"))
    ends = ends.sort("low", "high")
    return is_pair if (ends["low"] < ends["high"].shift(1)).any() else None


def _count_different(plain: "polars.Series", others: "polars.Series") -> int:
    """The number of different numbers among strings that are numbers, and others."""
    import polars

    found = [*plain.cast(polars.Float64, strict=False).unique().head(9), *others.unique().head(9)]
    return len({each for each in found if each is not None})


def _describe_dates(series: "polars.Series", texts: "polars.Series", table: Table) -> str:
    """The message on a column of dates: whether they can be read as they are."""
    column = f"{table.source}: column {series.name!r} holds dates"
    name_it = f"time={series.name!r}, or leave it out with columns=."
    dates = texts.filter(texts.str.contains(DATES))
    unread = dates.filter(parse_times(dates).is_null())
    if not len(unread):
        return f"{column}. Name it with {name_it}"
    found = find_writing(unread)
    if isinstance(found, Undecided):
        return (
            f"{column}, such as {unread[0]!r}, which is not ISO 8601, and may have its day or its "
            f"month first: name it with time={series.name!r} and say which with dates='day-first' "
            "or dates='month-first', or leave it out with columns=."
        )
    if found is not None and not found.parse(unread).null_count():
        return f"{column}, such as {unread[0]!r}, which are read as times: name it with {name_it}"
    return (
        f"{column}, such as {unread[0]!r}, which is not ISO 8601: write them as 2001-03-31 and "
        f"name the column with {name_it}"
    )


def _describe_number_fault(
    series: "polars.Series", bad: "polars.Series", texts: "polars.Series", table: Table
) -> str:
    """The message on the first string in a column of numbers that is not a number."""
    at, count = int(bad.arg_max() or 0), int(bad.sum())
    string = str(series[at])
    others = f", the first of {count:,} such" if count > 1 else ""
    return (
        f"{table.describe_cell(at, series.name)}: {string!r} is not a number{others}, and the "
        f"column looks like one of numbers. {advise(string, texts, series.name)}"
    )
