"""What came out of a comparison: a difference, how sure it is, and a sentence.

A difference is told as one where two roads agree: the permutation test, which is exact where seeds
are all that tells runs apart, and the interval, which asks how means would fall out again. Neither
does alone: of 25 scores against 5 that vary four times as much, p finds a difference that is not
there in 15 of 100 tries, and both together in 5.
"""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from legato._analysis.statistics.intervals import Interval
from legato._analysis.statistics.number_format import percent, wording
from legato._analysis.statistics.power import seeds_needed
from legato._analysis.statistics.seed_scores import chance, checked_positive
from legato._errors import InputError
from legato._platform.wording import counted

Finding = Literal["higher", "lower", "equal", "undecided"]
Correction = Literal["holm", "benjamini-hochberg"]


@dataclass(frozen=True)
class Comparison:
    """How the scores of one differ from another's. ``print`` tells it.

    Attributes:
        one, other: the mean of each, with an interval of its own.
        names: what they are called.
        what: what the scores are.
        difference: the one's mean - the other's.
        low, high: the ends of its interval; None where there is no spread to take them from.
        paired: whether score k of both belongs together.
        deviation: of pairs, the standard deviation of their differences; else None.
        effect: the difference in standard deviations, corrected for few seeds: of two sides
            Hedges' g ("Distribution theory for Glass's estimator of effect size and related
            estimators", Journal of Educational Statistics 6, 1981), of pairs likewise by the
            deviation of their differences. None without spread, and of two pairs.
        dominance: -1 to 1: how much more often a score of the one is the higher than the lower, of
            each against each, or of the pairs (Cliff, "Dominance statistics", Psychological
            Bulletin 114, 1993).
        p: of the two-sided permutation test, corrected if ``correction`` says so.
        p_alone: the same without correction.
        arrangements: how many of the scores were looked at, all there are or some drawn.
        seed: what they were drawn with; None if all were looked at, so that p is exact.
        margin: a difference that does not matter, if one was given.
        correction: ``"holm"`` or ``"benjamini-hochberg"``, if p is corrected.
        comparisons: how many it is corrected for.
    """

    one: Interval
    other: Interval
    names: tuple[str, str]
    what: str
    difference: float
    low: float | None
    high: float | None
    paired: bool
    deviation: float | None
    effect: float | None
    dominance: float
    p: float
    p_alone: float
    arrangements: int
    seed: int | None
    margin: float | None = None
    correction: Correction | None = None
    comparisons: int = 1

    @property
    def level(self) -> float:
        """That of the intervals; a p of 1 - level or less is needed to find a difference."""
        return self.one.level

    @property
    def finding(self) -> Finding:
        """The one is ``"higher"``, ``"lower"`` or ``"equal"``, or that is ``"undecided"``.

        Equal if a margin was given and the interval lies within it (two one-sided tests;
        Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15, 1987); higher or lower if
        both p and the interval, where there is one, leave out that nothing differs.
        """
        low, high = self.low, self.high
        if low is None or high is None:
            seen = True
        elif self.margin is not None and max(-low, high) < self.margin:
            return "equal"
        else:
            seen = not low <= 0 <= high
        if not seen or self.p > chance(self.level):
            return "undecided"
        return "higher" if self.difference > 0 else "lower"

    def seeds_needed(self, difference: float | None = None, power: float = 0.8) -> int | None:
        """How many seeds of each would find a difference, if it is there.

        Args:
            difference: so large, in the scores' own unit; default: as it was seen, which chance
                makes too large as easily as too small. Better one that would matter (Hoenig and
                Heisey, "The abuse of power", The American Statistician 55, 2001).
            power: the probability of finding it, at least 0.5 and below 1.

        Returns:
            About so many, by the noncentral t distribution; never fewer than a permutation test
            needs at all. None without a difference or a spread, or if a billion would not do.

        Raises:
            InputError: a difference or a power that is none.

        Example:
            >>> from legato import compare
            >>> compare([1, 2, 3, 4], [2, 3, 4, 5]).seeds_needed()
            28
        """
        seen = difference is None
        apart = abs(self.difference) if seen else checked_positive("difference", difference)
        if isinstance(power, str) or not 0.5 <= power < 1:
            raise InputError(f"power={power!r} must be at least 0.5 and below 1, such as 0.8.")
        deviations = (self.one.deviation, self.other.deviation)
        if self.deviation is not None:
            deviations = (self.deviation,)
        alpha = chance(self.level) / self.comparisons
        return seeds_needed(apart, deviations, alpha, power)

    def as_numbers(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            **asdict(self),
            "one": self.one.as_numbers(),
            "other": self.other.as_numbers(),
            "names": list(self.names),
            "level": self.level,
            "finding": self.finding,
            "seeds_needed": self.seeds_needed(),
            "sentence": str(self),
        }

    def __str__(self) -> str:
        return _sentence(self)


