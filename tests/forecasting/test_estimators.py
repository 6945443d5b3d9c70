"""``Forecaster`` and ``Classifier``: scikit-learn's protocol, and what comes in and out of them."""

import pickle
import sys
from dataclasses import fields
from functools import wraps

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from pandas.testing import assert_frame_equal, assert_series_equal
from sklearn.base import clone, is_classifier
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, TimeSeriesSplit, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import estimator_checks
from trained_examples import labelled_machines

import legato
from legato import Classifier, Forecaster, InputError, StateError, TrainConfig
from legato._forecasting.estimator_data import read_labels

STEPS = 40
SMALL = {"cell": "gru", "units": 8, "epochs": 12, "learning_rate": 0.1}
TINY = {"units": 2, "epochs": 1, "horizon": 2}
WAVE = np.sin(np.arange(STEPS) / 3)
MONTHS = pd.period_range("2020-01", periods=STEPS, freq="M")
SERIES = pd.Series(WAVE, index=MONTHS, name="sold")
BESIDE = pd.DataFrame({"price": np.cos(np.arange(STEPS) / 3)}, index=MONTHS)


def walks(count: int = 16, steps: int = 6) -> tuple[np.ndarray, np.ndarray]:
    values = np.random.default_rng(0).normal(0, 1, (count, steps)).cumsum(1)
    return values, np.where(np.arange(count) % 2, values[:, -1] > 0, values[:, -1] > -1)


X, Y = walks()


@pytest.fixture(scope="module")
def classifier() -> Classifier:
    return Classifier(**SMALL).fit(X, np.where(Y, "up", "down"))


@pytest.fixture(scope="module")
def forecaster() -> Forecaster:
    return Forecaster(**TINY).fit(SERIES)


# The protocol.

ESTIMATORS = [Classifier(**SMALL), Forecaster(**TINY)]
OF_PARAMETERS = [
    "check_estimator_cloneable",
    "check_estimator_repr",
    "check_get_params_invariance",
    "check_no_attributes_set_in_init",
    "check_parameters_default_constructible",
    "check_set_params",
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda each: type(each).__name__)
@pytest.mark.parametrize("check", OF_PARAMETERS)
def test_checks_of_parameters(estimator, check):
    getattr(estimator_checks, check)(type(estimator).__name__, clone(estimator))


OF_INPUT = [
    "check_classifiers_one_label",
    "check_classifiers_regression_target",
    "check_complex_data",
    "check_dataframe_column_names_consistency",
    "check_dtype_object",
    "check_estimator_sparse_array",
    "check_estimators_empty_data_messages",
    "check_estimators_unfitted",
    "check_fit2d_1sample",
    "check_n_features_in_after_fitting",
    "check_requires_y_none",
    "check_supervised_y_no_nan",
]


@pytest.mark.parametrize("check", OF_INPUT)
def test_checks_of_input(check):
    getattr(estimator_checks, check)("Classifier", Classifier(**SMALL | {"epochs": 1}))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Estimator Classifier does not inherit")  # it need not
def test_every_check_of_scikit_learn(monkeypatch):
    """Those that have a test above are passed over."""
    every = {name for name in dir(estimator_checks) if name.startswith("check_")}
    done = every & {*OF_PARAMETERS, *OF_INPUT}
    assert done == {*OF_PARAMETERS, *OF_INPUT}
    for name in done:
        monkeypatch.setattr(estimator_checks, name, passed_over(getattr(estimator_checks, name)))
    found = estimator_checks.check_estimator(Classifier(**SMALL), on_fail=None, on_skip=None)
    assert [each["check_name"] for each in found if each["status"] == "failed"] == []
    assert len(found) > 50


def passed_over(check):
    """A check of the same name that does nothing."""

    @wraps(check)
    def nothing(*_, **__) -> None:
        pass

    return nothing


