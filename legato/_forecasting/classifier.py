"""``Classifier``: labels of whole sequences, as an estimator with ``fit`` and ``predict``."""

from dataclasses import replace
from typing import Any, Self

import numpy as np

from legato._errors import InputError
from legato._forecasting.estimator import Estimator
from legato._forecasting.estimator_data import (
    column_names,
    describe_names,
    read_labels,
    read_samples,
    warn_of_axes,
)
from legato._forecasting.train import train
from legato._forecasting.train_config import TrainConfig
from legato._series.sequences import Column

_LABEL = "label"  # the name of the column of labels
_SETTLED = (  # by X and y
    *TrainConfig().reading,
    *("target", "task", "horizon", "season", "origins", "shortest"),
    *("known", "static", "calendar", "holidays"),
)


class Classifier(Estimator, without=_SETTLED, test=0, verbose=0):
    """Classifies whole sequences: an estimator of scikit-learn.

    Parameters are options of ``legato.TrainConfig``, by keyword. All data are trained on, unless
    ``test`` sets a part aside for ``scores_``.

    ``X`` is an array (sequences, time steps) of one quantity, an array (sequences, time steps,
    columns), a list of arrays (time steps,) or (time steps, columns) of any lengths, a frame with a
    row for each sequence and a column for each time step, or ``legato.Sequences``. Arrays of aeon
    and sktime have their columns before the time steps: ``X.swapaxes(1, 2)``.

    Attributes:
        classes_: (classes,), the labels in the order of ``predict_proba``.
        n_features_in_: time steps of ``X``, where it is (sequences, time steps); else columns.
        feature_names_in_: the names of its columns, where it is a frame of named columns.
        trained_: the ``legato.Trained``.

    Examples:
        >>> import numpy as np, legato
        >>> X = np.random.default_rng(1).normal(0, 1, (20, 8)).cumsum(1)
        >>> y = np.where(X[:, -1] > 0, "up", "down")
        >>> classifier = legato.Classifier(units=4, epochs=5).fit(X, y)
        >>> classifier.predict_proba(X).shape, classifier.classes_.tolist()
        ((20, 2), ['down', 'up'])
    """

    classes_: np.ndarray
    n_features_in_: int

    def fit(self, X: Any, y: Any) -> Self:
        """Train on sequences.

        Args:
            X: the sequences; see the class.
            y: (sequences,), the label of each.

        Raises:
            InputError: the data or a parameter do not fit.

        Warns:
            UserWarning: an array has more columns than time steps, as those of aeon may have.
        """
        sequences, width = read_samples(X, least=2)
        if isinstance(X, np.ndarray):
            warn_of_axes(X)
        labels = read_labels(y, len(sequences))
        classes, codes = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise InputError(
                f"y has one class, {classes[0]!r}, and at least two were expected to tell apart."
            )
        self.classes_ = classes
        self.n_features_in_, names = width, column_names(X)
        self.__dict__.pop("feature_names_in_", None)  # of an earlier fit
        if names is not None:
            self.feature_names_in_ = names
        numbers = tuple(map(float, range(len(classes))))
        column = Column(_LABEL, tuple(map(str, range(len(classes)))), numbers)
        values = np.repeat(codes, sequences.lengths)[:, None]
        labelled = replace(
            sequences,
            values=np.hstack([sequences.values, values]),
            columns=(*sequences.columns, column),
        )
        options: dict[str, Any] = {**self.get_params(), "task": "classify", "target": _LABEL}
        self.trained_ = train(labelled, **options)
        return self

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class, (sequences, classes), in the order of ``classes_``.

        Raises:
            InputError: the data do not fit.
            StateError: ``fit`` was not called.
        """
        trained = self._fitted()
        self._check_names(X)
        sequences, width = read_samples(X)
        if width != self.n_features_in_:
            raise InputError(
                f"X has {width} features, but {type(self).__name__} is expecting "
                f"{self.n_features_in_} features as input."
            )
        found = trained.classify(sequences)
        chances = np.zeros((len(sequences), len(self.classes_)))
        chances[:, [int(each) for each in found.classes]] = found.probabilities
        return chances / chances.sum(1, keepdims=True)

    def predict(self, X: Any) -> np.ndarray:
        """The likeliest label of each sequence, (sequences,); ``X`` as for ``fit``."""
        likeliest = self.predict_proba(X).argmax(1)
        return self.classes_[likeliest]

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """The accuracy, 0 to 1; ``X`` and ``y`` as for ``fit``."""
        return float(np.average(self.predict(X) == np.asarray(y), weights=sample_weight))

    @property
    def _estimator_type(self) -> str:
        return "classifier"

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import ClassifierTags, InputTags, Tags, TargetTags  # pyrefly: ignore[missing-module-attribute]

        return Tags(
            estimator_type="classifier",
            target_tags=TargetTags(required=True),
            classifier_tags=ClassifierTags(),
            input_tags=InputTags(two_d_array=True, three_d_array=True),
        )

    def _check_names(self, X: Any) -> None:
        """Raise an InputError if a frame has other columns than that of ``fit``."""
        before, names = getattr(self, "feature_names_in_", None), column_names(X)
        if before is not None and names is not None and not np.array_equal(before, names):
            raise InputError(describe_names(list(before), list(names)))
