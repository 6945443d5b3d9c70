"""The side of a benchmark that runs in a rival's own process: JSON lines in, JSON lines out.

A rival is a class with the methods of `Rival`. `serve` reads one request a line from standard input
and writes one line with the result to the original standard output. The rival's own output goes to
standard error, so that it cannot break the protocol. Requests:

    {"do": "fit", "network": 1, "epochs": 500}
        -> {"seconds": ..., "cpu_seconds": ..., "accuracy": ...}
    {"do": "call", "network": 1, "what": "predict"}
        -> {"microseconds": ..., "cpu_microseconds": ..., "calls": ...}
    {"do": "losses", "network": 5}                     -> {"losses": [...]}
    {"do": "ways", "network": 5}                       -> {"ways": [...]}
    {"do": "answers", "network": 5, "way": "feed", "steps": 60} -> {"answers": [[...], ...]}
    {"do": "step", "network": 5, "way": "feed"}        -> {"microseconds": ..., "calls": ...}
    {"do": "generate", "network": 5, "way": "feed", "steps": 9} -> {"seconds": ..., "letters": [..]}
    {"do": "measure", "network": 5, "what": "pool", …} -> the rival's measurements
    {"do": "forget"}                                   -> {}
    {"do": "memory"}                                   -> {"peak_mib": ...}

The first `fit` or `call` of a network builds its model within the measured time, since users wait
for it; later calls are steady. Processor time is that of all threads of the process.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable, Mapping
from statistics import median
from typing import Any, Protocol

import _stepwise
from _networks import NETWORKS
from _stepwise import Way

CALL_SECONDS = 0.3
MAX_CALLS = 300
MAX_STEPS = 100_000  # a step takes microseconds


class MissingError(Exception):
    """A rival cannot run here; the message says why."""


class Rival(Protocol):
    """One network, built and compiled, with weights of the rival's own drawing."""

    def fit(self, epochs: int) -> float:
        """Continue training for some epochs; return the last epoch's accuracy."""
        ...

    def losses(self) -> list[float]:
        """Train on `check_orders`, from `first_weights`; return the loss of every step."""
        ...

    def calls(self) -> dict[str, Callable[[], Any]]:
        """Single calls to be timed, by name; those that the rival has."""
        ...

    def ways(self) -> dict[str, Way]:
        """Ways to feed it step by step with carried state, from `first_weights`, by name."""
        return {}

    def measures(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """Measurements that only this rival offers, by name."""
        return {}


Loaded = tuple[Callable[[Any], Rival], dict[str, str]]  # how to build one, and versions


def serve(load: Callable[[], Loaded], networks: Mapping[Any, Any] = NETWORKS) -> None:
    """Import the rival with `load`, report its versions, then serve requests on some networks."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)

    def answer(message: dict[str, Any]) -> None:
        answers.write(json.dumps(message) + "\n")
        answers.flush()

    try:
        rival, versions = load()
    except (ImportError, MissingError) as error:
        answer({"missing": str(error)})
        return
    answer({"versions": versions})
    requests = _Requests(rival, networks)
    for line in sys.stdin:
        answer(requests.handle(json.loads(line)))


class _Requests:
    """Handles requests, and keeps one model for each network."""

    def __init__(self, rival: Callable[[Any], Rival], networks: Mapping[Any, Any]) -> None:
        self._rival, self._networks = rival, networks
        self._models: dict[Any, Rival] = {}
        self._ways_of: dict[Any, dict[str, Way]] = {}
        self._measures_of: dict[Any, dict[str, Callable]] = {}

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        do = request.pop("do")
        return getattr(self, f"_{do}")(**request)

    def _model(self, number: Any) -> Rival:
        if number not in self._models:
            self._models[number] = self._rival(self._networks[number])
        return self._models[number]

    def _fit(self, network: Any, epochs: int) -> dict[str, Any]:
        started, cpu = time.perf_counter(), time.process_time()
        accuracy = self._model(network).fit(epochs)
        return {
            "seconds": time.perf_counter() - started,
            "cpu_seconds": time.process_time() - cpu,
            "accuracy": accuracy,
        }

    def _call(self, network: Any, what: str) -> dict[str, Any]:
        call = self._model(network).calls().get(what)
        return time_calls(call) if call else {"microseconds": None, "calls": 0}

    def _losses(self, network: Any) -> dict[str, Any]:
        return {"losses": self._rival(self._networks[network]).losses()}

    def _way(self, network: Any, way: str) -> Way:
        return self._known_ways(network)[way]

    def _known_ways(self, network: Any) -> dict[str, Way]:
        if network not in self._ways_of:
            self._ways_of[network] = self._model(network).ways()
        return self._ways_of[network]

    def _ways(self, network: Any) -> dict[str, Any]:
        return {"ways": list(self._known_ways(network))}

    def _answers(self, network: Any, way: str, steps: int) -> dict[str, Any]:
        return {"answers": _stepwise.answers(self._way(network, way), steps)}

    def _step(self, network: Any, way: str) -> dict[str, Any]:
        return time_calls(_stepwise.next_step(self._way(network, way)), MAX_STEPS)

    def _generate(self, network: Any, way: str, steps: int) -> dict[str, Any]:
        seconds, letters = _stepwise.generate(self._way(network, way), steps)
        return {"seconds": seconds, "letters": letters}

    def _measure(self, network: Any, what: str, **given: Any) -> dict[str, Any]:
        if network not in self._measures_of:
            self._measures_of[network] = self._model(network).measures()
        return self._measures_of[network][what](**given)

    def _forget(self) -> dict[str, Any]:
        for kept in (self._models, self._ways_of, self._measures_of):
            kept.clear()
        gc.collect()
        return {}

    def _memory(self) -> dict[str, Any]:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return {"peak_mib": peak / (1024 * 1024 if sys.platform == "darwin" else 1024)}


def time_calls(call: Callable[[], Any], most: int = MAX_CALLS) -> dict[str, Any]:
    """The median time of calls during a third of a second, after two calls to warm up."""
    call()
    call()
    seconds: list[float] = []
    cpu, stop = time.process_time(), time.perf_counter() + CALL_SECONDS
    while len(seconds) < most and (len(seconds) < 3 or time.perf_counter() < stop):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    cpu = (time.process_time() - cpu) / len(seconds)
    return {
        "microseconds": median(seconds) * 1e6,
        "cpu_microseconds": cpu * 1e6,
        "calls": len(seconds),
    }
