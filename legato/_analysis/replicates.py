"""The same training under many seeds: one program, many initial weights, orders and dropouts.

A replicate is what ``keras.utils.set_random_seed(seed)``, building, compiling and ``fit`` give, to
the bit. Models that one function builds differ in nothing but their variables' values, so all run
what the first one compiled.

Limits: those of ``replicate_builder`` and ``parallel_training``; data that hand out batches are
not taken.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import jax
import keras
import numpy as np

from legato._analysis.parallel_training import FinishedReplicate, ParallelTraining
from legato._analysis.replicate_builder import ModelContent, ReplicateBuilder, put
from legato._errors import InputError, UnsupportedError
from legato._execution.callbacks import Progress
from legato._execution.program_cache import ProgramCache
from legato._execution.samples import yields_batches
from legato._platform.checks import check_seed

_OPTIONS = """
validation_split validation_data shuffle class_weight sample_weight validation_batch_size
validation_freq starts reset validation_state
""".split()
_MORE = ("accuracy", "acc", "auc", "precision", "recall", "f1_score", "r2_score")
_LESS = ("loss", "error", "mse", "mae", "crossentropy", "perplexity")


@dataclass(frozen=True, eq=False)
class Replicates:
    """The same training under several seeds, made by ``legato.replicate``.

    Attributes:
        seeds: the seeds; replicate ``k`` is that of ``seeds[k]``.
        histories: for each, one number an epoch for every log, as ``fit`` gives them.
        seconds: for each, how long its ``fit`` took, beside others; the first one's compiled.

    Example:
        >>> import keras, numpy as np
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
    _model: Any = field(repr=False)  # one of them, that holds anyone's values in turn

    def __len__(self) -> int:
        return len(self.seeds)

    @property
    def scores(self) -> dict[str, np.ndarray]:
        """The last value of every log, (replicates,); NaN where a replicate came to no number."""
        names = self.histories[0]
        return {name: np.array([each[name][-1] for each in self.histories]) for name in names}

    @property
    def weights(self) -> list[list[np.ndarray]]:
        """The weights of each, as ``model.get_weights()`` gives them."""
        variables = ProgramCache(self._model._engine).variables("train")
        known = [id(each) for each in (*variables.trainable, *variables.non_trainable)]
        at = [known.index(id(each)) for each in self._model.weights]
        every = [[*each.values.trainable, *each.values.non_trainable] for each in self._contents]
        return [[np.array(values[index]) for index in at] for values in every]

    def model(self, k: int) -> Any:
        """Replicate ``k`` as a model of its own: weights, state and optimizer as ``fit`` left them.

        It runs what the replicates have compiled, until it is compiled anew.
        """
        model, _ = self._builder(self.seeds[range(len(self))[k]])
        put(model, self._contents[k])
        ProgramCache(model._engine).share(ProgramCache(self._model._engine))
        return model

    def predict(self, X, batch_size=None, *, starts=None) -> Any:
        """The outputs of every replicate, (replicates, samples, …), from the initial state.

        Args:
            X, batch_size, starts: as in ``predict``; ``model(k)`` goes on from its state.
        """
        every = []
        for content in self._contents:
            put(self._model, content)
            self._model.reset_states()
            outputs = self._model.predict(X, batch_size, 0, starts=starts, advance=False)
            every.append(outputs)
        return jax.tree.map(lambda *each: np.stack(each), *every)

    def best(self, metric: str = "loss", mode: str = "auto") -> int:
        """The replicate whose last value of a metric is best; the first of several.

        Args:
            metric: a log of ``fit``, as in ``scores``.
            mode: ``"min"``, ``"max"``, or by the metric's name.

        Raises:
            InputError: no such metric, no telling which way is better, or nothing but NaN.
        """
        if metric not in self.scores:
            raise InputError(
                f"There is no metric {metric!r}; fit gave {', '.join(map(repr, self.scores))}."
            )
        if mode == "auto":
            mode = "max" if metric.endswith(_MORE) else "min" if metric.endswith(_LESS) else mode
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
    **fit,
) -> Replicates:
    """Train the same model under several seeds, side by side.

    Replicate k is, to the bit, what these lines give alone::

        keras.utils.set_random_seed(seeds[k])
        model = build()
        model.fit(X, y, epochs=epochs, batch_size=batch_size, **fit)

    The global generators of random numbers are afterwards as they were before.

    Args:
        build: returns a new compiled ``legato.Sequential`` or ``legato.Model``. It is given the
            seed if it has a parameter named ``seed``, or one without a default.
        X, y: data as a whole, as ``fit`` takes them; every replicate has the same. Or X is a
            function, ``X(seed)`` → (X, y), of the data that each seed has to itself. It is called
            on its thread, beside others: draw from ``np.random.default_rng(seed)``, say, not from
            a global generator.
        n: how many; the seeds are 0, 1, …, n - 1. Default: 10.
        seeds: the seeds themselves, whole numbers from 0 to 2**32 - 1, in the place of ``n``.
        epochs, batch_size: as in ``fit``.
        callbacks: ``callbacks(seed)`` → new ones for that seed. They are called on its thread,
            beside others: they must not draw from Python's or NumPy's global generator.
        verbose: 0 nothing; 1 one line for all; 2 a line a seed; ``"auto"``: 1 at a terminal or in
            a notebook, once it takes two seconds.
        **fit: ``validation_data``, ``validation_split``, ``validation_freq``,
            ``validation_batch_size``, ``validation_state``, ``shuffle``, ``class_weight``,
            ``sample_weight``, ``starts``, ``reset``, as in ``fit``.

    Returns:
        Histories, scores, weights and models of all. Ctrl-C is a ``KeyboardInterrupt`` that tells
        how many had finished.

    Raises:
        InputError: fewer than two seeds, models that ``build`` did not make alike or to whose
            weights the seed is nothing, or results that would not fit in memory.

    Warns:
        UserWarning: the loss of a seed, which is named, became NaN.

    Example:
        >>> from legato import alphabet
        >>> network = alphabet.NETWORKS[0]
        >>> data = network.samples()
        >>> runs = legato.replicate(network.build, data.x, data.y, n=2, epochs=20, batch_size=1)
        >>> len(runs), runs.seeds, len(runs.histories[1]["loss"])
        (2, (0, 1), 20)
    """
    chosen = _seeds(n, seeds)
    if unknown := [name for name in fit if name not in _OPTIONS]:
        raise InputError(
            f"replicate has no option {unknown[0]!r}. Those of fit that it takes are epochs, "
            f"batch_size, callbacks, {', '.join(_OPTIONS)}."
        )
    data = partial(_drawn, X) if callable(X) else lambda seed: (X, y)
    if callable(X) and y is not None:
        raise InputError("X is a function of the seed, which gives X and y: leave y out.")
    first = data(chosen[0])
    if yields_batches(first[0]):
        raise InputError(
            f"X is a {type(first[0]).__name__}, which hands out batches: replicates share their "
            "data, so arrays were expected. Read it into arrays, or call fit seed by seed."
        )
    if callbacks is not None and not callable(callbacks):
        raise InputError(
            "callbacks is a list, and a callback cannot watch several runs side by side: give a "
            "function of the seed that makes new ones, such as callbacks=lambda seed: "
            '[keras.callbacks.EarlyStopping("loss")].'
        )
    options = {"epochs": epochs, "batch_size": batch_size, **fit}
    builder = ReplicateBuilder(build, *first)
    runs = ParallelTraining(builder, partial(_fit, data, callbacks, options), chosen)
    ended = runs(lambda steps: Progress(verbose, len(chosen), steps, 2.0, unit="seed"))
    _warn_of_nan(chosen, ended)
    histories, took, contents = zip(*ended, strict=True)
    return Replicates(tuple(chosen), histories, took, contents, builder, runs.model)


