"""How people write times: texts → times, and times → texts that are written alike.

A writing is a template of codes, much as ``strftime`` has them, such as ``%d/%m/%Y`` or ``%Y Q%q``.
It is found from texts by the patterns in ``_DATES``, one line for each order of parts; separators
and times of day are found with it. All of ISO 8601 has its own parser (``time_formats``), which is
faster and mixes its forms; the writing of such texts is found here too, so that forecasts are
dated alike.
"""

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from legato._series.month_names import ANY_MONTH, MONTH_NUMBERS, find_month_names
from legato._series.time_formats import parse_times
from legato._series.time_options import DateOrder

if TYPE_CHECKING:
    import polars

_YEAR, _TWO, _NAME = r"(?P<Y>\d{4})", r"\d\d?", rf"(?P<b>(?i:{ANY_MONTH}))\.?"
_BETWEEN = r"[-/.,: ]{0,2}"
_DATES = tuple(
    each.replace("<Y>", _YEAR).replace("<b>", _NAME).replace("__", _BETWEEN)
    for each in (
        rf"<Y>(?P<s>[-/. ])(?P<m>{_TWO})(?P=s)(?P<d>{_TWO})",
        rf"(?P<x>{_TWO})(?P<s>[-/. ])(?P<y>{_TWO})(?P=s)<Y>",  # a day and a month, or vice versa
        r"<Y>(?P<m>\d\d)(?P<d>\d\d)",
        r"<Y>[-/.](?P<m>\d\d)",
        rf"(?P<m>{_TWO})[-/.]<Y>",
        r"<Y>(?P<m>\d\d)",
        rf"<Y>-?M(?P<m>{_TWO})",
        rf"<Y> ?[年년] ?(?P<m>{_TWO}) ?[月월](?: ?(?P<d>{_TWO}) ?[日일])?",
        r"<Y>-?(?P<j>\d{3})",
        r"<Y>__[Qq](?P<q>[1-4])",
        r"[Qq](?P<q>[1-4])__<Y>",
        r"(?P<q>[1-4])[Qq]__<Y>",
        rf"(?P<G>\d{{4}})[- ]?W(?P<V>{_TWO})(?:-?(?P<u>[1-7]))?",
        rf"W(?P<V>{_TWO})__(?P<G>\d{{4}})",
        rf"<Y>__<b>(?:__(?P<d>{_TWO}))?",
        rf"(?:(?P<d>{_TWO})__)?<b>__<Y>",
        rf"<b> (?P<d>{_TWO}),? <Y>",
    )
)
_CLOCK = (
    r"(?:[T ,]{1,2}(?P<H>\d\d?)"
    r"(?:(?P<c>:?)(?P<M>\d\d)(?:(?P=c)(?P<S>\d\d)(?:\.(?P<f>\d{1,9}))?)?)?"
    r"(?: ?(?P<p>[AaPp]\.?[Mm]\.?))?(?: ?(?:(?P<z>Z|[-+]\d\d(?::?\d\d)?)|UTC|GMT))?)?"
)
_PATTERNS = tuple(re.compile(each + _CLOCK) for each in _DATES)
_COMPACT_CLOCK = {10: "%H", 12: "%H%M", 14: "%H%M%S"}  # digits of a number
_ZONES = {2: "%#z", 4: "%z", 5: "%:z"}  # letters behind the sign of an offset
_CODE = re.compile(r"%(?:-?[A-Za-z]|[:#]z|\df)")
_GROUPS = {  # code → how it is read
    "%Y": r"(?<Y>\d{4})",
    "%G": r"(?<Y>\d{4})",
    **dict.fromkeys(("%m", "%-m"), r"(?<m>\d\d?)"),
    **dict.fromkeys(("%d", "%-d"), r"(?<d>\d\d?)"),
    **dict.fromkeys(("%H", "%-H", "%I", "%-I"), r"(?<H>\d\d?)"),
    "%M": r"(?<M>\d\d)",
    "%S": r"(?<S>\d\d)",
    "%p": r"(?<p>[AaPp]\.?[Mm]\.?)",
    "%q": r"(?<q>[1-4])",
    "%b": r"(?<b>\p{L}+)",
    **dict.fromkeys(("%V", "%-V"), r"(?<V>\d\d?)"),
    "%u": r"(?<u>[1-7])",
    "%j": r"(?<j>\d{3})",
    **dict.fromkeys(("%z", "%:z", "%#z", "%Z"), r"(?<z>Z|[-+]\d\d(?::?\d\d)?)"),
}
_SAMPLE = 1_000  # texts by which padding is told
_TWELVE, _LAST_YEAR = 12, 9999
_UNITS = (  # what is lost behind a code
    *(("S", "s"), ("M", "m"), ("H", "h"), ("I", "h"), ("d", "D"), ("j", "D"), ("u", "D")),
    *(("m", "M"), ("b", "M"), ("q", "3M"), ("Y", "Y")),
)


