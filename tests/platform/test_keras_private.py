"""The private names of Keras that legato uses still do what legato needs.

Keras may change them without notice; these tests fail first when a release does.
"""

import threading

import keras
import numpy as np
import pytest

import legato
from legato import layers
from legato._platform import keras_private
from legato._recurrent.layer_memory import StateVariable


def test_stateless_scope_is_detected_and_collects_updates():
    variable = keras.Variable(np.zeros(2))
    assert not keras_private.in_stateless_scope()
    with keras.StatelessScope(state_mapping=[(variable, np.ones(2, "float32"))]):
        assert keras_private.in_stateless_scope()
        assert keras_private.is_carried(variable)
    assert not keras_private.is_carried(variable)
    with keras.StatelessScope():
        assert not keras_private.is_carried(variable)


def test_symbolic_scope_is_detected_only_while_shapes_are_inferred():
    seen = []

    class ScopeChecks(keras.layers.Layer):
        def call(self, inputs):
            seen.append(keras_private.in_symbolic_scope())
            return inputs

    ScopeChecks()(np.ones((1, 2), "float32"))
    ScopeChecks()(keras.Input((2,)))
    assert seen == [False, True]


@pytest.mark.parametrize("shape", [(0, 3), (2, 3), (5, 3)])
def test_a_variable_can_be_given_another_number_of_rows(shape):
    variable = StateVariable(np.zeros((1, 3)), trainable=False, dtype="float32")
    variable.set_value(np.full(shape, 2.0, "float32"))
    assert tuple(variable.shape) == shape == tuple(variable.value.shape)
    with keras.StatelessScope(state_mapping=[(variable, np.ones(shape, "float32"))]) as scope:
        variable.assign(np.full(shape, 3.0, "float32"))
    assert np.all(scope.get_current_value(variable) == 3.0)
    assert np.all(variable.value == 2.0)


def test_compile_drops_the_programs():
    model = legato.Sequential([layers.Dense(1)])
    x = np.ones((2, 3))
    model.compile(loss="mse")
    model.fit(x, np.ones((2, 1)), verbose=0)
    before = model.train_function
    assert before is not None
    model.compile(loss="mse")
    assert model.train_function is None


def test_saved_under_keras_own_names(tmp_path):
    inputs = layers.Input((4, 3))
    hidden = layers.Bidirectional(layers.LSTM(2, return_sequences=True))(inputs)
    functional = legato.Model(inputs, layers.GRU(2)(hidden))
    sequential = legato.Sequential([layers.Input((4, 3)), layers.SimpleRNN(2)])
    for model, kind in [(functional, "Functional"), (sequential, "Sequential")]:
        path = tmp_path / f"{kind}.keras"
        model.save(path)
        loaded = keras.saving.load_model(path)
        assert type(loaded).__module__.startswith("keras.")
        assert type(loaded).__name__ == kind
        assert all(type(layer).__module__.startswith("keras.") for layer in loaded.layers)
        x = np.random.rand(2, 4, 3)
        np.testing.assert_allclose(
            loaded.predict(x, verbose=0), model.predict(x, verbose=0), rtol=1e-6, atol=1e-7
        )


def test_nested_layers_are_found_in_order():
    inner = keras.Sequential([keras.layers.Input((2, 3)), keras.layers.LSTM(1, name="inside")])
    model = legato.Sequential([layers.Input((2, 3)), inner, layers.Dense(1, name="last")])
    names = [layer.name for layer in keras_private.flatten_layers(model)]
    assert names.index("inside") < names.index("last")


def test_layers_straight_below_are_found_in_order():
    model = legato.Sequential([layers.Dense(1, name=name) for name in ("b", "c", "a")])
    assert [layer.name for layer in keras_private.sublayers(model)] == ["b", "c", "a"]
    assert keras_private.sublayers(model.layers[0]) == []


def test_input_shape_of_keras_2_makes_the_input_without_a_warning():
    model = legato.Sequential([layers.LSTM(2, input_shape=(3, 1)), layers.Dense(1)])
    assert model.input_shape == (None, 3, 1)
    fixed = legato.Sequential([layers.LSTM(2, batch_input_shape=(4, 3, 1)), layers.Dense(1)])
    assert fixed.input_shape == (4, 3, 1)
    old = legato.Sequential([layers.LSTM(2, input_dim=1, input_length=3), layers.Dense(1)])
    assert old.input_shape == (None, 3, 1)


def test_missing_variables_are_built_from_shapes_alone():
    model = legato.Sequential([layers.LSTM(2), layers.Dense(1)])
    model.compile(loss="mse", metrics=["mae"])
    keras_private.build_variables(model, keras.KerasTensor((None, 3, 2)), loss=False)
    assert model.built
    assert model.input_shape == (None, 3, 2)
    keras_private.build_variables(
        model, keras.KerasTensor((None, 3, 2)), keras.KerasTensor((None, 1))
    )
    assert model.optimizer is not None
    assert model.optimizer.built


