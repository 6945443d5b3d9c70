"""Arrays whose numbers or meaning JAX would lose: converted exactly, or refused."""

import warnings

import keras
import numpy as np
import pytest

import legato
from legato import InputError

LARGE = 5_000_000_000  # beyond 32 bits, exact in float32
EPOCH_MS = 1_700_000_000_123  # beyond 32 bits, not exact in float32


class Quantity:
    """As pint's: it has a magnitude and units, and converts to an array that has none."""

    magnitude, units = np.ones((2, 3, 1), np.float32), "kilowatt"

    def __array__(self, dtype=None, copy=None):
        return self.magnitude


@pytest.fixture(scope="module")
def model():
    made = legato.Sequential(
        [
            keras.Input((None, 1)),
            legato.layers.SimpleRNN(1, activation=None, stateful=True, kernel_initializer="ones"),
        ]
    )
    made.compile(optimizer="sgd", loss="mse")
    return made


def fresh(model):
    model.reset_states()
    return model


@pytest.mark.parametrize("dtype", [">f4", ">f8", ">i4", ">i8", ">u2", np.longdouble])
def test_byte_order_and_long_double_do_not_matter(model, dtype):
    x = np.arange(1, 7).reshape(2, 3, 1)
    expected = fresh(model).predict(x.astype("float32"))
    given = x.astype(dtype)
    for _ in range(2):  # the second call is by the known program
        assert np.array_equal(fresh(model).predict(given), expected)
    weight = np.ones(2, dtype)
    losses = [
        fresh(model).evaluate(each, each[:, 0], sample_weight=weight, starts=[1, 0], verbose=0)
        for each in (x.astype("float32"), given)
    ]
    assert losses[0] == losses[1]
    model.optimizer.learning_rate = 0.0
    fresh(model).fit(given, given[:, 0], starts=np.array([1, 0], ">i4"), verbose=0)
    steps = model.stream().feed(given[0])
    assert np.array_equal(steps, model.stream().feed(x[0].astype("float32")))
    assert np.array_equal(model.stream().feed(given[0, 0]), steps[0])


def test_states_take_arrays_of_any_byte_order(model):
    path = next(iter(fresh(model).initial_states(2)))
    values = np.array([[1.5], [2.5]], ">f4")
    model.states = legato.State({path: [values]})
    assert np.array_equal(model.states[path][0], values)
    layer = model.layers[0]
    layer.reset_states(states=values + values)
    assert np.array_equal(model.states[path][0], 2 * values)
    layer.states[0].assign(values)
    assert np.array_equal(model.states[path][0], values)
    with pytest.raises(InputError, match="masked"):
        legato.State({path: [np.ma.array(values, mask=[[True], [False]])]})


@pytest.mark.parametrize("dtype", ["int64", "uint64", ">i8"])
def test_integers_beyond_32_bits_are_exact(model, dtype):
    x = np.full((2, 1, 1), LARGE, dtype)
    assert np.array_equal(fresh(model).predict(x), np.full((2, 1), LARGE, "float32"))
    assert np.array_equal(model.stream().feed(x[0, 0]), np.array([LARGE], "float32"))
    (loss,) = {
        fresh(model).evaluate(np.zeros((2, 1, 1)), y, verbose=0)
        for y in (x[:, 0], x[:, 0].astype("float32"))
    }
    assert loss == np.float32(LARGE) ** 2


@pytest.mark.parametrize("dtype", ["int64", "uint64"])
def test_integers_that_the_float_type_does_not_have_are_refused(model, dtype):
    x = np.array([[[1]], [[EPOCH_MS]]], dtype)
    with pytest.raises(InputError, match=rf"x\[1, 0, 0\] is {EPOCH_MS}, .*seconds since"):
        model.predict(x)
    with pytest.raises(InputError, match=rf"y\[1, 0\] is {EPOCH_MS}"):
        model.fit(np.zeros((2, 1, 1)), x[:, 0], verbose=0)
    with pytest.raises(InputError, match=rf"x\[0\] is {EPOCH_MS}"):
        model.stream().feed(x[1, 0])
    streams = model.streams()
    with pytest.raises(InputError, match=str(EPOCH_MS)):
        streams.feed({"a": x[0, 0], "b": x[1, 0]})
    assert not len(streams)


