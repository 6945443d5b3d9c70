"""Numbers and lists as words, for messages, tables and plans."""

from collections.abc import Iterable, Mapping
from typing import Any


def counted(number: int, one: str, plural: str = "s") -> str:
    """``1 step``, ``1,000 steps``."""
    return f"{number:,} {one}{plural if number != 1 else ''}"


def listed(words: Iterable[str]) -> str:
    """``a, b and c``."""
    *first, last = words
    return f"{', '.join(first)} and {last}" if first else last


def capitalized(text: str) -> str:
    """A text whose first letter is a capital one, as at the beginning of a sentence."""
    return text[:1].upper() + text[1:]


def duration(seconds: float) -> str:
    """A time in words: ``0.4 s``, ``12 s``, ``1 min 12 s``, ``2 h 5 min``."""
    if seconds < 1:
        return f"{seconds:.1g} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours:,} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def short_duration(seconds: float) -> str:
    """A time in one unit, as Keras's progress line has it: ``12ms``, ``3.1s``."""
    if seconds < 1e-3:
        return f"{seconds * 1e6:.0f}us"
    if seconds < 1:
        return f"{seconds * 1e3:.0f}ms"
    if seconds < 90:
        return f"{seconds:.0f}s" if seconds >= 10 else f"{seconds:.1f}s"
    return f"{seconds / 60:.0f}min"


def describe_settings(options: Mapping[str, Any]) -> str:
    """Options of training in words, as in ``cell gru, learning rate 0.01``."""
    if not options:
        return "as given"
    shown = [
        f"{name.replace('_', ' ')} {value:.3g}" if isinstance(value, float) else f"{name} {value}"
        for name, value in options.items()
    ]
    return ", ".join(shown)
