"""The question of how many runs of letters, and how long ones, network 6 needs to reach 100 %.

Network 6 learns the letter after a run of one to five letters of the alphabet.
"""

from dataclasses import dataclass, replace

import numpy as np

import legato
from legato._platform.wording import listed
from legato.alphabet._experiment import (
    Experiment,
    accuracies,
    correct_predictions,
    count_perfect,
    format_scores,
)
from legato.alphabet._networks import LETTERS, LONGEST_RUN, Network, find, random_runs
from legato.alphabet._question_types import Found, Group, Question

(_VARIABLE,) = find(["variable"])
_UPDATES = _VARIABLE.random_runs * _VARIABLE.epochs  # as published


@dataclass(frozen=True)
class _Variant:
    """Network 6 with other settings.

    Attributes:
        name: of the variant.
        patterns: number of random runs to train on; 0: every possible run, once.
        longest: maximum number of letters in a run.
        loops: whether runs continue with A after Z.
        units, epochs: as in ``Network``.
    """

    name: str
    patterns: int = _VARIABLE.random_runs
    longest: int = LONGEST_RUN
    loops: bool = False
    units: int = _VARIABLE.units
    epochs: int = _VARIABLE.epochs

    @property
    def network(self) -> Network:
        """The network with the settings of this variant."""
        return replace(_VARIABLE, window=self.longest, units=self.units)

    def all_runs(self) -> list[str]:
        """All runs that can be drawn."""
        if self.loops:
            return [_loop(at, count) for at in range(26) for count in range(1, self.longest + 1)]
        return [
            LETTERS[start : end + 1]
            for start in range(len(LETTERS) - 2)
            for end in range(start, min(start + self.longest, len(LETTERS) - 1))
        ]

    def data(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """Inputs and targets to train on under a seed."""
        samples = self.network.samples_of(self.draw_runs(seed))
        return samples.x, samples.y

    def draw_runs(self, seed: int) -> list[str]:
        """The runs to train on under a seed."""
        if not self.patterns:
            return self.all_runs()
        if self.loops:
            drawn = np.random.RandomState(seed)
            spans = zip(
                drawn.randint(26, size=self.patterns),
                drawn.randint(1, self.longest + 1, size=self.patterns),
                strict=True,
            )
            return [_loop(at, count) for at, count in spans]
        return random_runs(self.patterns, seed, self.longest)


def _loop(start: int, count: int) -> str:
    """``count`` letters from place ``start`` on; A follows Z."""
    return "".join(LETTERS[(start + step) % 26] for step in range(count))


def _variants(quick: bool) -> list[_Variant]:
    every = len(_Variant("").all_runs())
    fewer = [
        _Variant("500 patterns", 500),
        _Variant("200 patterns", 200),
        _Variant("100 patterns", 100),
        _Variant("200 patterns, as many updates", 200, epochs=_UPDATES // 200),
    ]
    longer = [
        _Variant("runs of up to 25 letters", longest=25),
        _Variant("runs past Z, up to 5", loops=True),
        _Variant("runs past Z, up to 26", longest=26, loops=True),
    ]
    more = [
        _Variant("1,000 epochs", epochs=1000),
        _Variant("64 units", units=64),
        _Variant("64 units, 1,000 epochs", units=64, epochs=1000),
    ]
    once = _Variant(f"each of the {every} runs once, as many updates", 0, epochs=_UPDATES // every)
    if quick:
        fewer = fewer[1:2]
        longer = [replace(longer[2], epochs=100, name="runs past Z, up to 26, 100 epochs")]
        more = more[:1]
    return [_Variant("as published"), *fewer, once, *longer, *more]


def _vary_runs(experiment: Experiment) -> Found:
    """Train network 6 with other numbers of runs, lengths, units and epochs; test on all runs."""
    n = experiment.choose(6, 2)
    scores, met, missed = {}, {}, {}
    for variant in _variants(experiment.quick):
        network, every = variant.network, variant.all_runs()
        runs = experiment.train(
            f"{variant.name}, {n} seeds", network.build, variant.data,
            n=n, epochs=variant.epochs, **network.fit_options,
        )  # fmt: skip
        correct = correct_predictions(runs, network.samples_of(every))
        scores[variant.name] = accuracies(correct)
        known = np.array([np.isin(every, variant.draw_runs(seed)) for seed in runs.seeds])
        met[variant.name] = known.sum(axis=1).mean()
        if not known.all():
            missed[variant.name] = correct[known].mean(), correct[~known].mean()
    return _summarize(scores, met, missed, n)


def _summarize(scores: dict, met: dict[str, float], missed: dict[str, tuple], n: int) -> Found:
    """Decide on the three claims.

    Args:
        scores: accuracy of each variant on all runs, (seeds,).
        met: mean number of different runs that each variant was trained on.
        missed: accuracies on the runs trained on, and on the others.
        n: number of seeds.
    """
    published, few = scores["as published"], scores["200 patterns"]
    (once,) = (name for name in scores if name.startswith("each of the"))
    longer = [name for name in scores if "up to" in name]
    more = [
        name for name in ("1,000 epochs", "64 units", "64 units, 1,000 epochs") if name in scores
    ]
    claims = [  # as good as published, hardly worse, 100 % more often than not
        bool(scores[once].mean() >= published.mean()),
        all(scores[name].mean() >= published.mean() - 0.02 for name in longer),
        any((scores[name] == 1).mean() > 0.5 for name in more),
    ]
    verdict = "holds" if all(claims) else "holds in part" if any(claims) else "does not hold"
    compared = legato.compare(
        few, published, names=("200 patterns", "1,000"), what="accuracy on every run", unit="%"
    )
    known, unknown = missed["200 patterns"]
    fewer = "Fewer patterns do if no run is missing" if claims[0] else "Fewer patterns"
    text = {name: format_scores(each) for name, each in scores.items()}
    return Found(
        verdict,
        f"Tested on every run, the network as published scores {text['as published']} "
        f"({count_perfect(published)} at 100 %). {fewer}: {once} {text[once]}, but 200 random "
        f"patterns, which are {met['200 patterns']:.0f} different runs, {text['200 patterns']}. "
        f"Longer runs: {listed([f'{name} {text[name]}' for name in longer])}. At 100 %: "
        f"{listed([f'with {name} {count_perfect(scores[name])}' for name in more])}.",
        tuple(Group(name, each) for name, each in scores.items()),
        (compared,),
        (
            f"Trained on 200 patterns, its accuracy is {100 * known:.1f} % on the runs among them "
            f"and {100 * unknown:.1f} % on the others; 1,000 patterns are "
            f"{met['as published']:.0f} different runs.",
            f"{n} seeds each.",
        ),
    )


RUN_LENGTH_QUESTIONS = (
    Question(
        "runs",
        "Does network 6 need 1,000 patterns, does it learn longer runs, and what reaches 100 %?",
        "Fewer than 1,000 patterns should do; longer runs, up to 26 letters or looping past Z, "
        "should work; more training, a bigger network, or both, should reach 100 %.",
        _vary_runs,
        what="accuracy on every run",
    ),
)
