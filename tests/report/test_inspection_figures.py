"""Maps of predictions, influence and states show the numbers."""

import numpy as np

from legato.report import _inspection_figures, _network_figures


def test_maps_show_the_numbers(outcomes, inspections):
    (axes,) = _network_figures.predictions_panel(outcomes[3:6]).as_figure().axes
    shown = axes.images[0].get_array()
    np.testing.assert_array_equal(shown.filled(np.nan), outcomes[3].probabilities)
    ends = _inspection_figures.common_scale(inspections)
    matrices = [inspection.influence.matrix for inspection in inspections]
    smallest = min(each[each > 0].min() for each in matrices)
    assert ends[0] <= smallest
    assert ends[1] >= max(each.max() for each in matrices)
    for inspection, matrix in zip(inspections, matrices, strict=True):
        (axes,) = _inspection_figures.influence_panel(inspection, ends, "").as_figure().axes
        shown = axes.images[0].get_array()
        np.testing.assert_array_equal(shown.filled(0), matrix)
        np.testing.assert_array_equal(np.ma.getmaskarray(shown), matrix == 0)
        assert axes.images[0].get_clim() == ends
        order = _inspection_figures.units_by_rise(inspection)
        assert sorted(order) == list(range(inspection.network.units))
        for axes, values in zip(
            _inspection_figures.states_panel(inspection, "").as_figure().axes,
            inspection.held.values(),
            strict=True,
        ):
            np.testing.assert_array_equal(axes.images[0].get_array(), values[:, order].T)
