"""Questions about windows: whether three letters at once are better than one, and for whom."""

import legato
from legato import layers
from legato.alphabet._experiment import Experiment, after, perfect, right, shares, told
from legato.alphabet._networks import find
from legato.alphabet._question_types import Found, Group, Question, Verdict

(_NAIVE,) = find(["naive"])
(_WINDOW,) = find(["window"])
_MARGIN = 0.02  # of accuracy: half a letter
_LONGER = 4000  # epochs
_LEADS = {"higher": "Yes: ", "lower": "No: ", "equal": "No: ", "undecided": ""}
_VERDICTS: dict[str, Verdict] = {
    "higher": "holds",
    "lower": "does not hold",
    "equal": "does not hold",
    "undecided": "undecided",
}


def _lift(effort: Experiment) -> Found:
    """The two networks under many seeds, on the letters that both are asked."""
    n, n_longer = effort.of((100, 20), (20, 5))
    naive, window = (
        right(effort.train_network(f"{each.name}, {n} seeds", each, n), each.samples(), 1)
        for each in (_NAIVE, _WINDOW)
    )
    asked_both = slice(_WINDOW.window - 1, None)  # C … Y, the windows' last letters
    every, same, lifted = shares(naive), shares(naive[:, asked_both]), shares(window)
    options = {"names": ("the window", "naive"), "what": "accuracy", "unit": "%"}
    fair = legato.compare(lifted, same, margin=_MARGIN, **options)
    published = legato.compare(lifted, every, **options)
    longer = {}
    for network in (_NAIVE, _WINDOW):
        what = f"{network.name}, {_LONGER:,} epochs, {n_longer} seeds"
        runs = effort.train_network(what, network, n_longer, epochs=_LONGER)
        longer[network.name] = shares(right(runs, network.samples(), 1))
    return Found(
        _VERDICTS[fair.finding],
        f"{after(_LEADS[fair.finding], fair)} Both were scored on the {window.shape[1]} letters "
        "that both are asked.",
        (
            Group("naive, all 25 letters", every),
            Group("naive, the window's 23", same),
            Group("window", lifted),
            Group(f"naive, {_LONGER:,} epochs", longer["naive"]),
            Group(f"window, {_LONGER:,} epochs", longer["window"]),
        ),
        (fair, published),
        (
            after("Scored as published, with naive asked A and B as well: ", published),
            f"After {_LONGER:,} epochs in the place of {_NAIVE.epochs}, naive scores "
            f"{told(longer['naive'])} and the window {told(longer['window'])} ({n_longer} seeds "
            "each).",
        ),
    )


def _perceptron(effort: Experiment) -> Found:
    """A hidden layer on the same windows, by its width and by how long it is trained."""
    widths, trainings, seeds = effort.of(
        ((8, 32, 128, 512), (500, 4000), 20), ((8, 128), (500, 2000), 5)
    )
    samples = _WINDOW.samples()
    x = samples.x.reshape(len(samples.x), -1)  # (samples, 3)
    scores = {}
    for epochs in trainings:
        for width in widths:
            name = f"{width} units, {epochs:,} epochs"
            runs = effort.train(
                name, _perceptron_of(width), x, samples.y, n=seeds, epochs=epochs, batch_size=1
            )
            answers = runs.predict(x).argmax(-1) == samples.y.argmax(-1)
            scores[epochs, width] = shares(answers)
    short, long = trainings
    widest, best = widths[-1], max(widths, key=lambda width: scores[long, width].mean())
    if (scores[short, widest] == 1).all():
        verdict, lead = "holds", "Yes"
    elif (scores[long, best] == 1).all():
        verdict, lead = "holds in part", "Yes, but size alone does not do it"
    else:
        verdict, lead = "undecided", "Not in every run"
    width_alone = legato.compare(
        scores[short, widest],
        scores[short, widths[-2]],
        names=(f"{widest} hidden units", f"{widths[-2]}"),
        what="accuracy",
        unit="%",
    )
    by_width = (
        f"{width} units {told(scores[long, width])} ({perfect(scores[long, width])})"
        for width in widths
    )
    return Found(
        verdict,
        f"{lead}: after the window network's {short} epochs {widest} hidden units score "
        f"{told(scores[short, widest])} ({perfect(scores[short, widest])} at 100 %), and "
        f"{best} score {told(scores[long, best])} after {long:,} ({perfect(scores[long, best])}).",
        tuple(
            Group(f"{width} units, {epochs:,} epochs", each)
            for (epochs, width), each in scores.items()
        ),
        (width_alone,),
        (f"By width, after {long:,} epochs, at 100 % in brackets: {', '.join(by_width)}.",),
    )


def _perceptron_of(width: int):
    """Builds a multilayer perceptron with one hidden layer."""

    def build() -> "legato.Sequential":
        model = legato.Sequential(
            [
                layers.Input((_WINDOW.window,)),
                layers.Dense(width, activation="relu"),
                layers.Dense(26, activation="softmax"),
            ]
        )
        model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
        return model

    return build


WINDOWS = (
    Question(
        "window",
        "Is the window's lift over the naive network real?",
        "Three letters as features lift the accuracy from 84.00 to 86.96 %, a small lift that may "
        "or may not be real.",
        _lift,
    ),
    Question(
        "perceptron",
        "Does a large enough multilayer perceptron learn the same mapping with windows?",
        "A large enough multilayer perceptron might learn the same mapping with the window method.",
        _perceptron,
    ),
)
