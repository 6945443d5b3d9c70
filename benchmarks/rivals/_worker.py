"""The side of a benchmark that runs in a rival's own process: JSON lines in, JSON lines out.

A rival is a class with the methods of `Rival`. `serve` reads one request a line from standard input
and writes one line with the result to the original standard output. The rival's own output goes to
standard error, so that it cannot break the protocol. Requests:

    {"do": "fit", "network": 1, "epochs": 500}         -> {"seconds": ..., "accuracy": ...}
    {"do": "call", "network": 1, "what": "predict"}    -> {"microseconds": ..., "calls": ...}
    {"do": "losses", "network": 5}                     -> {"losses": [...]}
    {"do": "ways", "network": 5}                       -> {"ways": [...]}
    {"do": "answers", "network": 5, "way": "feed", "steps": 60} -> {"answers": [[...], ...]}
    {"do": "step", "network": 5, "way": "feed"}        -> {"microseconds": ..., "calls": ...}
    {"do": "generate", "network": 5, "way": "feed", "steps": 9} -> {"seconds": ..., "letters": [..]}
    {"do": "measure", "network": 5, "what": "pool", …} -> the rival's measurements
    {"do": "forget"}                                   -> {}
    {"do": "memory"}                                   -> {"peak_mib": ...}

The first `fit` or `call` of a network builds its model within the measured time, since users wait
for it; later calls are steady.
"""

from __future__ import annotations

import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from statistics import median
from typing import Any, Protocol

import _stepwise
from _networks import NETWORKS, Network
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


Loaded = tuple[Callable[[Network], Rival], dict[str, str]]  # how to build one, and versions


def serve(load: Callable[[], Loaded]) -> None:
    """Import the rival with `load`, report its versions, then serve requests."""
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
    requests = _Requests(rival)
    for line in sys.stdin:
        answer(requests.handle(json.loads(line)))


class _Requests:
    """Handles requests, and keeps one model for each network."""

    def __init__(self, rival: Callable[[Network], Rival]) -> None:
        self._rival = rival
        self._models: dict[int, Rival] = {}
        self._ways_of: dict[int, dict[str, Way]] = {}
        self._measures_of: dict[int, dict[str, Callable]] = {}

    def handle(self, request: dict[str, Any]) -> dict[str, Any]:
        do = request.pop("do")
        return getattr(self, f"_{do}")(**request)

    def _model(self, number: int) -> Rival:
        if number not in self._models:
            self._models[number] = self._rival(NETWORKS[number])
        return self._models[number]

    def _fit(self, network: int, epochs: int) -> dict[str, Any]:
        started = time.perf_counter()
        accuracy = self._model(network).fit(epochs)
        return {"seconds": time.perf_counter() - started, "accuracy": accuracy}

    def _call(self, network: int, what: str) -> dict[str, Any]:
        call = self._model(network).calls().get(what)
        return time_calls(call) if call else {"microseconds": None, "calls": 0}

    def _losses(self, network: int) -> dict[str, Any]:
        return {"losses": self._rival(NETWORKS[network]).losses()}

    def _way(self, network: int, way: str) -> Way:
        return self._known_ways(network)[way]

    def _known_ways(self, network: int) -> dict[str, Way]:
        if network not in self._ways_of:
            self._ways_of[network] = self._model(network).ways()
        return self._ways_of[network]

    def _ways(self, network: int) -> dict[str, Any]:
        return {"ways": list(self._known_ways(network))}

    def _answers(self, network: int, way: str, steps: int) -> dict[str, Any]:
        return {"answers": _stepwise.answers(self._way(network, way), steps)}

    def _step(self, network: int, way: str) -> dict[str, Any]:
        return time_calls(_stepwise.next_step(self._way(network, way)), MAX_STEPS)

    def _generate(self, network: int, way: str, steps: int) -> dict[str, Any]:
        seconds, letters = _stepwise.generate(self._way(network, way), steps)
        return {"seconds": seconds, "letters": letters}

    def _measure(self, network: int, what: str, **given: Any) -> dict[str, Any]:
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
    stop = time.perf_counter() + CALL_SECONDS
    while len(seconds) < most and (len(seconds) < 3 or time.perf_counter() < stop):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return {"microseconds": median(seconds) * 1e6, "calls": len(seconds)}
