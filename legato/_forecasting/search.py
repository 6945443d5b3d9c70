"""A bounded search over the options of a network, with Optuna.

The options as they were given come first, so that what a search finds is never worse by its score,
which is that of a validation part before the test part. Other settings are drawn by a
tree-structured Parzen estimator (Bergstra, Bardenet, Bengio and Kégl, "Algorithms for
hyper-parameter optimization", NIPS 2011). Each draw has a seed of its own, so that a study that was
interrupted goes on as if it had not been; and it knows the scores of the rounds before its own, so
that those of a round can be tried side by side, and what is found depends on no executor. Optuna is
an extra: ``legato[search]``.
"""

import contextlib
import json
import time as clock
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from legato._errors import InputError, MissingError, OutputError
from legato._forecasting.backtest import fingerprint_training
from legato._forecasting.train_config import TEST, TrainConfig
from legato._platform.executors import check_executor, run_tasks
from legato._platform.wording import describe_settings
from legato._series.sequences import Sequences

if TYPE_CHECKING:
    import optuna

    from legato._forecasting.train import Plan

LEAST_STEPS, MOST_STEPS = 4, 96  # of windows and chunks that are tried
ROUND = 5  # settings that are tried side by side; the first round is drawn at random
NAMES = ("framing", "steps", "cell", "units", "layers", "dropout", "learning_rate", "epochs")
OF_ENSEMBLES = ("cell", "units", "layers", "learning_rate")  # others are of a single network
Options = dict[str, Any]


class Attempt(NamedTuple):
    """What came of trying some options.

    Attributes:
        score: None if they could not be trained.
        error: why.
        seconds: that it took.
    """

    score: float | None
    error: str | None
    seconds: float


@dataclass(frozen=True)
class Space:
    """The options that are varied.

    Attributes:
        names: those that are, in order.
        most_steps: time steps of the longest windows and chunks that are tried.
    """

    names: tuple[str, ...]
    most_steps: int

    def draw(self, trial: "optuna.Trial") -> Options:
        """One of the settings."""
        most = max(LEAST_STEPS, min(MOST_STEPS, self.most_steps))
        draws: dict[str, Callable[[str], Any]] = {
            "framing": lambda name: trial.suggest_categorical(name, ["chunks", "window"]),
            "steps": lambda name: trial.suggest_int(name, LEAST_STEPS, most, log=True),
            "cell": lambda name: trial.suggest_categorical(name, ["lstm", "gru"]),
            "units": lambda name: trial.suggest_int(name, 8, 128, log=True),
            "layers": lambda name: trial.suggest_int(name, 1, 2),
            "dropout": lambda name: trial.suggest_float(name, 0.0, 0.5, step=0.1),
            "learning_rate": lambda name: trial.suggest_float(name, 1e-3, 3e-2, log=True),
            "epochs": lambda name: trial.suggest_int(name, 25, 400, log=True),
        }
        return {name: draws[name](name) for name in self.names}


