"""Tables in a terminal show every number, at any width."""

import io
import re
from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from legato import report
from legato.report import _terminal


def printed(print_it, width: int) -> str:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    print_it(console)
    return console.file.getvalue()


finite = st.floats(-1e12, 1e12, allow_nan=False)


@given(st.lists(finite, min_size=1, max_size=8), st.integers(3, 6))
@settings(deadline=None)
def test_aligned_numbers_keep_their_values(values, digits):
    """Each is right to the digits that the largest one shows, or to all of its own."""
    aligned = [float(each.replace(",", "")) for each in _terminal.align_numbers(values, digits)]
    largest = max(map(abs, values))
    np.testing.assert_allclose(aligned, values, atol=largest * 10.0 ** (1 - digits), rtol=0)
    for value, each in zip(values, aligned, strict=True):
        assert (each == 0) == (value == 0)


def test_decimal_points_are_aligned():
    assert _terminal.align_numbers([59.17, 1234.5, None, 0.5], 6) == [
        "59.17",
        "1,234.50",
        "",
        "0.50",
    ]
    assert _terminal.align_numbers([0.000012, 1000.0], 6) == ["1.2e-05", "1,000"]
    assert _terminal.align_numbers([0.0, None], 4) == ["0", ""]


headings = st.text(st.sampled_from("ab $[]/:\n\t🎻ü"), min_size=1, max_size=30)


@given(
    st.lists(st.tuples(headings, st.integers(1, 9)), min_size=1, max_size=7),
    st.integers(0, 1),
    st.integers(30, 90),
)
@settings(deadline=None)
def test_every_number_is_printed_at_any_width(columns, keys, width):
    """The cells of a column are below each other, in order, and no line is too long."""
    cells = [
        [f"{at}.{row}{'7' * size}" for row in range(3)] for at, (_, size) in enumerate(columns)
    ]
    made = [
        _terminal.TextColumn(name, each) for (name, _), each in zip(columns, cells, strict=True)
    ]
    keys = min(keys, len(made) - 1)
    output = printed(lambda console: _terminal.print_columns(made, console, keys), width)
    assert all(_terminal.cell_len(line) <= width for line in output.splitlines())
    found = [each for each in output.split() if re.fullmatch(r"\d\.\d7+", each)]
    for each in (cell for column in cells[keys:] for cell in column):
        assert found.count(each) == 1
    for column in cells:
        assert all(output.index(first) < output.index(second) for first, second in pairwise(column))


def test_headings_wrap_before_columns_are_split():
    made = [
        _terminal.TextColumn("a name of some length", ["x"], numbers=False),
        _terminal.TextColumn("a heading of some length", ["1.5", "2.5"][:1]),
    ]
    output = printed(lambda console: _terminal.print_columns(made, console), 34)
    assert "\n\n" not in output
    assert len(output.splitlines()) > 2


def test_a_long_table_shows_its_ends():
    table = {"name": [f"n{at}" for at in range(100)], "x": [at + 0.5 for at in range(100)]}
    output = printed(lambda console: report.print_table(table, console), 80)
    rows = [line.split()[0] for line in output.splitlines()[1:-1]]
    assert rows == [*(f"n{at}" for at in range(20)), "…", "n97", "n98", "n99"]
    assert output.splitlines()[-1] == "100 rows; --out FILE writes them all."


def test_long_names_keep_both_ends():
    assert _terminal.shorten("abcdefghij", 10) == "abcdefghij"
    assert _terminal.shorten("abcdefghijk", 10) == "abcd…hijk"
