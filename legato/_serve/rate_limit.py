"""How many requests a second each owner may send: a token bucket for each."""

import time

from legato._errors import LegatoError

_MOST_OWNERS = 10_000  # whose tokens are remembered


class RateError(LegatoError):
    """Requests come too fast."""


class RateLimit:
    """Counts the requests of owners.

    Args:
        rate: requests a second of one owner; None: any.
    """

    def __init__(self, rate: float | None):
        self._rate = rate
        self._buckets: dict[str, tuple[float, float]] = {}  # owner → tokens, and when

    def check(self, owner: str) -> None:
        """Count a request.

        Raises:
            RateError: the owner's requests come too fast.
        """
        rate = self._rate
        if rate is None:
            return
        now, most = time.monotonic(), max(1.0, rate)
        tokens, seen = self._buckets.get(owner, (most, now))
        tokens = min(most, tokens + (now - seen) * rate)
        if len(self._buckets) > _MOST_OWNERS:
            self._buckets.clear()
        self._buckets[owner] = (tokens - (tokens >= 1), now)
        if tokens < 1:
            raise RateError(f"More than {rate:g} requests a second came: send fewer.")