@dataclass(frozen=True)
class Search:
    """A search, and where it is kept.

    Attributes:
        count: settings that are tried, the options as given among them.
        seed: the random seed.
        space: what is varied.
        metric: the name of the score, of which less is better.
        subject: what a study must have in common to be gone on with.
        path: the file of the study; None: it is not kept.
    """

    count: int
    seed: int
    space: Space
    metric: str
    subject: str
    path: Path | None = None

    def run(
        self,
        score: Callable[[Options], float],
        report: Callable[[str], None],
        executor: Any = None,
    ) -> tuple[Options, dict[str, Any]]:
        """Try settings, and choose the one of the least score.

        Args:
            score: trains and scores with some options; picklable, if there is an executor.
            report: takes a line on each setting that was tried.
            executor: tries the settings of a round side by side; None: one after another, here.

        Returns:
            The best options, and the record: all that were tried, with their scores and seconds.

        Raises:
            InputError: the options as given cannot be trained, or the study is of something else.
            MissingError: Optuna is not installed.
        """
        optuna = import_optuna()
        with _quiet(optuna):
            study = self._open(optuna)
            while (done := len(_trials_of(study))) < self.count:
                begin = done // ROUND * ROUND
                known = _trials_of(study)[:begin]
                numbers = range(done, min(begin + ROUND, self.count))
                drawn = [self._draw(known, number) for number in numbers]
                options = [trial.user_attrs["options"] for _, trial in drawn]
                attempts = _attempts(score, options, executor)
                for number, (drawing, trial), attempt in zip(numbers, drawn, attempts, strict=True):
                    if not number and attempt.error is not None:
                        raise InputError(attempt.error)
                    study.add_trial(_tell(drawing, trial, attempt))
                    report(self._describe(study, _trials_of(study)[-1], number))
            trials = _trials_of(study)
            best = study.best_trial
        record = {
            "metric": self.metric,
            "best": trials.index(best),
            "trials": [
                {
                    "options": each.user_attrs["options"],
                    "score": each.value,
                    "seconds": each.user_attrs["seconds"],
                    "error": each.user_attrs.get("error"),
                }
                for each in trials
            ],
        }
        return best.user_attrs["options"], record

    def _open(self, optuna: Any) -> "optuna.Study":
        """The study, new or as far as it came."""
        if self.path is None:
            return optuna.create_study()
        try:
            _drop_unfinished_line(self.path)
            backend = optuna.storages.journal.JournalFileBackend(str(self.path))
            storage = optuna.storages.JournalStorage(backend)
            study = optuna.create_study(study_name="legato", storage=storage, load_if_exists=True)
            subject = study.user_attrs.get("subject")
            if subject is None:
                study.set_user_attr("subject", self.subject)
            _trials_of(study)
        except OSError as error:
            raise OutputError(f"The study {self.path} cannot be written ({error}).") from error
        except Exception as error:  # there are many ways of being no journal
            raise InputError(
                f"{self.path} is no study of a search, or damaged ({type(error).__name__}). Name "
                "another file, or one that is not there yet."
            ) from error
        if subject not in (None, self.subject):
            raise InputError(
                f"The study {self.path} is of other data, options or another seed, so its scores "
                "cannot be compared with these. Name another file with study= (--study)."
            )
        return study

    def _draw(self, known: list[Any], number: int) -> tuple[Any, Any]:
        """Draw a setting; the first are the options as given.

        Args:
            known: trials whose scores the draw knows.
            number: of the setting.

        Returns:
            A study of its own, since the one that is kept has whole trials only; and its trial.
        """
        optuna = import_optuna()
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=ROUND, seed=(self.seed + number) % 2**32
        )
        drawing = optuna.create_study(sampler=sampler)
        drawing.add_trials(known)
        trial = drawing.ask()
        trial.set_user_attr("options", self.space.draw(trial) if number else {})
        return drawing, trial

    def _describe(self, study: "optuna.Study", trial: Any, done: int) -> str:
        found = "failed" if trial.value is None else f"{self.metric} {trial.value:.4g}"
        settings = describe_settings(trial.user_attrs["options"])
        best = f"the best {study.best_value:.4g}"
        return f"setting {done + 1} of {self.count}: {settings}: {found}, {best}"


def _tell(drawing: "optuna.Study", trial: "optuna.Trial", attempt: Attempt) -> Any:
    """Tell the study of a draw what came of it; returns the whole trial."""
    optuna = import_optuna()
    trial.set_user_attr("seconds", attempt.seconds)
    if attempt.error is None:
        return drawing.tell(trial, attempt.score)
    trial.set_user_attr("error", attempt.error)
    return drawing.tell(trial, state=optuna.trial.TrialState.FAIL)


def _attempts(
    score: Callable[[Options], float], settings: Sequence[Options], executor: Any
) -> Iterator[Attempt]:
    """Try settings; returns what comes of them in their order, each as soon as it is known."""
    if executor is None:
        yield from (try_options(score, options) for options in settings)
        return
    found: dict[int, Attempt] = {}
    number = 0  # of the setting whose turn it is
    tasks = [(score, options) for options in settings]
    for at, attempt in run_tasks(executor, try_options, tasks, "the data"):
        found[at] = attempt
        while number in found:
            yield found.pop(number)
            number += 1


def try_options(score: Callable[[Options], float], options: Options) -> Attempt:
    """Train and score with some options, in whatever process this is called."""
    begun = clock.perf_counter()
    value, error = None, None
    try:
        value = score(options)
        error = None if np.isfinite(value) else "its score is not a number"
    except InputError as refused:  # such as a training that diverged
        error = str(refused)
    seconds = round(clock.perf_counter() - begun, 3)
    return Attempt(value if error is None else None, error, seconds)


