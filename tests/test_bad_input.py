"""Every invalid input raises one clear error and changes nothing.

Each case has the input, the error's class and a part of its message: the value given, the values
expected, the remedy. After each the model continues from the state it had.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from cells import (
    BY_NAME,
    FEATURES,
    ROWS,
    UNITS,
    assert_same_states,
    inputs,
    predict,
    set_weights,
    spread,
)
from safetensors.numpy import load_file, save_file

import legato
from legato import InputError, OutputError, State, StateError, UnsupportedError, layers

X = inputs(2 * ROWS, seed=4)
y = spread(np.random.default_rng(5), len(X), UNITS)


def changed(array, position, value):
    array = array.copy()
    array[position] = value
    return array


@pytest.fixture(scope="module")
def _model():
    model = legato.Sequential(
        [
            keras.Input((None, FEATURES), name="signal"),
            layers.LSTM(UNITS, stateful=True, name="memory"),
        ]
    )
    model.compile("sgd", "mse")
    set_weights(model)
    model.fit(X, y, ROWS, verbose=0)
    return model


@pytest.fixture
def still():
    """A model that training does not change, with a state of three rows."""
    model = legato.Sequential([keras.Input((None, FEATURES)), layers.LSTM(UNITS, stateful=True)])
    model.compile(keras.optimizers.SGD(0.0), "mse")
    predict(model, inputs(seed=1))
    return model


@pytest.fixture
def model(_model):
    """A model with a state of three rows, which must be unchanged after the test."""
    _model.reset_states()
    predict(_model, inputs(seed=1))
    before, weights = _model.states, _model.get_weights()
    expected = predict(_model, inputs(seed=2))
    _model.states = before
    yield _model
    assert _model.states == before
    for mine, theirs in zip(_model.get_weights(), weights, strict=True):
        np.testing.assert_array_equal(mine, theirs)
    np.testing.assert_array_equal(predict(_model, inputs(seed=2)), expected)


DATA = {
    "two axes": (X[:, 0], y, InputError, r"x has shape \(6, 3\).*'signal' takes \(samples, any, 3"),
    "four axes": (X[:, None], y, InputError, r"4 axes for 3: numpy.reshape\(x, \(samples, time"),
    "features": (X[:, :, :2], y, InputError, r"shape \(6, 6, 2\).*2 features for 3"),
    "lengths": (X, y[:5], InputError, "x has 6, y has 5. Axis 0 is the sample"),
    "empty": (X[:0], y[:0], InputError, "empty: x has no samples"),
    "empty list": ([], [], InputError, "empty: x has no samples"),
    "no time steps": (
        X[:, :0], y, InputError, r"x has shape \(6, 0, 3\): its samples have no time steps",
    ),
    "NaN in x": (
        changed(X, (1, 2, 0), np.nan), y, InputError, r"x\[1, 2, 0\] is nan, and 0 other.*Masking",
    ),
    "inf in y": (X, changed(y, (3, 1), -np.inf), InputError, r"y\[3, 1\] is -inf"),
    "ragged": ([[[1.0]], [[1.0], [2.0]]], y[:2], InputError, "one array.*pad_sequences"),
    "text": ([["a", "b"]], y[:1], InputError, "x holds <U1 values; numbers or.*to_categorical"),
    "objects": (np.array([None, {}]), y[:2], InputError, "x holds object values"),
    "a number": (3.0, y, InputError, "x is a single number"),
    "string": ("abc", y, UnsupportedError, "x is a builtins.str"),
    "nothing": (None, y, UnsupportedError, "x is a builtins.NoneType"),
    "two inputs": ([X, X], y[:2], InputError, r"x has shape \(2, 6, 6, 3\)"),
    "nothing for an input": ([None], y, InputError, "None for .*'signal', which is not optional"),
    "an entry that Keras would mistake": (
        {"signal": X, "noise": X}, y, InputError, "has 1 inputs: signal.*mistake 'noise' for an",
    ),
}  # fmt: skip


@pytest.mark.parametrize("verb", ["fit", "evaluate", "train_on_batch", "test_on_batch"])
@pytest.mark.parametrize("case", DATA)
def test_invalid_data_are_refused(model, case, verb):
    x, target, error, message = DATA[case]
    options = {"verbose": 0} if verb in ("fit", "evaluate") else {}
    with pytest.raises(error, match=message):
        getattr(model, verb)(x, target, **options)


def test_samples_without_time_steps_are_refused_everywhere(model):
    empty, unbuilt = X[:, :0], legato.Sequential([layers.LSTM(UNITS, stateful=True)])
    unbuilt.compile("sgd", "mse")
    for run in (
        lambda: model(empty),
        lambda: model.predict_on_batch(empty),
        lambda: model.predict(iter([(empty,)]), verbose=0),
        lambda: model.fit(iter([(empty, y)]), verbose=0),
        lambda: model.explain(empty),
        lambda: legato.influence(model, empty),
        lambda: unbuilt.fit(empty, y, verbose=0),
        lambda: unbuilt.predict(empty, verbose=0),
    ):
        with pytest.raises(InputError, match="its samples have no time steps"):
            run()


WITH_TARGETS = ("lengths", "inf in y", "nothing for an input")


@pytest.mark.parametrize("case", [case for case in DATA if case not in WITH_TARGETS])
def test_invalid_data_for_predict_are_refused(model, case):
    x, _, error, message = DATA[case]
    with pytest.raises(error, match=message):
        model.predict(x, verbose=0)


OPTIONS = {
    "shuffle": ({"shuffle": True}, InputError, "shuffle=True with a stateful.*stateful=False"),
    "shuffle by word": ({"shuffle": "typo"}, InputError, "shuffle is 'typo'; one of None, False"),
    "validation_freq 0": ({"validation_freq": 0}, InputError, "validation_freq is 0; a whole numb"),
    "validation_freq by word": ({"validation_freq": "2"}, InputError, "validation_freq is '2'"),
    "batch_size 0": ({"batch_size": 0}, InputError, "batch_size is 0; a whole number of at"),
    "batch_size 2.5": ({"batch_size": 2.5}, InputError, "batch_size is 2.5; a whole number"),
    "reset": ({"reset": "sometimes"}, InputError, "reset is 'sometimes'; one of 'epoch', 'batch'"),
    "validation_state": ({"validation_state": "old"}, InputError, "validation_state is 'old'"),
    "two weights": (
        {"class_weight": {0: 2.0}, "sample_weight": np.ones(6)}, InputError, "not both",
    ),
    "class_weight": ({"class_weight": {0: 2.0}, "y": y[:, :, None]}, InputError, "one target"),
    "sample_weight": ({"sample_weight": np.ones(5)}, InputError, "sample_weight has 5"),
    "starts": ({"starts": [True, False]}, InputError, "starts has 2"),
    "starts of numbers": ({"starts": np.arange(6)}, InputError, "one boolean a sample"),
    "validation_split": ({"validation_split": 0.99}, InputError, "validation_split is 0.99"),
    "validation_data": ({"validation_data": X}, InputError, "validation_data is .x, y., "),
    "validation features": (
        {"validation_data": (X[:, :, :2], y)}, InputError, "2 features for 3",
    ),
    "validation without time steps": (
        {"validation_data": (X[:, :0], y)}, InputError, "no time steps",
    ),
    "validation lengths": ({"validation_data": (X, y[:2])}, InputError, "x has 6, y has 2"),
    "validation rows": (
        {"validation_data": (X[:2], y[:2]), "validation_state": "continue"},
        StateError,
        "remembers 3 rows, but this call has 2",
    ),
    "rows": ({"batch_size": 2}, StateError, "remembers 3 rows, but this call has 2.*reset_states"),
    "steps_per_epoch": ({"steps_per_epoch": 0}, InputError, "steps_per_epoch is 0; a whole numb"),
    "validation_steps": ({"validation_steps": "2"}, InputError, "validation_steps is '2'; a whole"),
    "validation_batch_size": (
        {"validation_batch_size": np.ones(2)}, InputError, "validation_batch_size is array",
    ),
    "epochs": ({"epochs": "2"}, InputError, "epochs is '2'; a whole number of at least 0"),
    "initial_epoch": ({"initial_epoch": 0.5}, InputError, "initial_epoch is 0.5; a whole number"),
    "an array for shuffle": ({"shuffle": X[0, 0] > 0}, InputError, "shuffle is array.*one of None"),
    "an array for reset": ({"reset": np.ones(2)}, InputError, "reset is array.*one of 'epoch', 'b"),
    "validation_split by word": (
        {"validation_split": "half"}, InputError, "validation_split is 'half'; a number from 0 to",
    ),
    "an array for validation_split": (
        {"validation_split": np.ones(2)}, InputError, "validation_split is array",
    ),
    "class_weight, a list": (
        {"class_weight": [2.0, 1.0], "y": y[:, 0]}, InputError, "class_weight is .*; a dictionary",
    ),
    "targets": ({"y": y[:, :3]}, (ValueError, TypeError), "shape"),
}  # fmt: skip


@pytest.mark.parametrize("case", OPTIONS)
def test_invalid_arguments_of_fit_are_refused(model, case):
    options, error, message = OPTIONS[case]
    with pytest.raises(error, match=message):
        model.fit(**{"x": X, "y": y, "batch_size": ROWS, "epochs": 2, "verbose": 0} | options)


@pytest.mark.parametrize("verbose", ["typo", None, np.ones(2)], ids=str)
@pytest.mark.parametrize("verb", ["fit", "evaluate", "predict"])
def test_verbose(model, verb, verbose):
    data = (X,) if verb == "predict" else (X, y)
    with pytest.raises(InputError, match=r"verbose is .*; one of 'auto', 0, 1, 2 was expected"):
        getattr(model, verb)(*data, batch_size=ROWS, verbose=verbose)


@pytest.mark.parametrize("value", ["no", np.ones(2), None], ids=str)
@pytest.mark.parametrize("verb", ["evaluate", "predict", "test_on_batch", "predict_on_batch"])
def test_advance(model, verb, value):
    data = (X, y) if verb in ("evaluate", "test_on_batch") else (X,)
    with pytest.raises(InputError, match=r"advance is .*; one of False, True was expected"):
        getattr(model, verb)(*data, advance=value)


@pytest.mark.parametrize("callbacks", ["typo", [3], np.ones(2), [keras.callbacks.History]], ids=str)
@pytest.mark.parametrize("verb", ["fit", "evaluate", "predict"])
def test_callbacks(still, verb, callbacks):
    data = (X,) if verb == "predict" else (X, y)
    with pytest.raises(InputError, match=r"callbacks has .*; objects of keras.callbacks.Callback"):
        getattr(still, verb)(*data, batch_size=ROWS, verbose=0, callbacks=callbacks)


@pytest.mark.parametrize("steps", ["2", 0, 1.5], ids=str)
@pytest.mark.parametrize("verb", ["evaluate", "predict"])
def test_steps(model, verb, steps):
    data = (X,) if verb == "predict" else (X, y)
    with pytest.raises(InputError, match=r"steps is .*; a whole number of at least 1"):
        getattr(model, verb)(*data, batch_size=ROWS, verbose=0, steps=steps)


def batches(*given):
    yield from given


class Neither:
    """Iterable, but of no kind that Keras accepts."""

    def __iter__(self):
        return iter([])


BATCHES = {
    "nan": (lambda: batches((X[:3], y[:3]), (X[:3] * np.nan, y[:3])), {}, "Batch 1 .*x.* is nan"),
    "shape": (lambda: batches((X[:3, :, :1], y[:3])), {}, "Batch 0 .*1 features"),
    "none": (batches, {}, "generator, and Keras makes no batches.*at least one batch"),
    "no tuples": (lambda: batches(X[:3]), {}, "must return a tuple"),
    "what is it": (Neither, {}, "Neither, and Keras makes no batches of it"),
    "y": (lambda: batches((X[:3], y[:3])), {"y": y}, "y, sample_weight and starts go with arrays"),
    "starts": (lambda: batches((X[:3], y[:3])), {"starts": [1]}, "go with arrays only"),
    "split": (lambda: batches((X[:3], y[:3])), {"validation_split": 0.5}, "validation_split cuts"),
}  # fmt: skip


@pytest.mark.parametrize("case", BATCHES)
def test_invalid_batches_are_refused(still, case):
    make, options, message = BATCHES[case]
    before = still.states
    with pytest.raises(ValueError, match=message):
        still.fit(make(), verbose=0, **options)
    assert still.states == before


def test_a_batch_of_more_rows_than_the_state_is_refused(still):
    before = still.states
    with pytest.raises(StateError, match=r"remembers 3 rows, but this call has 6"):
        still.fit(batches((X[:3], y[:3]), (X, y)), verbose=0)
    reached = still.states  # after the batch before it
    still.states = before
    predict(still, X[:3])
    assert_same_states(reached, still.states, BY_NAME["LSTM"])


def test_invalid_single_batches_are_refused(model):
    with pytest.raises(UnsupportedError, match=r"builtins\.generator\. Arrays were expected"):
        model.train_on_batch(batches((X, y)))


def test_starts_and_steps_per_epoch_do_not_go_together(model):
    with pytest.raises(InputError, match=r"steps_per_epoch=1 cuts epochs.*leave out one"):
        model.fit(X, y, ROWS, verbose=0, steps_per_epoch=1, starts=np.ones(len(X)))


def test_an_error_in_the_first_batch_leaves_no_state():
    model = legato.Sequential([layers.LSTM(UNITS, stateful=True)])
    model.compile("sgd", "mse")
    with pytest.raises((ValueError, TypeError), match="shape"):
        model.fit(X, y[:, :3], ROWS, verbose=0)
    model.fit(X[:2], y[:2], 2, verbose=0)
    assert model.states.rows == 2


def test_an_unbuilt_model_names_the_input_of_its_first_layer():
    model = legato.Sequential([layers.LSTM(UNITS, stateful=True)])
    with pytest.raises(InputError, match=r"x has shape \(6, 3\): 2 axes, but layer 'lstm.*takes 3"):
        model.predict(X[:, 0], verbose=0)
    model.predict(X, verbose=0)


def test_only_layers_are_added():
    with pytest.raises((InputError, ValueError), match=r"[Ll]ayer"):
        legato.Sequential([layers.LSTM(UNITS), "Dense"])


def test_an_uncompiled_model_is_refused():
    with pytest.raises(ValueError, match="compile"):
        legato.Sequential([layers.LSTM(UNITS)]).fit(X, y)


# States.


def test_rows_outside_the_state_are_refused_by_the_model(model):
    for rows, said in (([3], "Row 3 cannot be reset: the model remembers 3"), ([-1], "Row -1")):
        with pytest.raises(StateError, match=said):
            model.reset_states(rows)
    with pytest.raises(StateError, match="A mask of 2 rows was given, and the model remembers 3"):
        model.reset_states([True, False])
    with pytest.raises(InputError, match=r"indices or a boolean mask; 0\.5 came"):
        model.reset_states(0.5)


@pytest.mark.parametrize("rows", [[3], [0, -4], [0.5], [True, False]], ids=str)
def test_rows_outside_the_state_are_refused_by_the_state(model, rows):
    with pytest.raises(StateError, match="3"):
        model.states.select(rows)


def other_state(**options) -> State:
    other = legato.Sequential([keras.Input((None, FEATURES)), layers.LSTM(**options)])
    predict(other, inputs())
    return other.states


def test_the_state_of_another_model_is_refused(model):
    cases = {
        "another model's: it has layers": other_state(units=UNITS, stateful=True, name="other"),
        r"does not fit: it has float32 \(5,\) .*keeps float32 \(4,\)": other_state(
            units=5, stateful=True, name="memory"
        ),
        r"it has int32 \(4,\) and int32": State({"memory": [np.ones((ROWS, UNITS), "int32")] * 2}),
        r"it has float32 \(4,\) a row": State({"memory": [np.ones((ROWS, UNITS), "float32")]}),
        "A legato.State was expected, and .*[dD]ict came": {"memory": np.ones((ROWS, UNITS))},
        "A legato.State was expected, and NoneType came": None,
    }
    for said, state in cases.items():
        with pytest.raises(StateError, match=said):
            model.states = state


def test_an_inconsistent_state_is_refused(model):
    with pytest.raises(StateError, match=r"one number of rows.*Axis 0 of every array is the row"):
        State({"memory": [np.ones((2, UNITS)), np.ones((3, UNITS))]})
    with pytest.raises(StateError, match="row"):
        State({"memory": [np.ones((2, UNITS))]}, {"memory": np.ones(3, bool)})
    with pytest.raises(StateError, match="nothing to stack"):
        State.stack([])
    with pytest.raises(StateError, match="states of one model"):
        State.stack([model.states, State({"other": [np.ones((2, UNITS))]})])


def test_saving_states_to_a_missing_folder_is_an_error(model, tmp_path):
    with pytest.raises(OutputError, match=r"a\.state cannot be written .*folder that exists"):
        model.save_states(tmp_path / "missing" / "a.state")
    (tmp_path / "taken").mkdir()
    with pytest.raises(OSError, match="taken"):
        model.save_states(tmp_path / "taken")
    assert [path.name for path in tmp_path.iterdir()] == ["taken"]  # nothing half-written


def saved(model, path: Path) -> bytes:
    model.save_states(path)
    return path.read_bytes()


def header_and_data(content: bytes) -> tuple[dict, bytes]:
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def with_header(header: dict, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def damaged(content: bytes, how: str) -> bytes:
    """A state file's bytes, damaged in one of the ways of ``DAMAGE``."""
    header, data = header_and_data(content)
    named = header["__metadata__"]
    shape = [ROWS, UNITS + 1]
    renamed = {"memory:fresh": "memory:stale"}
    return {
        "truncated": content[:-7],
        "cut in its header": content[:20],
        "empty": b"",
        "text": b"not a state at all, but a note",
        "lengthened": content + b"more",
        "of another shape": with_header(
            header | {"memory:0": header["memory:0"] | {"shape": shape}}, data
        ),
        "foreign": with_header(header | {"__metadata__": {"made": "elsewhere"}}, data),
        "without names": with_header(header | {"__metadata__": {"format": named["format"]}}, data),
        "without flags": with_header({renamed.get(k, k): v for k, v in header.items()}, data),
        "altered values": content[:-40] + bytes(8) + content[-32:],
    }[how]