@pytest.mark.parametrize("estimator", [Classifier(), Forecaster()], ids=["labels", "series"])
def test_parameters_are_options_of_training(estimator):
    options = {each.name: each.default for each in fields(TrainConfig)}
    differing = {name for name, value in estimator.get_params().items() if value != options[name]}
    assert differing == ({"test", "verbose"} if is_classifier(estimator) else {"verbose"})
    assert estimator.set_params(units=3).units == 3
    assert repr(estimator) == f"{type(estimator).__name__}(units=3)"
    with pytest.raises(InputError, match="Invalid parameter 'unit' for"):
        estimator.set_params(unit=3)
    for unknown in ("unit", "wide"):  # the rows of y are time steps, those of X sequences
        with pytest.raises(TypeError, match=f"has no parameter '{unknown}'"):
            type(estimator)(**{unknown: 3})
    with pytest.raises(InputError, match="units is 0; a whole number of at least 1"):
        estimator.set_params(units=0).fit(X, Y)


def test_neither_needs_scikit_learn(classifier, monkeypatch):
    for name in [each for each in sys.modules if each.partition(".")[0] == "sklearn"]:
        monkeypatch.setitem(sys.modules, name, None)  # as if it were not installed
    assert classifier.predict(X).shape == Y.shape
    with pytest.raises(StateError, match="call fit first"):
        Forecaster().predict()
    with pytest.warns(UserWarning, match="A column-vector y was passed"):
        read_labels(Y[:, None], len(Y))


def test_what_is_not_fitted_says_so():
    for estimator in ESTIMATORS:
        for error in (StateError, NotFittedError):
            with pytest.raises(error, match="is not fitted yet: call fit first"):
                clone(estimator).predict(X)


def test_the_same_seed_gives_the_same_numbers_and_a_copy_in_bytes_too(classifier):
    chances = classifier.predict_proba(X)
    again = clone(classifier).fit(X, np.where(Y, "up", "down"))
    assert_array_equal(again.predict_proba(X), chances)
    assert_array_equal(pickle.loads(pickle.dumps(classifier)).predict_proba(X), chances)


# Labels.


@pytest.mark.slow
def test_searches_pipelines_and_cross_validation():
    model = make_pipeline(StandardScaler(), Classifier(**SMALL))
    search = GridSearchCV(model, {"classifier__units": [1, 8]}, cv=2).fit(X, Y)
    assert search.best_estimator_[-1].units in (1, 8)
    assert cross_val_score(Classifier(**SMALL), X, Y, cv=2).min() > 0.5


def test_probabilities_are_in_the_order_of_the_classes(classifier):
    chances = classifier.predict_proba(X)
    assert chances.shape == (len(X), 2)
    np.testing.assert_allclose(chances.sum(1), 1)
    assert_array_equal(classifier.classes_, ["down", "up"])
    assert_array_equal(classifier.predict(X), classifier.classes_[chances.argmax(1)])
    labels = np.where(Y, "up", "down")
    assert classifier.score(X, labels) == np.mean(classifier.predict(X) == labels)
    weights = np.arange(len(X))
    right = classifier.predict(X) == labels
    assert classifier.score(X, labels, weights) == np.average(right, weights=weights)


def test_one_set_of_sequences_in_several_forms_gives_the_same_labels(classifier):
    chances = classifier.predict_proba(X)
    assert_array_equal(classifier.predict_proba(X.tolist()), chances)
    columns = X[:, :, None]
    of_columns = clone(classifier).fit(columns, np.where(Y, "up", "down"))
    assert of_columns.n_features_in_ == 1
    assert classifier.n_features_in_ == X.shape[1]
    assert_array_equal(of_columns.predict_proba(columns), chances)
    assert_array_equal(of_columns.predict_proba(list(columns)), chances)
    panel = {"walk": np.repeat(np.arange(len(X)), X.shape[1]), "value": X.ravel()}
    assert_array_equal(of_columns.predict_proba(legato.read(panel, group="walk")), chances)
    shorter = of_columns.predict_proba([columns[0], columns[1, :3]])
    np.testing.assert_allclose(shorter[0], chances[0], rtol=1e-4)


