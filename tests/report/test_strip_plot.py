"""Strip plots show every score, the mean and its interval."""

import numpy as np
import pytest
from alphabet_outcomes import answered

import legato
from legato.report import _strip_plot


@pytest.mark.parametrize("unit", ["%", "letters", ""])
@pytest.mark.parametrize("groups", [2, 12])
def test_strips_show_the_scores(groups, unit):
    scores = [np.random.default_rng(at).uniform(0, 1, 5).round(1) for at in range(groups)]
    found = answered(scores=scores, unit=unit)
    (axes,) = _strip_plot.strip_panel(found, "a").as_figure().axes
    scale = 100 if unit == "%" else 1
    dots = [line for line in axes.lines if line.get_marker() == "o"]
    means = [line for line in axes.lines if line.get_marker() == "d"]
    bars = [line for line in axes.lines if line.get_marker() == "None" and line.get_lw() > 1]
    for at, each in enumerate(scores):
        mean = legato.interval(each, unit=unit)
        np.testing.assert_allclose(dots[at].get_xdata(), scale * np.sort(each))
        np.testing.assert_allclose(means[at].get_xdata(), [scale * mean.mean])
        np.testing.assert_allclose(bars[at].get_xdata(), [scale * mean.low, scale * mean.high])
        places = np.column_stack([dots[at].get_xdata(), dots[at].get_ydata()])
        assert len({*map(tuple, places)}) == len(each)  # no two points overlap
    assert [text.get_text() for text in axes.texts] == [f"group {at}" for at in range(groups)]