DAMAGE = {
    "truncated": "not a whole state file",
    "cut in its header": "not a whole state file",
    "empty": "not a whole state file",
    "text": "not a whole state file",
    "lengthened": "not a whole state file",
    "of another shape": "not a whole state file",
    "foreign": "not a state that legato wrote",
    "without names": "state",
    "without flags": "state",
    "altered values": "altered",
}


@pytest.mark.parametrize("how", DAMAGE)
def test_damaged_state_files_are_refused(model, tmp_path, how):
    path = tmp_path / "a.state"
    path.write_bytes(damaged(saved(model, path), how))
    with pytest.raises(StateError, match=DAMAGE[how]):
        model.load_states(path)


def test_missing_state_files_are_errors(model, tmp_path):
    with pytest.raises(StateError, match="no state file"):
        model.load_states(tmp_path / "missing.state")
    with pytest.raises(StateError, match="state file"):
        model.load_states(tmp_path)


def test_a_state_file_of_another_model_is_refused(model, tmp_path):
    path = tmp_path / "a.state"
    saved(model, path)
    tensors = load_file(path)
    save_file(tensors, path)
    with pytest.raises(StateError, match="not a state that legato wrote: its format is None"):
        model.load_states(path)
    other_state(units=5, stateful=True, name="memory").save(path)
    with pytest.raises(StateError, match="does not fit"):
        model.load_states(path)


def test_loading_states_into_an_unbuilt_model_is_refused(model):
    unbuilt = legato.Sequential([layers.LSTM(UNITS, stateful=True, name="memory")])
    with pytest.raises(StateError, match="build"):
        unbuilt.states = model.states


# Another backend.


REFUSED_TWICE = """
import traceback
import keras
try:
    from legato import Sequential
except Exception:
    traceback.print_exc()
import legato
"""


def test_backends_other_than_jax_are_refused():
    done = subprocess.run(
        [sys.executable, "-c", REFUSED_TWICE],
        env={
            **os.environ,
            "KERAS_BACKEND": "numpy",
            "PYTHONPATH": str(Path(legato.__file__).parents[1]),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    lines = done.stderr.strip().splitlines()
    errors = [line for line in lines if line.startswith("legato._errors.BackendError: ")]
    assert len(errors) == 2
    assert lines[-1] == errors[1]
    for each in errors:
        assert "Keras is already running on 'numpy'" in each
        assert "Import legato before keras" in each
