"""Checks that a column of text holds labels, and not faulty numbers, dates or durations.

A column of text whose cells are numbers but for a unit, a mark, separators of thousands or a
decimal comma would be read as labels, and nothing learnt from it. Such a column is refused, and so
is one in which nearly every row would be a label of its own. Text in a column that is named in
``categorical=`` is labels, whatever it looks like.
"""

import re
from typing import TYPE_CHECKING

from legato._errors import InputError
from legato._series.parsing import parse_times
from legato._series.tables import Table

if TYPE_CHECKING:
    import polars

_FORMATTED = r"[,'’\s%$€£¥]"  # in and around numbers that are formatted for people
_NUMBER = r"[-+]?(?:\d[\d,'’\s]*(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
# A number between what is before it, signs or words, and a unit or a mark behind it; "#7" has none.
_DECORATED = (
    rf"^([^\p{{L}}\d.+\-,#@№_]*|\p{{L}}[^\d]*[\s:=])({_NUMBER})([^\d.,:/\-]\S*.{{0,12}}|/\d+|)$"
)
_FEWEST_NUMBERS = 3  # different ones; "4wd" and "2wd" are labels
_MARKS = (  # of missing values, in small letters, apart from those that are read as missing
    "? - -- --- – — . .. ... * n/a na n.a. n.d. nd nil none null missing unknown <na> (null) "
    "#n/a #na #div/0! #value! #ref! #num! #null! #name?"
).split()
_MONTHS = "|".join(  # English, German, French, Spanish, Italian, Portuguese
    "jan january januar janv janvier janeiro ene enero gen gennaio feb february februar fev "
    "févr février fevereiro febrero febbraio mar march mär märz mars marzo março apr april avr "
    "avril abr abril aprile may mai mayo mag maggio maio jun june juni juin junio giu giugno "
    "junho jul july juli juil juillet julio lug luglio julho aug august août aout ago agosto "
    "sep sept september septembre septiembre set settembre setembro oct october okt oktober "
    "octobre octubre ott ottobre out outubro nov november novembre noviembre novembro dec "
    "december dez dezember déc décembre dic diciembre dicembre dezembro".split()
)
_DATES = (
    r"^(?i:(?:\p{L}{2,10}\.?,? )?(?:"  # a day of the week may be before it
    r"\d{4}[-/]\d{1,2}(?:[-/]\d{1,2})?|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}|\d{4}\.\d{1,2}\.\d{1,2}|"
    r"\d{8}T\d{4,6}|\d{4}-?W\d{2}(?:-?\d)?|\d{4}[- ]?Q[1-4]|Q[1-4][- /]?\d{4}|"
    rf"\d{{1,2}}\.?[-/ ]?(?:de )?(?:{_MONTHS})\.?[-/, ]*(?:de )?(?:\d{{4}}|\d{{2}})|"
    rf"\d{{4}}[-/ ](?:{_MONTHS})\.?(?:[-/ ]\d{{1,2}})?|"
    rf"(?:{_MONTHS})\.?[-/ ](?:\d{{1,2}},? )?(?:\d{{4}}|'?\d{{2}})"
    r")(?:,?[T ].*|Z)?)$"
)
_CLOCKS = (
    r"^(?i:[-+]?(?:\d+ ?d(?:ays?)?,? )?\d{1,3}:\d{2}(?::\d{2}(?:[.,]\d+)?)?(?: ?[ap]\.?m\.?)?|"
    r"P(?:\d+[YMWD])+(?:T[\d.]+[HMS].*)?|PT[\d.]+[HMS].*|"
    r"(?:\d+ ?h(?:ours?)? ?)?\d+ ?m(?:in)? ?\d+ ?s(?:ec)?)$"
)
_COMMA_THOUSANDS = r"^[^\d.]*[1-9]\d{0,2}(?:(?:,\d{3}){2,}|(?:,\d{3})+\.\d+)\D*$"
_COMMA_DECIMALS = r",(?:\d{1,2}|\d{4,})\D*$|^\D*0+,\d|\d\.\d{3},\d|,\d+[eE]"
_POINT_THOUSANDS = r"^\D*[1-9]\d{0,2}(?:\.\d{3}){2,}\D*$"
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

    def count(where: "polars.Series") -> int:
        return int(counts.filter(where.fill_null(False)).sum() or 0)

    if 2 * count(texts.str.contains(_DATES)) >= values:
        raise InputError(_describe_dates(series, texts, table))
    if 2 * count(texts.str.contains(_CLOCKS)) >= values:
        first = texts.filter(texts.str.contains(_CLOCKS))[0]
        raise InputError(
            f"{table.source}: column {series.name!r} holds times of day or durations, such as "
            f"{first!r}. Write them as numbers, of seconds say, or say that they are labels with "
            f"categorical={series.name!r}."
        )
    points = texts.str.contains(_POINT_THOUSANDS)
    formatted = texts.zip_with(~points, texts.str.replace_all(".", "", literal=True))
    formatted = formatted.str.replace_all(_FORMATTED, "").cast(polars.Float64, strict=False)
    plain = values - int(bad.sum())
    numbers = _strip_decoration(texts, counts)
    like = formatted.is_not_null() | numbers.is_not_null()
    marks = texts.str.to_lowercase().is_in(_MARKS)
    known = plain + count(like)
    several = _count_different(series.filter(~bad), numbers.fill_null(formatted))
    enough = several >= _FEWEST_NUMBERS or (plain > 0 and bool(marks.all()))
    if 2 * (plain + count(formatted.is_not_null())) >= values or (
        enough and (2 * known >= values - count(marks) or int((~like).sum()) == 1)
    ):
        raise InputError(_describe_number_fault(series, bad, texts, table))
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
    """The numbers that are left where the most frequent decoration is taken off; null elsewhere."""
    import polars

    groups = texts.str.extract_groups(_DECORATED)
    before, number, behind = (groups.struct.field(name) for name in ("1", "2", "3"))
    decoration = before.str.strip_chars() + "\n" + behind.str.strip_chars()
    frame = polars.DataFrame({"decoration": decoration, "count": counts}).drop_nulls()
    sums = frame.group_by("decoration").agg(polars.col("count").sum()).sort("count", "decoration")
    if not sums.height:
        return number.cast(polars.Float64, strict=False)
    chosen = sums["decoration"][-1]
    plain = number.str.replace_all(_FORMATTED, "").cast(polars.Float64, strict=False)
    plain = plain.set(~(decoration == chosen).fill_null(False), None)
    is_name = chosen[:1].isalpha() and (plain.drop_nulls() % 1 == 0).all()  # "machine 7"
    return plain.clear(len(plain)) if is_name else plain


