"""Questions about carried state: what it equals, what it needs, and how many rows it serves."""

from functools import partial

import numpy as np

import legato
from legato import layers
from legato.alphabet._experiment import Experiment, perfect, right, shares, told
from legato.alphabet._networks import LETTERS, find
from legato.alphabet._question_types import Found, Group, Question

(_STATEFUL,) = find(["stateful"])
_ASKED = LETTERS[:-1]
_MASKED = -1.0  # no letter's number


def _carried(effort: Experiment, n: int) -> "legato.Replicates":
    """The published network, under some seeds."""
    return effort.train_network(f"state carried, {n} seeds", _STATEFUL, n)


def _prefix_network(masking: bool) -> "legato.Sequential":
    """Network 5 without carried state, for whole prefixes; padding is masked, or is zeros."""
    model = legato.Sequential([layers.Input((len(_ASKED), 1))])
    if masking:
        model.add(layers.Masking(_MASKED))
    model.add(layers.LSTM(_STATEFUL.units))
    model.add(layers.Dense(len(LETTERS), activation="softmax"))
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    return model


def _prefixes(masking: bool) -> np.ndarray:
    """A, AB, … A–Y, padded on the left to 25: (25, 25, 1)."""
    x = np.full((len(_ASKED), len(_ASKED), 1), _MASKED if masking else 0.0, "float32")
    codes = _STATEFUL.encode(_ASKED)[:, 0]  # (25, 1)
    for at in range(len(_ASKED)):
        x[at, -at - 1 :] = codes[: at + 1]
    return x


def _prefix(effort: Experiment) -> Found:
    """The same weights used both ways, and each way trained by itself."""
    n = effort.of(10, 4)
    letters = _STATEFUL.samples()
    carried = _carried(effort, n)
    scores = {"state carried": shares(right(carried, letters, 1))}
    apart, scores["its weights, masked prefixes"] = _as_prefixes(carried, masking=True)
    _, scores["its weights, prefixes with zeros"] = _as_prefixes(carried, masking=False)
    for name, masking, shuffle in (
        ("trained on masked prefixes", True, False),
        ("trained on them shuffled", True, True),
        ("trained on prefixes with zeros", False, False),
    ):
        x, build = _prefixes(masking), partial(_prefix_network, masking)
        fit = {"epochs": _STATEFUL.epochs, "batch_size": 1, "shuffle": shuffle}
        runs = effort.train(f"{name}, {n} seeds", build, x, letters.y, n=n, **fit)
        scores[name] = shares(runs.predict(x).argmax(-1) == letters.y.argmax(-1))
    zeros = scores["its weights, prefixes with zeros"]
    if apart > 1e-5:
        verdict, lead = "does not hold", "No"
    elif (zeros == 1).all():
        verdict, lead = "holds", "Yes"
    else:
        verdict, lead = "holds in part", "Only if the padding is masked"
    of = {name: told(each) for name, each in scores.items()}
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
        f"{lead}: with the same weights, prefixes whose padding is masked give what carried state "
        f"gives {_within(apart)}, but padded with zeros, which is also the number of A, they score "
        f"{told(zeros)}; trained by themselves, {_STATEFUL.epochs} epochs in order, carried state "
        f"scores {of['state carried']}, masked prefixes {of['trained on masked prefixes']} and "
        f"prefixes with zeros {of['trained on prefixes with zeros']}; {n} seeds each.",
        tuple(Group(name, each) for name, each in scores.items()),
        (compared,),
        (
            "Prefixes, which carry nothing, may be shuffled, and masked ones then score "
            f"{told(shuffled)} ({perfect(shuffled)} at 100 %).",
        ),
    )


def _as_prefixes(carried: "legato.Replicates", masking: bool) -> tuple[float, np.ndarray]:
    """The weights of carried state in a network that is fed prefixes.

    Returns:
        How far its probabilities are from those of carried state, and its accuracies, (seeds,).
    """
    letters = _STATEFUL.samples()
    answers = carried.predict(letters.x, batch_size=1)  # (seeds, 25, 26)
    model, x = _prefix_network(masking), _prefixes(masking)
    given = []
    for weights in carried.weights:
        model.set_weights(weights)
        given.append(model.predict(x, batch_size=len(x), verbose=0))
    apart = float(np.abs(np.stack(given) - answers).max())
    return apart, shares(np.stack(given).argmax(-1) == letters.y.argmax(-1))


def _within(apart: float) -> str:
    """How near numbers are to each other."""
    return f"to within {apart:.1g}" if apart else "to the bit"


def _heard(model, history: str, letter: str) -> str:
    """What a stream answers to a letter after a history."""
    stream = model.stream()
    if history:
        stream.warm(_STATEFUL.encode(history)[:, 0])
    return LETTERS[int(stream.feed(_STATEFUL.encode([letter])[0, 0]).argmax())]


