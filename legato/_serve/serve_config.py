"""The settings of a server, and the store that they name."""

from dataclasses import dataclass

from legato._serve.sqlite_store import SqliteStore
from legato._serve.stored_streams import ServerStore, WriteBehind

DURABILITIES = ("memory", "write", "fsync")


@dataclass(frozen=True)
class ServeConfig:
    """The settings of a server; see ``legato serve --help``.

    Attributes:
        models: name and path of each.
        store: a path, or an address that begins with redis:// or rediss://.
        durability: one of ``DURABILITIES``.
        limit: the most streams of a model in memory; None: as many as fit into a GiB.
        idle_minutes: after which a stream is in the store alone; None: when there is no room.
        max_wait_ms: that a batch waits for more requests.
        max_batch: the most streams in a batch.
        max_queue: the most feeds that wait: of one stream each, of a step or several.
        max_body_mib: the largest request.
        max_steps: the most steps of a request, and about the most of a batch.
        timeout: seconds that a request waits at most before it is begun.
        grace: seconds to finish what was taken, when the server is stopped.
        rate: requests a second of one owner; None: any.
        streams_per_key: the most streams of one owner; None: any.
        api_key_file: see ``ApiKeys``.
        other_weights: see ``ServedModel``.
        keep_history: how many of the last steps of each stream the store keeps.
        log_requests: whether each request is a line of the log.
    """

    models: tuple[tuple[str, str], ...]
    store: str
    durability: str = "write"
    limit: int | None = None
    idle_minutes: float | None = None
    max_wait_ms: float = 0.0
    max_batch: int = 1024
    max_queue: int = 10_000
    max_body_mib: float = 16.0
    max_steps: int = 10_000
    timeout: float = 10.0
    grace: float = 10.0
    rate: float | None = None
    streams_per_key: int | None = None
    api_key_file: str | None = None
    other_weights: bool = False
    keep_history: int = 0
    log_requests: bool = False


def open_store(config: ServeConfig) -> ServerStore:
    """The store that a server keeps its streams in.

    Raises:
        StateError, OutputError: it cannot be used.
    """
    if config.store.startswith(("redis://", "rediss://", "unix://")):
        from legato._serve.redis_store import RedisStore

        return RedisStore(config.store, force=config.durability == "fsync")
    store = SqliteStore(config.store, force=config.durability == "fsync")
    return WriteBehind(store) if config.durability == "memory" else store
