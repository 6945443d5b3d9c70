"""The question about random runs: how many, how long, and what brings network 6 to 100 %."""

from dataclasses import dataclass, replace

import numpy as np

import legato
from legato._platform.wording import listed
from legato.alphabet._experiment import Experiment, perfect, right, shares, told
from legato.alphabet._networks import LETTERS, LONGEST_RUN, Network, find, random_runs
from legato.alphabet._question_types import Found, Group, Question

(_VARIABLE,) = find(["variable"])
_EVERY = _VARIABLE.random_runs * _VARIABLE.epochs  # updates, as published


@dataclass(frozen=True)
class _Way:
    """One way to train network 6.

    Attributes:
        name: which.
        patterns: how many random runs; 0: every run there is, once.
        longest: letters in a run, at most.
        loops: whether runs go on with A after Z.
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
        return replace(_VARIABLE, window=self.longest, units=self.units)

    def every(self) -> list[str]:
        """All runs that may be drawn."""
        if self.loops:
            return [_loop(at, count) for at in range(26) for count in range(1, self.longest + 1)]
        return [
            LETTERS[start : end + 1]
            for start in range(len(LETTERS) - 2)
            for end in range(start, min(start + self.longest, len(LETTERS) - 1))
        ]

    def data(self, seed: int) -> tuple[np.ndarray, np.ndarray]:
        """What one seed is trained on."""
        samples = self.network.samples_of(self.drawn(seed))
        return samples.x, samples.y

    def drawn(self, seed: int) -> list[str]:
        """The runs of one seed."""
        if not self.patterns:
            return self.every()
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
    """So many letters from one on; A follows Z."""
    return "".join(LETTERS[(start + step) % 26] for step in range(count))


def _ways(quick: bool) -> list[_Way]:
    every = len(_Way("").every())
    fewer = [
        _Way("500 patterns", 500),
        _Way("200 patterns", 200),
        _Way("100 patterns", 100),
        _Way("200 patterns, as many updates", 200, epochs=_EVERY // 200),
    ]
    longer = [
        _Way("runs of up to 25 letters", longest=25),
        _Way("runs past Z, up to 5", loops=True),
        _Way("runs past Z, up to 26", longest=26, loops=True),
    ]
    more = [
        _Way("1,000 epochs", epochs=1000),
        _Way("64 units", units=64),
        _Way("64 units, 1,000 epochs", units=64, epochs=1000),
    ]
    once = _Way(f"each of the {every} runs once, as many updates", 0, epochs=_EVERY // every)
    if quick:
        fewer = fewer[1:2]
        longer = [replace(longer[2], epochs=100, name="runs past Z, up to 26, 100 epochs")]
        more = more[:1]
    return [_Way("as published"), *fewer, once, *longer, *more]


def _runs(effort: Experiment) -> Found:
    """Network 6 with other numbers of patterns, lengths, sizes and epochs; asked every run."""
    n = effort.of(6, 2)
    scores, met, missed = {}, {}, {}
    for way in _ways(effort.quick):
        network, every = way.network, way.every()
        runs = effort.train(
            f"{way.name}, {n} seeds", network.build, way.data,
            n=n, epochs=way.epochs, **network.fit_options,
        )  # fmt: skip
        answers = right(runs, network.samples_of(every))
        scores[way.name] = shares(answers)
        known = np.array([np.isin(every, way.drawn(seed)) for seed in runs.seeds])
        met[way.name] = known.sum(axis=1).mean()
        if not known.all():
            missed[way.name] = answers[known].mean(), answers[~known].mean()
    return _found(scores, met, missed, n)


def _found(scores: dict, met: dict[str, float], missed: dict[str, tuple], n: int) -> Found:
    """What the scores say of the three claims.

    Args:
        scores: of each way, accuracy on every run, (seeds,).
        met: how many different runs were trained on.
        missed: shares of right answers to runs trained on, and to others.
        n: seeds.
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
    return Found(
        verdict,
        f"Asked every run, the network as published scores {told(published)} ({perfect(published)} "
        f"at 100 %). {fewer}: {once} {told(scores[once])}, but 200 random patterns, which are "
        f"{met['200 patterns']:.0f} different runs, {told(few)}. Longer "
        f"runs: {listed([f'{name} {told(scores[name])}' for name in longer])}. At 100 %: "
        f"{listed([f'with {name} {perfect(scores[name])}' for name in more])}.",
        tuple(Group(name, each) for name, each in scores.items()),
        (compared,),
        (
            f"Trained on 200 patterns it is right about {100 * known:.1f} % of the runs that it "
            f"has met and {100 * unknown:.1f} % of the others; 1,000 patterns are "
            f"{met['as published']:.0f} different runs.",
            f"{n} seeds each.",
        ),
    )


LENGTHS = (
    Question(
        "runs",
        "Does network 6 need 1,000 patterns, are longer runs learnt, and what reaches 100 %?",
        "Fewer than 1,000 patterns should do; longer runs, up to 26 letters or looping past Z, "
        "should work; more training, a bigger network, or both, should reach 100 %.",
        _runs,
        what="accuracy on every run",
    ),
)