@dataclass(frozen=True)
class Scoring:
    """Trains with some options on a part of the data, and scores on the rest.

    Attributes:
        training: the part that may be learnt from, whose end is scored.
        reading: options of reading.
        config: the other options.
        make_plan: makes a plan of these.
    """

    training: Sequences
    reading: dict[str, Any]
    config: TrainConfig
    make_plan: Callable[[Sequences, dict[str, Any], TrainConfig], "Plan"]

    def __call__(self, options: Options) -> float:
        planned = self.make_plan(self.training, self.reading, replace(self.config, **options))
        _, model, _ = planned.train_scored()
        test = planned._parts.test(planned._sequences)
        assert test is not None  # there is a validation part
        return model.backtest(*test, planned.season).scores().loss


def find_best_options(
    plan: "Plan",
    make_plan: Callable[[Sequences, dict[str, Any], TrainConfig], "Plan"],
    report: Callable[[str], None],
    executor: Any = None,
) -> tuple[TrainConfig, dict[str, Any]]:
    """Search as a plan's options ask, on a part of its training data.

    Args:
        plan: the plan.
        make_plan: makes a plan of sequences, options of reading and options.
        report: takes a line on each setting that was tried.
        executor: tries settings; None: this process does.

    Returns:
        The options to train with, and the record of the search.
    """
    if executor is not None:
        check_executor(executor)
    config = plan._asked or plan.config
    horizon = plan.task.horizon if plan.task.kind == "forecast" else None
    test = TEST if config.test is None else config.test  # the same for all settings
    single = replace(config, horizon=horizon, test=test, search=None, study=None)
    plan = make_plan(plan._sequences, plan._reading, single)
    training = plan._parts.training(plan._sequences)
    held_out = replace(single, test=config.validation, verbose=0)
    fixed = {*config.given, *(["framing"] if config.stateful or config.bidirectional else [])}
    names = OF_ENSEMBLES if config.framing == "ensemble" else NAMES
    names = tuple(each for each in names if each not in fixed)
    others = {name: each for name, each in config.given.items() if name not in ("search", "study")}
    seen = fingerprint_training(plan.task, training, training.lengths)
    search = Search(
        config.search or 1,
        config.seed,
        Space(names, int(min(training.lengths.max() // 4, training.lengths.min()))),
        "MAE" if plan.task.kind == "forecast" else "cross-entropy",
        json.dumps([seen, others]),
        None if config.study is None else Path(config.study),
    )
    score = Scoring(training, plan._reading, held_out, make_plan)
    best, record = search.run(score, report, executor)
    return replace(single, **best), record


def import_optuna() -> Any:
    """Optuna.

    Raises:
        MissingError: it is not installed.
    """
    try:
        import optuna
    except ImportError as error:
        raise MissingError(
            "A search takes the package optuna, which is not installed: pip install "
            '"legato[search]"'
        ) from error
    return optuna


def check_study(path: Path) -> None:
    """Check that a study can be kept in a file, before anything takes time.

    Raises:
        OutputError: its folder is missing.
        InputError: there is another file of that name.
    """
    if not path.parent.is_dir():
        raise OutputError(f"The folder of the study {path} is missing. Make it, or name another.")
    if not path.exists():
        return
    try:
        with path.open(encoding="utf-8") as file:
            is_journal = "op_code" in json.loads(file.readline() or '{"op_code": 0}')
    except (OSError, ValueError, TypeError):
        is_journal = False
    if not is_journal:
        raise InputError(
            f"{path} is no study of a search. Name another file with study= (--study), or one that "
            "is not there yet."
        )


def _drop_unfinished_line(path: Path) -> None:
    """Cut off what a loss of power left of a last line, behind which nothing could be written."""
    if not path.exists():
        return
    with path.open("r+b") as file:
        whole = file.read().rfind(b"\n") + 1
        file.truncate(whole)


def _trials_of(study: "optuna.Study") -> list[Any]:
    """The trials, in order."""
    return study.get_trials(deepcopy=False)


@contextlib.contextmanager
def _quiet(optuna: Any) -> Generator[None]:
    """Keep Optuna from logging while the block runs."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
