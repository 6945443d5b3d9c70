"""Learning curves of the networks."""

import numpy as np

from legato.report import _network_figures


def test_curves_are_the_median_and_all_seeds(outcomes):
    runs = outcomes[:3]
    above, below = _network_figures.learning_panel(runs).as_figure().axes
    for axes, name, scale in ((above, "loss", 1), (below, "accuracy", 100)):
        values = scale * np.array([run.history[name] for run in runs])
        at = _network_figures.shown_epochs(values.shape[1])
        assert (at[0], at[-1], len(at)) == (0, 300, _network_figures.MAX_EPOCHS)
        np.testing.assert_array_equal(axes.lines[0].get_xdata(), at + 1)
        np.testing.assert_array_equal(axes.lines[0].get_ydata(), np.median(values, axis=0)[at])
        band = np.asarray(axes.collections[0].get_paths()[0].vertices)[:, 1].tolist()
        assert {*values.min(axis=0)[at], *values.max(axis=0)[at]} == {*band}
    assert below.lines[1].get_ydata()[0] == 100 * runs[0].network.published_accuracy