def _cold(effort: Experiment) -> Found:
    """Every letter asked cold, after the letters before it, and after as many others."""
    n = effort.of(10, 3)
    runs = _carried(effort, n)
    drawn = np.random.RandomState(0)
    places = range(len(_ASKED))
    ways = {
        "cold": lambda at: "",
        "after the letters before it": lambda at: _ASKED[:at],
        "after as many random letters": lambda at: "".join(drawn.choice([*LETTERS], at)),
    }
    answers = {way: [] for way in ways}  # a string of 25 letters a seed
    counted = []
    for k in range(n):
        effort.tell(f"every letter cold and warmed, seed {runs.seeds[k]}")
        model = runs.model(k)
        for way, history in ways.items():
            given = [_heard(model, history(at), _ASKED[at]) for at in places]
            answers[way].append("".join(given))
        counted.append(_heard(model, "ABCDEFGHIJ", "A"))
    scores = {
        way: np.array([np.mean([*map(str.__eq__, each, LETTERS[1:])]) for each in given])
        for way, given in answers.items()
    }
    cold, warm, others = scores.values()
    if warm.mean() <= cold.mean():
        verdict, lead = "does not hold", "No"
    elif others.mean() < warm.mean() - 0.02:
        verdict, lead = "holds", "The letters before it"
    else:
        verdict = "holds in part"
        lead = "As many letters as come before it, whichever: it counts them and does not read them"
    by_way = (
        f"{way} {25 * scores[way].mean():.3g} (K → {_said([each[10] for each in given])})"
        for way, given in answers.items()
    )
    return Found(
        verdict,
        f"{lead}. Right answers to 25 letters: {', '.join(by_way)}; {n} seeds.",
        tuple(Group(name, each) for name, each in scores.items()),
        (),
        (f"Asked for what follows A when it has heard A–J, it answers {_said(counted)}.",),
    )


def _said(answers: list[str]) -> str:
    """Answers of several seeds: the one, or each with how often."""
    if len(set(answers)) == 1:
        return answers[0]
    return ", ".join(f"{each} {answers.count(each)}×" for each in sorted(set(answers)))


def _rows(effort: Experiment) -> Found:
    """Weights trained at batch size 1, asked in 1, 5 and 25 rows, each at a place of its own."""
    n = effort.of(10, 3)
    runs = _carried(effort, n)
    letters = _STATEFUL.samples()
    scores, apart = {1: [], 5: [], 25: []}, {5: 0.0, 25: 0.0}
    for k in range(n):
        model = runs.model(k)
        model.reset_states()
        before, alone = [], []  # what it remembers before each letter, and answers to it
        for letter in letters.x:
            before.append(model.states)
            alone.append(model.predict(letter[None], verbose=0)[0])
        scores[1].append((np.argmax(alone, -1) == letters.y.argmax(-1)).mean())
        for rows in (5, 25):
            together = _in_rows(model, letters.x, before, rows)
            scores[rows].append((together.argmax(-1) == letters.y.argmax(-1)).mean())
            apart[rows] = max(apart[rows], float(np.abs(together - alone).max()))
    found = {rows: np.array(each) for rows, each in scores.items()}
    trained = {}
    for rows in (5, 25):
        x, y = (np.repeat(each, rows, axis=0) for each in (letters.x, letters.y))
        several = effort.train(
            f"trained in {rows} rows", _STATEFUL.build, x, y,
            n=n, epochs=_STATEFUL.epochs, batch_size=rows, shuffle=False,
        )  # fmt: skip
        trained[rows] = shares(right(several, letters, 1))
    largest = max(apart.values())
    holds = largest < 1e-5
    return Found(
        "holds" if holds else "does not hold",
        f"{'No' if holds else 'Yes'}: one set of weights, trained at batch size 1, scores "
        f"{told(found[1])} in 1 row, {told(found[5])} in 5 and {told(found[25])} in 25, each row "
        "at another letter with a state of its own, and the probabilities agree "
        f"{_within(largest)} ({n} seeds).",
        (
            *(
                Group(f"asked in {rows} row{'s' * (rows > 1)}", each)
                for rows, each in found.items()
            ),
            *(Group(f"trained in {rows} rows, asked in 1", each) for rows, each in trained.items()),
        ),
        (),
        (
            f"Nor is training tied to it: on as many copies of the alphabet side by side, "
            f"{_STATEFUL.epochs} epochs in 5 rows give {told(trained[5])} and in 25 rows "
            f"{told(trained[25])}, asked in 1.",
        ),
    )


def _in_rows(model, x: np.ndarray, before: list, rows: int) -> np.ndarray:
    """The alphabet cut into so many pieces, a row each, that begin with what comes before them."""
    steps = len(x) // rows
    model.states = legato.State.stack([before[max(row * steps, 1)] for row in range(rows)])
    model.reset_states([0])  # the first row has heard nothing
    answers = [model.predict(x[at::steps], batch_size=rows, verbose=0) for at in range(steps)]
    return np.stack(answers, axis=1).reshape(len(x), -1)  # (rows, steps, 26) → (25, 26)


MEMORIES = (
    Question(
        "prefix",
        "Does carrying state equal a stateless network that is fed the whole prefix?",
        "Carrying state should equal a stateless network fed every prefix, padded on the left to "
        "25 letters (---a → b, --ab → c, -abc → d).",
        _prefix,
    ),
    Question(
        "cold",
        "What must a stateful network have heard to answer K?",
        "To answer K properly the state must first be warmed with A…J.",
        _cold,
    ),
    Question(
        "rows",
        "Is a stateful network tied to one batch size?",
        "A stateful network was tied to one batch size for training, evaluation and prediction; it "
        "need not be.",
        _rows,
    ),
)
