"""What to write in place of a cell that is a number but for signs, separators, units or words."""

import re
import unicodedata
from typing import TYPE_CHECKING

from legato._series.date_patterns import CLOCKS, DATES

if TYPE_CHECKING:
    import polars

MARKS = (  # of missing values, in small letters, apart from those that are read as missing
    "? - -- --- – — . .. ... * : / n/a na n.a. n.d. nd nil none null missing unknown <na> (null) ∞ "
    "#n/a #na #div/0! #value! #ref! #num! #null! #name? #spill! #calc! #wert! #bezug! "
    "1.#ind -1.#ind 1.#qnan -1.#qnan 1.#inf -1.#inf nan(ind) -nan(ind)"
).split()
_ZEROS = "٠۰०০੦૦௦౦೦๐０"  # of Arabic, Devanagari and other scripts, and of full width
PLAIN_SIGNS = {
    **{chr(ord(zero) + at): str(at) for zero in _ZEROS for at in range(10)},
    **dict.fromkeys("−‐‑﹣－", "-"),
    **dict.fromkeys("٫．·", "."),
    **dict.fromkeys("٬，", ","),
    **dict.fromkeys("\u200b\u200e\u200f\u2060\ufeff", ""),  # which are not seen
}  # of numbers, and what Python has in their place
_TO_PLAIN = str.maketrans(PLAIN_SIGNS)
_COMMA_THOUSANDS = r"^[^\d.]*[1-9]\d{0,2}(?:(?:,\d{2,3})+,\d{3}|(?:,\d{3})+\.\d+)(?:\.\d+)?\D*$"
_COMMA_DECIMALS = r",(?:\d{1,2}|\d{4,})\D*$|^\D*0+,\d|\d\.\d{3},\d|,\d+[eE]"
POINT_THOUSANDS = r"^\D*[1-9]\d{0,2}(?:\.\d{3}){2,}\D*$"
_WRITTEN = r"[-+]?(?:\d|(?<!\w)[.,](?=\d))[\d.,'’\s]*(?:[eE][-+]?\d+)?"
_PLAIN = r"[-+]?(?:\d+(?:[.,]\d*)?|\.\d+)"
_POWER = rf"({_PLAIN})(?:\s*[x×·*]\s*10(?:\^|\*\*)?|\s*[eEdD])\s*\(?([-+]?[\d⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺]+)\)?"
_CALL = rf"[^\W\d][\w.]*\(\s*({_PLAIN}(?:[eE][-+]?\d+)?)\s*\)"  # np.float64(2.5)
_FRACTION = r"([-+]?)(?:(\d+)\s+)?(\d+)\s*/\s*(\d+)"
_FACTORS = "k K M Mio Mio. Mrd Mrd. mn bn Tsd Tsd. thousand million billion".split()
_RAISED = str.maketrans("⁰¹²³⁴⁵⁶⁷⁸⁹⁻⁺", "0123456789-+")