def _seeds(n: int | None, seeds: Iterable[int] | None) -> list[int]:
    """The seeds, checked."""
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


def _drawn(data: Callable, seed: int) -> tuple:
    """The data of a seed."""
    came = data(seed)
    if not isinstance(came, tuple) or len(came) != 2:
        raise InputError(
            f"X is a function, and gave {type(came).__name__} for seed {seed}; two things were "
            "expected, X and y: let it end with `return X, y`."
        )
    return came


def _fit(data: Callable, callbacks: Callable | None, options: dict, model, seed: int) -> dict:
    """One training on the model; its history."""
    X, y = data(seed)
    watching = list(callbacks(seed)) if callbacks else []
    if any(isinstance(each, keras.callbacks.BackupAndRestore) for each in watching):
        raise UnsupportedError(
            "BackupAndRestore keeps the generators of the whole process, and replicates have their "
            "own. Keep a long run by calling fit seed by seed."
        )
    return model.fit(X, y, verbose=0, callbacks=watching or None, **options).history


def _warn_of_nan(seeds: Sequence[int], ended: Sequence[FinishedReplicate]) -> None:
    lost = [
        str(seed)
        for seed, each in zip(seeds, ended, strict=True)
        if any(np.isnan(values).any() for values in each.history.values())
    ]
    if lost:
        warnings.warn(
            f"{len(lost)} of {len(seeds)} replicates came to NaN: seed{'s' * (len(lost) > 1)} "
            f"{', '.join(lost)}. Their scores are NaN and stand for no number: look for a learning "
            "rate that is too high (optimizer(clipnorm=1.0) tames it) before comparing.",
            stacklevel=3,
        )
