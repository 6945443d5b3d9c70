"""Networks for tasks: raw numbers in and out, against a few lines of NumPy.

The oracle goes one step at a time: quantities are scaled, categories become flags, a simple
recurrent cell runs over every step without padding, and its output is added to the last value.
"""

import numpy as np
import pytest
from cells import set_weights

from legato import Column, InputError
from legato._forecasting.network import MAX_ONE_HOT, Shape, build_networks
from legato._forecasting.task import Task

RNG = np.random.default_rng(5)
STEPS = 40
WEATHER = Column("weather", ("dry", "wet", "wild"), (2.0, 3.0, 7.0))
LETTERS = Column("character", ("!", "a", "é", "😀"), (33.0, 97.0, 233.0, 128512.0))
MANY = Column("item", tuple(map(str, range(100))), tuple(map(float, range(100))))
A, B = Column("a"), Column("b")

TASKS = {
    "forecast": Task("forecast", (A, WEATHER, B), (B, A), 2),
    "classify": Task("classify", (A, B), (WEATHER,), 0),
    "characters": Task("generate", (LETTERS,), (LETTERS,), 1),
    "many": Task("generate", (MANY,), (MANY,), 1),
}
SHAPES = {
    "chunks": Shape("simple", 3),
    "two layers": Shape("simple", 3, layers=2),
    "stateless chunks": Shape("simple", 3, stateful=False),
    "window": Shape("simple", 3, stateful=False, framing="window", steps=4),
    "features": Shape("simple", 3, stateful=False, framing="features", steps=4),
    "prefix": Shape("simple", 3, stateful=False, framing="prefix", steps=4),
}


def drawn(task: Task, steps: int = STEPS) -> np.ndarray:
    """Random inputs of a task, (steps, inputs), with categories from its vocabulary."""
    columns = [
        RNG.normal(50, 3, steps) if each.numbers is None else RNG.choice(each.numbers, steps)
        for each in task.inputs
    ]
    return np.stack(columns, axis=1).astype("float32")


def made(task: Task, shape: Shape):
    """Networks with weights that all differ, the values they were fitted on, and the changes."""
    values = drawn(task)
    changes = None
    if task.kind == "forecast":
        changes = RNG.normal(1, 2, (STEPS, task.horizon * len(task.targets)))
    networks = build_networks(task, shape, values, changes)
    fitted = {
        each.name: each.get_weights()
        for each in networks.model.layers
        if each.name in ("scaling", "change")
    }
    set_weights(networks.core)
    for name, weights in fitted.items():  # not trained
        networks.model.get_layer(name).set_weights(weights)
    return networks, values, changes


def features_by_hand(task: Task, values: np.ndarray, x: np.ndarray, points) -> np.ndarray:
    """(inputs of one step,) → its features."""
    parts = []
    for at, column in enumerate(task.inputs):
        if column.numbers is None:
            fit = values[:, at].astype("float64")
            parts.append([(x[at] - fit.mean()) / fit.std()])
    for at, column in enumerate(task.inputs):
        if column.numbers is not None:
            place = column.numbers.index(x[at])
            flags = [float(place == each) for each in range(len(column.numbers))]
            parts.append(flags if points is None else points[place + 1])
    return np.concatenate(parts)


def by_hand(networks, task: Task, shape: Shape, values, changes, x: np.ndarray) -> np.ndarray:
    """Outputs for one sequence (time steps, inputs): at every step, or at the last."""
    cells = [each.get_weights() for each in networks.model.layers if "simple" in each.name]
    named = {each.name: each.get_weights() for each in networks.model.layers}
    points = named.get("vocabulary_0_points", [None])[0]
    kernel, bias = named["scaled" if task.kind == "forecast" else "labels"]
    states, outputs = [np.zeros(shape.units) for _ in cells], []
    steps = [
        None if (step == networks.pad).all() else features_by_hand(task, values, step, points)
        for step in x
    ]
    if shape.framing == "features":
        steps = [np.concatenate(steps)]
    answer = np.zeros(kernel.shape[1])
    for at, step in enumerate(steps):
        if step is not None:
            below = step
            for level, (W, U, b) in enumerate(cells):
                states[level] = below = np.tanh(below @ W + states[level] @ U + b)
            answer = below @ kernel + bias
        if task.kind == "forecast":
            last = x[-1 if shape.framing == "features" else at]
            names = [column.name for column in task.inputs]
            wanted = [last[names.index(each.name)] for each in task.targets] * task.horizon
            outputs.append(wanted + changes.mean(0) + changes.std(0) * answer)
        else:
            outputs.append(np.exp(answer) / np.exp(answer).sum())
    return np.array(outputs) if shape.at_every_step else outputs[-1]


CASES = [
    *(("forecast", name) for name in SHAPES),
    ("classify", "chunks"),
    ("classify", "prefix"),
    ("characters", "chunks"),
    ("many", "chunks"),
]