class Undecided(NamedTuple):
    """A text that may be a day and a month, or a month and a day."""

    text: str


@dataclass(frozen=True)
class Writing:
    """How times are written.

    Attributes:
        template: text with the codes of ``strftime``, ``-`` for no leading zero; also ``%q`` (the
            quarter), ``%:z`` and ``%Z`` (+02:00, and ``Z`` for no offset), ``%3f`` (three digits of
            a second).
        names: the twelve names of months, as they are written; empty without one.
        halves: how the halves of a day are written, such as ``("AM", "PM")``.
    """

    template: str
    names: tuple[str, ...] = ()
    halves: tuple[str, str] = ("AM", "PM")

    @property
    def order(self) -> DateOrder | None:
        """Whether days or months come first, where numbers alone do not say so."""
        plain = self.template.replace("-", "")
        if re.match(r"%d.?%m.?%Y", plain):
            return "day-first"
        return "month-first" if re.match(r"%m.?%d.?%Y", plain) else None

    @cached_property
    def codes(self) -> tuple[str, ...]:
        """The codes of the template, in their order."""
        return tuple(_CODE.findall(self.template))

    @property
    def has_offset(self) -> bool:
        """Whether the offset from UTC is written."""
        return self.template.endswith("z") or "%Z" in self.template

    # Texts → times.

    def parse(self, texts: "polars.Series") -> "polars.Series":
        """Texts as UTC times in microseconds (nanoseconds if they matter); null where one is not
        written so.
        """
        import polars

        parts = texts.str.extract_groups(self._pattern).struct.unnest()
        text = {name: polars.col(name) for name in parts.columns}
        none = polars.lit("01")
        month = text.get("m", none).str.zfill(2)
        if "q" in text:
            month = (text["q"].cast(polars.Int32) * 3 - 2).cast(polars.String).str.zfill(2)
        if "b" in text:
            numbers = {name: f"{at:02d}" for name, at in MONTH_NUMBERS.items()}
            month = text["b"].str.to_lowercase().replace_strict(numbers, default=None)
        day = polars.concat_str(polars.lit("-"), text.get("d", none).str.zfill(2))
        date = polars.concat_str(text["Y"], polars.lit("-"), month, day)
        if "V" in text:
            day, week = text.get("u", polars.lit("1")), text["V"].str.zfill(2)
            date = polars.concat_str(text["Y"], polars.lit("-W"), week, polars.lit("-"), day)
        if "j" in text:
            date = polars.concat_str(text["Y"], polars.lit("-"), text["j"])
        if "H" in text:
            date = polars.concat_str(date, polars.lit("T"), self._clock_of(text))
        return parse_times(parts.select(text=date)["text"])

    @staticmethod
    def _clock_of(text: dict[str, "polars.Expr"]) -> "polars.Expr":
        """A time of day as ISO 8601 has it."""
        import polars

        hour = text["H"].str.zfill(2)
        if "p" in text:
            number = text["H"].cast(polars.Int32)
            afternoon = 12 * text["p"].str.to_lowercase().str.starts_with("p").cast(polars.Int32)
            known = polars.when(number.is_between(1, _TWELVE)).then(number % _TWELVE + afternoon)
            hour = known.cast(polars.String).str.zfill(2)
        parts = [hour, polars.lit(":"), text.get("M", polars.lit("00"))]
        if "S" in text:
            parts += [polars.lit(":"), text["S"]]
        if "f" in text:
            parts += [polars.lit("."), text["f"]]
        return polars.concat_str(*parts, *([text["z"]] if "z" in text else []))

    @property
    def _pattern(self) -> str:
        """The template as a regular expression of Polars."""
        pattern, end = "", 0
        for found in _CODE.finditer(self.template):
            pattern += re.escape(self.template[end : found.start()])
            pattern += _GROUPS.get(found[0], r"(?<f>\d{1,9})")
            end = found.end()
        return f"(?i)^{pattern}{re.escape(self.template[end:])}$"

    # Times → texts.

    def format(self, times: np.ndarray, offsets: np.ndarray | None = None) -> list[str]:
        """Times as texts; as ISO 8601 has them if the writing cannot hold all their parts.

        Args:
            times: (times,) ``datetime64`` as a clock on the wall shows them.
            offsets: (times,) minutes from UTC; None if they are not known.
        """
        if not self._holds(times) or (self.has_offset and offsets is None):
            return format_iso(times, offsets if self.has_offset else None)
        parts = _parts_of(times)
        minutes = np.zeros(len(times), int) if offsets is None else offsets
        columns = [self._format_code(code, parts, minutes) for code in self.codes]
        literals = _CODE.split(self.template)
        return [
            "".join(part for pair in zip(literals, (*row, ""), strict=True) for part in pair)
            for row in zip(*columns, strict=True)
        ]

    def _format_code(self, code: str, parts: dict[str, np.ndarray], offsets: np.ndarray) -> list:
        """What one code stands for in each time."""
        name = code[-1]
        if name in "zZ":
            return [_format_offset(each, code) for each in offsets.tolist()]
        if name in "bp":
            words = self.names if name == "b" else self.halves
            places = parts["m"] - 1 if name == "b" else parts["H"] // _TWELVE
            return [words[each] for each in places.tolist()]
        if name == "f":
            return [f"{each:09d}"[: int(code[1])] for each in parts["f"].tolist()]
        width = 1 if code[1] == "-" else {"Y": 4, "G": 4, "j": 3, "q": 1, "u": 1}.get(name, 2)
        return [f"{each:0{width}d}" for each in parts[name].tolist()]

    def _holds(self, times: np.ndarray) -> bool:
        """Whether the writing has every part of the times that is not zero."""
        years = times.astype("M8[Y]").astype(int) + 1970
        return bool(((years >= 0) & (years <= _LAST_YEAR) & (self._floor(times) == times)).all())

    def _floor(self, times: np.ndarray) -> np.ndarray:
        """The times without parts that are not written."""
        letters = {code[-1]: code for code in self.codes}
        if "f" in letters:
            return times.astype(f"M8[{10 ** (9 - int(letters['f'][1]))}ns]")
        if "V" in letters and "u" not in letters:
            days = times.astype("M8[D]")
            return days - (_parts_of(times)["u"] - 1)
        return times.astype(f"M8[{next(unit for letter, unit in _UNITS if letter in letters)}]")


