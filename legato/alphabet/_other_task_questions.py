"""Questions about other tasks: time-series forecasting and sequence classification.

Both networks are built and trained by the same calls as those of the alphabet.

The series: international airline passengers by month, 1949 to 1960, in thousands (Box and Jenkins,
*Time Series Analysis*, 1970, series G). The classification: whether five letters are in
alphabetical order; both classes are drawn from the same letters, so only the order differs.
"""

from functools import partial

import numpy as np

import legato
from legato import layers
from legato.alphabet._experiment import Experiment, accuracies, format_scores
from legato.alphabet._networks import LETTERS
from legato.alphabet._question_types import Found, Group, Question

_PASSENGERS = np.array(
    """
    112 118 132 129 121 135 148 148 136 119 104 118  115 126 141 135 125 149 170 170 158 133 114 140
    145 150 178 163 172 178 199 199 184 162 146 166  171 180 193 181 183 218 230 242 209 191 172 194
    196 196 236 235 229 243 264 272 237 211 180 201  204 188 235 227 234 264 302 293 259 229 203 229
    242 233 267 269 270 315 364 347 312 274 237 278  284 277 317 313 318 374 413 405 355 306 271 306
    315 301 356 348 355 422 465 467 404 347 305 336  340 318 362 348 363 435 491 505 404 359 310 337
    360 342 406 396 420 472 548 559 463 407 362 405  417 391 419 461 472 535 622 606 508 461 390 432
    """.split(),
    dtype="float64",
)
_YEAR, _TRAINED = 12, 115  # months
_LETTERS_A_SAMPLE, _SAMPLES = 5, 1000


def _build_recurrent(
    steps: int, outputs: int, activation: str | None, loss: str
) -> "legato.Sequential":
    """Network 1 with another output layer and loss."""
    model = legato.Sequential([layers.Input((steps, 1)), layers.LSTM(32)])
    model.add(layers.Dense(outputs, activation=activation))
    model.compile(loss=loss, optimizer="adam")
    return model


def _forecast_passengers(experiment: Experiment) -> Found:
    """Forecast one month ahead from the last twelve changes, tested on the last 29 months."""
    n = experiment.choose(20, 5)
    changes = np.diff(np.log(_PASSENGERS))
    scale = changes[: _TRAINED - 1].std()
    windows = np.lib.stride_tricks.sliding_window_view(changes / scale, _YEAR)[:-1]
    x, y = windows[..., None].astype("float32"), changes[_YEAR:, None].astype("float32") / scale
    first = _TRAINED - _YEAR - 1  # sample whose target is not in the training part
    build = partial(_build_recurrent, _YEAR, 1, None, "mse")
    runs = experiment.train(
        f"passengers, {n} seeds", build, x[:first], y[:first],
        n=n, epochs=100, batch_size=1,
    )  # fmt: skip
    predicted = runs.predict(x[first:])[..., 0] * scale  # (seeds, months)
    true, before = _PASSENGERS[_TRAINED:], _PASSENGERS[_TRAINED - 1 : -1]
    year_before = _PASSENGERS[_TRAINED - _YEAR : -_YEAR]
    growth = before / _PASSENGERS[_TRAINED - _YEAR - 1 : -_YEAR - 1]
    line = _linear_regression(x[:first, :, 0], y[:first, 0], x[first:, :, 0]) * scale
    baselines = {
        "as last month": before,
        "as a year before": year_before,
        "grown as a year before": year_before * growth,
        "a straight line on the same changes": before * np.exp(line),
    }
    error = np.abs(before * np.exp(predicted) - true).mean(axis=1)
    errors = {name: float(np.abs(each - true).mean()) for name, each in baselines.items()}
    naive = list(errors.values())[:2]
    if error.mean() < min(errors.values()):
        verdict, lead = "holds", "Yes"
    elif error.mean() < min(naive):
        verdict, lead = "holds in part", "Yes, though a simpler forecast is better"
    else:
        verdict, lead = "does not hold", "No"
    others = ", ".join(f"{name} {each:.1f}" for name, each in errors.items())
    return Found(
        verdict,
        f"{lead}: over the {len(true)} months after training the mean absolute error of the "
        f"network is {error.mean():.1f} ± {error.std(ddof=1):.1f} thousand passengers ({n} seeds); "
        f"of simpler forecasts: {others}.",
        (
            Group("network", error),
            *(Group(name, np.array([each])) for name, each in errors.items()),
        ),
    )


def _linear_regression(x: np.ndarray, y: np.ndarray, x_test: np.ndarray) -> np.ndarray:
    """Predictions for ``x_test`` by least squares on the inputs and a constant."""
    weights, *_ = np.linalg.lstsq(np.c_[x, np.ones(len(x))], y, rcond=None)
    return np.c_[x_test, np.ones(len(x_test))] @ weights


def _classify_letter_order(experiment: Experiment) -> Found:
    """Classify five letters as in order or not, tested on samples that were not trained on."""
    n = experiment.choose(20, 5)
    runs = experiment.train(
        f"letters in order, {n} seeds",
        partial(_build_recurrent, _LETTERS_A_SAMPLE, 2, "softmax", "categorical_crossentropy"),
        _ordered_or_not, n=n, epochs=100, batch_size=1,
    )  # fmt: skip
    seen = {each.tobytes() for seed in runs.seeds for each in _ordered_or_not(seed)[0]}
    x, y = _ordered_or_not(max(runs.seeds) + 1)
    new = np.array([each.tobytes() not in seen for each in x])
    x, y = x[new], y[new]
    score = accuracies(runs.predict(x).argmax(-1) == y.argmax(-1))
    guess = max(y.mean(axis=0))
    holds = bool(score.min() > guess + 0.25)
    return Found(
        "holds" if holds else "does not hold",
        f"{'Yes' if holds else 'No'}: on {len(x)} samples that it was not trained on, the network "
        f"tells whether five letters are in order with {format_scores(score)} accuracy (lowest "
        f"of {n} seeds: {100 * score.min():.1f} %); the larger class has {100 * guess:.1f} %.",
        (Group("network", score), Group("the larger class", np.array([guess]))),
    )


def _ordered_or_not(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Samples of five letters in order, in every second one two exchanged; classes as one-hot."""
    drawn = np.random.default_rng(seed)
    x = np.empty((_SAMPLES, _LETTERS_A_SAMPLE, 1), "float32")
    classes = np.arange(_SAMPLES) % 2
    for sample, exchanged in zip(x, classes, strict=True):
        letters = np.sort(drawn.choice(len(LETTERS), _LETTERS_A_SAMPLE, replace=False))
        if exchanged:
            one, other = drawn.choice(_LETTERS_A_SAMPLE, 2, replace=False)
            letters[[one, other]] = letters[[other, one]]
        sample[:, 0] = letters / len(LETTERS)
    return x, np.eye(2, dtype="float32")[classes]


OTHER_TASK_QUESTIONS = (
    Question(
        "series",
        "Does the method carry over to time-series prediction?",
        "The method should carry over to time-series prediction.",
        _forecast_passengers,
        what="mean absolute error",
        unit="thousand passengers",
    ),
    Question(
        "labels",
        "Does the method carry over to sequence classification?",
        "The method should carry over to sequence classification.",
        _classify_letter_order,
    ),
)
