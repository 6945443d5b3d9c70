"""A model that is served: its versions, and which of them a stream goes on with.

The streams that were fed lately are in memory, in a table for each version; all are in the store.
All methods are called by one thread, that of ``request_queue``.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from legato._errors import InputError, LegatoError, StateError
from legato._serve.model_files import LoadedModel, load_model_content
from legato._serve.served_version import ServedVersion
from legato._serve.stored_streams import ALL, RECENT, Change, ServerStore, StoredStream
from legato._serve.stream_feeds import ConflictError, Feed

SEPARATOR = "\x1f"  # between the parts of a key: the model, the owner, and the stream's name
_DIGITS_SHOWN = 12  # of a fingerprint


class Limits(Protocol):
    """Settings of a model's streams.

    Attributes:
        limit: the most of a version in memory; None: as many as fit into a GiB.
        streams_per_key: the most of one owner; None: any.
        other_weights: whether streams of other weights go on with the newest version, if their
            states fit.
        keep_history: how many of the last steps of each stream the store keeps.
    """

    @property
    def limit(self) -> int | None: ...
    @property
    def streams_per_key(self) -> int | None: ...
    @property
    def other_weights(self) -> bool: ...
    @property
    def keep_history(self) -> int: ...


@dataclass
class ServedModel:
    """A model by name: its versions, of which that loaded last takes new streams.

    A version that is not loaded, and that a stream began with, is loaded from the store when that
    stream is fed.

    Attributes:
        name: as addresses have it.
        path: of the file that it is loaded from.
        store: of its streams.
        limits: of its streams.
        versions: those loaded, by number.
    """

    name: str
    path: Path
    store: ServerStore
    limits: Limits
    versions: dict[int, ServedVersion] = field(default_factory=dict)
    _newest: int = 0
    _ended: set[str] = field(default_factory=set)  # of the streams brought last
    _unknown: dict[str, StateError] = field(default_factory=dict)  # by weights

    @property
    def newest(self) -> ServedVersion:
        """The version that new streams begin with: that loaded last."""
        return self.versions[self._newest]

    @property
    def prefix(self) -> str:
        """How the keys of its streams begin."""
        return self.name + SEPARATOR

    def key(self, owner: str, name: str) -> str:
        """The key of an owner's stream."""
        return f"{self.prefix}{owner}{SEPARATOR}{name}"

    def add(self, loaded: LoadedModel) -> ServedVersion:
        """Let new streams begin with a model; one of the same weights replaces none."""
        weights = loaded.compiled.files.fingerprint()
        number = self.store.add_model(self.name, weights, loaded.content)
        if number not in self.versions:
            self._take_in(number, loaded)
        self._newest = number
        return self.versions[number]

    def _take_in(self, number: int, loaded: LoadedModel) -> ServedVersion:
        codec, compiled, _ = loaded
        limit, keep = self.limits.limit, self.limits.keep_history
        made = ServedVersion(number, codec, compiled, limit, keep, self.versions)
        self.versions[number] = made
        self._unknown.pop(made.weights, None)
        return made

    def feed(self, feeds: Sequence[Feed]) -> None:
        """Feed different streams, each with the version that it goes on with.

        What came of it stands in each feed: a reply, an error, or a conflict.
        """
        most = min(each.table.limit for each in self.versions.values())
        for begin in range(0, len(feeds), most):
            self._feed(feeds[begin : begin + most])

    def _feed(self, feeds: Sequence[Feed]) -> None:
        """Feed no more streams than may be in memory."""
        keys = [each.key for each in feeds]
        homes, errors = self._bring(keys)
        begun = self._begin_anew(feeds, homes)
        for each in feeds:
            home = homes.get(each.key)
            if home is not None and each.version not in (None, home):
                assert each.read is not None
                try:
                    each.xs, each.steps = each.read(home)
                    each.version = home
                except LegatoError as error:
                    errors[each.key] = error
        if self.limits.streams_per_key is not None:
            begin = [each.key for each in feeds if not each.peek and each.key in homes]
            errors |= self._check_quota(begin, homes)
        try:
            for version in list(self.versions.values()):
                own = [
                    each
                    for each in feeds
                    if homes.get(each.key) is version and each.key not in errors
                ]
                if own:
                    version.feed(own, self.store)
        finally:
            for each, old in begun:
                is_new = each.reply is not None and not (each.reply.again or each.peek)
                table = (old if is_new else self.newest).table
                if each.key in table:
                    table.drop(each.key)
        for each in feeds:
            each.error = each.error or errors.get(each.key)
        self._drop_ended()

    def _begin_anew(
        self, feeds: Sequence[Feed], homes: dict[str, ServedVersion]
    ) -> list[tuple[Feed, ServedVersion]]:
        """Let streams that begin anew do so with the newest version; returns these feeds, and the
        version that each went on with."""
        newest, begun = self.newest, []
        for each in feeds:
            if each.start and (old := homes.get(each.key, newest)) is not newest:
                blank = old.record(each.key)._replace(row=b"", steps=0, kept=0)
                newest.take({each.key: blank}, homes)
                homes[each.key] = newest
                begun.append((each, old))
        return begun

    def _bring(
        self, keys: Sequence[str]
    ) -> tuple[dict[str, ServedVersion], dict[str, LegatoError]]:
        """Bring streams into memory; returns the version that each goes on with, and errors."""
        homes, errors = {}, {}
        if not self.store.is_shared:
            for version in self.versions.values():
                slots = version.table.slots_of(keys).tolist()
                homes |= {key: version for key, slot in zip(keys, slots, strict=True) if slot >= 0}
        missing = [key for key in keys if key not in homes]
        found = self.store.load(missing) if missing else {}
        self._ended = {key for key, record in found.items() if record.ended}
        by_version: dict[int, dict[str, StoredStream]] = {}
        for key in missing:
            record = found.get(key)
            try:
                version = self.home_of(record)
            except LegatoError as error:
                errors[key] = error
                continue
            homes[key] = version
            if record is not None:
                by_version.setdefault(version.number, {})[key] = record
            elif self.store.is_shared and key in version.table:  # dropped by another server
                version.table.drop(key)
        for number, records in by_version.items():
            self.versions[number].take(records, keys)
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

    def home_of(self, record: StoredStream | None) -> ServedVersion:
        """The version that a stream goes on with.

        Raises:
            StateError: its weights are of no version.
        """
        if record is None:
            return self.newest
        if record.ended or not record.row:
            return self.newest
        for version in self.versions.values():
            if version.weights == record.weights:
                return version
        if self.limits.other_weights:
            if len(record.row) == self.newest.compiled.files.blank.nbytes:
                return self.newest
            raise StateError("The stream's state does not fit the model: it is another model's.")
        return self._load_kept(record.weights)

    def _load_kept(self, weights: str) -> ServedVersion:
        """Load a version from the store.

        Raises:
            StateError: it is not there, or cannot be loaded.
        """
        if weights in self._unknown:
            raise self._unknown[weights]
        found = self.store.model(self.name, weights)
        problem = "whose file is not in the store"
        if found is not None:
            number, content = found
            try:
                loaded = load_model_content(content)
                if loaded.compiled.files.fingerprint() == weights:
                    return self._take_in(number, loaded)
                problem = "whose file in the store was altered"
            except Exception as error:  # there are many ways for a file not to be read
                problem = f"whose file in the store cannot be read ({type(error).__name__})"
        self._unknown[weights] = StateError(
            f"The stream was made by other weights, {weights[:_DIGITS_SHOWN]}, than those "
            f"of {self.name!r} now, {self.newest.weights[:_DIGITS_SHOWN]}, and {problem}: serve "
            "the model that it began with, or take it all the same with --other-weights, or begin "
            "it anew."
        )
        raise self._unknown[weights]

    def _drop_ended(self) -> None:
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
        self._drop_ended()
        if key in errors:
            raise errors[key]
        version = homes[key]
        if key not in version.table:
            raise NoStreamError(
                f"There is no stream {key.rsplit(SEPARATOR, 1)[1]!r} of {self.name!r}: feed it "
                "first, which begins it."
            )
        return version.record(key), version

    def put(self, key: str, version: ServedVersion, row: bytes, steps: int) -> None:
        """Write a stream's state, in the place of the one it has; its history begins anew.

        Args:
            key: of the stream.
            version: that the state is of, and that the stream goes on with.
            row: bytes of the state.
            steps: how many it was fed.

        Raises:
            ConflictError: another server feeds it.
        """
        homes, errors = self._bring([key])
        if key in errors:
            self.store.drop([key])
            homes, _ = self._bring([key])
        home, written, recent = homes[key], 0, bytes(RECENT * 8)
        if key in home.table:
            old = home.record(key)
            written, recent = old.version, old.recent
        record = StoredStream(row, steps, written + 1, version.weights, recent)
        if self.store.put([Change(key, record, forget=ALL if self.limits.keep_history else -1)]):
            raise ConflictError("Another server feeds this stream at the same time: try again.")
        if home is not version and key in home.table:
            home.table.drop(key)
        version.take({key: record})

    def fork(self, key: str, into: str) -> int:
        """Copy a stream's state to another; returns its steps."""
        record, version = self.record(key)
        if into != key:
            self.put(into, version, record.row, record.steps)
        return record.steps

    def reset(self, key: str) -> None:
        """Put a stream back to its beginning, with the newest version."""
        self.record(key)
        self.put(key, self.newest, self.newest.compiled.files.blank.tobytes(), 0)

    def drop(self, key: str) -> None:
        """Forget a stream, with its replies."""
        self.record(key)
        for version in self.versions.values():
            if key in version.table:
                version.table.drop(key)
        self.store.drop([key])


def model_names(store: ServerStore) -> list[str]:
    """Names of the models that a store has streams of."""
    names: list[str] = []
    last = ""
    while keys := store.keys("", last, 1):
        name, _, _ = keys[0].partition(SEPARATOR)
        names.append(name)
        last = name + chr(ord(SEPARATOR) + 1)  # follows all of its streams
    return names


class NoStreamError(InputError):
    """There is no stream of that name."""


class TooManyStreamsError(InputError):
    """An owner has as many streams as are allowed."""
