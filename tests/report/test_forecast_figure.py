"""Figures of forecasts show the numbers, one panel for each sequence and target."""

import numpy as np
import pytest
from png_files import png_size

from legato import Column, Forecast, Sequences, report
from legato.report._forecast_figure import MAX_PANELS


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


@pytest.mark.parametrize(
    ("names", "targets", "count"),
    [(("a",), ("x",), 1), (tuple("abcd"), ("x", "y"), 8), (tuple("abcdefghi"), ("x", "y"), 12)],
)
def test_one_panel_for_each_sequence_and_target(tmp_path, names, targets, count):
    figure = report.forecast_figure(forecast(names, targets, 5, ends=True))
    assert len(panels(figure)) == count <= MAX_PANELS
    path = report.save_figure(figure, tmp_path / "a.png")
    width, height = png_size(path)
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
