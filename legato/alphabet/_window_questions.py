"""Questions about windows: are three letters better than one, and for which network?"""

from functools import partial

import legato
from legato import layers
from legato.alphabet._experiment import (
    Experiment,
    accuracies,
    correct_predictions,
    count_perfect,
    format_scores,
    prefix_sentence,
)
from legato.alphabet._networks import find
from legato.alphabet._question_types import Found, Group, Question, Verdict

(_NAIVE,) = find(["naive"])
(_WINDOW,) = find(["window"])
_MARGIN = 0.02  # of accuracy: half of one letter in 25
_LONGER = 4000  # epochs
_LEADS = {"higher": "Yes: ", "lower": "No: ", "equal": "No: ", "undecided": ""}
_VERDICTS: dict[str, Verdict] = {
    "higher": "holds",
    "lower": "does not hold",
    "equal": "does not hold",
    "undecided": "undecided",
}


def _compare_window_with_naive(experiment: Experiment) -> Found:
    """Compare networks 1 and 2 over many seeds, on the letters both are tested on."""
    n, n_longer = experiment.choose((100, 20), (20, 5))
    naive, window = (
        correct_predictions(
            experiment.train_network(f"{each.name}, {n} seeds", each, n), each.samples(), 1
        )
        for each in (_NAIVE, _WINDOW)
    )
    in_both = slice(_WINDOW.window - 1, None)  # C … Y, the windows' last letters
    every, same, windowed = accuracies(naive), accuracies(naive[:, in_both]), accuracies(window)
    options = {"names": ("the window", "naive"), "what": "accuracy", "unit": "%"}
    fair = legato.compare(windowed, same, margin=_MARGIN, **options)
    published = legato.compare(windowed, every, **options)
    longer = {}
    for network in (_NAIVE, _WINDOW):
        message = f"{network.name}, {_LONGER:,} epochs, {n_longer} seeds"
        runs = experiment.train_network(message, network, n_longer, epochs=_LONGER)
        longer[network.name] = accuracies(correct_predictions(runs, network.samples(), 1))
    return Found(
        _VERDICTS[fair.finding],
        f"{prefix_sentence(_LEADS[fair.finding], fair)} Both were scored on the "
        f"{window.shape[1]} letters that both are tested on.",
        (
            Group("naive, all 25 letters", every),
            Group("naive, the window's 23", same),
            Group("window", windowed),
            Group(f"naive, {_LONGER:,} epochs", longer["naive"]),
            Group(f"window, {_LONGER:,} epochs", longer["window"]),
        ),
        (fair, published),
        (
            prefix_sentence("Scored as published, with naive also tested on A and B: ", published),
            f"After {_LONGER:,} epochs instead of {_NAIVE.epochs}, naive scores "
            f"{format_scores(longer['naive'])} and the window {format_scores(longer['window'])} "
            f"({n_longer} seeds each).",
        ),
    )


def _train_perceptrons(experiment: Experiment) -> Found:
    """Train perceptrons with one hidden layer on the same windows, by width and epochs."""
    widths, trainings, seeds = experiment.choose(
        ((8, 32, 128, 512), (500, 4000), 20), ((8, 128), (500, 2000), 5)
    )
    samples = _WINDOW.samples()
    x = samples.x.reshape(len(samples.x), -1)  # (samples, 3)
    scores = {}
    for epochs in trainings:
        for width in widths:
            name = f"{width} units, {epochs:,} epochs"
            runs = experiment.train(
                name,
                partial(_build_perceptron, width),
                x,
                samples.y,
                n=seeds,
                epochs=epochs,
                batch_size=1,
            )
            correct = runs.predict(x).argmax(-1) == samples.y.argmax(-1)
            scores[epochs, width] = accuracies(correct)
    short, long = trainings
    widest, best = widths[-1], max(widths, key=lambda width: scores[long, width].mean())
    if (scores[short, widest] == 1).all():
        verdict, lead = "holds", "Yes"
    elif (scores[long, best] == 1).all():
        verdict, lead = "holds in part", "Yes, but size alone is not enough"
    else:
        verdict, lead = "undecided", "Not in every run"
    width_alone = legato.compare(
        scores[short, widest],
        scores[short, widths[-2]],
        names=(f"{widest} hidden units", f"{widths[-2]}"),
        what="accuracy",
        unit="%",
    )
    text = {
        key: f"{format_scores(each)} ({count_perfect(each)} at 100 %)"
        for key, each in scores.items()
    }
    by_width = (f"{width} units {text[long, width]}" for width in widths)
    return Found(
        verdict,
        f"{lead}: after the window network's {short} epochs {widest} hidden units score "
        f"{text[short, widest]}, and after {long:,} epochs {best} score {text[long, best]}.",
        tuple(
            Group(f"{width} units, {epochs:,} epochs", each)
            for (epochs, width), each in scores.items()
        ),
        (width_alone,),
        (f"By width, after {long:,} epochs: {', '.join(by_width)}.",),
    )


def _build_perceptron(width: int) -> "legato.Sequential":
    """A multilayer perceptron with one hidden layer."""
    model = legato.Sequential(
        [
            layers.Input((_WINDOW.window,)),
            layers.Dense(width, activation="relu"),
            layers.Dense(26, activation="softmax"),
        ]
    )
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    return model


WINDOW_QUESTIONS = (
    Question(
        "window",
        "Is the window network more accurate than the naive network?",
        "Three letters as features lift the accuracy from 84.00 to 86.96 %, a small lift that may "
        "or may not be real.",
        _compare_window_with_naive,
    ),
    Question(
        "perceptron",
        "Does a large enough multilayer perceptron learn the same mapping with windows?",
        "A large enough multilayer perceptron might learn the same mapping with the window method.",
        _train_perceptrons,
    ),
)
