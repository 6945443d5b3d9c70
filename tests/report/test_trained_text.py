"""Tables and figures of trained models show every number."""

import io
import re
import struct
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from legato import Column, Forecast, Lanes, Sequences, report
from legato.report import _terminal
from legato.report._forecast_figure import MOST_PANELS

# Tables.


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


# Pictures.


def panels(figure) -> list:
    return [axes for axes in figure.axes if axes.get_visible()]


def forecast(names: tuple[str, ...], targets: tuple[str, ...], steps: int, ends: bool) -> Forecast:
    rng = np.random.default_rng(2)
    lengths = np.full(len(names), 20)
    columns = tuple(Column(name) for name in targets)
    before = Sequences(rng.normal(size=(lengths.sum(), len(targets))), lengths, columns, names)
    values = rng.normal(size=(len(names), steps, len(targets)))
    around = np.array([[-1, 1], [-2, 2]]).reshape(2, 2, 1, 1, 1)
    return Forecast(names, targets, values, None, values + around if ends else None, before)


def size_of(path) -> tuple[int, int]:
    content = path.read_bytes()
    assert content[:8] == b"\x89PNG\r\n\x1a\n"
    return struct.unpack(">II", content[16:24])


@pytest.mark.parametrize(
    ("names", "targets", "count"),
    [(("a",), ("x",), 1), (tuple("abcd"), ("x", "y"), 8), (tuple("abcdefghi"), ("x", "y"), 12)],
)
def test_one_panel_for_each_sequence_and_target(tmp_path, names, targets, count):
    figure = report.forecast_figure(forecast(names, targets, 5, ends=True))
    assert len(panels(figure)) == count <= MOST_PANELS
    path = report.save_figure(figure, tmp_path / "a.png")
    width, height = size_of(path)
    assert width >= 1000
    assert height == 480 * -(-count // min(count, 3))


@pytest.mark.parametrize("steps", [1, 6])
def test_a_panel_shows_the_numbers(steps):
    found = forecast(("a",), ("x",), steps, ends=True)
    (axes,) = panels(report.forecast_figure(found))
    past, ahead = axes.lines
    np.testing.assert_array_equal(past.get_ydata(), found.before.values[:, 0])
    np.testing.assert_array_equal(ahead.get_ydata()[1:], found.values[0, :, 0])
    assert ahead.get_ydata()[0] == past.get_ydata()[-1]
    for shade, (low, high) in zip(axes.collections, found.ends[:, :, 0, :, 0], strict=True):
        corners = shade.get_paths()[0].get_extents()
        assert corners.width == steps  # from the last value to the last forecast
        assert corners.ymin <= low.min()
        assert corners.ymax >= high.max()


def test_names_in_forecasts_are_drawn_as_text(tmp_path):
    names = ("$x_{$", "[bold]\n\\frac 🎻", "long " * 20)
    figure = report.forecast_figure(forecast(names, ("$",), 2, ends=False))
    report.save_figure(figure, tmp_path / "a.png")
    assert panels(figure)[0].get_title(loc="left") == "$ · $x_{$"


@pytest.mark.parametrize("count", [1, 3, 40, 500])
def test_lanes_are_drawn_in_their_places(tmp_path, count):
    """Every bar against the plan, batch by batch; the picture has a readable size."""
    lanes = Lanes(np.random.default_rng(count).integers(1, 300, count))
    figure = report.lanes_figure(lanes)
    (axes,) = figure.axes
    padding, bars = axes.collections[:2]
    assert len(padding.get_paths()) == lanes.rows
    assert len(bars.get_paths()) == count
    filled = np.zeros((lanes.batches, lanes.rows))
    for path in bars.get_paths():
        box = path.get_extents()
        row = round((box.y0 + box.y1) / 2)
        inside = np.clip(box.x1 - np.arange(lanes.batches), 0, 1)
        filled[:, row] += inside - np.clip(box.x0 - np.arange(lanes.batches), 0, 1)
    expected = lanes.mask.mean(1).reshape(lanes.batches, lanes.rows)
    np.testing.assert_allclose(filled, expected, atol=1e-9)
    width, height = size_of(report.save_figure(figure, tmp_path / "a.png"))
    assert width == 1650
    assert 300 <= height <= 1600


def test_neighbours_in_a_row_differ():
    figure = report.lanes_figure(Lanes(np.arange(5, 300), rows=4))
    _, bars = figure.axes[0].collections[:2]
    places = [path.get_extents() for path in bars.get_paths()]
    for (a, b), (first, second) in zip(
        pairwise(places), pairwise(bars.get_facecolors()), strict=True
    ):
        assert a.y0 != b.y0 or (first != second).any()


def test_numbers_stand_in_their_bars():
    figure = report.lanes_figure(Lanes([30, 20, 10], rows=1, steps=5))
    assert [text.get_text() for text in figure.axes[0].texts] == ["0", "1", "2"]
    assert figure.axes[0].get_xlabel() == "batch"
