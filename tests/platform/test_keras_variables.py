"""What legato does with the values of Keras's variables works with this Keras."""

import threading

import keras
import numpy as np
import pytest

import legato
from legato import layers
from legato._platform import keras_variables
from legato._recurrent.layer_memory import StateVariable


@pytest.mark.parametrize("shape", [(0, 3), (2, 3), (5, 3)])
def test_a_variable_can_be_given_another_number_of_rows(shape):
    variable = StateVariable(np.zeros((1, 3)), trainable=False, dtype="float32")
    variable.set_value(np.full(shape, 2.0, "float32"))
    assert tuple(variable.shape) == shape == tuple(variable.value.shape)
    with keras.StatelessScope(state_mapping=[(variable, np.ones(shape, "float32"))]) as scope:
        variable.assign(np.full(shape, 3.0, "float32"))
    assert np.all(scope.get_current_value(variable) == 3.0)
    assert np.all(variable.value == 2.0)


def test_variables_without_values_get_them_back():
    variable = keras.Variable(np.ones(2))
    with pytest.raises(TypeError), keras_variables.without_values([variable]):  # noqa: PT012
        assert keras_variables.values_of([variable]) == [None]
        variable.assign_add(np.ones(2))
    np.testing.assert_array_equal(variable.value, [1, 1])


class Forgetful(keras.layers.Layer):
    """Has two weights, and reads only the first from files."""

    def build(self, _):
        self.kept = self.add_weight(shape=(2,), initializer="glorot_normal", name="kept")
        drawn = keras.initializers.RandomNormal(seed=3)
        self.forgotten = self.add_weight(shape=(2,), initializer=drawn, name="forgotten")
        self.filled = self.add_weight(shape=(2,), initializer="ones", name="filled")

    def call(self, inputs):
        return inputs * self.kept + self.forgotten

    def save_own_variables(self, store):
        store["0"] = self.kept.numpy()

    def load_own_variables(self, store):
        self.kept.assign(store["0"])


def test_weights_of_a_file_are_not_drawn_before_it_is_read(tmp_path, monkeypatch):
    model = legato.Sequential([layers.Input((None, 2)), layers.LSTM(2), Forgetful()])
    model.compile("adam", "mse")
    model.save(tmp_path / "model.keras")
    drawn = []
    for kind in (keras.initializers.VarianceScaling, keras.initializers.Orthogonal):
        draw = kind.__call__

        def draw_and_note(self, shape, *more, draw=draw, **options):
            drawn.append(shape)
            return draw(self, shape, *more, **options)

        monkeypatch.setattr(kind, "__call__", draw_and_note)
    found = legato.load_model(
        tmp_path / "model.keras", custom_objects={"Forgetful": Forgetful}, compile=False
    )
    assert not drawn
    for mine, its in zip(model.weights, found.weights, strict=True):
        np.testing.assert_array_equal(mine, its)
    expected = keras.initializers.RandomNormal(seed=3)((2,))
    np.testing.assert_array_equal(found.layers[-1].forgotten, expected)
    np.testing.assert_array_equal(found.layers[-1].filled, 1.0)


def test_initial_values_are_drawn_at_once_in_other_threads():
    found = []

    def build():
        found.append(keras.layers.Dense(3))
        found[0].build((None, 2))
        found.append(np.abs(found[0].kernel.numpy()).sum())

    with keras_variables.drawing_initial_values_last():
        here = keras.layers.Dense(3)
        here.build((None, 2))
        assert not here.kernel.numpy().any()
        thread = threading.Thread(target=build)
        thread.start()
        thread.join()
    assert found[1] > 0
    assert here.kernel.numpy().any()


def test_a_hidden_value_is_shown_to_whoever_reads_it():
    variables = [keras.Variable(np.full(2, at), name=f"v{at}") for at in (1.0, 2.0)]
    held = [(each, each.value) for each in variables]
    shown = []

    def show():
        shown.append(keras_variables.values_set_since(held))
        keras_variables.show_values(held)
        keras_variables.forget_readers(variables)

    keras_variables.hide_values(variables, show)
    variables[1].assign([5.0, 5.0])
    assert not shown
    np.testing.assert_array_equal(variables[0].numpy(), 1.0)
    ((changed,),) = shown
    assert changed[0] is variables[1]
    np.testing.assert_array_equal(changed[1], 5.0)
    np.testing.assert_array_equal(variables[1].numpy(), 2.0)
    assert len(shown) == 1
    with pytest.raises(AttributeError, match="has no attribute 'valeu'"):
        variables[0].valeu  # noqa: B018