@pytest.mark.parametrize(("kind", "name"), CASES)
def test_a_network_computes_what_a_few_lines_of_numpy_do(kind, name):
    task, shape = TASKS[kind], SHAPES[name]
    networks, values, changes = made(task, shape)
    rows = np.stack([drawn(task, 4) for _ in range(3)])
    if name == "prefix":
        rows[0, :3] = rows[1, :1] = networks.pad
    expected = [by_hand(networks, task, shape, values, changes, row) for row in rows]
    came = networks.model.predict(rows, verbose=0)
    np.testing.assert_allclose(came, expected, rtol=2e-5, atol=1e-5)
    inside = {each.name for each in networks.model.layers}
    assert any(name.endswith("_points") for name in inside) == (kind == "many")
    assert len(MANY.numbers) > MAX_ONE_HOT


@pytest.mark.parametrize("kind", ["forecast", "characters"])
def test_padding_keeps_the_state_and_changes_no_output(kind):
    task, shape = TASKS[kind], SHAPES["chunks"]
    networks, values, changes = made(task, shape)
    model, pad = networks.model, networks.pad
    rows = np.stack([drawn(task, 5) for _ in range(2)])
    whole = model.predict(rows, verbose=0)
    model.reset_states()
    short = rows[:, :3].copy()
    padded = np.concatenate([short, np.full((2, 4, rows.shape[2]), pad, "float32")], axis=1)
    came = model.predict(padded, verbose=0)
    np.testing.assert_allclose(came[:, :3], whole[:, :3], 1e-6, 1e-6)
    rest = model.predict(rows[:, 3:], verbose=0)
    np.testing.assert_allclose(rest, whole[:, 3:], 1e-6, 1e-6)
    expected = by_hand(networks, task, shape, values, changes, rows[0])
    np.testing.assert_allclose(whole[0], expected, rtol=2e-5)


@pytest.mark.parametrize("name", ["chunks", "window", "features"])
def test_a_network_whose_last_layer_is_zero_is_persistence_plus_the_mean_change(name):
    task, shape = TASKS["forecast"], SHAPES[name]
    networks, _, changes = made(task, shape)
    dense = networks.model.get_layer("scaled")
    dense.set_weights([0 * each for each in dense.get_weights()])
    rows = np.stack([drawn(task, 4) for _ in range(3)])
    last = rows if shape.at_every_step else rows[:, -1]
    expected = np.tile(last[..., [2, 0]], task.horizon) + changes.mean(0)
    np.testing.assert_allclose(networks.model.predict(rows, verbose=0), expected, rtol=1e-6)


def test_outputs_are_trained_in_standard_deviations_of_the_changes():
    task = TASKS["forecast"]
    networks, _, changes = made(task, SHAPES["chunks"])
    rows = drawn(task, 4)[None]
    assert networks.scale is not None
    mean, spread = networks.scale
    np.testing.assert_allclose(mean, changes.mean(0))
    np.testing.assert_allclose(spread, changes.std(0))
    scaled = networks.core.predict(rows, verbose=0)
    networks.model.reset_states()
    came = networks.model.predict(rows, verbose=0)
    expected = np.tile(rows[..., [2, 0]], 2) + mean + spread * scaled
    np.testing.assert_allclose(came, expected, rtol=1e-6)


@pytest.mark.parametrize("values", [[[0.0]], [[-5.0, 3e6]], [[1e9], [1.1e9]], [[-4e7], [-4e7]]])
def test_padding_is_a_number_absent_from_the_data(values):
    values = np.array(values, "float32")
    columns = tuple(Column(str(at)) for at in range(values.shape[1]))
    task = Task("forecast", columns, columns, 1)
    pad = build_networks(task, SHAPES["chunks"], values, np.ones((2, values.shape[1]))).pad
    assert pad == np.float32(pad)
    assert (np.float32(pad) < values).all()


def test_changes_of_rounding_size_are_not_scaled_up():
    ramp = np.linspace(0, 600, 41)
    task = Task("forecast", (A,), (A,), 1)
    values = ramp[:-1, None].astype("float32")
    networks = build_networks(task, SHAPES["chunks"], values, ramp[1:, None] - values)
    came = networks.model.predict(values[None], verbose=0)
    np.testing.assert_allclose(came[0, :, 0], ramp[1:], rtol=1e-4)


# What is refused.


@pytest.mark.parametrize(
    ("factor", "message"),
    [
        (1e-9, r"'b' varies by .*e-09, and from 1e-07 to 1e\+18 was expected\. Multiply it by"),
        (1e19, r"'b' varies by .*e\+19, and .* Divide it by a power of ten: another unit"),
    ],
)
def test_quantities_that_cannot_be_scaled_are_refused(factor, message):
    values = drawn(TASKS["classify"]) * np.array([1, factor], "float32")
    with pytest.raises(InputError, match=message):
        build_networks(TASKS["classify"], SHAPES["chunks"], values, None)
