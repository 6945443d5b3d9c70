"""Questions about carried state: comparison with prefixes, letters read before K, batch sizes."""

from functools import partial

import numpy as np

import legato
from legato import layers
from legato.alphabet._experiment import (
    Experiment,
    accuracies,
    correct_predictions,
    count_perfect,
    format_scores,
)
from legato.alphabet._networks import LETTERS, find
from legato.alphabet._question_types import Found, Group, Question

(_STATEFUL,) = find(["stateful"])
_INPUTS = LETTERS[:-1]
_MASKED = -1.0  # not the code of a letter


def _train_stateful(experiment: Experiment, n: int) -> "legato.Replicates":
    """Network 5 as published, under n seeds."""
    return experiment.train_network(f"state carried, {n} seeds", _STATEFUL, n)


def _prefix_network(masking: bool) -> "legato.Sequential":
    """Network 5 without carried state, for padded prefixes; ``masking`` adds a Masking layer."""
    model = legato.Sequential([layers.Input((len(_INPUTS), 1))])
    if masking:
        model.add(layers.Masking(_MASKED))
    model.add(layers.LSTM(_STATEFUL.units))
    model.add(layers.Dense(len(LETTERS), activation="softmax"))
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    return model


def _prefixes(masking: bool) -> np.ndarray:
    """Inputs A, AB, … A–Y, padded on the left to 25 letters: (25, 25, 1)."""
    x = np.full((len(_INPUTS), len(_INPUTS), 1), _MASKED if masking else 0.0, "float32")
    codes = _STATEFUL.encode(_INPUTS)[:, 0]  # (25, 1)
    for at in range(len(_INPUTS)):
        x[at, -at - 1 :] = codes[: at + 1]
    return x


def _compare_state_with_prefixes(experiment: Experiment) -> Found:
    """Use the same weights both ways, and train each way by itself."""
    n = experiment.choose(10, 4)
    letters = _STATEFUL.samples()
    carried = _train_stateful(experiment, n)
    scores = {"state carried": accuracies(correct_predictions(carried, letters, 1))}
    apart, scores["its weights, masked prefixes"] = _predict_as_prefixes(carried, masking=True)
    _, scores["its weights, prefixes with zeros"] = _predict_as_prefixes(carried, masking=False)
    for name, masking, shuffle in (
        ("trained on masked prefixes", True, False),
        ("trained on them shuffled", True, True),
        ("trained on prefixes with zeros", False, False),
    ):
        x, build = _prefixes(masking), partial(_prefix_network, masking)
        fit = {"epochs": _STATEFUL.epochs, "batch_size": 1, "shuffle": shuffle}
        runs = experiment.train(f"{name}, {n} seeds", build, x, letters.y, n=n, **fit)
        scores[name] = accuracies(runs.predict(x).argmax(-1) == letters.y.argmax(-1))
    zeros = scores["its weights, prefixes with zeros"]
    if apart > 1e-5:
        verdict, lead = "does not hold", "No"
    elif (zeros == 1).all():
        verdict, lead = "holds", "Yes"
    else:
        verdict, lead = "holds in part", "Only if the padding is masked"
    text = {name: format_scores(each) for name, each in scores.items()}
    compared = legato.compare(
        scores["state carried"],
        scores["trained on prefixes with zeros"],
        names=("carried state", "prefixes with zeros"),
        what="accuracy",
        unit="%",
    )
    shuffled = scores["trained on them shuffled"]
    return Found(
        verdict,
        f"{lead}: with the same weights, masked prefixes give the probabilities of carried state "
        f"{_within(apart)}, but prefixes padded with zeros, which is also the code of A, score "
        f"{text['its weights, prefixes with zeros']}. Each trained by itself for "
        f"{_STATEFUL.epochs} epochs in order, carried state scores {text['state carried']}, masked "
        f"prefixes {text['trained on masked prefixes']} and prefixes with zeros "
        f"{text['trained on prefixes with zeros']} ({n} seeds each).",
        tuple(Group(name, each) for name, each in scores.items()),
        (compared,),
        (
            "Prefixes carry no state, so they may be shuffled; masked ones then score "
            f"{format_scores(shuffled)} ({count_perfect(shuffled)} at 100 %).",
        ),
    )


