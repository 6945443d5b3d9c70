"""A store in Redis or Valkey, which several servers share.

Each stream is a hash, with its replies; its history, if it is kept, a sorted set, by the steps that
each chunk ends at; all names are one sorted set. A batch is written by one
script, which compares the version of each record with the one that the server had read: a stream
that another server fed meanwhile is not written, and the caller computes its step again. How safely
it is kept is up to Redis: with ``appendonly yes``, what was answered survives a kill of Redis, and
with ``appendfsync always`` a loss of power. With ``appendfsync everysec`` Redis may answer up to
two seconds before it writes, while its disk is behind. Limits: one server or one primary, no
cluster, since a script writes many keys. The files of all versions of a model that were ever
served are kept, in keys that begin with legato:model: (another server may need them).
"""

import struct
from collections.abc import Sequence
from typing import Any

import redis

from legato._errors import InputError, OutputError, StateError
from legato._serve.input_history import Chunk
from legato._serve.stored_streams import Change, StoredStream

_PREFIX = b"legato:stream:"
_HISTORY = b"legato:history:"
_NAMES = b"legato:names"
_FIELDS = (b"row", b"steps", b"version", b"weights", b"recent", b"ended", b"kept")
_CHUNK = struct.Struct("<qq")  # after and steps, before its content

# A stream that ended is remembered for an hour, for requests that come again.
_PUT = """
local conflicts = {}
for i = 1, #KEYS do
  local at = (i - 1) * 13
  local key = 'legato:stream:' .. KEYS[i]
  local version = tonumber(redis.call('HGET', key, 'version') or '0')
  if version ~= tonumber(ARGV[at + 3]) - 1 then
    conflicts[#conflicts + 1] = i
  else
    redis.call('HSET', key, 'row', ARGV[at + 1], 'steps', ARGV[at + 2], 'version', ARGV[at + 3],
               'weights', ARGV[at + 4], 'recent', ARGV[at + 5], 'ended', ARGV[at + 6])
    if ARGV[at + 7] ~= '' then
      redis.call('HSET', key, ARGV[at + 7], ARGV[at + 8])
    end
    redis.call('HSET', key, 'kept', ARGV[at + 10])
    if ARGV[at + 11] ~= '-1' then
      local history = 'legato:history:' .. KEYS[i]
      redis.call('ZREMRANGEBYSCORE', history, '-inf', ARGV[at + 11])
      if ARGV[at + 12] ~= '' then
        redis.call('ZADD', history, ARGV[at + 12], ARGV[at + 13])
      end
    end
    if ARGV[at + 9] == '1' then
      redis.call('EXPIRE', key, 3600)
      redis.call('ZREM', 'legato:names', KEYS[i])
    else
      redis.call('PERSIST', key)
      redis.call('ZADD', 'legato:names', 0, KEYS[i])
    end
  end
end
return conflicts
"""

_ADD_MODEL = """
local number = redis.call('HGET', KEYS[1], 'number')
if not number then
  number = redis.call('INCR', KEYS[2])
  redis.call('HSET', KEYS[1], 'number', number, 'content', ARGV[1])
end
return tonumber(number)
"""


