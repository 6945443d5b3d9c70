"""Figures of traces show every number of the trace at its step."""

import io
from itertools import pairwise

import numpy as np
import pytest
from cells import CELLS, FEATURES, inputs, ready
from hypothesis import given, settings
from hypothesis import strategies as st
from png_files import png_size
from rich.console import Console

import legato
from legato import InputError, State, Trace, layers, report
from legato.report import _trace_figure

STREAMED = [cell for cell in CELLS if cell.carried is None]


def made(states: dict[str, list[np.ndarray]], starts=()) -> Trace:
    """A trace of these states from zero, reset before some steps."""
    steps = len(next(iter(states.values()))[0])
    blank = State({path: [0 * part[:1] for part in parts] for path, parts in states.items()})
    flags = np.isin(np.arange(steps), starts)
    return Trace(np.zeros((steps, 1)), State(states), blank, blank, flags)


def numbers(rng, steps: int, *shape: int) -> np.ndarray:
    return rng.normal(size=(steps, *shape)).astype("float32")


def maps(figure) -> list:
    return [axes for axes in figure.axes if axes.images]


def curves(figure) -> list:
    return [axes for axes in figure.axes if axes.lines]


def titles(axes: list) -> list[str]:
    return [each.get_title(loc="left") for each in axes]


def legend(figure) -> list[str]:
    return [text.get_text() for text in figure.legends[0].get_texts()]


def printed(trace: Trace, width: int = 100) -> list[str]:
    console = Console(file=io.StringIO(), width=width, highlight=False)
    report.print_trace(trace, console)
    return console.file.getvalue().splitlines()


def saved(figure, path) -> tuple[int, int]:
    """The width and height of its picture."""
    return png_size(report.save_figure(figure, path))


# The figure.


@pytest.mark.quick_cases(6)
@pytest.mark.parametrize("cell", STREAMED, ids=lambda cell: cell.name)
def test_every_number_of_every_state_is_shown(cell):
    starts = np.array([False, True, False, False, True, False])
    trace = ready(cell).stream().trace(inputs(1)[0], starts=starts)
    figure = report.trace_figure(trace)
    parts = [np.asarray(part, "float32") for each in trace.states.values() for part in each]
    assert len(maps(figure)) == len(parts)
    for axes, part in zip(maps(figure), parts, strict=True):
        (image,) = axes.images
        np.testing.assert_array_equal(image.get_array(), part.reshape(len(part), -1).T)
        low, high = image.get_clim()
        assert -low == high == np.abs(part).max()
    for axes, expected in zip(curves(figure), (trace.norms, trace.changes), strict=True):
        assert len(axes.lines) == len(expected)
        for line, values in zip(axes.lines, expected.values(), strict=True):
            np.testing.assert_array_equal(line.get_ydata(), values)
    assert curves(figure)[-1].get_xlabel() == "time step"


def test_resets_are_marked_through_all_panels(rng):
    trace = made({"lstm": [numbers(rng, 9, 2), numbers(rng, 9, 2)]}, starts=[0, 4])
    figure = report.trace_figure(trace, "two sequences")
    panels = maps(figure) + curves(figure)
    assert len(panels) == 4
    for axes in panels:
        (marks,) = axes.collections
        places = [path.vertices.tolist() for path in marks.get_paths()]
        assert places == [[[-0.5, 0], [-0.5, 1]], [[3.5, 0], [3.5, 1]]]
    assert legend(figure) == ["lstm h", "lstm c", "reset"]
    assert figure.get_suptitle() == "two sequences"
    assert legend(report.trace_figure(made({"gru": [numbers(rng, 9, 2)]}))) == ["gru h"]


def test_states_have_their_names(rng):
    states = {
        "block/lstm_1": [numbers(rng, 3, 1), numbers(rng, 3, 1)],
        "conv": [numbers(rng, 3, 4, 5, 2)],
        "stacked": [numbers(rng, 3, 2) for _ in range(3)],
    }
    trace = made(states)
    assert titles(maps(report.trace_figure(trace))) == [
        "block/lstm_1 h · 1 unit",
        "block/lstm_1 c · 1 unit",
        "conv h · 4×5×2, 40 units",
        "stacked 0 · 2 units",
        "stacked 1 · 2 units",
        "stacked 2 · 2 units",
    ]
    names = [line.rsplit(maxsplit=6)[0] for line in printed(trace)[2:]]
    assert names == [
        "block/lstm_1 h",
        "block/lstm_1 c",
        "conv h",
        *(f"stacked {at}" for at in "012"),
    ]


