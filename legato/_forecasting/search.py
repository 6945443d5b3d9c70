"""A bounded search over the options of a network, with Optuna.

The options as they were given come first, so that what a search finds is never worse by its score,
which is that of a validation part before the test part. Other settings are drawn by a
tree-structured Parzen estimator (Bergstra, Bardenet, Bengio and Kégl, "Algorithms for
hyper-parameter optimization", NIPS 2011). Each draw has a seed of its own, so that a study that was
interrupted goes on as if it had not been. Optuna is an extra: ``legato[search]``.
"""

import contextlib
import json
import time as clock
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from legato._errors import InputError, MissingError, OutputError
from legato._forecasting.backtest import fingerprint_training
from legato._forecasting.train_config import TEST, TrainConfig
from legato._platform.wording import describe_settings
from legato._series.sequences import Sequences

if TYPE_CHECKING:
    import optuna

    from legato._forecasting.train import Plan

LEAST_STEPS, MOST_STEPS = 4, 96  # of windows and chunks that are tried
STARTUP = 5  # settings that are drawn at random, before the estimator learns from scores
NAMES = ("framing", "steps", "cell", "units", "layers", "dropout", "learning_rate", "epochs")
OF_ENSEMBLES = ("cell", "units", "layers", "learning_rate")  # others are of a single network
Options = dict[str, Any]


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
        self, score: Callable[[Options], float], report: Callable[[str], None]
    ) -> tuple[Options, dict[str, Any]]:
        """Try settings, and choose the one of the least score.

        Args:
            score: trains and scores with some options.
            report: takes a line on each setting that was tried.

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
                self._try_one(study, done, score)
                trial = _trials_of(study)[-1]
                report(self._describe(study, trial, done))
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

    def _try_one(self, study: "optuna.Study", done: int, score: Callable[[Options], float]) -> None:
        """Try the next setting, and tell the study; the first are the options as given."""
        optuna = import_optuna()
        begun = clock.perf_counter()
        if not done:
            value = score({})
            seconds = round(clock.perf_counter() - begun, 3)
            study.add_trial(
                optuna.trial.create_trial(
                    value=value, user_attrs={"options": {}, "seconds": seconds}
                )
            )
            return
        sampler = optuna.samplers.TPESampler(
            n_startup_trials=STARTUP, seed=(self.seed + done) % 2**32
        )
        drawing = optuna.create_study(sampler=sampler)  # the one that is kept has whole trials only
        drawing.add_trials(_trials_of(study))
        trial = drawing.ask()
        options = self.space.draw(trial)
        trial.set_user_attr("options", options)
        value, error = None, None
        try:
            value = score(options)
        except InputError as refused:  # such as a training that diverged
            error = str(refused)
        trial.set_user_attr("seconds", round(clock.perf_counter() - begun, 3))
        if error is not None or not np.isfinite(value or 0.0):
            trial.set_user_attr("error", error or "its score is not a number")
            told = drawing.tell(trial, state=optuna.trial.TrialState.FAIL)
        else:
            told = drawing.tell(trial, value)
        study.add_trial(told)

    def _describe(self, study: "optuna.Study", trial: Any, done: int) -> str:
        found = "failed" if trial.value is None else f"{self.metric} {trial.value:.4g}"
        settings = describe_settings(trial.user_attrs["options"])
        best = f"the best {study.best_value:.4g}"
        return f"setting {done + 1} of {self.count}: {settings}: {found}, {best}"


def find_best_options(
    plan: "Plan",
    make_plan: Callable[[Sequences, dict[str, Any], TrainConfig], "Plan"],
    report: Callable[[str], None],
) -> tuple[TrainConfig, dict[str, Any]]:
    """Search as a plan's options ask, on a part of its training data.

    Args:
        plan: the plan.
        make_plan: makes a plan of sequences, options of reading and options.
        report: takes a line on each setting that was tried.

    Returns:
        The options to train with, and the record of the search.
    """
    config = plan._asked or plan.config
    horizon = plan.task.horizon if plan.task.kind == "forecast" else None
    test = TEST if config.test is None else config.test  # the same for all settings
    single = replace(config, horizon=horizon, test=test, search=None, study=None)
    plan = make_plan(plan._sequences, plan._reading, single)
    training = plan._parts.training(plan._sequences)
    held_out = replace(single, test=config.validation, verbose=0)

    def score(options: Options) -> float:
        planned = make_plan(training, plan._reading, replace(held_out, **options))
        _, model, _ = planned.train_scored()
        test = planned._parts.test(planned._sequences)
        assert test is not None  # there is a validation part
        return model.backtest(*test, planned.season).scores().loss

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
    best, record = search.run(score, report)
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
def _quiet(optuna: Any) -> Iterator[None]:
    """Keep Optuna from logging while the block runs."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
