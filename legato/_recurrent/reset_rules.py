"""The rules of what is reset and when, for ``reset=``, ``starts=`` and ``validation_state=``.

The compiled loop, the plain Python loop and ``explain`` all follow these functions. They are pure,
and take NumPy arrays as well as JAX arrays, traced or not. The state of a row before a batch:

    ============ ==================================== ===========================
    ``reset=``   at the first batch of an epoch        at every other batch
    ============ ==================================== ===========================
    ``"epoch"``  the state that the run began with    carried on
    ``"never"``  carried on                            carried on
    ``"batch"``  the initial state                     the initial state
    ============ ==================================== ===========================

Whatever ``reset`` is, a row starts from the initial state before a sample that ``starts`` flags.
To reset a row is to raise its *fresh* flag: the layer starts a fresh row from its initial state.
Validation begins with rows that are all fresh, or goes on from the state at the end of the epoch;
it follows ``"never"`` and leaves the state of the training alone.
"""

from typing import Literal, get_args

import jax.numpy as jnp
import numpy as np

from legato._platform.checks import check_choice

Reset = Literal["epoch", "batch", "never"]
ValidationState = Literal["fresh", "continue"]


def check_reset(reset) -> None:
    """Refuse a value of ``reset=`` that is not among its choices.

    Raises:
        InputError: it is another value; the message lists the choices.
    """
    check_choice("reset", reset, get_args(Reset))


def check_validation_state(state) -> None:
    """Refuse a value of ``validation_state=`` that is not among its choices.

    Raises:
        InputError: it is another value; the message lists the choices.
    """
    check_choice("validation_state", state, get_args(ValidationState))


def replays_epochs(reset: Reset) -> bool:
    """Whether every epoch starts from the state that the run began with."""
    return reset == "epoch"


def carries_between_batches(reset: Reset) -> bool:
    """Whether a batch starts from the state at the end of the batch before.

    Where it does not, the order of samples does not matter to the state, and may be shuffled.
    """
    return reset != "batch"


def memory_before_batch(reset: Reset, begins_epoch, first: list, carried: list) -> list:
    """The values of the state variables before a batch, but for rows that it resets.

    Args:
        reset: the rule.
        begins_epoch: whether the batch is the first of an epoch; a Python or a traced boolean.
        first: the values that the run began with; read under ``"epoch"`` only.
        carried: the values after the batch before.
    """
    if not replays_epochs(reset):
        return carried
    if isinstance(begins_epoch, bool):
        return first if begins_epoch else carried
    pairs = zip(first, carried, strict=True)
    return [_where(begins_epoch, begun, reached) for begun, reached in pairs]


def fresh_before_batch(reset: Reset, fresh, starts):
    """The fresh flags of a batch's rows before it runs.

    Args:
        reset: the rule.
        fresh: booleans (rows,): the flags after the batch before.
        starts: booleans (rows,): the sample begins a sequence; None: none does.
    """
    if not carries_between_batches(reset):
        return fresh | True
    return fresh if starts is None else fresh | starts


def start_of_rows(fresh, initial, carried):
    """The state that rows start from: the initial one where they are fresh, else the carried one.

    Args:
        fresh: booleans (rows,).
        initial, carried: arrays (rows, …), of one shape.

    Returns:
        (rows, …), of the dtype of ``carried``.
    """
    flags = fresh.reshape(-1, *[1] * (initial.ndim - 1))
    return _where(flags, initial.astype(carried.dtype), carried)


def _where(condition, then, otherwise):
    library = np if isinstance(condition, np.ndarray) else jnp
    return library.where(condition, then, otherwise)
