"""Trainings side by side: the first one compiles, the others share the processor's cores.

As many train at a time as there are cores, each on a thread and on a model of its own, into whose
variables a replicate's values are put. A compiled program leaves Python alone while it runs; a
vectorized one gains nothing for small networks, whose time goes with the number of operations, not
with their size. Models are built a group at a time, before it is trained: building is Python, and
beside it every call of a program waits for its turn.

Limits: on other devices than a CPU, and step by step (``run_eagerly``), replicates wait for one
another.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from typing import NamedTuple

import jax

from legato._analysis.replicate_builder import (
    ModelContent,
    ReplicateBuilder,
    Start,
    check_alike,
    content_of,
    put,
    settings_of,
)
from legato._errors import InputError
from legato._execution.batches import drawing_orders_from
from legato._execution.callbacks import Progress
from legato._execution.program_cache import ProgramCache
from legato._platform import keras_private
from legato._platform.backend import device_share_bytes

GROUP = 64  # seeds built before they are trained, if what they begin with takes little room
_LOOK_S = 0.1  # how often the main thread shows progress and hears Ctrl-C


class FinishedReplicate(NamedTuple):
    """A replicate that was trained.

    Attributes:
        history: of its ``fit``.
        seconds: its ``fit`` took.
        content: of its model then.
    """

    history: dict[str, list[float]]
    seconds: float
    content: ModelContent


class ParallelTraining:
    """The trainings of all seeds: the first one compiles, the others share the cores.

    Args:
        builder: makes their models.
        fit: ``fit(model, seed)`` trains and returns the history.
        seeds: which.

    Attributes:
        model: the first seed's; it holds whatever was put into it last.
    """

    def __init__(self, builder: ReplicateBuilder, fit: Callable, seeds: Sequence[int]):
        self._builder, self._fit, self._seeds = builder, fit, seeds
        self.model, self._first = builder(seeds[0], whole=True)
        self._metrics = keras_private.values_of(self.model.metrics_variables)
        self._settings = settings_of(self.model)
        self._free, self._made = [self.model], [self.model]
        self._workers = _cores(self.model)
        self._lock = threading.Lock()
        self._stopped = False
        _check_room(self._first.content.nbytes, len(seeds))

    def __call__(self, show: Callable[[int], Progress]) -> list[FinishedReplicate]:
        """Train them; what came out, seed by seed.

        Args:
            show: the progress, given how many steps a seed takes.

        Raises:
            KeyboardInterrupt: saying how many had finished.
        """
        ended: dict[int, FinishedReplicate] = {}
        room = device_share_bytes() / 4 // max(self._first.content.nbytes, 1)
        size = int(min(GROUP, max(room, self._workers)))
        others = self._seeds[1:]
        groups = [others[at : at + size] for at in range(0, len(others), size)]
        try:
            starts = list(map(self._next, groups[0]))  # what is wrong with build shows at once
            ended[self._seeds[0]] = self._train(self._first)
            self._others(groups, starts, ended, show)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{len(ended)} of {len(self._seeds)} seeds had finished"
            ) from None
        return [ended[seed] for seed in self._seeds]

    def _others(self, groups: list, starts: list[Start], ended: dict, show: Callable) -> None:
        steps = (self.model.history.params["steps"] or 1) * self.model.history.params["epochs"]
        progress = show(steps)
        told = partial(_tell, progress, ended, steps)
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="legato-replicate")
        running: dict[Future, int] = {}
        try:
            progress.begin(0)
            told(self._seeds[0])
            for group in groups:
                starts = starts or list(map(self._next, group))
                running = {pool.submit(self._train, each): each.seed for each in starts}
                starts = []
                while running:
                    self._collect(running, ended, told)
            progress.end()
        finally:
            self._stopped = True
            while running and wait(running, timeout=_LOOK_S / 2).not_done:
                for model in self._made:
                    model.stop_training = True
            pool.shutdown()

    def _collect(self, running: dict[Future, int], ended: dict, told: Callable) -> None:
        """Wait a moment for those that run."""
        for done in wait(running, timeout=_LOOK_S, return_when=FIRST_COMPLETED).done:
            seed = running.pop(done)
            ended[seed] = done.result()
            told(seed)

    def _next(self, seed: int) -> Start:
        """A further seed's beginning; its model is like the first, or refused."""
        model, start = self._builder(seed)
        first = self._seeds[0]
        if model is self.model:
            raise InputError(
                f"build gave the same model for seeds {first} and {seed}: make a new one in it."
            )
        check_alike(self._first, start, self._settings, settings_of(model))
        if len(self._made) < self._workers:  # train on this model too
            self._builder.finish(model)
            ProgramCache(model._engine).share(ProgramCache(self.model._engine))
            self._made.append(model)
            self._free.append(model)
        return start

    def _train(self, start: Start) -> FinishedReplicate:
        """One training, on a model that nobody trains on."""
        with self._lock:
            model = self._free.pop(0)
        try:
            if self._stopped:
                raise KeyboardInterrupt
            put(model, start.content)
            keras_private.set_values(model.metrics_variables, self._metrics)
            began = time.perf_counter()
            with drawing_orders_from(start.orders):
                history = self._fit(model, start.seed)
            return FinishedReplicate(history, time.perf_counter() - began, content_of(model))
        finally:
            with self._lock:
                self._free.append(model)


def _tell(progress: Progress, ended: dict[int, FinishedReplicate], steps: int, seed: int) -> None:
    """One seed more has finished."""
    progress.steps(len(ended) - 1, steps)
    logs = {name: values[-1] for name, values in ended[seed].history.items()}
    progress.epoch(len(ended) - 1, logs)


def _cores(model) -> int:
    """How many train at a time; step by step, Python itself is what takes the time."""
    if jax.default_backend() != "cpu" or ProgramCache(model._engine).runs_eagerly:
        return 1
    counted = getattr(os, "sched_getaffinity", None)
    return len(counted(0)) if counted else os.cpu_count() or 1


def _check_room(nbytes: int, count: int) -> None:
    if nbytes * count > device_share_bytes():
        raise InputError(
            f"{count} replicates of {nbytes / 2**20:,.0f} MiB each would be kept (weights and "
            f"optimizer), which is more than the {device_share_bytes() / 2**20:,.0f} MiB that "
            "LEGATO_DATA_SHARE allows. Replicate a part of the seeds at a time, with seeds=…, and "
            "keep its scores only."
        )