def advise(string: str, texts: "polars.Series", name: str) -> str:
    """What to write in place of a string that is not a number.

    Args:
        string: the string.
        texts: all strings of the column that are no numbers, which show what its commas are, and
            whether units differ.
        name: the column's.

    Returns:
        The advice, which ends with how to say that the column holds labels.
    """
    labels = f"or say that the column holds labels with categorical={name!r}."
    plain = re.sub(r"^–(?=\s*[\d.])", "-", string.translate(_TO_PLAIN))
    found = re.search(_WRITTEN, plain)
    if found is None or string.lower() in MARKS or _is_time(string):
        return f"Mend it, leave the field empty if the value is missing, {labels}"
    if value := _compute(plain):
        return f"{value}, {labels}"
    written = found[0].strip("'’ \t\xa0\u2009\u202f").removesuffix(".")
    before, behind = plain[: found.start()].strip(), plain[found.end() :].strip()
    number = re.sub(r"['’\s]", "", written)
    if before.endswith("-") and written[0].isdigit() and not re.search(r"\w", before):
        before, number = before[:-1].rstrip(), f"-{number}"
    elif before.startswith("-") or behind == "-":
        before, behind, number = before.removeprefix("-"), behind.rstrip("-"), f"-{number}"
    in_brackets = before.startswith("(") and behind.endswith(")") and number[0].isdigit()
    if "," in number or re.search(POINT_THOUSANDS, number):
        advice = _advise_on_separators(number, texts, bool(before or behind))
        return f"{advice}{', with a minus if brackets say so' * in_brackets}, {labels}"
    if re.search(r"\d['’\s]+\d", written) and not re.search(r"^\S{1,4}(['’\s]\d{3})+", written):
        return f"It holds several: separate the columns by commas, in the header too, {labels}"
    if not (before or behind):
        return f"Write it plainly, {number}, {labels}"
    minus = f", or -{number} if brackets say so" if in_brackets else ""
    unit = ", in the same unit in every row" if _has_units(texts) else ""
    factor = next((word for word in f"{before} {behind}".split() if word in _FACTORS), None)
    if factor and not unit:
        unit = f" (in full, if {factor!r} stands for thousands or more)"
    return f"Write the number alone, {number}{minus}{unit}, {labels}"


def _is_time(string: str) -> bool:
    """Whether a string is a date or a time of day."""
    import polars

    text = polars.Series([string])
    return bool(text.str.contains(DATES)[0] or text.str.contains(CLOCKS)[0])


def _compute(text: str) -> str | None:
    """What to write for a power of ten, a fraction, or a number as Python shows it."""
    if found := re.fullmatch(_CALL, text):
        return f"Write the number alone, {found[1]}"
    if found := re.fullmatch(_POWER, text):
        return f"Write it plainly, {found[1].replace(',', '.')}e{found[2].translate(_RAISED)}"
    is_one_sign = (fraction := _as_fraction(text[-1])) is not None
    found = re.fullmatch(_FRACTION, f"{text[:-1]} {fraction}".strip() if is_one_sign else text)
    if found is None or not int(found[4]):
        return None
    sign, whole, above, below = found.groups()
    value = f"{sign}{int(whole or 0) + int(above) / int(below):.6g}"
    alone = "" if whole or is_one_sign else f"the number alone, {sign}{above}, or "
    return f"Write {alone}it as a decimal number, {value}"


def _as_fraction(character: str) -> str | None:
    """A character such as ½ as 1/2; None for others."""
    if not unicodedata.decomposition(character).startswith("<fraction>"):
        return None
    return unicodedata.normalize("NFKC", character).replace("\N{FRACTION SLASH}", "/")


def _has_units(texts: "polars.Series") -> bool:
    """Whether the words beside numbers differ."""
    words = (re.findall(r"[^\W\d_]+", each) for each in texts.head(100))
    units = {tuple(word.removesuffix("s") or word for word in each) for each in words}
    return len(units - {()}) > 1


def _advise_on_separators(number: str, texts: "polars.Series", is_decorated: bool) -> str:
    """What to write in place of a number with commas, or with points between thousands.

    Args:
        number: without what is around it.
        texts: all strings of the column that are no numbers, which show what its commas are.
        is_decorated: whether something is around it.
    """
    if "," not in number:
        return f"Its points separate thousands: leave them out, {number.replace('.', '')}"
    plain, decimal = number.replace(",", ""), number.replace(".", "").replace(",", ".")
    thousands = bool(texts.str.contains(_COMMA_THOUSANDS).any())
    decimals = bool(texts.str.contains(_COMMA_DECIMALS).any())
    if (thousands and not decimals) or number.count(",") > 1:
        return f"Its commas separate thousands: leave them out, {plain}"
    if decimals and not thousands:
        if is_decorated:
            return f"Write the number alone, with a decimal point: {decimal}"
        return f"Write decimals with a point, {decimal}, and thousands plainly"
    return (
        f"If its commas separate thousands, leave them out: {plain}. If they are decimal commas, "
        f"write points: {decimal}"
    )
