"""Makes a user's arrays plain: native byte order, and no masked value or unit dropped silently.

``numpy.asarray`` drops the mask of a masked array and the unit of a quantity. JAX is not imported
here, so that data can be read without it; see ``jax_arrays``.
"""

from typing import Any

import numpy as np

from legato._errors import InputError

_PLAIN_TYPES = frozenset((int, float, bool, np.ndarray))


def check_keeps_meaning(name: str, value: Any) -> None:
    """Refuse a value of which ``numpy.asarray`` would drop masked entries or a unit.

    Args:
        name: for the message.
        value: an array-like value, or a list of some.

    Raises:
        InputError: an entry is masked, or the value has a unit.
    """
    kind = type(value)
    if kind is np.ndarray:
        return
    if kind is list or kind is tuple:
        if not _PLAIN_TYPES.issuperset(map(type, value)):
            for at, each in enumerate(value):
                check_keeps_meaning(f"{name}[{at}]", each)
    elif isinstance(value, np.ma.MaskedArray):
        if count := int(np.ma.count_masked(value)):
            raise InputError(
                f"{name} is a masked array, and {count} of its {value.size} values "
                f"{'is' if count == 1 else 'are'} masked; every value was expected to be known. "
                "Fill them in with .filled(number), drop such samples, or mask those steps with "
                "keras.layers.Masking."
            )
    elif unit := _unit_of(value):
        raise InputError(
            f"{name} is a {kind.__name__} in {unit}; numbers without a unit were expected. Give "
            f"the numbers in the unit that you mean: {name}.to(unit).{_number_name(value)}."
        )


def with_missing(values: Any) -> Any:
    """A masked array as an array with NaN (of dates NaT), or a list with None, for what is masked.

    Anything else is returned as it is.
    """
    if not isinstance(values, np.ma.MaskedArray):
        return values
    if values.dtype.kind not in "biufM" or not np.ma.is_masked(values):
        return values.tolist() if np.ma.is_masked(values) else np.asarray(values)
    if values.dtype.kind == "M":
        return values.filled(np.datetime64("NaT"))
    return np.ma.filled(values.astype(np.float64), np.nan)


def to_native(array: np.ndarray) -> np.ndarray:
    """An array in the machine's byte order."""
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _unit_of(value: Any) -> str:
    """The unit of a quantity of pint, astropy or unyt; empty if it has none.

    Other arrays may describe a unit in their attributes; those are not quantities.
    """
    if not (hasattr(value, "magnitude") or isinstance(value, np.ndarray)):
        return ""
    unit = getattr(value, "units", None)
    unit = getattr(value, "unit", None) if unit is None else unit
    text = "" if unit is None else str(unit)
    return "" if text == "dimensionless" else text


def _number_name(value: Any) -> str:
    return "magnitude" if hasattr(value, "magnitude") else "value"
