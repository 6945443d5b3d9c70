"""``Forecaster``: ``legato.train`` as an estimator with ``fit`` and ``predict``.

The targets are ``y``, as sktime has it: every column of it is forecast, and ``X`` has the columns
that help.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Self

import numpy as np

from legato._errors import InputError, MissingError
from legato._forecasting.estimator import Estimator
from legato._forecasting.forecast import Forecast
from legato._forecasting.train import train
from legato._forecasting.train_config import TrainConfig
from legato._platform.checks import check_count
from legato._series.reading import read
from legato._series.sequences import Sequences

_NOT_INSTALLED = "This takes the package {0}, which is not installed: pip install {0}."
# Options of reading, as they are where the data are read already. The rows of y are time steps.
_READ = {name: value for name, value in TrainConfig().reading.items() if name != "wide"}


class Forecaster(Estimator, without=("task", "wide"), verbose=0):
    """Forecasts series: an estimator like those of scikit-learn and sktime.

    Parameters are options of ``legato.TrainConfig``, by keyword.

    Attributes:
        trained_: the ``legato.Trained``.
        scores_: its scores on the test part, beside baselines.

    Examples:
        >>> import numpy as np, legato
        >>> load = np.tile([1.0, 2.0, 4.0, 3.0], 9)
        >>> forecaster = legato.Forecaster(units=2, epochs=1).fit(load)
        >>> forecaster.predict(3).shape
        (3,)
    """

    def fit(self, y: Any, X: Any = None) -> Self:
        """Train on series.

        Args:
            y: the series: whatever ``legato.read`` takes. Each column of values is forecast,
                unless ``target`` names those that are.
            X: columns that help to forecast, for the same time steps; default: none.

        Raises:
            InputError: the data or a parameter do not fit.
        """
        sequences = self._read(y)
        self._columns = sequences.columns
        target = self.get_params()["target"] or [each.name for each in sequences.columns]
        sequences = sequences if X is None else self._with_covariates(sequences, X)
        options: dict[str, Any] = {
            **self.get_params(),
            **_READ,
            "task": "forecast",
            "target": target,
        }
        self.trained_ = train(sequences, **options)
        self._history, self._axes = sequences, _axes_of(y)
        return self

    def forecast(
        self,
        steps: int | None = None,
        y: Any = None,
        X: Any = None,
        future: Any = None,
        quantiles: Sequence[float] | None = None,
    ) -> Forecast:
        """Forecast the steps after the end, with intervals or quantiles.

        Args:
            steps: number of steps ahead; default: the horizon.
            y: the series up to the end; default: those of ``fit``.
            X: with ``y``, the columns that help, for the same time steps; without it, the same as
                ``future``, as sktime has it.
            future: the columns that are known ahead (the parameter ``known``), for the steps after
                the end.
            quantiles: in place of the intervals, as for ``Trained.forecast``.

        Raises:
            InputError: the steps or the data do not fit.
            StateError: ``fit`` was not called.
        """
        trained = self._fitted()
        history = self._history if y is None else self._named(self._read(y), y)
        if y is not None and X is not None:
            history = self._with_covariates(history, X)
        future = X if y is None and future is None else future
        return trained.forecast(history, steps, future=future, quantiles=quantiles)

    def predict(self, fh: Any = None, y: Any = None, X: Any = None, future: Any = None) -> Any:
        """Forecast the steps after the end.

        Args:
            fh: number of steps ahead, or the steps ahead that are wanted, such as ``[1, 3]``;
                default: the horizon.
            y, X, future: as for ``forecast``.

        Returns:
            The forecasts in the kind of ``y``, a frame or series of pandas or Polars with the
            user's names and index, or an array with the axes of ``y``.

        Raises:
            InputError, StateError: as for ``forecast``.
        """
        steps = _steps_ahead(fh, self._fitted().task.horizon)
        found = self.forecast(int(steps[-1]), y, X, future)
        axes = self._axes if y is None else _axes_of(y)
        if axes:
            values = found.values[:, steps - 1]
            values = values if axes == 3 else values[0]
            return values[..., 0] if axes == 1 else values
        wanted = np.isin(np.arange(found.values.shape[1]) + 1, steps)
        rows = np.flatnonzero(np.tile(wanted, len(found)))
        frame = replace(found, ends=None).frame
        return frame.iloc[rows] if hasattr(frame, "iloc") else frame[rows.tolist()]

    def score(self, y: Any, X: Any = None) -> float:
        """The mean absolute error of the forecasts of the steps after those of ``fit``, negative.

        What scikit-learn's searches and ``cross_val_score`` take, whose ``X`` is the series.

        Args:
            y: the steps right after those of ``fit``, with the same columns.
            X: the columns that are known ahead, for the same steps; default: those of ``y``.

        Returns:
            In the unit of the target, over all targets, sequences and steps; 0 at best.

        Raises:
            InputError: ``y`` does not follow the data of ``fit``, or nothing that ``X`` could have
                is known ahead.
            StateError: ``fit`` was not called.
        """
        trained = self._fitted()
        if X is not None and not trained.covariates.known:
            raise InputError(
                "score takes the series as its first argument, and as the second columns that are "
                "known ahead, of which there are none. With scikit-learn give the target and the "
                "columns beside it as one frame, and name the target: Forecaster(target=…)."
            )
        later = self._named(self._read(y), y)
        self._check_follows(later)
        ahead = None if not trained.covariates.known else later if X is None else X
        found = self.forecast(int(later.lengths[0]), future=ahead).values
        return -float(np.abs(found - trained.truth(later).reshape(found.shape)).mean())

    def to_sktime(self) -> Any:
        """A forecaster of sktime with these parameters, not fitted.

        Raises:
            MissingError: sktime is not installed.
        """
        try:
            from legato._forecasting.sktime_adapter import SktimeForecaster
        except ImportError as error:
            raise MissingError(_NOT_INSTALLED.format("sktime")) from error
        return SktimeForecaster(self)

    def to_darts(self) -> Any:
        """A model of Darts with these parameters, not fitted.

        Raises:
            MissingError: Darts is not installed.
        """
        try:
            from legato._forecasting.darts_adapter import DartsModel
        except ImportError as error:
            raise MissingError(_NOT_INSTALLED.format("darts")) from error
        return DartsModel(self)

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import InputTags, Tags, TargetTags  # pyrefly: ignore[missing-module-attribute]

        return Tags(
            estimator_type=None,
            target_tags=TargetTags(required=False),
            input_tags=InputTags(one_d_array=True, two_d_array=False),
        )

    def _read(self, y: Any) -> Sequences:
        if isinstance(y, Sequences):
            return y
        return read(y, **{name: getattr(self, name) for name in _READ})

    def _named(self, sequences: Sequences, y: Any) -> Sequences:
        """Columns of an array, which have no names, by those of ``fit``."""
        if not _axes_of(y) or len(sequences.columns) != len(self._columns):
            return sequences
        return replace(sequences, columns=self._columns)

    def _check_follows(self, later: Sequences) -> None:
        """Raise an InputError if data are not the steps right after each sequence of ``fit``."""
        before = self._history
        named = len(before) == 1 or later.names == before.names  # one has the name of its source
        if len(later) != len(before) or not named or len(set(later.lengths.tolist())) > 1:
            raise InputError("y must have as many steps of each sequence of fit, and no other.")
        expected = before.times_after(2)
        if expected is None or later.times is None or before.times is None:
            return
        last, first = before.times[before.offsets[1:] - 1], later.times[later.offsets[:-1]]
        wrong = np.flatnonzero((first <= last) | (first >= expected[:, 1]))
        if len(wrong):
            begin, end = before.format_times(np.stack([first[wrong[0]], last[wrong[0]]]))
            raise InputError(
                f"y begins at {begin}, and the data of fit end at {end}: the steps right after "
                "them were expected, as scikit-learn's TimeSeriesSplit gives them."
            )

    def _with_covariates(self, sequences: Sequences, X: Any) -> Sequences:
        """Sequences with more columns, for the same time steps."""
        others = X
        if not isinstance(X, Sequences):
            others = read(X, **{name: getattr(self, name) for name in _READ if name != "columns"})
        pairs = [(sequences.lengths, others.lengths)]
        if sequences.times is not None and others.times is not None:
            pairs.append((sequences.times, others.times))
        if not all(np.array_equal(*pair) for pair in pairs):
            raise InputError(
                f"X has {len(others.values):,} time steps and y {len(sequences.values):,}, or they "
                "are at other times: a row of X was expected for each time step of y."
            )
        both = {each.name for each in sequences.columns} & {each.name for each in others.columns}
        if both:
            raise InputError(f"Both X and y have a column {min(both)!r}. Rename one of them.")
        return replace(
            sequences,
            values=np.hstack([sequences.values, others.values]),
            columns=(*sequences.columns, *others.columns),
        )


def _axes_of(y: Any) -> int:
    """The axes of an array or a list of numbers; 0 of anything else."""
    return np.ndim(y) if isinstance(y, (np.ndarray, list, tuple)) else 0


def _steps_ahead(fh: Any, horizon: int) -> np.ndarray:
    """The steps ahead that are asked for, ascending.

    Raises:
        InputError: they are none.
    """
    if fh is None or np.ndim(fh) == 0:
        steps = horizon if fh is None else fh
        return np.arange(1, check_count("fh", steps, noun="a number of steps ahead") + 1)
    steps = np.asarray(fh)
    whole = steps.ndim == 1 and steps.size and steps.dtype.kind in "iu"
    if not whole or steps[0] < 1 or (np.diff(steps) < 1).any():
        raise InputError(
            f"fh is {fh!r}; a number of steps ahead, or ascending steps from 1 on, was expected."
        )
    return steps