def _sentence(found: Comparison) -> str:
    """What differs from what by how much; the interval, the seeds and p; what is left to do."""
    say = wording(found.one.unit, _least_told(found))
    one, other = (
        f"{_owner(name)} {word}({say.score(side.mean)})"
        for name, word, side in zip(
            found.names, (f"{found.what} ", ""), (found.one, found.other), strict=True
        )
    )
    if found.finding in ("higher", "lower"):
        apart = say.difference(abs(found.difference))
        said = f"{one} is {found.finding} than {other} by {apart}"
    elif found.finding == "equal" and found.margin is not None:
        margin = wording(found.one.unit).difference(found.margin)
        apart = say.difference(found.difference)
        said = f"{one} equals {other} within {margin}: the difference is {apart}"
    else:
        apart = say.difference(found.difference)
        said = f"whether {one} is higher or lower than {other} is undecided: it differs by {apart}"
    spread = "with no spread to take an interval from"
    if found.low is not None and found.high is not None:
        low, high = (
            (found.low, found.high) if found.finding != "lower" else (-found.high, -found.low)
        )
        spread = f"{percent(found.level)} interval {say.bare(low)} to {say.bare(high)}"
    said = f"{said}, {spread}, {_seeds(found)} ({_chance(found)}){_needed(found)}."
    return said[0].upper() + said[1:]


def _least_told(found: Comparison) -> float | None:
    """The interval's width; less if an end that is not 0 would be told as 0 and that matters."""
    if found.low is None or found.high is None:
        return None
    width = found.high - found.low
    if found.finding in ("higher", "lower"):
        return min(width, 10 * min(abs(found.low), abs(found.high)))
    return width


def _owner(name: str) -> str:
    """The window → the window's."""
    return f"{name}'" if name.endswith("s") else f"{name}'s"


def _seeds(found: Comparison) -> str:
    one, other = found.one.count, found.other.count
    if found.paired:
        return f"{one:,} pairs of seeds"
    return f"{one:,} seeds each" if one == other else f"{one:,} and {other:,} seeds"


def _chance(found: Comparison) -> str:
    """How p came about."""
    p = "p < 0.0001" if found.p < 0.0001 else f"p = {found.p:.3g}"
    if found.seed is None:
        said = f"exact permutation {p}"
    else:
        said = f"permutation {p} of {found.arrangements:,} drawn"
    if found.correction is None:
        return said
    by = "Holm" if found.correction == "holm" else "Benjamini and Hochberg"
    return f"{said}, corrected by {by} for {counted(found.comparisons, 'comparison')}"


def _needed(found: Comparison) -> str:
    """How many seeds would decide it, if more would."""
    seeds = found.seeds_needed(found.margin) if found.finding == "undecided" else None
    if seeds is None or seeds <= min(found.one.count, found.other.count):
        return ""
    apart = "such a difference"
    if found.margin is not None:
        apart = f"a difference of {wording(found.one.unit).difference(found.margin)}"
    each = "pairs of seeds" if found.paired else "seeds each"
    return f"; about {_about(seeds):,} {each} would find {apart} with 80 % power"


def _about(number: int) -> int:
    """No less, and of two digits that mean something."""
    digits = 10 ** max(0, len(str(number)) - 2)
    return -(-number // digits) * digits