def _predict_as_prefixes(carried: "legato.Replicates", masking: bool) -> tuple[float, np.ndarray]:
    """Predict whole prefixes with the weights that were trained with carried state.

    Returns:
        The largest difference of a probability from that of carried state, and the accuracies,
        (seeds,).
    """
    letters = _STATEFUL.samples()
    answers = carried.predict(letters.x, batch_size=1)  # (seeds, 25, 26)
    model, x = _prefix_network(masking), _prefixes(masking)
    predictions = []
    for weights in carried.weights:
        model.set_weights(weights)
        predictions.append(model.predict(x, batch_size=len(x), verbose=0))
    apart = float(np.abs(np.stack(predictions) - answers).max())
    return apart, accuracies(np.stack(predictions).argmax(-1) == letters.y.argmax(-1))


def _within(apart: float) -> str:
    """A largest difference in words."""
    return f"to within {apart:.1g}" if apart else "to the bit"


def _predict_after(model, history: str, letter: str) -> str:
    """The letter that a fresh stream predicts after a history and a letter."""
    stream = model.stream()
    if history:
        stream.warm(_STATEFUL.encode(history)[:, 0])
    return LETTERS[int(stream.feed(_STATEFUL.encode([letter])[0, 0]).argmax())]


def _compare_histories(experiment: Experiment) -> Found:
    """Predict after every letter: from a fresh state, after all before it, after random ones."""
    n = experiment.choose(10, 3)
    runs = _train_stateful(experiment, n)
    drawn = np.random.RandomState(0)
    places = range(len(_INPUTS))
    histories = {
        "cold": lambda at: "",
        "after the letters before it": lambda at: _INPUTS[:at],
        "after as many random letters": lambda at: "".join(drawn.choice([*LETTERS], at)),
    }
    predictions = {name: [] for name in histories}  # a string of 25 letters per seed
    after_ten = []
    for k in range(n):
        experiment.report_progress(f"every letter after each history, seed {runs.seeds[k]}")
        model = runs.model(k)
        for name, history in histories.items():
            letters = [_predict_after(model, history(at), _INPUTS[at]) for at in places]
            predictions[name].append("".join(letters))
        after_ten.append(_predict_after(model, "ABCDEFGHIJ", "A"))
    scores = {
        name: np.array([np.mean([*map(str.__eq__, each, LETTERS[1:])]) for each in of_seeds])
        for name, of_seeds in predictions.items()
    }
    cold, warm, others = scores.values()
    if warm.mean() <= cold.mean():
        verdict, lead = "does not hold", "No"
    elif others.mean() < warm.mean() - 0.02:
        verdict, lead = "holds", "The letters before it"
    else:
        verdict = "holds in part"
        lead = "As many letters as come before K, no matter which: the network counts letters"
    after_k = {
        name: _count_predictions([each[10] for each in of_seeds])
        for name, of_seeds in predictions.items()
    }
    results = (f"{name} {25 * scores[name].mean():.3g} (K → {after_k[name]})" for name in histories)
    return Found(
        verdict,
        f"{lead}. Correct predictions of 25: {', '.join(results)}; {n} seeds.",
        tuple(Group(name, each) for name, each in scores.items()),
        (),
        (f"Given A after A–J, it predicts {_count_predictions(after_ten)}.",),
    )


def _count_predictions(letters: list[str]) -> str:
    """Predictions of several seeds: the letter if all agree, or each letter and its count."""
    if len(set(letters)) == 1:
        return letters[0]
    return ", ".join(f"{each} {letters.count(each)}×" for each in sorted(set(letters)))