def test_walk_graph_follows_layers_with_values_other_than_tensors():
    first = layers.Input((None, 3))
    model = legato.Model(first, layers.Add(name="sum")([layers.Dense(3, name="one")(first), first]))
    sequential = legato.Sequential([layers.Input((3,)), layers.Dense(2, name="two")])

    def visit(layer, given):
        return f"{layer.name}({', '.join(keras.tree.flatten(given))})"

    graph = keras_private.graph_of(model)
    assert keras_private.walk_graph(graph, ["x"], visit) == ["sum(one(x), x)"]
    assert keras_private.output_names(graph) == ["sum"]
    assert keras_private.walk_graph(keras_private.graph_of(sequential), ["x"], visit) == ["two(x)"]


def test_a_model_with_its_own_call_is_no_graph():
    class Own(legato.Sequential):
        def call(self, inputs):
            return inputs

    class Subclassed(legato.Model):
        def call(self, inputs):
            return inputs

    for model in (Own([layers.Input((3,)), layers.Dense(2)]), Subclassed()):
        assert keras_private.graph_of(model) is None
    assert keras_private.graph_of(legato.Sequential([layers.Dense(2)])) is None


def test_a_registered_stateful_class_is_saved_under_its_own_name():
    @keras.saving.register_keras_serializable("private")
    class Registered(keras.layers.LSTM):
        pass

    class Unregistered(keras.layers.LSTM):
        pass

    for cls, name in [(Registered, "private>Registered"), (Unregistered, "Unregistered")]:
        layer = cls(2, stateful=True)
        before = keras.saving.serialize_keras_object(layer)
        layers.adopt(layer)
        assert type(layer) is not cls
        assert keras.saving.serialize_keras_object(layer) == before
        assert before["registered_name"] == name


def test_the_shapes_a_layer_was_built_for_can_be_changed():
    layer = layers.LSTM(2, stateful=True)
    layer(keras.Input((4, 3), batch_size=5))
    assert layer.get_build_config() == {"input_shape": (5, 4, 3)}
    keras_private.change_built_shapes(layer, lambda shape: (None, *shape[1:]))
    assert layer.get_build_config() == {"input_shape": (1, 4, 3)}
    layer.stateful = False
    assert layer.get_build_config() == {"input_shape": (None, 4, 3)}


def test_a_plain_layer_takes_its_rows_from_its_build_config():
    layer = layers.GRU(2, stateful=True, name="here")
    layer(keras.Input((4, 3)))
    plain = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(layer))
    assert type(plain) is keras.layers.GRU
    assert plain.states[0].shape == (1, 2)
    assert plain(keras.Input((4, 3))).shape == (None, 2)  # in a model that declares no rows


@pytest.mark.parametrize(("typed", "may"), [("y", True), ("n", False)])
def test_overwriting_needs_confirmation(typed, may, monkeypatch):
    monkeypatch.setattr("builtins.input", lambda _: typed)
    assert keras_private.may_overwrite("m.keras") == may


def test_inputs_that_break_the_input_spec_of_the_model_are_refused():
    inputs = layers.Input((None, 3))
    model = legato.Model(inputs, layers.Dense(2)(inputs))
    model.input_spec = keras.layers.InputSpec(shape=(None, 4, 3))
    with pytest.raises(ValueError, match=r"expected shape=\(None, 4, 3\), found shape=\(2, 3, 3\)"):
        model(np.zeros((2, 3, 3)))
    assert model(np.zeros((2, 4, 3))).shape == (2, 4, 2)


def test_variables_without_values_get_them_back():
    variable = keras.Variable(np.ones(2))
    with pytest.raises(TypeError), keras_private.without_values([variable]):  # noqa: PT012
        assert keras_private.values_of([variable]) == [None]
        variable.assign_add(np.ones(2))
    np.testing.assert_array_equal(variable.value, [1, 1])


@pytest.mark.parametrize("optional", [False, True])
def test_an_input_says_whether_it_is_optional(optional):
    assert keras_private.is_optional(keras.Input((3,), optional=optional)) == optional


def test_the_optimizer_stays_in_the_compile_options_when_the_old_format_is_written(tmp_path):
    """If Keras leaves it there itself one day, ``keep_compile_config`` can go."""
    plain = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    plain.compile("sgd", "mse")
    before = plain.get_compile_config()
    keras_private.keep_compile_config(plain, plain.save)(tmp_path / "m.h5")
    assert plain.get_compile_config() == before
    plain.save(tmp_path / "m.h5")
    assert "optimizer" not in plain.get_compile_config()


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

    with keras_private.drawing_initial_values_last():
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
        shown.append(keras_private.values_set_since(held))
        keras_private.show_values(held)
        keras_private.forget_readers(variables)

    keras_private.hide_values(variables, show)
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
