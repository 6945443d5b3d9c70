"""Figures of lanes: every sequence is a bar in its place."""

from itertools import pairwise

import numpy as np
import pytest
from png_files import png_size

from legato import Lanes, report


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
    width, height = png_size(report.save_figure(figure, tmp_path / "a.png"))
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
