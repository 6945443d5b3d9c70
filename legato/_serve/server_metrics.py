"""Prometheus metrics of a server."""

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from legato._serve.stream_feeds import Feed

_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1, 2.5)
_SIZES = tuple(1 << power for power in range(0, 13, 2))


class ServerMetrics:
    """What a server counts and measures.

    Args:
        counts: gives the numbers of streams ``"memory"`` and ``"stored"``, and of feeds
            ``"waiting"``, when they are asked for.
    """

    def __init__(self, counts: Callable[[], dict[str, float]]):
        self._registry = registry = CollectorRegistry()
        self._steps = Counter("legato_steps", "Steps that were fed to streams.", registry=registry)
        self._again = Counter(
            "legato_replies_again", "Requests that were answered again.", registry=registry
        )
        self._batches = Histogram(
            "legato_batch_streams", "Streams in a batch.", buckets=_SIZES, registry=registry
        )
        self._waited = Histogram(
            "legato_queue_seconds",
            "Seconds that the first request of a batch waited.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._took = Histogram(
            "legato_batch_seconds",
            "Seconds to compute a batch and write it to the store.",
            buckets=_SECONDS,
            registry=registry,
        )
        self._refused = Counter(
            "legato_refusals", "Requests that were refused.", ["reason"], registry=registry
        )
        self._responses = Counter(
            "legato_responses", "Responses by status.", ["status"], registry=registry
        )
        self._by_status: dict[int, Counter] = {}
        for name, about, of in (
            ("legato_streams_in_memory", "Streams in memory.", "memory"),
            ("legato_streams_stored", "Streams in the store.", "stored"),
            ("legato_queue_feeds", "Feeds that wait.", "waiting"),
        ):
            gauge = Gauge(name, about, registry=registry)
            gauge.set_function(lambda of=of: counts()[of])

    def observe_batch(self, feeds: Sequence[Feed], waited: float, took: float) -> None:
        """Count a batch that was computed."""
        done = [each for each in feeds if each.reply is not None]
        again = sum(each.reply.again for each in done if each.reply is not None)
        self._steps.inc(
            sum(1 if each.steps is None else each.steps for each in done if not each.peek)
        )
        if again:
            self._again.inc(again)
        self._batches.observe(len(feeds))
        self._waited.observe(waited)
        self._took.observe(took)

    def refused(self, reason: str) -> None:
        """Count a refusal."""
        self._refused.labels(reason).inc()

    def responded(self, status: int) -> None:
        """Count a response."""
        if status not in self._by_status:
            self._by_status[status] = self._responses.labels(str(status))
        self._by_status[status].inc()

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)