@given(st.integers(1, 40), st.integers(1, 12), st.integers(1, 12), st.integers(0, 99))
@settings(deadline=None)
def test_of_too_many_values_the_largest_are_shown(count, others, most, seed):
    """Against a loop: the value of largest size in each of that many stretches of all values."""
    values = np.random.default_rng(seed).integers(-9, 10, (others, count)).astype(float)
    thinned = _trace_figure._downsample(values, 1, most)
    assert thinned.shape == (others, min(count, most))
    cuts = [at * count // min(count, most) for at in range(min(count, most) + 1)]
    for row, shown in zip(values, thinned, strict=True):
        for value, (begin, end) in zip(shown, pairwise(cuts), strict=True):
            assert value in row[begin:end]
            assert abs(value) == abs(row[begin:end]).max()


def test_panels_share_the_time_axis(rng):
    """Also with more steps and units than dots: every panel spans the same steps."""
    trace = made({"gru": [numbers(rng, 3001, 700)], "rnn": [numbers(rng, 3001, 5)]})
    figure = report.trace_figure(trace)
    figure.draw_without_rendering()
    panels = maps(figure) + curves(figure)
    sides = np.array([axes.get_position().intervalx for axes in panels])
    np.testing.assert_allclose(sides, np.broadcast_to(sides[0], sides.shape), atol=1e-6)
    assert {axes.get_xlim() for axes in panels} == {(-0.5, 3000.5)}
    many, few = (axes.images[0] for axes in maps(figure))
    assert many.get_array().shape == (240, 1500)
    assert few.get_array().shape == (5, 1500)
    assert many.get_extent() == [-0.5, 3000.5, 699.5, -0.5]


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("count", [1, 2, 6, 12])  # the panels of 12 have the least height
def test_no_elements_overlap(rng, tmp_path, count):
    names = [f"encoder/a_layer_of_some_name_{at}" for at in range(count)]
    trace = made({name: [numbers(rng, 30, 50)] * 2 for name in names}, starts=[10])
    figure = report.trace_figure(trace, "several layers")
    figure.set_dpi(150)  # as it is saved, so that the panels lie where they were drawn
    width, height = saved(figure, tmp_path / "a.png")
    assert width == 1650
    assert 700 <= height <= 5500
    boxes = [axes.get_tightbbox() for axes in maps(figure) + curves(figure)]
    boxes.append(figure.legends[0].get_window_extent())
    for above, below in pairwise(boxes):
        assert above.y0 >= below.y1
    for box in boxes:
        assert 0 <= box.x0 < box.x1 <= figure.bbox.x1


def test_names_in_traces_are_drawn_as_text(rng, tmp_path):
    figure = report.trace_figure(made({"_$x_{$\n": [numbers(rng, 3, 2)]}), "$_{ [b]")
    saved(figure, tmp_path / "a.png")
    assert titles(maps(figure)) == ["_$x_{$\\n h · 2 units"]
    assert legend(figure) == ["_$x_{$\\n h"]


# Special cases.


def test_no_steps_are_refused():
    model = legato.Sequential([layers.Input((None, FEATURES)), layers.GRU(2)])
    trace = model.stream().trace(np.zeros((0, FEATURES)))
    for show in (report.trace_figure, report.print_trace):
        with pytest.raises(InputError, match=r"The trace has 0 steps.*trace one step or more\."):
            show(trace)


@pytest.mark.parametrize(
    "values", [[[0.3, -0.2]], [[0.0, 0.0]] * 4, [[2.0, 2.0]] * 4, [[3e38, -3e38], [-3e38, 3e38]]]
)
def test_one_step_and_constant_states(tmp_path, values):
    figure = report.trace_figure(made({"gru": [np.array(values, "float32")]}))
    saved(figure, tmp_path / "a.png")
    (image,) = maps(figure)[0].images
    np.testing.assert_array_equal(image.get_array(), np.array(values, "float32").T)
    low, high = image.get_clim()
    assert low < 0 < high


def test_an_explosion_is_shown_on_a_logarithmic_scale(tmp_path):
    """Infinite values are grey; nothing warns."""
    with np.errstate(over="ignore"):
        states = np.multiply.outer(2.0 ** np.arange(140), [1, -1]).astype("float32")
    trace = made({"rnn": [states]})
    np.testing.assert_allclose(trace.norms["rnn:0"][:128], 2.0 ** np.arange(128))
    figure = report.trace_figure(trace)
    saved(figure, tmp_path / "a.png")
    shown = maps(figure)[0].images[0].get_array()
    np.testing.assert_array_equal(np.ma.getmaskarray(shown), ~np.isfinite(states).T)
    assert [axes.get_yscale() for axes in curves(figure)] == ["log", "log"]
    assert "inf" in printed(trace)[-1]


def test_the_title_of_a_window_says_that_it_carries_no_state(tmp_path):
    model = legato.Sequential([layers.Input((3, 1)), layers.GRU(2, name="window")])
    windowed = model.stream().trace(np.ones((5, 1)))
    figure = report.trace_figure(windowed, "a window")
    assert not maps(figure)
    said = "A stream that sees windows carries its last inputs, and no state"
    assert figure.axes[0].texts[0].get_text().startswith(said)
    assert printed(windowed)[0].startswith(said)
    saved(figure, tmp_path / "a.png")
    carried = model.stream(window=None).trace(np.ones((5, 1)))
    assert titles(maps(report.trace_figure(carried))) == ["window h · 2 units"]


# The table of norms.


def test_one_line_of_norms_for_each_state(rng):
    h, c = numbers(rng, 26, 8), 5 * numbers(rng, 26, 8)
    h[9:, :6] = 0.99
    trace = made({"lstm": [h, c]}, starts=[13])
    lines = printed(trace)
    assert lines[0] == "Norms over 26 steps, 1 reset"
    for line, at in zip(lines[2:], ("lstm:0", "lstm:1"), strict=True):
        shown = [float(each) for each in line.split()[2:7]]
        norms, changes = trace.norms[at], trace.changes[at]
        expected = [
            norms[0],
            norms.max(),
            norms[-1],
            changes[-1],
            100 * trace.saturated()[at].mean(),
        ]
        np.testing.assert_allclose(shown, expected, rtol=0.02)
