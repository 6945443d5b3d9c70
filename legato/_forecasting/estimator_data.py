"""What ``Classifier`` takes for sequences and labels, with every check of them.

The words of the messages are those that scikit-learn's ``check_estimator`` looks for, and users of
scikit-learn know.
"""

import warnings
from typing import Any

import numpy as np

from legato._errors import InputError
from legato._platform.wording import counted
from legato._series.reading import read
from legato._series.sequences import Column, Sequences

_EXPECTED = (
    "An array (sequences, time steps) or (sequences, time steps, columns), or a list of arrays, "
    "was expected."
)
_SHOWN_NAMES = 5  # in messages


class _TypeInputError(InputError, TypeError):
    """Values of a type that no array of numbers has."""


def read_samples(X: Any, least: int = 1) -> tuple[Sequences, int]:
    """Sequences from what a classifier takes; see ``Classifier``.

    Args:
        X: the sequences.
        least: how many are needed.

    Returns:
        The sequences, and the number of features: the time steps of an array (sequences, time
        steps), else the columns.

    Raises:
        InputError: they are none, too few, or hold something else than finite numbers.
    """
    if isinstance(X, Sequences):
        sequences, width = X, len(X.columns)
    elif isinstance(X, (list, tuple)) and any(np.ndim(each) for each in X) and _are_uneven(X):
        sequences = read(list(X))
        width = len(sequences.columns)
    else:
        array = _as_numbers(X)
        sequences, width = _from_array(array), array.shape[-1]
    if len(sequences) < least:
        raise InputError(
            f"Found array with {len(sequences)} sample(s), n_samples={len(sequences)}, while a "
            f"minimum of {least} is required to tell classes apart."
        )
    return sequences, width


def _are_uneven(X: Any) -> bool:
    """Whether a list holds arrays of two axes, or of different lengths."""
    return any(np.ndim(each) == 2 for each in X) or len({len(each) for each in X}) > 1


def _as_numbers(X: Any) -> np.ndarray:
    """An array of finite floats."""
    if hasattr(X, "toarray"):
        raise InputError(f"Sparse data were passed for X, and dense ones are required. {_EXPECTED}")
    array = np.asarray(X)
    if array.dtype.kind == "c":
        raise InputError(f"Complex data not supported: X is of {array.dtype}. {_EXPECTED}")
    if array.dtype.kind == "O":
        array = np.where(np.vectorize(_is_missing, otypes=[bool])(array), np.nan, array)
    try:
        array = array.astype("float64")
    except (TypeError, ValueError) as error:
        kind = _TypeInputError if isinstance(error, TypeError) else InputError
        raise kind(
            f"X holds something else than numbers: {error}; an argument must be a string or a "
            "number that makes a quantity."
        ) from error
    if array.ndim not in (2, 3):
        raise InputError(
            f"Expected 2D array, got {array.ndim}D array instead: X has shape {array.shape}. "
            f"Reshape your data. {_EXPECTED}"
        )
    if 0 in array.shape[1:]:
        raise InputError(
            f"Found array with 0 feature(s) (shape={array.shape}) while a minimum of 1 is required."
        )
    if not array.shape[0]:
        raise InputError(
            f"Found array with 0 sample(s) (shape={array.shape}) while a minimum of 1 is required."
        )
    wrong = ~np.isfinite(array)
    if wrong.any():
        at = tuple(int(each) for each in np.argwhere(wrong)[0])
        raise InputError(
            f"Input X contains NaN or infinity (inf), first at {at}: {array[at]}. Fill it in, or "
            "leave the sequence out."
        )
    return array


def _from_array(array: np.ndarray) -> Sequences:
    """Sequences of one length from an array (sequences, time steps[, columns])."""
    array = array if array.ndim == 3 else array[..., None]
    count, steps, width = array.shape
    names = ["value"] if width == 1 else [str(at) for at in range(width)]
    return Sequences(
        array.reshape(count * steps, width),
        np.full(count, steps),
        tuple(map(Column, names)),
        tuple(map(str, range(count))),
        source="X",
    )


