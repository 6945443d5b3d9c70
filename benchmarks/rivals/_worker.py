"""The side of a benchmark that runs in a rival's own process: JSON lines in, JSON lines out.

A rival is a class with the methods of `Rival`; `serve` reads one request a line from standard
input, does what it says, and answers with one line on what was standard output. Whatever the rival
itself prints goes to standard error, so that it cannot break the protocol. Requests:

    {"do": "fit", "network": 1, "epochs": 500}         -> {"seconds": ..., "accuracy": ...}
    {"do": "call", "network": 1, "what": "predict"}    -> {"microseconds": ..., "calls": ...}
    {"do": "losses", "network": 5}                     -> {"losses": [...]}
    {"do": "ways", "network": 5}                       -> {"ways": [...]}
    {"do": "answers", "network": 5, "way": "feed", "steps": 60} -> {"answers": [[...], ...]}
    {"do": "step", "network": 5, "way": "feed"}        -> {"microseconds": ..., "calls": ...}
    {"do": "go_on", "network": 5, "way": "feed", "steps": 100} -> {"seconds": ..., "letters": [...]}
    {"do": "measure", "network": 5, "what": "pool", …} -> what the rival measured
    {"do": "forget"}                                   -> {}
    {"do": "memory"}                                   -> {"peak_mib": ...}

The first `fit` or `call` of a network builds its model, inside the measured time: a first call is
what a user waits for, the ones after it are steady.
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

import _steps
from _networks import NETWORKS, Network
from _steps import Way

CALL_SECONDS = 0.3
MOST_CALLS = 300
MOST_STEPS = 100_000  # a step takes microseconds


class MissingError(Exception):
    """A rival cannot run here; the message is one sentence that says why."""


class Rival(Protocol):
    """One network, built and compiled, with weights of the rival's own drawing."""

    def fit(self, epochs: int) -> float:
        """Train for some epochs, on from where it is; return the last epoch's accuracy."""
        ...

    def losses(self) -> list[float]:
        """Train on `check_orders`, from `first_weights`; return the loss of every step."""
        ...

    def calls(self) -> dict[str, Callable[[], Any]]:
        """Single calls to be timed, by name; a rival offers those that make sense for it."""
        ...

    def ways(self) -> dict[str, Way]:
        """How it is fed step by step, by name, from `first_weights`, its state carried."""
        return {}

    def measures(self) -> dict[str, Callable[..., dict[str, Any]]]:
        """What only this rival can do, by name; each returns what it measured."""
        return {}


Loaded = tuple[Callable[[Network], Rival], dict[str, str]]  # how to build one, and versions


def serve(load: Callable[[], Loaded]) -> None:
    """Import the rival with `load`, say which versions it runs on, then answer requests."""
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
    desk = _Desk(rival)
    for line in sys.stdin:
        answer(desk.handle(json.loads(line)))


class _Desk:
    """Handles requests, and keeps one model for each network it was asked about."""

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
        return {"answers": _steps.answers(self._way(network, way), steps)}

    def _step(self, network: int, way: str) -> dict[str, Any]:
        return time_calls(_steps.endless(self._way(network, way)), MOST_STEPS)

    def _go_on(self, network: int, way: str, steps: int) -> dict[str, Any]:
        seconds, letters = _steps.go_on(self._way(network, way), steps)
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


def time_calls(call: Callable[[], Any], most: int = MOST_CALLS) -> dict[str, Any]:
    """Two calls to warm up, then calls until a third of a second has passed; the median."""
    call()
    call()
    seconds: list[float] = []
    stop = time.perf_counter() + CALL_SECONDS
    while len(seconds) < most and (len(seconds) < 3 or time.perf_counter() < stop):
        started = time.perf_counter()
        call()
        seconds.append(time.perf_counter() - started)
    return {"microseconds": median(seconds) * 1e6, "calls": len(seconds)}
