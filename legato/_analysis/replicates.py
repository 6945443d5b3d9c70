"""Trains one model under many random seeds: initial weights, sample orders and dropout.

A replicate equals, to the bit, the result of ``keras.utils.set_random_seed(seed)``, building,
compiling and ``fit``. The models differ in nothing but the values of their variables, so all run
the programs that the first one compiled.

Limits: those of ``replicate_builder`` and ``parallel_training``; the data must be arrays.
"""

import uuid
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import keras
import numpy as np

from legato._analysis.parallel_training import (
    FinishedReplicate,
    ParallelTraining,
    TrainingSpec,
)
from legato._analysis.replicate_builder import ModelContent, ReplicateBuilder, set_model_content
from legato._errors import InputError, UnsupportedError
from legato._execution.program_cache import ProgramCache
from legato._execution.progress import Progress
from legato._execution.samples import yields_batches
from legato._platform.checks import check_seed
from legato._platform.executors import check_executor

_FIT_OPTIONS = """
validation_split validation_data shuffle class_weight sample_weight validation_batch_size
validation_freq starts reset validation_state
""".split()
_HIGHER_IS_BETTER = ("accuracy", "acc", "auc", "precision", "recall", "f1_score", "r2_score")
_LOWER_IS_BETTER = ("loss", "error", "mse", "mae", "crossentropy", "perplexity")


@dataclass(frozen=True, eq=False)
class Replicates:
    """The results of one training under several seeds, as ``legato.replicate`` returns them.

    Attributes:
        seeds: the random seeds; replicate ``k`` is that of ``seeds[k]``.
        histories: for each replicate, the logs of ``fit``: one number per epoch for every log.
        seconds: for each replicate, the duration of its ``fit``, beside others; the first one's
            includes compilation.

    Examples:
        >>> import legato, numpy as np
        >>> from legato import layers
        >>> def build():
        ...     model = legato.Sequential([layers.Input((3, 1)), layers.GRU(4), layers.Dense(1)])
        ...     model.compile("adam", "mse")
        ...     return model
        >>> X, y = np.random.rand(8, 3, 1), np.random.rand(8, 1)
        >>> runs = legato.replicate(build, X, y, n=3, epochs=2)
        >>> runs.predict(X).shape, runs.scores["loss"].shape
        ((3, 8, 1), (3,))
    """

    seeds: tuple[int, ...]
    histories: tuple[dict[str, list[float]], ...]
    seconds: tuple[float, ...]
    _contents: tuple[ModelContent, ...] = field(repr=False)
    _builder: "ReplicateBuilder" = field(repr=False)
    _model: Any = field(repr=False)  # the model whose variables are set to a replicate's values

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def scores(self) -> dict[str, np.ndarray]:
        """The last value of every log, (replicates,); NaN where a training diverged to NaN."""
        names = self.histories[0]
        return {name: np.array([each[name][-1] for each in self.histories]) for name in names}

    @property
    def weights(self) -> list[list[np.ndarray]]:
        """The weights of each replicate, as ``model.get_weights()`` returns them."""
        variables = ProgramCache(self._model._model_state).variables("train")
        known = [id(each) for each in (*variables.trainable, *variables.non_trainable)]
        at = [known.index(id(each)) for each in self._model.weights]
        every = [[*each.values.trainable, *each.values.non_trainable] for each in self._contents]
        return [[np.array(values[index]) for index in at] for values in every]

    def model(self, k: int) -> Any:
        """Replicate ``k`` as a model of its own: weights, state and optimizer as ``fit`` left them.

        It shares the replicates' compiled programs until ``compile`` is called on it.
        """
        model, _ = self._builder(self.seeds[range(len(self))[k]])
        set_model_content(model, self._contents[k])
        ProgramCache(model._model_state).share(ProgramCache(self._model._model_state))
        return model

    def predict(self, X, batch_size=None, *, starts=None) -> Any:
        """The outputs of every replicate, (replicates, samples, …), from the initial state.

        Args:
            X, batch_size, starts: as in ``predict``. To continue from a replicate's state, use
                ``model(k).predict``.
        """

        def predict(content: ModelContent) -> Any:
            set_model_content(self._model, content)
            self._model.reset_states()
            return self._model.predict(X, batch_size, 0, starts=starts, advance=False)

        # The model is shared by all replicates, and by threads.
        every = self._model._model_lock.run("predict", lambda: list(map(predict, self._contents)))
        return jax.tree.map(lambda *each: np.stack(each), *every)

    def best(self, metric: str = "loss", mode: str = "auto") -> int:
        """The number of the replicate with the best last value of a metric; the first of several.

        Args:
            metric: a log of ``fit``, as in ``scores``.
            mode: ``"min"`` or ``"max"``. Default: by the metric's name.

        Raises:
            InputError: no such metric, a name that does not tell which is better, or only NaN.
        """
        if metric not in self.scores:
            raise InputError(
                f"There is no metric {metric!r}; fit gave {', '.join(map(repr, self.scores))}."
            )
        if mode == "auto":
            higher = metric.endswith(_HIGHER_IS_BETTER)
            lower = metric.endswith(_LOWER_IS_BETTER)
            mode = "max" if higher else "min" if lower else mode
        if mode not in ("min", "max"):
            raise InputError(
                f"Whether more or less of {metric!r} is better does not show from its name, and "
                f'mode is {mode!r}: give mode="max" or mode="min".'
            )
        scores = self.scores[metric]
        if np.isnan(scores).all():
            raise InputError(f"The {metric} of every replicate is NaN: none is best.")
        return int(np.nanargmax(scores) if mode == "max" else np.nanargmin(scores))