class RedisStore:
    """Keeps streams in Redis; a ``ServerStore``.

    Args:
        url: ``redis://HOST:PORT/DATABASE``, or ``rediss://`` or ``unix://``.
        force: whether each ``put`` must wait for the disk, which Redis is asked about.

    Raises:
        InputError: the address is none, or Redis does not force its log onto the disk.
        OutputError: it cannot be reached.
    """

    is_shared = True

    def __init__(self, url: str, force: bool = False):
        try:
            # A script that may have run is not sent again: the caller would not know.
            self._redis = redis.Redis.from_url(
                url, retry=None, socket_timeout=10, socket_connect_timeout=5
            )
        except ValueError as error:
            raise InputError(f"{url} is no address of Redis ({error}).") from None
        arguments = self._redis.connection_pool.connection_kwargs
        self._shown = (
            f"{arguments.get('host') or arguments.get('path')}:{arguments.get('port', '')}"
        )
        self._put = self._redis.register_script(_PUT)
        self._add_model = self._redis.register_script(_ADD_MODEL)
        self._is_written = True  # what was to be written last
        self._call(self._redis.ping)
        if force:
            self._check_forces()

    def __str__(self) -> str:
        return f"Redis at {self._shown}"

    def _check_forces(self) -> None:
        try:
            found = {
                **self._redis.config_get("appendonly"),
                **self._redis.config_get("appendfsync"),
            }
        except redis.RedisError:  # a managed Redis may not tell
            return
        if found.get("appendonly") != "yes" or found.get("appendfsync") != "always":
            raise InputError(
                f"{self} does not force each step onto the disk (appendonly "
                f"{found.get('appendonly')}, appendfsync {found.get('appendfsync')}): set "
                "appendonly yes and appendfsync always, or ask for --durability write."
            )

    def _call(self, function: Any, *args: Any, **options: Any) -> Any:
        """Call Redis, and turn its errors into legato's."""
        try:
            return function(*args, **options)
        except redis.RedisError as error:
            raise OutputError(
                f"The store, {self}, cannot be used ({error}): see that it runs and has memory."
            ) from error

    def load(self, keys: Sequence[str]) -> dict[str, StoredStream]:
        """See ``ServerStore``."""

        def read() -> list:
            pipeline = self._redis.pipeline(transaction=False)
            for key in keys:
                pipeline.hmget(_PREFIX + key.encode(), _FIELDS)
            return pipeline.execute()

        records = self._call(read) if keys else []
        pairs = zip(keys, records, strict=True)
        return {key: _decoded(key, record) for key, record in pairs if record[2] is not None}

    def reply(self, key: str, place: int) -> bytes | None:
        """See ``ServerStore``."""
        return self._call(self._redis.hget, _PREFIX + key.encode(), f"reply{place}")

    def put(self, changes: Sequence[Change]) -> set[str]:
        """See ``ServerStore``."""
        arguments: list[Any] = []
        for each in changes:
            stream = each.stream
            arguments += [
                stream.row,
                stream.steps,
                stream.version,
                stream.weights,
                stream.recent,
                repr(stream.ended),
                "" if each.place is None else f"reply{each.place}",
                each.reply,
                int(bool(stream.ended)),
                stream.kept,
                each.forget,
                "" if each.chunk is None else each.chunk.after,
                "" if each.chunk is None else _CHUNK.pack(*each.chunk[:2]) + each.chunk.content,
            ]
        keys = [each.key for each in changes]
        self._is_written = False
        conflicts = self._call(self._put, keys=keys, args=arguments)
        self._is_written = True
        return {keys[at - 1] for at in conflicts}

    def drop(self, keys: Sequence[str]) -> int:
        """See ``ServerStore``."""

        def delete() -> list:
            pipeline = self._redis.pipeline(transaction=True)
            for key in keys:
                pipeline.delete(_PREFIX + key.encode())
                pipeline.delete(_HISTORY + key.encode())
                pipeline.zrem(_NAMES, key)
            return pipeline.execute()

        return sum(self._call(delete)[::3])

    def history(self, key: str) -> list[Chunk]:
        """See ``ServerStore``."""
        found = self._call(self._redis.zrange, _HISTORY + key.encode(), 0, -1)
        chunks = []
        for each in found:
            after, steps = _CHUNK.unpack_from(each)
            chunks.append(Chunk(after, steps, each[_CHUNK.size :]))
        return chunks

    def add_model(self, name: str, weights: str, content: bytes) -> int:
        """See ``ServerStore``."""
        keys = [f"legato:model:{name}:{weights}", f"legato:versions:{name}"]
        return self._call(self._add_model, keys=keys, args=[content])

    def model(self, name: str, weights: str) -> tuple[int, bytes] | None:
        """See ``ServerStore``."""
        fields = ["number", "content"]
        number, content = self._call(self._redis.hmget, f"legato:model:{name}:{weights}", fields)
        return (int(number), content) if content else None

    def forget_models(self, name: str, weights: str) -> None:
        """See ``ServerStore``; other servers may have streams of them, so all are kept."""

    def keys(self, prefix: str, after: str = "", limit: int = 1000) -> list[str]:
        """See ``ServerStore``."""
        begin = f"({after}" if after else f"[{prefix}"
        found = self._call(
            self._redis.zrangebylex,
            _NAMES,
            begin.encode(),
            b"[" + prefix.encode() + b"\xff",
            0,
            limit,
        )
        return [each.decode() for each in found]

    def count(self, prefix: str = "") -> int:
        """See ``ServerStore``."""
        if not prefix:
            return self._call(self._redis.zcard, _NAMES)
        begin, end = b"[" + prefix.encode(), b"[" + prefix.encode() + b"\xff"
        return self._call(self._redis.zlexcount, _NAMES, begin, end)

    def forget_ended(self, before: float) -> None:
        """See ``ServerStore``; Redis forgets them by itself."""

    def check(self) -> None:
        """See ``ServerStore``."""
        self.keys("", "", 1)
        if not self._is_written:
            self._call(self._redis.set, "legato:check", 1, ex=60)  # refused if memory is full
            self._is_written = True

    def flush(self) -> None:
        """See ``ServerStore``; nothing waits."""

    def close(self) -> None:
        """See ``ServerStore``."""
        self._redis.close()


def _decoded(key: str, record: list) -> StoredStream:
    """A record as Redis has it.

    Raises:
        StateError: something else has written it.
    """
    row, steps, version, weights, recent, ended, kept = record
    try:
        numbers = int(steps), int(version)
        return StoredStream(row, *numbers, weights.decode(), recent, float(ended), int(kept))
    except (TypeError, ValueError, AttributeError) as error:
        raise StateError(
            f"The record of {key!r} in Redis is none that legato wrote ({error})."
        ) from error
