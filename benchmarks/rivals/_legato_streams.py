"""Measurements that only legato offers: pools, generation, files of streams, long streams."""

from __future__ import annotations

import gc
import tempfile
import time
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from _networks import LETTERS, Network
from _stepwise import FIRST
from _worker import time_calls

BATCH = 1000  # streams fed at a time
MOVES = 500  # streams that are forked, evicted and restored
PARTS = 10  # parts of the long stream, and pieces of a part
WARMED, FED = 4, 5  # pieces of a part that are warmed and fed; the last is fed step by step
POINTS = 100  # steps of a part whose outputs are compared


class LegatoStreams:
    """Measurements on streams of one model; those of memory need a fresh process each."""

    def __init__(self, model: Any, network: Network) -> None:
        self._model, self._network = model, network
        self._points: dict[int, tuple[np.ndarray, np.ndarray]] = {}  # part -> which, and answers

    def measures(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """The measurements by name."""
        return {
            "pool": self.pool,
            "subset": self.subset,
            "generate": self.generate,
            "memory": self.memory,
            "moves": self.moves,
            "long stream": self.long_stream,
            "one predict": self.one_predict,
        }

    def _steps(self, count: int, seed: Any = 0) -> np.ndarray:
        """Random letters, (count, features)."""
        letters = np.random.default_rng(seed).integers(
            LETTERS, size=(count, self._network.features)
        )
        return (letters / LETTERS).astype("float32")

    # Pools.

    @cached_property
    def _many(self) -> tuple[Any, list, dict[str, np.ndarray]]:
        """A pool, separate streams, and a step for each; their outputs are compared."""
        steps = {f"user-{at}": x for at, x in enumerate(self._steps(BATCH))}
        pool = self._model.streams(compile=True)
        streams = [self._model.stream() for _ in steps]
        for _ in range(3):
            alone = [stream.feed(x) for stream, x in zip(streams, steps.values(), strict=True)]
            together = pool.feed(steps)
            np.testing.assert_allclose([together[name] for name in steps], alone, atol=1e-5)
        return pool, streams, steps

    def pool(self, way: str) -> dict[str, Any]:
        """Time of a step of each of 1,000 streams, in one of three ways."""
        pool, streams, steps = self._many

        def one_by_one() -> None:
            for name, x in steps.items():
                pool.feed({name: x})

        def alone() -> None:
            for stream, x in zip(streams, steps.values(), strict=True):
                stream.feed(x)

        ways = {
            "pool.feed, all at once": lambda: pool.feed(steps),
            "stream.feed, 1,000 streams": alone,
            "pool.feed, one by one": one_by_one,
        }
        return {"microseconds": time_calls(ways[way])["microseconds"]}

    @cached_property
    def _large_pool(self) -> tuple[Any, list[str], np.ndarray]:
        """A pool of 10,000 streams, their names in random order, and a step for each."""
        xs = self._steps(10 * BATCH)
        names = [f"user-{at}" for at in np.random.default_rng(1).permutation(len(xs))]
        pool = self._model.streams(compile=True)
        pool.feed(dict(zip(names, xs, strict=True)))
        return pool, names, xs

    def subset(self, count: int) -> dict[str, Any]:
        """Time of a step of some of 10,000 streams."""
        pool, names, xs = self._large_pool
        steps = dict(zip(names[:count], xs, strict=False))
        return {"microseconds": time_calls(lambda: pool.feed(steps))["microseconds"]}

    # Generation.

    def generate(self, steps: int) -> dict[str, Any]:
        """Generate from the first letter in one compiled loop; seconds, and the letters."""
        from legato import argmax

        stream = self._model.stream()
        stream.feed(np.full(self._network.features, FIRST / LETTERS, "float32"))

        def call() -> np.ndarray:
            return stream.fork().generate(steps, argmax, encode=lambda letter: letter / LETTERS)

        return {"seconds": time_calls(call)["microseconds"] / 1e6, "letters": call().tolist()}

    # Memory and files.

    @cached_property
    def _empty_pool(self) -> Any:
        """An empty pool with a folder, after another one has compiled the programs."""
        self._folder = tempfile.TemporaryDirectory(prefix="legato-benchmark-")
        warmed = self._model.streams(folder=Path(self._folder.name, "warm"), compile=True)
        warmed.feed({f"user-{at}": x for at, x in enumerate(self._steps(BATCH))})
        return self._model.streams(folder=Path(self._folder.name, "pool"))

    def memory(self, streams: int) -> dict[str, Any]:
        """Growth of resident memory by new streams, and its peak."""
        pool, x = self._empty_pool, self._steps(BATCH)
        gc.collect()
        before = resident_mib()
        reset_peak()
        for begin in range(0, streams, BATCH):
            pool.feed({f"user-{begin + at}": each for at, each in enumerate(x)})
        gc.collect()
        return {
            "streams": len(pool),
            "resident_mib": resident_mib() - before,
            "peak_mib": peak_mib() - before,
            "nbytes_mib": pool.nbytes / 2**20,
            "bytes_each": pool.bytes_each,
        }

    def moves(self) -> dict[str, Any]:
        """Median microseconds of forks, evictions and restorations of the pool's streams."""
        pool = self._empty_pool
        names = list(pool)[:: max(1, len(pool) // MOVES)][:MOVES]
        stream, x = pool.stream(names[0]), self._steps(1)[0]
        moves = {
            "stream.fork()": lambda name: stream.fork(),
            "pool.fork(name, into)": lambda name: pool.fork(name, "fork"),
            "pool.evict(name)": pool.evict,
            "pool.restore(name)": pool.restore,
            "pool.evict(name) again": pool.evict,
            "pool.feed({name: x}), evicted": lambda name: pool.feed({name: x}),
            "pool.feed({name: x}), in memory": lambda name: pool.feed({name: x}),
        }
        return {what: median_microseconds(move, names) for what, move in moves.items()}

    # A long stream.

    @cached_property
    def _stream(self) -> Any:
        """A stream, after another one has compiled the programs."""
        self._model.stream(compile=True).warm(self._steps(10 * BATCH))
        return self._model.stream()

    def long_stream(self, part: int, steps: int) -> dict[str, Any]:
        """Feed a tenth of the steps: pieces without outputs, pieces with outputs, single steps."""
        stream, xs = self._stream, self._steps(steps // PARTS, [7, part])
        piece = len(xs) // PARTS
        warmed, fed = WARMED * piece, (WARMED + FED) * piece
        began = time.perf_counter()
        for begin in range(0, warmed, piece):
            stream.warm(xs[begin : begin + piece])
        warm_seconds, began = time.perf_counter() - began, time.perf_counter()
        which = np.random.default_rng([8, part]).choice(len(xs) - warmed, POINTS, replace=False)
        which += warmed
        places = dict(zip(which.tolist(), range(POINTS), strict=True))
        answers = np.empty((POINTS, LETTERS), "float32")
        for begin in range(warmed, fed, piece):
            here = (which >= begin) & (which < begin + piece)
            answers[here] = stream.feed(xs[begin : begin + piece])[which[here] - begin]
        feed_seconds, began = time.perf_counter() - began, time.perf_counter()
        for at in range(fed, len(xs)):
            answer = stream.feed(xs[at])
            if at in places:
                answers[places[at]] = answer
        one_by_one_seconds = time.perf_counter() - began
        self._points[part] = which, answers
        gc.collect()
        return {
            "resident_mib": resident_mib(),
            "steps": stream.steps,
            "warm_microseconds": 1e6 * warm_seconds / (WARMED * piece),
            "feed_microseconds": 1e6 * feed_seconds / (FED * piece),
            "one_by_one_microseconds": 1e6 * one_by_one_seconds / (len(xs) - fed),
        }

    @cached_property
    def _stateful_model(self) -> Any:
        """The same network with an output at every time step and carried state."""
        from legato import Sequential, layers

        model = Sequential(
            [
                layers.Input((None, self._network.features)),
                layers.LSTM(self._network.units, stateful=True, return_sequences=True),
                layers.Dense(LETTERS, activation="softmax"),
            ]
        )
        model.set_weights(self._model.get_weights())
        return model

    def one_predict(self, part: int, steps: int) -> dict[str, Any]:
        """Predict a tenth of the same steps with carried state; the largest difference."""
        which, answers = self._points.pop(part)
        x = self._steps(steps // PARTS, [7, part])[None]
        predicted = self._stateful_model.predict(x, verbose=0)[0, which]
        return {"difference": float(np.abs(predicted - answers).max()), "points": len(which)}


def median_microseconds(move: Callable[[str], Any], names: list[str]) -> float:
    """The median time of one call for each name."""
    seconds = np.empty(len(names))
    for at, name in enumerate(names):
        began = time.perf_counter()
        move(name)
        seconds[at] = time.perf_counter() - began
    return float(np.median(seconds)) * 1e6


def resident_mib() -> float:
    """Resident memory of this process; Linux only."""
    return _status("VmRSS")


def peak_mib() -> float:
    """Peak resident memory since `reset_peak`."""
    return _status("VmHWM")


def reset_peak() -> None:
    """Reset the peak of resident memory."""
    Path("/proc/self/clear_refs").write_text("5")


def _status(name: str) -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(float(line.split()[1]) for line in lines if line.startswith(f"{name}:")) / 1024
