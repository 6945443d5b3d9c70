"""Trains replicates in parallel threads, one per processor core, with shared compiled programs.

The first replicate compiles. Each thread has a model of its own, whose variables are set to a
replicate's initial values before it is trained. Threads suffice, because a compiled program
releases Python's lock while it runs; one program vectorized over replicates was no faster for small
networks, whose time depends on the number of operations, not on their size. Models are built a
group at a time before the group is trained, because building holds the lock and would delay every
call.

Limits: on devices other than a CPU, on several devices, and with ``run_eagerly``, replicates train
one after another.
"""

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import jax

from legato._analysis.replicate_builder import (
    ModelContent,
    ReplicateBuilder,
    ReplicateStart,
    check_same_structure,
    model_configuration,
    model_content,
    set_model_content,
)
from legato._errors import InputError
from legato._execution.program_cache import ProgramCache
from legato._execution.progress import Progress
from legato._execution.sample_orders import drawing_orders_from
from legato._platform import keras_variables
from legato._platform.backend import device_share_bytes
from legato._platform.executors import run_tasks
from legato._platform.row_devices import mesh_of

TASKS, TASK_SEEDS = 32, 16  # of an executor, unless more seeds than this would be in each
GROUP = 64  # seeds that are built before they are trained, if their values take little memory
_POLL_S = 0.1  # how often the main thread shows progress and checks for Ctrl-C


class FinishedReplicate(NamedTuple):
    """A trained replicate.

    Attributes:
        history: the logs of its ``fit``, one number per epoch.
        seconds: the duration of its ``fit``.
        content: values of its trained model.
    """

    history: dict[str, list[float]]
    seconds: float
    content: ModelContent


