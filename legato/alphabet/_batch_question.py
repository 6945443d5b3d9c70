"""The question about batches: does the LSTM use the order of the samples within a batch?"""

import numpy as np

import legato
from legato.alphabet._experiment import Experiment, accuracies, correct_predictions, format_scores
from legato.alphabet._networks import find
from legato.alphabet._question_types import Found, Group, Question

(_BATCH,) = find(["batch"])


def _compare_sample_orders(experiment: Experiment) -> Found:
    """Change the order of the samples, measure their influence, and vary the number of updates."""
    n = experiment.choose(20, 5)
    x, y = _BATCH.data(0)
    mixed = np.random.RandomState(0).permutation(len(x))
    options_by_name = {
        "in order": {},
        "in one other order": {"X": x[mixed], "y": y[mixed]},
        "in a new order every epoch": {"shuffle": True},
        "as many updates, batches of 1": {
            "batch_size": 1, "epochs": _BATCH.epochs // len(x), "shuffle": True,
        },
        "as many epochs, batches of 1": {"batch_size": 1, "shuffle": True},
    }  # fmt: skip
    if experiment.quick:
        del options_by_name["in a new order every epoch"]
    published = {"X": x, "y": y, "epochs": _BATCH.epochs, **_BATCH.fit_options}
    samples = _BATCH.samples()
    scores, predictions, model = {}, {}, None
    for name, changed in options_by_name.items():
        options = published | changed
        runs = experiment.train(f"{name}, {n} seeds", _BATCH.build, **options, n=n)
        scores[name] = accuracies(correct_predictions(runs, samples))
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
    text = {name: format_scores(each) for name, each in scores.items()}
    return Found(
        "does not hold" if none and same else "holds" if not none else "undecided",
        f"{lead}: {(off == 0).sum()} of {off.size} influences of one sample on another are exactly "
        f"0, and with the samples in another order the accuracy is {text['in one other order']}, "
        f"in order {text['in order']} ({n} seeds each). The accuracy comes from the "
        f"{_BATCH.epochs:,} epochs: at batch size 1, as many epochs give "
        f"{text['as many epochs, batches of 1']}, and as many updates only "
        f"{text['as many updates, batches of 1']}.",
        tuple(Group(name, each) for name, each in scores.items()),
        (updates,),
        (
            f"The order changes no probability by more than {apart:.1g}, which is rounding: sums "
            "are added up in another order.",
        ),
    )


BATCH_QUESTIONS = (
    Question(
        "batch",
        "Does the LSTM use the sequence within a batch that holds all samples in order?",
        "A batch that holds all samples in order lets the LSTM use the sequence within the batch, "
        "which is why network 4 reaches 100 %.",
        _compare_sample_orders,
    ),
)
