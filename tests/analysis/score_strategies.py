"""Hypothesis strategies: scores of two sides, paired or not."""

from hypothesis import settings
from hypothesis import strategies as st

thorough = settings(max_examples=100, deadline=None, derandomize=True, database=None)
whole = st.integers(-9, 9)
sides = st.tuples(st.lists(whole, min_size=2, max_size=5), st.lists(whole, min_size=2, max_size=5))
pairs = st.lists(st.tuples(whole, whole), min_size=2, max_size=8).map(
    lambda each: [*zip(*each, strict=True)]
)
either = st.one_of(sides.map(lambda both: (*both, False)), pairs.map(lambda both: (*both, True)))
