"""Leakage-free splits into training and test parts: by time, or by group.

By time: the last steps of every sequence are the test part. It is forecast from rolling origins,
each of which uses earlier steps only (Tashman, "Out-of-sample tests of forecasting accuracy",
International Journal of Forecasting 16, 2000). By group: whole sequences train or test.

Limit: shares of each sequence cut sequences at different times. If sequences are correlated at the
same time, cut them all ``at`` one time.
"""

from typing import Any

import numpy as np

from legato._errors import InputError
from legato._platform.checks import check_count
from legato._series.sequences import Sequences, expand_ranges

MIN_TRAINING_STEPS = 2  # one input, one target


def split_by_time(
    sequences: Sequences, share: float = 0.2, least: int = 1, at: Any = None
) -> np.ndarray:
    """Split every sequence by time: its last steps are the test part.

    Args:
        sequences: the sequences.
        share: the share of each sequence's steps in the test part, between 0 and 1, rounded to
            steps; an integer: that number of steps of each sequence.
        least: the least number of steps in a test part.
        at: a time instead of a share, for sequences that have times: the test part of every
            sequence begins there, and may be empty for some. A date may be a string.

    Returns:
        (sequences,): the first time step of each test part; the sequence's length if it has none.

    Raises:
        InputError: a test part leaves fewer than 2 steps of its sequence to train on, or no
            sequence has a test part, or there are no times to cut at.

    Examples:
        >>> from legato._series.sequences import Column
        >>> two = Sequences(np.ones((15, 1)), np.array([10, 5]), (Column("sold"),), ("a", "b"))
        >>> split_by_time(two, share=0.2).tolist()
        [8, 4]
    """
    lengths = np.asarray(sequences.lengths)
    if at is None:
        tests = np.maximum(_resolve_share(share, lengths), check_count("least", least))
    else:
        tests = _count_steps_since(sequences, at)
    greedy = np.flatnonzero((tests > 0) & (lengths - tests < MIN_TRAINING_STEPS))
    if len(greedy):
        first = greedy[0]
        others = (
            f"leave out the {len(greedy):,} of {len(lengths):,} sequences that are too short for "
            f"it: shortest={lengths[greedy].max() + 1}"
        )
        raise InputError(
            f"Sequence {sequences.names[first]!r} has length {lengths[first]:,} and its test part "
            f"would take {tests[first]:,}; at least {MIN_TRAINING_STEPS} time steps must be left "
            f"to train on. Take a {'smaller share' if at is None else 'later time'}, or "
            f"{others if len(greedy) < len(lengths) else 'give longer sequences'}."
        )
    return lengths - tests


def _count_steps_since(sequences: Sequences, at: Any) -> np.ndarray:
    """The number of steps of each sequence that are at a time or later."""
    times = sequences.times
    if times is None:
        raise InputError(
            f"There are no times to cut at {at!r}: the sequences came without a time column. Name "
            "that column when they are read, or give a share."
        )
    try:
        cut = np.datetime64(at) if times.dtype.kind == "M" else np.float64(at)
    except (TypeError, ValueError) as error:
        (first,) = sequences.format_times(times[:1])
        raise InputError(f"{at!r} is not a time such as {first}, the first there is.") from error
    later = times >= cut  # never true of NaN and NaT
    if not later.any():
        raise InputError(
            f"No time step is at {at} or later, so the test part is empty; the times are "
            f"{times.min()} to {times.max()}."
        )
    return np.add.reduceat(later, sequences.offsets[:-1], dtype=int)


def _resolve_share(share: float, counts: np.ndarray) -> np.ndarray:
    """A share of each count as a number, or an integer as it is; of the shape of the counts."""
    if isinstance(share, int | np.integer) and not isinstance(share, bool):
        return np.full(counts.shape, check_count("share", share))
    if not 0 < share < 1 or isinstance(share, bool):
        raise InputError(
            f"share={share!r} is neither a share between 0 and 1, such as 0.2, nor a whole number."
        )
    return np.rint(share * counts).astype(int)