def test_the_largest_integers_are_compared_exactly(model):
    with pytest.raises(InputError, match=str(2**63 - 1)):
        model.predict(np.full((1, 1, 1), 2**63 - 1))
    with pytest.raises(InputError, match=str(2**64 - 1)):
        model.predict(np.full((1, 1, 1), 2**64 - 1, "uint64"))
    assert fresh(model).predict(np.full((1, 1, 1), -(2**63)))[0, 0] == -(2.0**63)


def test_masked_values_are_refused_and_unmasked_arrays_are_taken(model):
    x = np.ma.array(np.ones((2, 3, 1), "float32"), mask=False)
    known = fresh(model).predict(x)
    assert np.array_equal(known, fresh(model).predict(x.data))
    x[1, 2, 0] = np.ma.masked
    for call in (
        lambda: model.predict(x),
        lambda: model.predict([x]),
        lambda: model.predict(list(x)),
        lambda: model.fit(x.data, x[:, 0], sample_weight=x[:, 2, 0], verbose=0),
        lambda: model.evaluate(x, x.data[:, 0], verbose=0),
        lambda: model.stream().feed(x[1]),
        lambda: model.streams().feed({"a": x[1, 2], "b": x[0, 0]}),
        lambda: model.predict(x.data, starts=np.ma.array([True, False], mask=[True, False])),
    ):
        with pytest.raises(InputError, match=r"masked.*\.filled\("):
            call()


class Missing:
    """As ``pandas.NA``: whatever it is compared with, nobody knows."""

    def __eq__(self, other):
        return self

    def __bool__(self):
        raise TypeError("boolean value of NA is ambiguous")

    def __hash__(self):
        return 0


@pytest.mark.parametrize(
    "starts",
    [
        np.array([True, Missing()], object),
        np.array([1, 0], "timedelta64[s]"),
        np.array([True, False], object),
        [b"1", b"0"],
    ],
)
def test_starts_that_are_no_booleans_are_refused(model, starts):
    for call in (
        lambda: model.predict(np.ones((2, 3, 1)), starts=starts),
        lambda: model.train_on_batch(np.ones((2, 3, 1)), np.ones((2, 1)), starts=starts),
        lambda: model.stream().feed(np.ones((2, 1)), starts=starts),
    ):
        with pytest.raises(InputError, match=r"starts has shape \(2,\) and dtype .*one boolean"):
            call()


@pytest.mark.parametrize(
    "values",
    [
        np.array([["1.5"]]),
        np.array([[1.5]], object),
        np.array([[1]], "datetime64[s]"),
        [[None]],
        {1.5},
    ],
)
def test_states_take_numbers_alone(model, values):
    layer = model.layers[0]
    before = fresh(model).states
    for call in (
        lambda: legato.State({"rnn": [values]}),
        lambda: layer.reset_states(states=[np.asarray(values)]),
        lambda: layer.states[0].assign(values),
        lambda: legato.State({"rnn": [[[1.5]]]}, fresh={"rnn": np.ravel(np.asarray(values))}),
    ):
        with pytest.raises(InputError, match=r"holds .*numbers or booleans were expected"):
            call()
    assert model.states == before


def test_arrays_that_are_no_states_are_refused():
    with pytest.raises(InputError, match=r"State\['rnn'\] cannot be made into one array"):
        legato.State({"rnn": [[[1.0], [1.0, 2.0]]]})
    with pytest.raises(legato.StateError, match=r"1\.5 is a single number"):
        legato.State({"rnn": [1.5]})
    with pytest.raises(InputError, match=r"fresh\['rnn'\] is a masked array"):
        legato.State({"rnn": [[[1.5]]]}, fresh={"rnn": np.ma.array([True], mask=True)})


MASKED = np.ma.array([1.0, -9999.0, 2.0], mask=[False, True, False])


class Length(np.ndarray):
    """As astropy's: an array with a unit."""

    unit = "m"


@pytest.mark.parametrize(
    "call",
    [
        lambda values: legato.frame(values, window=1),
        lambda values: legato.frame([[1.0, 2.0], values], window=1),
        lambda values: legato.Lanes([2, 1], steps=1).lay(values),
        lambda values: legato.Lanes([3], steps=3).gather(values[None]),
        lambda values: legato.Lanes([1, 2], steps=2).lay(np.ones((3, 3)), pad=values),
        legato.interval,
        lambda values: legato.compare(values, [1.0, 2.0, 3.0]),
        lambda values: legato.proportion(values == 1),
        lambda values: legato.State({"rnn": [values]}),
        lambda values: legato.State({"rnn": [[1.0]] * 1}).select(values),
    ],
)
def test_no_door_drops_masks_and_units(call):
    with pytest.raises(InputError, match=r"is a masked array"):
        call(MASKED)
    with pytest.raises(InputError, match=r"is a Length in m"):
        call(np.ones(3).view(Length))