class ParallelTraining:
    """The training of all replicates.

    Args:
        builder: builds the models.
        fit: ``fit(model, seed)`` trains a model and returns its history.
        seeds: the random seeds, two or more.

    Attributes:
        model: the first seed's model, whose variables hold the values that were set last.
    """

    def __init__(self, builder: ReplicateBuilder, fit: Callable, seeds: Sequence[int]):
        self._builder, self._fit, self._seeds = builder, fit, seeds
        self.model, self._first = builder(seeds[0], whole=True)
        self._metrics = keras_variables.values_of(self.model.metrics_variables)
        self._configuration = model_configuration(self.model)
        self._free_models, self._models = [self.model], [self.model]
        self._training = 0  # how many train now
        self._workers = _worker_count(self.model)
        self._lock, self._building = threading.Lock(), threading.Lock()
        self._slots = threading.Semaphore(self._workers)
        self._stopped = False
        _check_memory(self._first.content.nbytes, len(seeds))

    def __call__(self, show: Callable[[int], Progress]) -> list[FinishedReplicate]:
        """Train all replicates, and return them in the order of the seeds.

        Args:
            show: makes the progress display, given the number of steps of a seed.

        Raises:
            KeyboardInterrupt: with the number of seeds that had finished.
        """
        finished: dict[int, FinishedReplicate] = {}
        fitting = device_share_bytes() / 4 // max(self._first.content.nbytes, 1)
        size = int(min(GROUP, max(fitting, self._workers)))
        others = self._seeds[1:]
        groups = [others[at : at + size] for at in range(0, len(others), size)]
        try:
            starts = list(map(self._build, groups[0]))  # before training: errors come at once
            finished[self._seeds[0]] = self._train(self._first)
            self._train_others(groups, starts, finished, show)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{len(finished)} of {len(self._seeds)} seeds had finished"
            ) from None
        return [finished[seed] for seed in self._seeds]

    def train_on(
        self, executor, spec: "TrainingSpec", show: Callable[[int], Progress]
    ) -> list[FinishedReplicate]:
        """Train all replicates as tasks of an executor, and return them in the order of the seeds.

        Args:
            executor: with the interface of ``concurrent.futures``.
            spec: what makes the same training in another process.
            show: as for a call.

        Raises:
            InputError: something cannot be sent to another process.
            KeyboardInterrupt: with the number of seeds that had finished.
        """
        self._build(self._seeds[1])  # errors of a seed that decides nothing come at once
        size = min(max(len(self._seeds) // TASKS, 1), TASK_SEEDS)
        parts = [self._seeds[at : at + size] for at in range(0, len(self._seeds), size)]
        finished: dict[int, FinishedReplicate] = {}
        progress = show(spec.steps)
        progress.begin(0)
        tasks = [(spec, tuple(part)) for part in parts]
        try:
            for _, results in run_tasks(executor, train_seeds, tasks, "build, X or callbacks"):
                for seed, result in results:
                    finished[seed] = result
                    _report_finished(progress, finished, spec.steps, seed)
        except KeyboardInterrupt:
            raise KeyboardInterrupt(
                f"{len(finished)} of {len(self._seeds)} seeds had finished"
            ) from None
        progress.end()
        return [finished[seed] for seed in self._seeds]

    def train(self, seed: int) -> FinishedReplicate:
        """Build and train one replicate; several threads may call it."""
        with self._slots:
            with self._building:
                start = self._first if seed == self._seeds[0] else self._build(seed)
            return self._train(start)

    def _train_others(
        self, groups: list, starts: list[ReplicateStart], finished: dict, show: Callable
    ) -> None:
        steps = (self.model.history.params["steps"] or 1) * self.model.history.params["epochs"]
        progress = show(steps)
        report = partial(_report_finished, progress, finished, steps)
        pool = ThreadPoolExecutor(self._workers, thread_name_prefix="legato-replicate")
        running: dict[Future, int] = {}
        try:
            progress.begin(0)
            report(self._seeds[0])
            for group in groups:
                starts = starts or list(map(self._build, group))
                running = {pool.submit(self._train, each): each.seed for each in starts}
                starts = []
                while running:
                    self._collect(running, finished, report)
            progress.end()
        finally:
            self._stopped = True
            # An interrupt may have come while a worker was started, which is not in ``running``.
            while self._training or wait(running, timeout=0).not_done:
                for model in self._models:
                    model.stop_training = True
                time.sleep(_POLL_S / 2)
            pool.shutdown()

    def _collect(self, running: dict[Future, int], finished: dict, report: Callable) -> None:
        """Wait a moment for replicates that finish, and report them."""
        for done in wait(running, timeout=_POLL_S, return_when=FIRST_COMPLETED).done:
            seed = running.pop(done)
            finished[seed] = done.result()
            report(seed)

    def _build(self, seed: int) -> ReplicateStart:
        """The initial values of a further seed, whose model has the first one's structure.

        Raises:
            InputError: it has another structure, or is the first model itself.
        """
        model, start = self._builder(seed)
        first = self._seeds[0]
        if model is self.model:
            raise InputError(
                f"build gave the same model for seeds {first} and {seed}: make a new one in it."
            )
        configurations = self._configuration, model_configuration(model)
        check_same_structure(self._first, start, *configurations)
        if len(self._models) < self._workers:  # a worker trains on this model
            self._builder.finish(model)
            ProgramCache(model._model_state).share(ProgramCache(self.model._model_state))
            self._models.append(model)
            self._free_models.append(model)
        return start

    def _train(self, start: ReplicateStart) -> FinishedReplicate:
        """Train one replicate, on a model that no other thread uses."""
        with self._lock:
            model = self._free_models.pop(0)
            self._training += 1
        try:
            if self._stopped:
                raise KeyboardInterrupt
            set_model_content(model, start.content)
            keras_variables.set_values(model.metrics_variables, self._metrics)
            began = time.perf_counter()
            with drawing_orders_from(start.orders):
                history = self._fit(model, start.seed)
            return FinishedReplicate(history, time.perf_counter() - began, model_content(model))
        finally:
            with self._lock:
                self._free_models.append(model)
                self._training -= 1


@dataclass(frozen=True)
class TrainingSpec:
    """What makes a training in another process.

    Attributes:
        key: different for every training of all processes.
        build, X, y: as ``ReplicateBuilder`` takes them.
        fit: as ``ParallelTraining`` takes it.
        first: the seed that the structure of the others is compared with.
        steps: of one replicate, for the progress.
    """

    key: str
    build: Callable
    X: Any
    y: Any
    fit: Callable
    first: int
    steps: int


_TRAININGS: dict[str, ParallelTraining] = {}  # by key: the last one in this process
_MAKING = threading.Lock()


def train_seeds(spec: TrainingSpec, seeds: Sequence[int]) -> list[tuple[int, FinishedReplicate]]:
    """Train some replicates one after another, in whatever process this is called.

    The programs are those of the tasks that the process ran before.
    """
    with _MAKING:
        if spec.key not in _TRAININGS:
            builder = ReplicateBuilder(spec.build, spec.X, spec.y)
            made = ParallelTraining(builder, spec.fit, [spec.first])
            _TRAININGS.clear()
            _TRAININGS[spec.key] = made
        training = _TRAININGS[spec.key]
    return [(seed, training.train(seed)) for seed in seeds]


def _report_finished(
    progress: Progress, finished: dict[int, FinishedReplicate], steps: int, seed: int
) -> None:
    """Show that one more seed has finished; a seed is shown as an epoch of one longer run."""
    progress.steps(len(finished) - 1, steps)
    logs = {name: values[-1] for name, values in finished[seed].history.items()}
    progress.epoch(len(finished) - 1, logs)


def _worker_count(model) -> int:
    """How many replicates train at a time; with ``run_eagerly`` one, as it holds Python's lock."""
    if jax.default_backend() != "cpu" or mesh_of() is not None:
        return 1
    if ProgramCache(model._model_state).runs_eagerly:
        return 1
    affinity = getattr(os, "sched_getaffinity", None)
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _check_memory(nbytes: int, count: int) -> None:
    if nbytes * count > device_share_bytes():
        raise InputError(
            f"{count} replicates of {nbytes / 2**20:,.0f} MiB each would be kept (weights and "
            f"optimizer), which is more than the {device_share_bytes() / 2**20:,.0f} MiB that "
            "LEGATO_DATA_SHARE allows. Replicate a part of the seeds at a time, with seeds=…, and "
            "keep its scores only."
        )