def _count_different(plain: "polars.Series", others: "polars.Series") -> int:
    """The number of different numbers among strings that are numbers, and others."""
    import polars

    found = [*plain.cast(polars.Float64, strict=False).unique().head(9), *others.unique().head(9)]
    return len({each for each in found if each is not None})


def _describe_dates(series: "polars.Series", texts: "polars.Series", table: Table) -> str:
    """The message on a column of dates: whether they can be read as they are."""
    column = f"{table.source}: column {series.name!r} holds dates"
    name_it = f"time={series.name!r}, or leave it out with columns=."
    dates = texts.filter(texts.str.contains(_DATES))
    unread = dates.filter(parse_times(dates).is_null())
    if not len(unread):
        return f"{column}. Name it with {name_it}"
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
        f"column looks like one of numbers. {_advise(string, texts, series.name)}"
    )


def _advise(string: str, texts: "polars.Series", name: str) -> str:
    """What to write in place of a string that is not a number."""
    labels = f"or say that the column holds labels with categorical={name!r}."
    string = string.replace("\N{MINUS SIGN}", "-")
    found = re.search(r"[-+]?[\d.,][\d.,'’\s]*(?:[eE][-+]?\d+)?", string)
    written = found[0].strip() if found else ""
    if not re.search(r"\d", written):
        return f"Mend it, leave the field empty if the value is missing, {labels}"
    around = string.replace(written, " ", 1).split()
    number = re.sub(r"['’\s]", "", written)
    if "," in number or re.search(_POINT_THOUSANDS, number):
        return _advise_on_separators(number, texts, bool(around))
    if around:
        minus = f", or -{number} if brackets say so" if around == ["(", ")"] else ""
        return f"Write the number alone, {number}{minus}, {labels}"
    if re.search(r"\d\s", written) and not re.search(r"^\S{1,4}(\s\d{3})+$", written):
        return "It holds several: separate the columns by commas, in the header too."
    return f"Write it plainly, {number}."


def _advise_on_separators(number: str, texts: "polars.Series", is_decorated: bool) -> str:
    """What to write in place of a number with commas, or with points between thousands.

    Args:
        number: without what is around it.
        texts: all strings of the column that are no numbers, which show what its commas are.
        is_decorated: whether something is around it.
    """
    if "," not in number:
        return f"Its points separate thousands: leave them out, {number.replace('.', '')}."
    plain, decimal = number.replace(",", ""), number.replace(".", "").replace(",", ".")
    thousands = bool(texts.str.contains(_COMMA_THOUSANDS).any())
    decimals = bool(texts.str.contains(_COMMA_DECIMALS).any())
    if thousands and not decimals:
        return f"Its commas separate thousands: leave them out, {plain}."
    if decimals and not thousands:
        if is_decorated:
            return f"Write the number alone, with a decimal point: {decimal}."
        return f"Write decimals with a point, {decimal}, and thousands plainly."
    return (
        f"If its commas separate thousands, leave them out: {plain}. If they are decimal commas, "
        f"write points: {decimal}."
    )
