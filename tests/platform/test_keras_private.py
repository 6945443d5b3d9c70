"""The private names of Keras that legato uses still do what legato needs.

Keras may change them without notice; these tests fail first when a release does.
"""

import keras
import numpy as np
import pytest

import legato
from legato import layers
from legato._platform import keras_private


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


def compiled_models():
    """Models whose losses and metrics create variables of many kinds."""
    first = layers.Input((3, 2))
    seen = layers.LSTM(4)(first)
    a, b = layers.Dense(1, name="a")(seen), layers.Dense(3, activation="softmax", name="b")(seen)
    auc = keras.metrics.AUC(multi_label=True, num_labels=3)
    top = [keras.metrics.TopKCategoricalAccuracy(2), keras.metrics.F1Score(), auc]
    losses = {"a": "mse", "b": "categorical_crossentropy"}
    chosen = {"a": ["mae", keras.metrics.R2Score()], "b": top}
    for of_each in (dict, lambda named: [*named.values()]):
        outputs = of_each({"a": a, "b": b})
        model = legato.Model(first, outputs)
        model.compile("adam", of_each(losses), metrics=of_each(chosen))
        yield model, outputs
    fixed = legato.Sequential([layers.Input(batch_shape=(4, 3, 2)), layers.LSTM(1)])
    fixed.compile("adam", "mse", metrics=["mae"])
    yield fixed, a


@pytest.mark.parametrize("at", [0, 1, 2])
def test_loss_and_metrics_have_the_variables_that_keras_makes(at, monkeypatch):
    def variables():
        model, outputs = [*compiled_models()][at]
        y = keras.tree.map_structure(lambda each: keras.KerasTensor(each.shape), outputs)
        keras_private.build_variables(model, keras.KerasTensor((None, 3, 2)), y)
        assert model._compile_loss.built
        return [(each.name, each.shape) for each in model.metrics_variables]

    made = variables()
    monkeypatch.setattr(keras_private, "_trace_loss_and_metrics", lambda *_: None)
    assert made == variables()


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
