"""The question about batches: what a batch that holds all samples in order owes to that order."""

import numpy as np

import legato
from legato.alphabet._experiment import Experiment, right, shares, told
from legato.alphabet._networks import find
from legato.alphabet._question_types import Found, Group, Question

(_BATCH,) = find(["batch"])


def _order_in_a_batch(effort: Experiment) -> Found:
    """The order changed, the influence measured, the updates counted."""
    n = effort.of(20, 5)
    x, y = _BATCH.data(0)
    mixed = np.random.RandomState(0).permutation(len(x))
    ways = {
        "in order": {},
        "in one other order": {"X": x[mixed], "y": y[mixed]},
        "in a new order every epoch": {"shuffle": True},
        "as many updates, batches of 1": {
            "batch_size": 1, "epochs": _BATCH.epochs // len(x), "shuffle": True,
        },
        "as many epochs, batches of 1": {"batch_size": 1, "shuffle": True},
    }  # fmt: skip
    if effort.quick:
        del ways["in a new order every epoch"]
    published = {"X": x, "y": y, "epochs": _BATCH.epochs, **_BATCH.fit_options}
    samples = _BATCH.samples()
    scores, predictions, model = {}, {}, None
    for name, changed in ways.items():
        options = published | changed
        runs = effort.train(f"{name}, {n} seeds", _BATCH.build, **options, n=n)
        scores[name] = shares(right(runs, samples))
        predictions[name] = runs.predict(samples.x)
        model = model or runs.model(0)
    flow = legato.influence(model, samples.x, batch_size=len(x), verbose=0).matrix
    off = flow[~np.eye(len(x), dtype=bool)]
    apart = np.abs(predictions["in order"] - predictions["in one other order"]).max()
    updates = legato.compare(
        scores["in order"],
        scores["as many updates, batches of 1"],
        names=("the whole batch", "as many updates with batches of 1"),
        what="accuracy",
        unit="%",
    )
    none = not off.any()
    same = bool((scores["in order"] == scores["in one other order"]).all())
    lead = "No" if none and same else "Yes" if not none else "Not shown"
    least = scores["as many updates, batches of 1"]
    return Found(
        "does not hold" if none and same else "holds" if not none else "undecided",
        f"{lead}: {(off == 0).sum()} of {off.size} influences of one sample on another are exactly "
        f"0, and with the samples in another order it scores {told(scores['in one other order'])} "
        f"as against {told(scores['in order'])} in order, {n} seeds each; it owes that to its "
        f"{_BATCH.epochs:,} passes over the data: with as many at batch size 1 the score is "
        f"{told(scores['as many epochs, batches of 1'])}, with as many updates only {told(least)}.",
        tuple(Group(name, each) for name, each in scores.items()),
        (updates,),
        (
            f"The order moves no probability by more than {apart:.1g}: only sums are rounded "
            "otherwise.",
        ),
    )


BATCHES = (
    Question(
        "batch",
        "Does the LSTM use the sequence within a batch that holds all samples in order?",
        "A batch that holds all samples in order lets the LSTM use the sequence within the batch, "
        "which is why network 4 reaches 100 %.",
        _order_in_a_batch,
    ),
)
