"""A model that is served: its versions, and which of them a stream goes on with.

The streams that were fed lately are in memory, in a table for each version; all are in the store.
All methods are called by one thread, that of ``request_queue``.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from legato._errors import InputError, LegatoError, StateError
from legato._serve.served_version import Feed, ServedVersion
from legato._serve.stored_streams import RECENT, Change, ServerStore, StoredStream
from legato._streams.compiled_steps import CompiledSteps

SEPARATOR = "\x1f"  # between the parts of a key: the model, the owner, and the stream's name
_DIGITS_SHOWN = 12  # of a fingerprint


class Limits(Protocol):
    """Settings of a model's streams.

    Attributes:
        limit: the most of a version in memory; None: as many as fit into a GiB.
        streams_per_key: the most of one owner; None: any.
        other_weights: whether streams of unknown weights go on with the newest version, if their
            states fit.
    """

    @property
    def limit(self) -> int | None: ...
    @property
    def streams_per_key(self) -> int | None: ...
    @property
    def other_weights(self) -> bool: ...


@dataclass
class ServedModel:
    """A model by name: its versions, the newest of which takes new streams.

    Attributes:
        name: as addresses have it.
        path: of the file that it is loaded from.
        store: of its streams.
        limits: of its streams.
        versions: by number, in order.
    """

    name: str
    path: Path
    store: ServerStore
    limits: Limits
    versions: dict[int, ServedVersion] = field(default_factory=dict)
    _ended: set[str] = field(default_factory=set)  # of the streams brought last

    @property
    def newest(self) -> ServedVersion:
        """The version that new streams begin with."""
        return self.versions[max(self.versions)]

    @property
    def prefix(self) -> str:
        """How the keys of its streams begin."""
        return self.name + SEPARATOR

    def key(self, owner: str, name: str) -> str:
        """The key of an owner's stream."""
        return f"{self.prefix}{owner}{SEPARATOR}{name}"

    def add(self, codec: Any, compiled: CompiledSteps) -> ServedVersion:
        """Take another version in; one of the same weights replaces none."""
        weights = compiled.files.fingerprint()
        for each in self.versions.values():
            if each.weights == weights:
                return each
        number = max(self.versions, default=0) + 1
        self.versions[number] = ServedVersion(number, codec, compiled, self.limits.limit)
        return self.versions[number]

    def feed(self, feeds: Sequence[Feed]) -> None:
        """Feed different streams, each with the version that it goes on with.

        What came of it stands in each feed: a reply, an error, or a conflict.
        """
        keys = [each.key for each in feeds]
        homes, errors = self._bring(keys)
        if self.limits.streams_per_key is not None:
            begin = [each.key for each in feeds if not each.peek and each.key in homes]
            errors |= self._check_quota(begin, homes)
        for version in self.versions.values():
            own = [
                each for each in feeds if homes.get(each.key) is version and each.key not in errors
            ]
            if own:
                version.feed(own, self.store)
        for each in feeds:
            each.error = each.error or errors.get(each.key)
        self._drop_ended(keys)

    def _bring(
        self, keys: Sequence[str]
    ) -> tuple[dict[str, ServedVersion], dict[str, LegatoError]]:
        """Bring streams into memory; returns the version that each goes on with, and errors."""
        homes, errors = {}, {}
        if not self.store.is_shared:
            for version in self.versions.values():
                homes |= {key: version for key in keys if key in version.table}
        missing = [key for key in keys if key not in homes]
        found = self.store.load(missing) if missing else {}
        self._ended = {key for key, record in found.items() if record.ended}
        by_version: dict[int, dict[str, StoredStream]] = {}
        for key in missing:
            record = found.get(key)
            try:
                version = self._home_of(record)
            except LegatoError as error:
                errors[key] = error
                continue
            homes[key] = version
            if record is not None:
                by_version.setdefault(version.number, {})[key] = record
            elif self.store.is_shared and key in version.table:  # dropped by another server
                version.table.drop(key)
        for number, records in by_version.items():
            self.versions[number].take(records)
        return homes, errors

    def _check_quota(
        self, keys: Sequence[str], homes: dict[str, ServedVersion]
    ) -> dict[str, LegatoError]:
        """Errors of the streams that would be more than their owner may have."""
        new: dict[str, list[str]] = {}
        for key in keys:
            if key in self._ended or key not in homes[key].table:
                new.setdefault(key.rsplit(SEPARATOR, 1)[0] + SEPARATOR, []).append(key)
        most, errors = self.limits.streams_per_key or 0, {}
        for prefix, begun in new.items():
            room = max(0, most - self.store.count(prefix))
            for key in begun[room:]:
                errors[key] = TooManyStreamsError(
                    f"An API key has at most {most:,} streams here, and this would be one more: "
                    "end or delete some first."
                )
        return errors

    def _home_of(self, record: StoredStream | None) -> ServedVersion:
        """The version that a stream goes on with.

        Raises:
            StateError: its weights are of no version.
        """
        if record is None:
            return self.newest
        for version in self.versions.values():
            if version.weights == record.weights:
                return version
        if record.ended or not record.row:
            return self.newest
        if self.limits.other_weights:
            if len(record.row) == self.newest.compiled.files.blank.nbytes:
                return self.newest
            raise StateError("The stream's state does not fit the model: it is another model's.")
        raise StateError(
            f"The stream was made by other weights, {record.weights[:_DIGITS_SHOWN]}, than those "
            f"of {self.name!r} now, {self.newest.weights[:_DIGITS_SHOWN]}: serve the model that it "
            "began with, or take it all the same with --other-weights, or begin it anew."
        )

    def _drop_ended(self, keys: Iterable[str]) -> None:
        """Streams that had ended, and were not fed, are no streams."""
        for key in self._ended:
            for version in self.versions.values():
                if key in version.table and not version.record(key).steps:
                    version.table.drop(key)

    # One stream at a time.

    def record(self, key: str) -> tuple[StoredStream, ServedVersion]:
        """The record of a stream that lives.

        Raises:
            NoStreamError: there is none.
            StateError: it is of other weights.
        """
        homes, errors = self._bring([key])
        self._drop_ended([key])
        if key in errors:
            raise errors[key]
        version = homes[key]
        if key not in version.table:
            raise NoStreamError(
                f"There is no stream {key.rsplit(SEPARATOR, 1)[1]!r} of {self.name!r}: feed it "
                "first, which begins it."
            )
        return version.record(key), version

    def put(self, key: str, row: bytes, steps: int) -> None:
        """Write a stream's state, in the place of the one it has.

        Raises:
            ConflictError: another server feeds it.
        """
        homes, errors = self._bring([key])
        if key in errors:
            self.store.drop([key])
            homes, _ = self._bring([key])
        version, written, recent = homes[key], 0, bytes(RECENT * 8)
        if key in version.table:
            old = version.record(key)
            written, recent = old.version, old.recent
        record = StoredStream(row, steps, written + 1, version.weights, recent)
        if self.store.put([Change(key, record)]):
            raise ConflictError("Another server feeds this stream at the same time: try again.")
        version.take({key: record})

    def fork(self, key: str, into: str) -> int:
        """Copy a stream's state to another; returns its steps."""
        record, _ = self.record(key)
        self.put(into, record.row, record.steps)
        return record.steps

    def reset(self, key: str) -> None:
        """Put a stream back to its beginning."""
        _, version = self.record(key)
        self.put(key, version.compiled.files.blank.tobytes(), 0)

    def drop(self, key: str) -> None:
        """Forget a stream, with its replies."""
        self.record(key)
        for version in self.versions.values():
            if key in version.table:
                version.table.drop(key)
        self.store.drop([key])

    def carry_over(self) -> int:
        """Let all streams go on with the newest version; returns how many.

        Raises:
            StateError: the states of an older version do not fit.
        """
        newest, moved = self.newest, 0
        older = [each for each in self.versions.values() if each is not newest]
        for each in older:
            if each.compiled.model_step.carried != newest.compiled.model_step.carried:
                raise StateError(
                    f"The states of version {each.number} do not fit version {newest.number}: its "
                    "layers have other shapes. Its streams stay on the old version."
                )
        for each in older:
            moved += self.store.move(self.prefix, each.weights, newest.weights)
            for key in each.table.names:
                each.table.drop(key)
        return moved


class NoStreamError(InputError):
    """There is no stream of that name."""


class TooManyStreamsError(InputError):
    """An owner has as many streams as are allowed."""


class ConflictError(LegatoError):
    """Two servers changed a stream at the same time."""