def test_labels_of_sequences_are_those_of_train():
    machines = labelled_machines()
    labels = machines.values[machines.offsets[:-1], 1].astype(int)
    quantities = legato.Sequences(
        machines.values[:, :1], machines.lengths, machines.columns[:1], machines.names
    )
    options = {"units": 3, "epochs": 2}
    trained = legato.train(machines, **options, test=0, verbose=0)
    classifier = Classifier(**options).fit(quantities, labels)
    assert_array_equal(
        classifier.predict_proba(quantities).argmax(1),
        trained.classify(machines).probabilities.argmax(1),
    )


@pytest.mark.parametrize(
    ("given", "labels", "message"),
    [
        (X, Y[:-1], "inconsistent numbers of samples: X has 16 sequences, and y 15 labels"),
        (X, np.c_[Y, Y], "y should be a 1d array of labels"),
        (X, [*Y[:-1], None], "contains NaN or None"),
        (X, np.arange(16) + 0.5, "Unknown label type: continuous"),
        (X[:, 0], Y, "Expected 2D array, got 1D array instead"),
        (np.where(X > 1, np.nan, X), Y, r"contains NaN or infinity \(inf\), first at"),
        (X, np.zeros(16), "y has one class, .*, and at least two"),
        (X, pd.Series([None, *Y[1:]], dtype="boolean"), "y contains NaN or None"),
        (X, np.array(["up", 1] * 8, object), "y holds labels of several types, str, int"),
        (pd.DataFrame(X).astype("Float64").mask(X > 2), Y, "X contains NaN or infinity"),
    ],
)
def test_sequences_and_labels_that_do_not_fit(given, labels, message):
    with pytest.raises(InputError, match=message):
        Classifier(**SMALL).fit(given, labels)


def test_columns_before_the_time_steps_are_pointed_out():
    with pytest.warns(UserWarning, match=r"1 time step of 6 columns .* X\.swapaxes\(1, 2\)"):
        Classifier(**{**SMALL, "epochs": 1}).fit(X[:, None], Y)


def test_an_argument_without_a_name_is_named_by_its_class():
    with pytest.raises(TypeError, match=r"^Classifier\.__init__\(\) takes 1 positional argument"):
        Classifier(3)


def test_other_sequences_than_it_was_fitted_on(classifier):
    with pytest.raises(InputError, match="X has 5 features, but Classifier is expecting 6"):
        classifier.predict(X[:, :5])


# Series.


def test_a_forecast_is_that_of_train(forecaster):
    trained = legato.train(SERIES, **TINY, verbose=0)
    assert_series_equal(forecaster.predict(3), trained.forecast(SERIES, 3).frame)
    assert forecaster.scores_ == trained.scores
    assert_series_equal(forecaster.predict([1, 3]), forecaster.predict(3).iloc[[0, 2]])
    assert len(forecaster.predict()) == 2
    assert_series_equal(forecaster.predict(y=SERIES[:30]), trained.forecast(SERIES[:30]).frame)
    assert forecaster.forecast(2).ends is not None
    quantiles = forecaster.forecast(2, quantiles=[0.1, 0.9])
    assert [*quantiles.to_pandas()] == ["sold", "quantile 0.1", "quantile 0.9"]
    copied = pickle.loads(pickle.dumps(forecaster))
    assert_series_equal(copied.predict(3), forecaster.predict(3))


def test_arrays_come_back_with_their_axes(forecaster):
    alone = forecaster.predict(2, y=WAVE)
    assert alone.shape == (2,)
    assert_array_equal(alone, forecaster.predict(2).to_numpy(np.float32))
    assert forecaster.predict(2, y=WAVE[:, None]).shape == (2, 1)
    assert forecaster.predict([2], y=np.stack([WAVE, -WAVE])[..., None]).shape == (2, 1, 1)