def replicate(
    build: Callable[..., Any],
    X,
    y=None,
    *,
    n: int | None = None,
    seeds: Iterable[int] | None = None,
    epochs: int = 1,
    batch_size: int | None = None,
    callbacks: Callable[[int], list] | None = None,
    verbose: int | str = "auto",
    executor=None,
    **fit,
) -> Replicates:
    """Train the same model under several seeds, in parallel.

    Replicate k equals, to the bit, the result of these lines alone::

        keras.utils.set_random_seed(seeds[k])
        model = build()
        model.fit(X, y, epochs=epochs, batch_size=batch_size, **fit)

    The global random generators are left as they were.

    Args:
        build: function that returns a new compiled ``legato.Sequential`` or ``legato.Model``. It
            gets the seed if it has a parameter named ``seed``, or one without a default.
        X, y: arrays as ``fit`` takes them, the same for every replicate. Or X is a function,
            ``X(seed)`` → (X, y), of each seed's own data. It is called on that seed's thread,
            beside others: draw from ``np.random.default_rng(seed)``, say, not from a global
            generator.
        n: number of replicates; the seeds are 0, 1, …, n - 1. Default: 10.
        seeds: the seeds themselves, whole numbers from 0 to 2**32 - 1, instead of ``n``.
        epochs, batch_size: as in ``fit``.
        callbacks: function ``callbacks(seed)`` → new callbacks for that seed. They run on its
            thread, beside others: they must not draw from Python's or NumPy's global generator.
        verbose: 0 shows nothing, 1 one line for all, 2 a line per seed; ``"auto"`` is 1 at a
            terminal or in a notebook, once training has taken two seconds.
        executor: trains in other processes or on other machines: anything with the interface of
            ``concurrent.futures.Executor``, such as a ``ProcessPoolExecutor`` whose processes are
            spawned, or Dask's ``client.get_executor()``. ``build``, ``X``, ``y`` and
            ``callbacks`` must be picklable. Results are the same, to the bit on like machines.
            Default: threads of this process.
        **fit: ``validation_data``, ``validation_split``, ``validation_freq``,
            ``validation_batch_size``, ``validation_state``, ``shuffle``, ``class_weight``,
            ``sample_weight``, ``starts``, ``reset``, as in ``fit``.

    Returns:
        A ``Replicates`` with the histories, scores, weights and models of all. Ctrl-C raises
        ``KeyboardInterrupt`` with the number of seeds that had finished.

    Raises:
        InputError: fewer than two seeds, models of different structure or with the same initial
            weights, results that would not fit in memory, or something that cannot be sent to
            another process.

    Warns:
        UserWarning: the training of some seeds, which are named, diverged to NaN; or a process of
            the executor ended, and this one trains what was left.

    Examples:
        >>> import legato
        >>> from legato import alphabet
        >>> network = alphabet.NETWORKS[0]
        >>> data = network.samples()
        >>> runs = legato.replicate(network.build, data.x, data.y, n=2, epochs=20, batch_size=1)
        >>> len(runs), runs.seeds, len(runs.histories[1]["loss"])
        (2, (0, 1), 20)
    """
    chosen = _checked_seeds(n, seeds)
    if unknown := [name for name in fit if name not in _FIT_OPTIONS]:
        raise InputError(
            f"replicate has no option {unknown[0]!r}. Those of fit that it takes are epochs, "
            f"batch_size, callbacks, {', '.join(_FIT_OPTIONS)}."
        )
    data = partial(_data_of_seed, X) if callable(X) else partial(_same_data, X, y)
    if callable(X) and y is not None:
        raise InputError("X is a function of the seed, which gives X and y: leave y out.")
    first = data(chosen[0])
    if yields_batches(first[0]):
        raise InputError(
            f"X is a {type(first[0]).__name__}, which yields batches: replicates share their "
            "data, so arrays were expected. Read it into arrays, or call fit seed by seed."
        )
    if callbacks is not None and not callable(callbacks):
        raise InputError(
            "callbacks is a list, and a callback cannot watch several runs side by side: give a "
            "function of the seed that makes new ones, such as callbacks=lambda seed: "
            '[keras.callbacks.EarlyStopping("loss")].'
        )
    options = {"epochs": epochs, "batch_size": batch_size, **fit}
    if executor is not None:
        check_executor(executor)
    builder, train = ReplicateBuilder(build, *first), partial(_fit, data, callbacks, options)
    runs = ParallelTraining(builder, train, chosen)

    def show(steps: int) -> Progress:
        return Progress(verbose, len(chosen), steps, 2.0, unit="seed")

    if executor is None:
        finished = runs(show)
    else:
        X, y = first
        spec = TrainingSpec(uuid.uuid4().hex, build, X, y, train, chosen[0], epochs)
        finished = runs.train_on(executor, spec, show)
    _warn_of_nan(chosen, finished)
    histories, seconds, contents = zip(*finished, strict=True)
    return Replicates(tuple(chosen), histories, seconds, contents, builder, runs.model)