def read_labels(y: Any, count: int) -> np.ndarray:
    """The labels of sequences, (sequences,).

    Args:
        y: as the user gave them.
        count: the number of sequences.

    Raises:
        InputError: they are none, not one for each sequence, or quantities.
    """
    if y is None:
        raise InputError(
            "Classifier requires y to be passed, but the target y is None: give the label of each "
            "sequence."
        )
    labels = np.asarray(y)
    if labels.dtype.kind == "c":
        raise InputError("Complex data not supported: y has complex numbers.")
    if labels.ndim == 2 and labels.shape[1] == 1:
        labels = _ravel_with_warning(labels)
    if labels.ndim != 1:
        raise InputError(f"y should be a 1d array of labels, got an array of shape {labels.shape}.")
    if len(labels) != count:
        raise InputError(
            f"Found input variables with inconsistent numbers of samples: X has {count:,} "
            f"sequences, and y {len(labels):,} labels."
        )
    if labels.dtype.kind == "f":
        if not np.isfinite(labels).all():
            raise InputError("Input y contains NaN or infinity (inf), which is no label.")
        if (labels != np.round(labels)).any():
            raise InputError(
                "Unknown label type: continuous. y holds quantities, and labels were expected, "
                "such as whole numbers or text."
            )
    if any(map(_is_missing, labels)):
        raise InputError("Input y contains NaN or None, which is no label.")
    kinds = {type(each).__name__: None for each in labels}
    if len(kinds) > 1 and not all(isinstance(each, (int, float, np.number)) for each in labels):
        raise InputError(
            f"y holds labels of several types, {', '.join(kinds)}, which have no order. Give "
            "labels of one type, such as text."
        )
    return labels


def _is_missing(value: Any) -> bool:
    """Whether it is None, NaN, NaT or NA, which do not equal themselves."""
    try:
        return value is None or bool(value != value)  # noqa: PLR0124
    except TypeError:  # of pandas' NA
        return True
    except ValueError:  # of an array
        return False


def warn_of_axes(X: Any) -> None:
    """Warn if an array (sequences, time steps, columns) has more columns than time steps."""
    if np.ndim(X) != 3 or np.shape(X)[2] <= np.shape(X)[1]:
        return
    _, steps, columns = np.shape(X)
    warnings.warn(
        f"X has {counted(steps, 'time step')} of {counted(columns, 'column')} in each sequence. "
        "Arrays of aeon and sktime have their columns before the time steps: X.swapaxes(1, 2).",
        stacklevel=3,
    )


def _ravel_with_warning(labels: np.ndarray) -> np.ndarray:
    """Labels without their second axis, as scikit-learn's classifiers take them."""
    try:
        from sklearn.exceptions import DataConversionWarning
    except ImportError:
        DataConversionWarning = UserWarning
    text = "A column-vector y was passed when a 1d array was expected. Take y.ravel()."
    warnings.warn(text, DataConversionWarning, stacklevel=4)
    return labels.ravel()


def column_names(X: Any) -> np.ndarray | None:
    """The names of a frame's columns, if all are text; else None."""
    names = list(getattr(X, "columns", ()))
    if isinstance(X, Sequences) or not names or not all(isinstance(each, str) for each in names):
        return None
    return np.array(names, object)


def describe_names(before: list[str], now: list[str]) -> str:
    """The message on names of columns that differ from those of ``fit``."""
    text = "The feature names should match those that were passed during fit.\n"
    unseen, missing = sorted(set(now) - set(before)), sorted(set(before) - set(now))
    for what, names in (
        ("unseen at fit time", unseen),
        ("seen at fit time, yet now missing", missing),
    ):
        if names:
            more = "- ...\n" if len(names) > _SHOWN_NAMES else ""
            text += f"Feature names {what}:\n" + "".join(f"- {n}\n" for n in names[:_SHOWN_NAMES])
            text += more
    if not unseen and not missing:
        text += "Feature names must be in the same order as they were in fit.\n"
    return text
