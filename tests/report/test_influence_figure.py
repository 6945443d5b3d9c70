"""Figures of influence show its numbers, and mark exact zeros."""

import numpy as np
import pytest
from png_files import png_size

import legato
from legato import report


def made(matrix, names=None) -> legato.Influence:
    rows, columns = matrix.shape
    columns = names or [str(at) for at in range(columns)]
    return legato.Influence(matrix, tuple(columns[:rows]), tuple(columns))


def decaying(count: int, by: float = 0.5) -> np.ndarray:
    back = np.subtract.outer(np.arange(count), np.arange(count))
    return np.where(back < 0, 0.0, by ** np.maximum(back, 0))


def picture(figure):
    return figure.axes[0].images[0]


def texts_of(figure) -> list[str]:
    return [text.get_text() for legend in figure.legends for text in legend.get_texts()]


def test_every_number_is_a_dot_and_zeros_are_masked():
    matrix = decaying(26)
    figure = report.influence_figure(made(matrix), "letters")
    shown = picture(figure).get_array()
    np.testing.assert_array_equal(shown.filled(0), matrix)
    np.testing.assert_array_equal(np.ma.getmaskarray(shown), matrix == 0)
    assert picture(figure).get_clim() == (2.0**-25, 1.0)
    assert picture(figure).get_extent() == [-0.5, 25.5, 25.5, -0.5]
    assert texts_of(figure) == ["exactly 0: no influence"]
    assert figure.get_suptitle() == "letters"


def test_no_zero_is_mentioned_where_there_is_none():
    assert texts_of(report.influence_figure(made(np.ones((3, 3))))) == []


def test_small_maps_show_their_numbers():
    figure = report.influence_figure(made(decaying(3)))
    numbers = [text.get_text() for text in figure.axes[0].texts]
    assert numbers == ["1", "0", "0", "0.5", "1", "0", "0.25", "0.5", "1"]
    assert not report.influence_figure(made(decaying(10))).axes[0].texts


def test_the_scale_has_twelve_decades_at_most():
    low, high = picture(report.influence_figure(made(decaying(50, 0.1)))).get_clim()
    assert (low, high) == (pytest.approx(1e-12), 1.0)


@pytest.mark.parametrize("matrix", [np.zeros((4, 4)), np.full((2, 2), 3.0)])
def test_a_map_without_differences_is_drawn(matrix, tmp_path):
    report.save_figure(report.influence_figure(made(matrix)), tmp_path / "map.png")


def test_a_dot_of_many_is_the_largest_of_a_few(tmp_path):
    matrix = decaying(2_001, 0.99)
    figure = report.influence_figure(made(matrix))
    shown = picture(figure).get_array().filled(0)
    assert shown.shape == (1_000, 1_000)
    assert shown[-1, 0] == matrix[1_998:, :2].max()
    assert "each dot is the largest of several values" in texts_of(figure)
    assert max(png_size(report.save_figure(figure, tmp_path / "map.png"))) < 2_000


def test_axes_carry_the_names_as_they_are(tmp_path):
    names = ["$x$", "[b]", "a name that is long", "d"]
    figure = report.influence_figure(made(decaying(4), names))
    report.save_figure(figure, tmp_path / "map.png")
    axes = figure.axes[0]
    for axis in (axes.xaxis, axes.yaxis):
        shown = [text.get_text() for text in axis.get_ticklabels() if text.get_text()]
        assert [*shown[:2], shown[3]] == ["$x$", "[b]", "d"]
        assert shown[2].startswith("a na")
        assert not any(text.get_parse_math() for text in axis.get_ticklabels())
    wide = made(np.ones((2, 14)), [f"{at // 7}:{at % 7}" for at in range(14)])
    figure = report.influence_figure(wide)
    assert figure.get_figwidth() > 2 * figure.get_figheight()