def _checked_seeds(n: int | None, seeds: Iterable[int] | None) -> list[int]:
    """The seeds 0 to n - 1, or the given ones.

    Raises:
        InputError: both given, invalid or equal seeds, or fewer than two.
    """
    if n is not None and seeds is not None:
        raise InputError("Give n or seeds, not both: n=10 means seeds=range(10).")
    if seeds is None:
        n = 10 if n is None else n
        if not isinstance(n, (int, np.integer)):
            raise InputError(f"n is {n!r}; a whole number of seeds from 2 up was expected.")
        seeds = range(n)
    chosen = list(seeds)
    chosen = [check_seed(seed, f"seeds[{at}]") for at, seed in enumerate(chosen)]
    if twice := [seed for seed in chosen if chosen.count(seed) > 1]:
        raise InputError(f"Seed {twice[0]} comes twice, and would be the same run twice.")
    if len(chosen) < 2:
        raise InputError(
            f"{len(chosen)} seed{'s' * (len(chosen) != 1)} came, and replicates are two or more: "
            "give n=10, say. For one seed call keras.utils.set_random_seed, build and fit."
        )
    return chosen


def _same_data(X, y, seed: int) -> tuple:
    """The data (X, y), whatever the seed."""
    return X, y


def _data_of_seed(data: Callable, seed: int) -> tuple:
    """The data (X, y) of a seed."""
    result = data(seed)
    if not isinstance(result, tuple) or len(result) != 2:
        raise InputError(
            f"X is a function, and gave {type(result).__name__} for seed {seed}; two things were "
            "expected, X and y: let it end with `return X, y`."
        )
    return result


def _fit(data: Callable, callbacks: Callable | None, options: dict, model, seed: int) -> dict:
    """Train the model of a seed, and return its history."""
    X, y = data(seed)
    own_callbacks = list(callbacks(seed)) if callbacks else []
    if any(isinstance(each, keras.callbacks.BackupAndRestore) for each in own_callbacks):
        raise UnsupportedError(
            "BackupAndRestore keeps the random generators of the whole process, and replicates "
            "have their own. Back up a long run by calling fit seed by seed."
        )
    return model.fit(X, y, verbose=0, callbacks=own_callbacks or None, **options).history


def _warn_of_nan(seeds: Sequence[int], finished: Sequence[FinishedReplicate]) -> None:
    diverged = [
        str(seed)
        for seed, each in zip(seeds, finished, strict=True)
        if any(np.isnan(values).any() for values in each.history.values())
    ]
    if diverged:
        word = "seed" if len(diverged) == 1 else "seeds"
        warnings.warn(
            f"{len(diverged)} of {len(seeds)} replicates came to NaN: {word} "
            f"{', '.join(diverged)}. Their scores are NaN: before comparing, look for a learning "
            "rate that is too high, or limit gradients with optimizer(clipnorm=1.0).",
            stacklevel=3,
        )