def _compare_row_counts(experiment: Experiment) -> Found:
    """Predict in 1, 5 and 25 rows with weights trained at batch size 1; train in 5 and 25 rows."""
    n = experiment.choose(10, 3)
    runs = _train_stateful(experiment, n)
    letters = _STATEFUL.samples()
    scores, apart = {1: [], 5: [], 25: []}, {5: 0.0, 25: 0.0}
    for k in range(n):
        model = runs.model(k)
        model.reset_states()
        before, alone = [], []  # states before each letter, and predictions in one row
        for letter in letters.x:
            before.append(model.states)
            alone.append(model.predict(letter[None], verbose=0)[0])
        scores[1].append((np.argmax(alone, -1) == letters.y.argmax(-1)).mean())
        for rows in (5, 25):
            together = _predict_in_rows(model, letters.x, before, rows)
            scores[rows].append((together.argmax(-1) == letters.y.argmax(-1)).mean())
            apart[rows] = max(apart[rows], float(np.abs(together - alone).max()))
    tested = {rows: np.array(each) for rows, each in scores.items()}
    trained = {}
    for rows in (5, 25):
        x, y = (np.repeat(each, rows, axis=0) for each in (letters.x, letters.y))
        several = experiment.train(
            f"trained in {rows} rows", _STATEFUL.build, x, y,
            n=n, epochs=_STATEFUL.epochs, batch_size=rows, shuffle=False,
        )  # fmt: skip
        trained[rows] = accuracies(correct_predictions(several, letters, 1))
    largest = max(apart.values())
    holds = largest < 1e-5
    return Found(
        "holds" if holds else "does not hold",
        f"{'No' if holds else 'Yes'}: one set of weights, trained at batch size 1, scores "
        f"{format_scores(tested[1])} in 1 row, {format_scores(tested[5])} in 5 and "
        f"{format_scores(tested[25])} in 25, each row at another letter with a state of its own, "
        f"and the probabilities agree {_within(largest)} ({n} seeds).",
        (
            *(
                Group(f"predicted in {rows} row{'s' * (rows > 1)}", each)
                for rows, each in tested.items()
            ),
            *(
                Group(f"trained in {rows} rows, predicted in 1", each)
                for rows, each in trained.items()
            ),
        ),
        (),
        (
            "Training is not tied to a batch size either: trained on copies of the alphabet side "
            f"by side for {_STATEFUL.epochs} epochs, 5 rows give {format_scores(trained[5])} and "
            f"25 rows {format_scores(trained[25])}, tested in 1 row.",
        ),
    )


def _predict_in_rows(model, x: np.ndarray, before: list, rows: int) -> np.ndarray:
    """Predict the alphabet cut into pieces, one in each row, from the states before them."""
    steps = len(x) // rows
    model.states = legato.State.stack([before[max(row * steps, 1)] for row in range(rows)])
    model.reset_states([0])  # the first row starts the alphabet
    predictions = [model.predict(x[at::steps], batch_size=rows, verbose=0) for at in range(steps)]
    return np.stack(predictions, axis=1).reshape(len(x), -1)  # (rows, steps, 26) → (25, 26)


STATE_QUESTIONS = (
    Question(
        "prefix",
        "Does carrying state equal a stateless network that is fed the whole prefix?",
        "Carrying state should equal a stateless network fed every prefix, padded on the left to "
        "25 letters (---a → b, --ab → c, -abc → d).",
        _compare_state_with_prefixes,
    ),
    Question(
        "cold",
        "Which letters must a stateful network read first to answer K?",
        "To answer K properly the state must first be warmed with A…J.",
        _compare_histories,
    ),
    Question(
        "rows",
        "Is a stateful network tied to one batch size?",
        "A stateful network was tied to one batch size for training, evaluation and prediction; it "
        "need not be.",
        _compare_row_counts,
    ),
)
