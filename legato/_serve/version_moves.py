"""How streams move from the version of a model that they began with to the newest one.

They move a page at a time, so that feeds are not kept waiting, and only to a model of the same
inputs, since their clients send those. A stream whose state is carried over goes on with the
numbers that it has, which takes a model of the same layers and outputs. A stream whose history
is replayed is as if the newest version had been fed the last steps that are kept; it moves if these
reach back to its beginning, or are as many as are kept. Other streams stay.
"""

from collections.abc import Iterable
from typing import NamedTuple

from legato._errors import StateError
from legato._serve.input_history import Arrays, replayed_feeds
from legato._serve.served_model import ServedModel
from legato._serve.stored_streams import Change, StoredStream

_MOST_STREAMS, _MOST_STEPS = 256, 2**16  # of a page
_RETRIES = 16  # of a stream that another server feeds meanwhile


class Moved(NamedTuple):
    """Streams of a page that were moved to the newest version.

    Attributes:
        moved: how many.
        left: how many stay on an older version.
        last: the last key of the page; None if there are no more.
        reason: why one of them was left; empty if none was.
    """

    moved: int
    left: int
    last: str | None
    reason: str


class _Moving(NamedTuple):
    """A stream that is to be moved, and the feeds that are replayed; None to carry its state."""

    key: str
    record: StoredStream
    feeds: list[tuple[Arrays, int]] | None


def move_streams(model: ServedModel, streams: str, after: str = "") -> Moved:
    """Let a page of streams go on with the newest version.

    Args:
        model: whose streams.
        streams: "replay" feeds their histories to it, "carry" gives it their states, and "stay"
            leaves them.
        after: key that the page follows.
    """
    is_replay = streams == "replay"
    steps = model.limits.keep_history if is_replay else 1
    keys = model.store.keys(model.prefix, after, max(1, min(_MOST_STREAMS, _MOST_STEPS // steps)))
    left = [
        key
        for key, record in model.store.load(keys).items()
        if record.weights != model.newest.weights
    ]
    begun, reason = len(left), ""
    last = keys[-1] if keys else None
    if streams == "stay":
        return Moved(0, begun, last, reason)
    for _ in range(_RETRIES):
        moving, stay = _choose(model, is_replay, left)
        conflicts = _move(model, moving)
        left = [*stay, *conflicts]
        reason = next(iter(stay.values()), "Other servers feed it all the time." if left else "")
        if not conflicts:
            break
    return Moved(begun - len(left), len(left), last, reason)


def _choose(
    model: ServedModel, is_replay: bool, keys: Iterable[str]
) -> tuple[list[_Moving], dict[str, str]]:
    """Streams that can be moved, and why the others cannot, by key."""
    moving: list[_Moving] = []
    stay: dict[str, str] = {}
    for key, record in model.store.load(list(keys)).items():
        try:
            _check_inputs(model, record)
            feeds = _history(model, key, record) if is_replay else _check_carries(model, record)
            moving.append(_Moving(key, record, feeds))
        except StateError as error:
            stay[key] = str(error)
    return moving, stay


def _check_inputs(model: ServedModel, record: StoredStream) -> None:
    """Check that a stream's next steps can be fed to the newest version.

    Raises:
        StateError: the versions take other inputs.
    """
    old, new = model.home_of(record), model.newest
    if old.inputs != new.inputs:
        raise StateError(f"The inputs of versions {old.number} and {new.number} differ.")


def _check_carries(model: ServedModel, record: StoredStream) -> None:
    """Check that a state fits the newest version.

    Raises:
        StateError: it does not.
    """
    old, new = model.home_of(record), model.newest
    if old.compiled.model_step.carried != new.compiled.model_step.carried:
        raise StateError(
            f"The states or outputs of versions {old.number} and {new.number} differ in shape."
        )


def _history(model: ServedModel, key: str, record: StoredStream) -> list[tuple[Arrays, int]]:
    """The feeds that are replayed for a stream.

    Raises:
        StateError: too few are kept.
    """
    if record.kept < min(record.steps, model.limits.keep_history):
        raise StateError(f"Of {record.steps:,} steps, {record.kept:,} are kept.")
    inputs = model.newest.compiled.model_step.step_inputs.inputs
    return replayed_feeds(inputs, model.store.history(key), record.kept)


def _move(model: ServedModel, moving: list[_Moving]) -> list[str]:
    """Write streams as the newest version's; returns keys that another server fed meanwhile."""
    if not moving:
        return []
    newest, changes = model.newest, []
    rows = [each.record.row for each in moving]
    fed = [at for at, each in enumerate(moving) if each.feeds is not None]
    for at, row in zip(fed, newest.replay([moving[at].feeds or [] for at in fed]), strict=True):
        rows[at] = row.tobytes()
    for (key, record, _), row in zip(moving, rows, strict=True):
        made = record._replace(row=row, version=record.version + 1, weights=newest.weights)
        changes.append(Change(key, made))
    conflicts = model.store.put(changes)
    for version in model.versions.values():
        for each in moving:
            if each.key in version.table:
                version.table.drop(each.key)
    return list(conflicts)