def test_rows_and_weights_of_classes_are_whole_too(model):
    fresh(model).predict(np.ones((2, 1, 1)))
    with pytest.raises(InputError, match="rows is a masked array"):
        model.reset_states(np.ma.array([0, 1], mask=[False, True]))
    with pytest.raises(InputError, match="Rows are given as indices"):
        model.reset_states(np.array([1], "timedelta64[s]"))
    data = np.ones((2, 1, 1)), np.array([0, 1])
    for weight in (np.nan, np.inf, "2", None):
        with pytest.raises(InputError, match=r"class_weight\[1\] is .* a finite number was"):
            model.fit(*data, class_weight={0: 1.0, 1: weight}, verbose=0)
    with pytest.raises(InputError, match=r"class_weight\[1\] is a masked array"):
        model.fit(*data, class_weight={0: 1.0, 1: np.ma.masked}, verbose=0)


def test_quantities_are_refused(model):
    with pytest.raises(InputError, match=r"x is a Quantity in kilowatt"):
        model.predict(Quantity())
    with pytest.raises(InputError, match=r"y is a Quantity in kilowatt"):
        model.fit(np.ones((2, 3, 1)), Quantity(), verbose=0)


def test_an_input_of_integers_refuses_those_that_its_type_does_not_have():
    indices = legato.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            legato.layers.Embedding(4, 2),
            legato.layers.GRU(1, stateful=True),
        ]
    )
    assert indices.predict(np.array([[1, 3]])).shape == (1, 1)
    with pytest.raises(InputError, match=f"x holds {LARGE}.*int32"):
        indices.predict(np.array([[1, LARGE]]))
    with pytest.raises(InputError, match=r"x holds 5000000000.*int32"):
        indices.stream().feed(LARGE)


@pytest.mark.parametrize(
    ("dtype", "beyond", "limits"),
    [
        ("int8", 300, "int8, from -128 to 127"),
        ("uint8", -1, "uint8, from 0 to 255"),
        ("uint32", -1, "uint32, from 0 to 4294967295"),
        ("int32", 2**31, "int32, from -2147483648 to 2147483647"),
        ("int64", 2**40, r"int64 \(kept as int32\), from -2147483648 to 2147483647"),
        ("uint64", -1, r"uint64 \(kept as uint32\), from 0 to 4294967295"),
        ("float16", 70_000, "float16, from -65504 to 65504"),
    ],
)
def test_numbers_beyond_the_type_of_an_input_are_refused(dtype, beyond, limits):
    """Keras and JAX wrap them, or make them infinite."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # JAX's, that it has no 64 bits
        narrow = legato.Sequential([keras.Input((None, 1), dtype=dtype), legato.layers.GRU(1)])
        for number in (beyond, np.int64(beyond), np.array(beyond, ">i8"), float(beyond)):
            x = np.array([[[1], [number]]])
            for call in (lambda x=x: narrow.predict(x), lambda x=x: narrow(x)):
                with pytest.raises(InputError, match=f"x holds {beyond}, .* of type {limits}"):
                    call()
            for feed in (narrow.stream().feed, lambda x: narrow.streams().feed({"ada": x})):
                with pytest.raises(InputError, match=f"{beyond}.*{dtype}|is inf"):
                    feed(np.array([number], x.dtype))
        x = np.array([[[1], [2]]], dtype)
        expected = narrow.predict(x, verbose=0)
        assert np.array_equal(narrow.stream().feed(x[0])[-1], expected[0])


def test_choices_and_what_encode_gives_do_not_wrap(model):
    stream = model.stream().warm([[1.0]])
    tokens = legato.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            legato.layers.Embedding(4, 2),
            legato.layers.GRU(4),
            legato.layers.Softmax(),
        ]
    )
    for number in (LARGE, np.array(LARGE)):
        chosen = stream.fork().generate(2, lambda answer: number)  # noqa: B023  called at once
        assert chosen.tolist() == [LARGE, LARGE]
        with pytest.raises(InputError, match=f"x holds {LARGE}.*int32"):
            tokens.stream().warm([1]).generate(2, encode=lambda choice: number)  # noqa: B023
    for other in ("3", None, np.ma.array([1.0], mask=True)):
        with pytest.raises(InputError, match=r"The choice (holds|is a masked array)"):
            stream.fork().generate(1, lambda answer: other)  # noqa: B023