def test_every_column_is_forecast_and_covariates_are_not():
    several = pd.DataFrame({"sold": WAVE, "left": -WAVE}, index=MONTHS)
    both = Forecaster(**TINY).fit(several, BESIDE)
    trained = legato.train(several.join(BESIDE), **TINY, target=["sold", "left"], verbose=0)
    expected = trained.forecast(several.join(BESIDE))
    assert_frame_equal(both.predict(), expected.to_pandas()[["sold", "left"]])
    later = both.predict(y=several[:30], X=BESIDE[:30])
    assert later.index[0] == MONTHS[30]
    with pytest.raises(InputError, match="X has 29 time steps and y 30"):
        both.predict(y=several[:30], X=BESIDE[:29])
    with pytest.raises(InputError, match="or they are at other times"):
        both.predict(y=several[:30], X=BESIDE[10:])


@pytest.mark.parametrize("fh", [0, -1, 1.5, [], [0, 1], [2, 1], [1, 1], ["a"]])
def test_steps_ahead_that_are_none(forecaster, fh):
    with pytest.raises(InputError, match=r"fh is .*; a number of steps ahead"):
        forecaster.predict(fh)


def test_columns_that_do_not_fit():
    with pytest.raises(InputError, match="Both X and y have a column 'sold'"):
        Forecaster(**TINY).fit(SERIES, SERIES.to_frame())
    with pytest.raises(InputError, match="a row of X was expected for each time step of y"):
        Forecaster(**TINY).fit(SERIES, BESIDE[1:])


def test_the_score_is_the_error_of_the_steps_after(forecaster):
    months = pd.period_range(MONTHS[-1] + 1, periods=3, freq="M")
    later = pd.Series([1.0, 2.0, 4.0], index=months, name="sold")
    error = np.abs(forecaster.predict(3).to_numpy() - later.to_numpy()).mean()
    assert forecaster.score(later) == pytest.approx(-error)
    assert forecaster.score(later.to_numpy()) == pytest.approx(-error)
    for wrong in (SERIES[-3:], later[1:]):  # known already; after a gap
        with pytest.raises(InputError, match=r"y begins at .* and the data of fit end at 2023-04"):
            forecaster.score(wrong)
    with pytest.raises(InputError, match="series as its first argument"):
        forecaster.score(BESIDE, SERIES)
    with pytest.raises(InputError, match="as many steps of each sequence of fit"):
        forecaster.score(np.zeros((2, 3, 1)))


@pytest.mark.slow
def test_searches_of_a_series():
    frame, parts = BESIDE.assign(sold=WAVE), TimeSeriesSplit(2, test_size=2)
    model = Forecaster(**TINY, target="sold", known=["price"])
    search = GridSearchCV(model, {"seed": [1]}, cv=parts, error_score="raise").fit(frame)
    assert search.best_score_ < 0
    later = frame[-2:].set_axis(MONTHS[-2:] + 2)
    assert search.score(later) == search.best_estimator_.score(later[["sold"]], later[["price"]])


def test_numbers_in_a_list_are_a_series():
    forecaster = Forecaster(**TINY)
    assert_array_equal(forecaster.fit([*WAVE]).predict(), forecaster.fit(WAVE).predict())


def test_levels_of_an_index_are_sequences_and_times_and_never_passed_over():
    names = ["shop", "month"]
    index = pd.MultiIndex.from_product([["a", "b"], MONTHS.to_timestamp()], names=names)
    panel = pd.DataFrame({"sold": [*WAVE, *(WAVE + 2)]}, index)
    with pytest.raises(InputError, match=r"has 2 levels \('shop', 'month'\).* group= and"):
        Forecaster(**TINY).fit(panel)
    found = Forecaster(**TINY, group="shop", time="month").fit(panel).predict()
    assert found.index.names == ["shop", "month"]
    assert found.index.get_level_values("shop").tolist() == ["a", "a", "b", "b"]