def _parts_of(times: np.ndarray) -> dict[str, np.ndarray]:
    """The parts of times by the letters of their codes."""
    years, months, days = (times.astype(f"M8[{unit}]") for unit in "YMD")
    seconds = times.astype("M8[s]")
    clock = (seconds - days).astype(int)
    weekdays = (days - np.datetime64("1970-01-05")).astype(int) % 7
    thursdays = days - weekdays + 3  # whose year is that of the week
    week_years = thursdays.astype("M8[Y]")
    month = months.astype(int) % 12
    return {
        "Y": years.astype(int) + 1970,
        "m": month + 1,
        "q": month // 3 + 1,
        "d": (days - months.astype("M8[D]")).astype(int) + 1,
        "j": (days - years.astype("M8[D]")).astype(int) + 1,
        "G": week_years.astype(int) + 1970,
        "V": (thursdays - week_years.astype("M8[D]")).astype(int) // 7 + 1,
        "u": weekdays + 1,
        "H": clock // 3600,
        "I": (clock // 3600 + 11) % _TWELVE + 1,
        "M": clock // 60 % 60,
        "S": clock % 60,
        "f": ((times - seconds) / np.timedelta64(1, "ns")).round().astype(int),
    }


def _format_offset(minutes: int, code: str) -> str:
    """An offset from UTC: +0200, +02:00 (``:``), +02 (``#``, if it is whole hours), or Z."""
    if code == "%Z" and not minutes:
        return "Z"
    hours, rest = divmod(abs(minutes), 60)
    sign = "-" if minutes < 0 else "+"
    if code == "%#z" and not rest:
        return f"{sign}{hours:02d}"
    return f"{sign}{hours:02d}{'' if code == '%z' else ':'}{rest:02d}"


def format_iso(times: np.ndarray, offsets: np.ndarray | None = None) -> list[str]:
    """Times as ISO 8601 has them, without trailing zero parts; with offsets, to the minute."""
    if offsets is None:
        return [str(np.datetime_as_string(each, unit="auto")) for each in times]
    texts = []
    for time, minutes in zip(times, offsets.tolist(), strict=True):
        text = str(np.datetime_as_string(time, unit="auto"))
        text += "" if "T" in text else "T00:00"
        texts.append(text + _format_offset(minutes, "%:z"))
    return texts


# Finding a writing.


def find_writing(
    texts: "polars.Series", order: DateOrder | None = None
) -> "Writing | Undecided | None":
    """How texts are written.

    The first text has the writing. Whether days or months come first is known from the first number
    above 12 in either place; if there is none, ``order`` decides; without it, between points the
    day comes first, as no country writes months first so.

    Args:
        texts: the texts, without surrounding spaces; null where one is missing.
        order: whether days or months come first.

    Returns:
        The writing; the first text if days and months cannot be told apart; None if the first text
        that is not missing is no time.
    """
    known = texts.drop_nulls()
    if not len(known):
        return None
    first = str(known[0])
    found = next(filter(None, (each.fullmatch(first) for each in _PATTERNS)), None)
    if found is None:
        return None
    letters = {name: name for name in found.groupdict() if found[name] is not None}
    if "x" in letters:
        order = _find_order(known, order) or ("day-first" if found["s"] == "." else None)
        if order is None:
            return Undecided(first)
        letters["x"], letters["y"] = ("d", "m") if order == "day-first" else ("m", "d")
    return _with_names(_with_padding(_template_of(found, letters), known), known)


def _template_of(found: re.Match, letters: dict[str, str]) -> Writing:
    """The parts of a text replaced by their codes."""
    text, pieces, end = found[0], "", 0
    places = sorted((found.start(group), group) for group in letters if group not in "sc")
    halves = ("AM", "PM")
    for start, group in places:
        code = f"%{letters[group]}"
        if group == "f":
            code = f"%{len(found['f'])}f"
        if group == "z":
            code = "%Z" if found["z"] == "Z" else _ZONES[len(found["z"]) - 1]
        if group == "p":
            after = found["p"][1:]
            halves = (
                ("a" + after, "p" + after) if found["p"].islower() else ("A" + after, "P" + after)
            )
        pieces += text[end:start] + code
        end = found.end(group)
    template = pieces + text[end:]
    if "%p" in template:
        template = template.replace("%H", "%I")
    return Writing(template, halves=halves)


def _find_order(texts: "polars.Series", order: DateOrder | None) -> DateOrder | None:
    """Whether days or months come first: by the first number above 12, else as given."""
    import polars

    groups = texts.str.extract_groups(r"^(\d\d?)\D(\d\d?)\D")
    for name, decided in (("1", "day-first"), ("2", "month-first")):
        numbers = groups.struct.field(name).cast(polars.Int32)
        if (numbers > _TWELVE).any():
            return decided
    return order


def _with_padding(writing: Writing, texts: "polars.Series") -> Writing:
    """The writing with codes without leading zeros where some text has a single digit."""
    head = texts.head(_SAMPLE)
    parts = head.str.extract_groups(writing._pattern).struct.unnest()
    present = [name for name in "mdHV" if name in parts.columns]
    single = {name for name in present if (parts[name].str.len_bytes() == 1).any()}
    padded = {name for name in present if parts[name].str.starts_with("0").any()}
    if single & {"m", "d"}:
        single |= {"m", "d"} - padded
    template = writing.template
    for letter in (*single, *("I" if "H" in single else "")):
        template = template.replace(f"%{letter}", f"%-{letter}")
    return replace(writing, template=template)


def _with_names(writing: Writing, texts: "polars.Series") -> Writing:
    """The writing with the names of months of the first language that has all in the texts."""
    if "%b" not in writing.template:
        return writing
    found = texts.str.extract_groups(writing._pattern).struct.field("b").drop_nulls()
    known = found.str.to_lowercase().unique(maintain_order=True)
    names = find_month_names([name for name in known if name in MONTH_NUMBERS])
    first = str(found[0])
    change = str.upper if first.isupper() else str.lower if first.islower() else str.capitalize
    return replace(writing, names=tuple(map(change, names)))


def number_writing(number: int) -> Writing:
    """The writing of a date that is a whole number, such as 20240331 or 2024091."""
    digits = str(number)
    if len(digits) == 7:  # a day of the year
        return Writing("%Y%j")
    clock = _COMPACT_CLOCK.get(len(digits), "")
    return Writing("%Y%m" if len(digits) == 6 else "%Y%m%d" + clock)
