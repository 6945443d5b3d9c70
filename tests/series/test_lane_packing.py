"""Rows of consecutive sequences: against a slow search, and what they cost beside the best."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from legato import Lanes
from legato._series.lane_packing import LONG_SHARE, pack_consecutive, pack_longest_first

quick = settings(deadline=None, derandomize=True, database=None)
many_chunks = st.lists(st.integers(1, 200), min_size=1, max_size=300)


def slow_consecutive(chunks, rows: int) -> list[list[int]]:
    """The sequences of each row: long ones first, then the least room that all others have."""
    long = [at for at, each in enumerate(chunks) if each * rows * LONG_SHARE > sum(chunks)]
    start: list[list[int]] = [[] for _ in range(rows)]
    for at in sorted(long, key=lambda at: -chunks[at]):
        min(start, key=lambda row: sum(chunks[each] for each in row)).append(at)
    for room in range(1, sum(chunks) + 1):
        plan = [list(row) for row in start]
        others = [at for at in range(len(chunks)) if at not in long]
        for row in plan:
            taken = sum(chunks[each] for each in row)
            while others and taken + chunks[others[0]] <= room:
                taken += chunks[others[0]]
                row.append(others.pop(0))
        if not others and all(sum(chunks[each] for each in row) <= room for row in plan):
            return plan
    raise AssertionError("one row has room for all")


@quick
@given(chunks=many_chunks, rows=st.integers(1, 6))
def test_rows_take_consecutive_sequences_as_a_slow_search_finds_them(chunks, rows):
    first, batches = pack_consecutive(np.array(chunks), rows)
    plan = slow_consecutive(chunks, rows)
    ends = []
    for row, sequences in enumerate(plan):
        begin = 0
        for at in sequences:
            assert first[at] == begin * rows + row
            begin += chunks[at]
        ends.append(begin)
    assert batches == max(ends)


def test_rows_of_consecutive_sequences_need_few_more_batches():
    random = np.random.default_rng(0)
    for chunks in (
        random.integers(1, 50, 20_000),
        np.append(random.integers(1, 5, 50_000), random.integers(5_000, 20_000, 9)),
        np.append(np.ones(50_000, int), 10_000),
    ):
        best = pack_longest_first(chunks, 32)[1]
        assert best <= pack_consecutive(chunks, 32)[1] <= best * 1.03


@pytest.mark.parametrize("count", [1, 7, 500])
def test_chosen_rows_and_steps_keep_padding_small(count):
    lengths = np.random.default_rng(count).integers(300, 900, count)
    assert Lanes(lengths, consecutive=True).padding <= 0.06