def split_by_group(
    sequences: Sequences, share: float = 0.2, seed: int = 0, labels: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Split into whole sequences that train and that test, drawn at random.

    Args:
        sequences: the sequences, two or more.
        share: the share of the sequences that test, between 0 and 1; an integer: about that many.
        seed: random seed of the draw.
        labels: the class of each sequence, (sequences,), for a stratified split: the share is taken
            of every class, rounded, with at least one member in both parts; a class with a single
            member trains.

    Returns:
        The indices of those that train and of those that test, ascending.

    Raises:
        InputError: one of the two parts would be empty, or the labels are not one a sequence.

    Examples:
        >>> from legato._series.sequences import Column
        >>> five = Sequences(np.ones((5, 1)), np.ones(5, int), (Column("x"),), tuple("abcde"))
        >>> train, test = split_by_group(five, share=0.4)
        >>> len(train), len(test)
        (3, 2)
    """
    count = len(sequences)
    if count < 2:
        raise InputError("One sequence cannot be split by group: split it by time.")
    classes, members = _count_classes(labels, count)
    if share >= count:
        raise InputError(f"share={share} of {count:,} sequences leaves none to train on.")
    wanted = _resolve_share(share / count if share >= 1 else share, members)
    tests = np.clip(wanted, 1, members - 1)  # a single member trains
    if not tests.any():
        raise InputError(
            f"Each of the {count:,} sequences has a class of its own, so none can be in both "
            "parts. Two sequences or more of a class are needed."
        )
    order = np.random.default_rng(seed).permutation(count)
    order = order[np.argsort(classes[order], kind="stable")]  # class by class, each at random
    chosen = order[expand_ranges(np.cumsum(members) - members, tests)]
    return np.setdiff1d(np.arange(count), chosen), np.sort(chosen)


def _count_classes(labels: np.ndarray | None, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The class of each sequence, counted from 0, and how many members each class has."""
    labels = np.zeros(count) if labels is None else np.asarray(labels)
    if labels.shape != (count,):
        raise InputError(
            f"The labels have shape {labels.shape} and there are {count:,} sequences: one label a "
            f"sequence is needed, ({count},)."
        )
    _, classes, members = np.unique(labels, return_inverse=True, return_counts=True)
    return classes, members


def rolling_origins(
    cuts: np.ndarray, lengths: np.ndarray, horizon: int, stride: int = 1
) -> tuple[np.ndarray, np.ndarray]:
    """List rolling origins: steps t whose forecasts t + 1 … t + horizon are in the test parts.

    Args:
        cuts: (sequences,), the first time step of each test part.
        lengths: (sequences,), time steps.
        horizon: the number of steps that are forecast.
        stride: steps from one origin to the next.

    Returns:
        The sequence of each origin, and its t: the first is the last training step, the last has
        exactly ``horizon`` steps after it. A test part shorter than the horizon has none.

    Raises:
        InputError: no test part is as long as the horizon, or a cut is at step 0.

    Examples:
        >>> sequence, t = rolling_origins(np.array([8, 4]), np.array([10, 5]), horizon=1)
        >>> sequence.tolist(), t.tolist()
        ([0, 0, 1], [7, 8, 3])
    """
    horizon, stride = check_count("horizon", horizon), check_count("stride", stride)
    cuts, lengths = np.asarray(cuts), np.asarray(lengths)
    if cuts.shape != lengths.shape:
        raise InputError(f"There are {cuts.size:,} cuts and {lengths.size:,} sequences.")
    if (cuts < 1).any():
        raise InputError(f"Sequence {np.argmin(cuts)} is cut at {cuts.min()}: nothing is before.")
    counts = np.maximum(0, (lengths - cuts - horizon) // stride + 1)
    if not counts.any():
        longest = max(0, (lengths - cuts).max(initial=0))
        raise InputError(
            f"There is nothing to score: the horizon is {horizon} steps and the longest test part "
            f"has {longest}. Take a larger test part or a shorter horizon."
        )
    step = expand_ranges(np.zeros_like(counts), counts)
    return np.repeat(np.arange(len(cuts)), counts), np.repeat(cuts - 1, counts) + stride * step
