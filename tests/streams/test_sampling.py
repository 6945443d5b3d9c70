"""A stream that goes on by itself = feeding its own choices back one by one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import legato
from legato import InputError, UnsupportedError, layers

CLASSES = 6


def network(features: int = 1, answers: int = CLASSES, activation: str | None = "softmax"):
    """A network whose answers differ clearly from step to step."""
    model = legato.Sequential(
        [layers.Input((None, features)), layers.GRU(5), layers.Dense(answers, activation)]
    )
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) * 3 for w in model.get_weights()])
    return model


def by_hand(stream, count: int, choose, encode) -> np.ndarray:
    """The oracle: choose from the last answer, feed, and again."""
    answer, choices = stream.answer, []
    for _ in range(count):
        choices.append(choose(answer))
        answer = stream.feed(encode(choices[-1]))
    return np.array(choices)


def scaled(letter):
    return letter / CLASSES


def warmed(model, **options):
    return model.stream(**options).warm(np.full((4, model.input_shape[-1]), 0.3))


@pytest.mark.parametrize("count", [1, 7, 8, 9, 100])
def test_the_loop_is_feeding_by_hand(count):
    stream = warmed(network())
    expected = by_hand(stream.fork(), count, np.argmax, scaled)
    choices = stream.generate(count, legato.argmax, encode=scaled)
    np.testing.assert_array_equal(choices, expected)
    assert stream.steps == 4 + count
    assert len(np.unique(choices)) > 1 or count < 5


def test_longer_than_a_program_has_room_for():
    stream = warmed(network())
    expected = by_hand(stream.fork(), 5000, np.argmax, scaled)
    np.testing.assert_array_equal(stream.generate(5000, encode=scaled), expected)


def test_some_and_then_some_more_is_all_at_once():
    one, other = warmed(network()).fork(2)
    for choose in (legato.argmax, legato.sample(1.2, seed=5)):
        whole = one.generate(20, choose, encode=scaled)
        parts = [other.generate(n, choose, encode=scaled) for n in (3, 1, 16)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
        assert one.state.allclose(other.state)


def test_classes_are_one_hot_where_the_model_takes_as_many_numbers():
    stream = warmed(network(features=CLASSES))
    expected = by_hand(stream.fork(), 9, np.argmax, lambda choice: np.eye(CLASSES)[choice])
    np.testing.assert_array_equal(stream.generate(9), expected)


def test_tokens_are_fed_as_they_are():
    model = legato.Sequential(
        [
            layers.Input((None,), dtype="int32"),
            layers.Embedding(CLASSES, 4, embeddings_initializer="glorot_normal"),
            layers.LSTM(5),
            layers.Dense(CLASSES, "softmax"),
        ]
    )
    stream = model.stream().warm([1, 2])
    expected = by_hand(stream.fork(), 9, np.argmax, int)
    np.testing.assert_array_equal(stream.generate(9), expected)


def test_a_forecast_is_fed_back_as_it_is():
    stream = warmed(network(2, 2, activation=None))
    expected = by_hand(stream.fork(), 6, np.copy, np.copy)
    generated = stream.generate(6)
    assert generated.shape == (6, 2)
    np.testing.assert_allclose(generated, expected, rtol=1e-4, atol=1e-5)


def test_a_window_goes_on_too():
    stream = warmed(network(), window=3)
    expected = by_hand(stream.fork(), 9, np.argmax, scaled)
    np.testing.assert_array_equal(stream.generate(9, encode=scaled), expected)


def test_functions_of_the_users_own():
    def second_best(answer):
        return jnp.argsort(answer)[-2]

    stream = warmed(network())
    choices = stream.fork().generate(8, second_best, encode=scaled)
    expected = by_hand(stream.fork(), 8, lambda answer: np.argsort(answer)[-2], scaled)
    np.testing.assert_array_equal(choices, expected)
    table = {at: (at + 1) % CLASSES for at in range(CLASSES)}  # no tracer is found in it
    choices = stream.fork().generate(8, lambda answer: table[int(np.argmax(answer))], encode=scaled)
    expected = by_hand(stream.fork(), 8, lambda answer: table[int(np.argmax(answer))], scaled)
    np.testing.assert_array_equal(choices, expected)


def test_functions_that_differ_are_told_apart(compiled):
    stream = warmed(network())

    def by(factor):
        return stream.fork().generate(8, lambda answer: answer[:1] * factor)

    first = by(1.0)
    before = compiled.count
    np.testing.assert_array_equal(by(1.0), first)
    assert compiled.count == before
    assert not np.allclose(by(2.0), first)


class Best:
    """A way to choose that is a method: of another object it is another one."""

    def __init__(self, place: int):
        self.place = place

    def choose(self, answer):
        return jnp.argsort(answer)[self.place]


def test_methods_of_different_objects_are_told_apart():
    stream = warmed(network())
    for place in (-1, -2, 0):
        expected = by_hand(
            stream.fork(), 5, lambda answer, at=place: np.argsort(answer)[at], scaled
        )
        choices = stream.fork().generate(5, Best(place).choose, encode=scaled)
        np.testing.assert_array_equal(choices, expected)


def test_draws_follow_the_probabilities():
    stream = warmed(network())
    expected = stream.answer
    draws = [
        stream.fork().generate(1, legato.sample(seed=seed), encode=scaled)[0] for seed in range(400)
    ]
    shares = np.bincount(draws, minlength=CLASSES) / len(draws)
    np.testing.assert_allclose(shares, expected, atol=4 * 0.5 / np.sqrt(len(draws)))


def test_logits_are_drawn_from_where_they_are_said_to_be_logits():
    with_softmax, without = warmed(network()), warmed(network(activation=None))
    for seed in range(5):
        expected = with_softmax.fork().generate(9, legato.sample(0.8, seed), encode=scaled)
        choose = legato.sample(0.8, seed, logits=True)
        np.testing.assert_array_equal(without.fork().generate(9, choose, encode=scaled), expected)
    with pytest.raises(InputError, match=r"not the probabilities of classes.*logits=True"):
        without.generate(3, legato.sample(), encode=scaled)


def test_temperature_sharpens_and_seeds_repeat():
    stream = warmed(network())

    def draw(temperature, seed):
        return stream.fork().generate(50, legato.sample(temperature, seed), encode=scaled)

    np.testing.assert_array_equal(draw(0, 3), stream.fork().generate(50, encode=scaled))
    np.testing.assert_array_equal(draw(1.0, 3), draw(1.0, 3))
    assert not np.array_equal(draw(1.0, 3), draw(1.0, 4))
    assert not np.array_equal(draw(1.0, None), draw(1.0, None))
    np.testing.assert_array_equal(draw(1e-3, 8), draw(0, 8))


def test_sampling_is_done_step_by_step_where_nothing_is_compiled():
    stream = warmed(network())
    with jax.disable_jit():
        choices = stream.fork().generate(4, legato.sample(1.0, 2), encode=scaled)
    np.testing.assert_array_equal(choices, stream.generate(4, legato.sample(1.0, 2), encode=scaled))


def test_nothing_moves_where_a_choice_fails():
    stream = warmed(network())
    before = stream.state, stream.steps
    for choose, error in ((lambda answer: 1 / 0, ZeroDivisionError), (lambda: 1, TypeError)):
        with pytest.raises(error):
            stream.generate(4, choose, encode=scaled)
        assert (stream.state, stream.steps) == before


@pytest.mark.parametrize("error", [TypeError("no temperature"), IndexError("no such letter")])
@pytest.mark.parametrize("name", ["choose", "encode"])
def test_an_error_of_the_users_own_comes_out_as_it_is(name, error):
    calls = []

    def failing(value):
        calls.append(value)
        raise error

    with pytest.raises(type(error)) as raised:
        warmed(network()).generate(4, **{"encode": scaled, name: failing})
    assert raised.value is error
    assert error.__context__ is None
    assert len(calls) == 1


@pytest.mark.parametrize(
    "choose",
    [
        lambda answer: {at: at for at in range(CLASSES)}[answer.argmax()],  # no tracer has a hash
        lambda answer: list(range(CLASSES))[answer.argmax()],
        lambda answer: int(np.asarray(answer).argmax()),
        lambda answer: answer[answer == answer.max()].size,
    ],
)
def test_a_function_that_takes_no_tracer_is_called_step_by_step(choose):
    stream = warmed(network())
    expected = by_hand(stream.fork(), 3, choose, scaled)
    np.testing.assert_array_equal(stream.generate(3, choose, encode=scaled), expected)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"n": 0}, "n is 0; a number of steps of at least 1 was expected"),
        ({"n": 2.5}, "n is 2.5"),
        ({"n": 2, "choose": "argmax"}, r"choose is 'argmax'; legato\.argmax"),
        ({"n": 2, "encode": 3}, "encode is 3"),
        ({"n": 2}, r"how a choice becomes an input is not known. Give encode="),
        ({"n": 2, "choose": lambda y: y}, r"shape \(6,\), and a step of the model's input \(1,\)"),
        ({"n": 2, "encode": lambda c: [c, c]}, r"What encode gives has shape \(2,\)"),
    ],
)
def test_what_cannot_go_on_is_refused(arguments, told):
    with pytest.raises(InputError, match=told):
        warmed(network()).generate(**arguments)


def test_nothing_to_go_on_from_is_refused():
    with pytest.raises(InputError, match="fed nothing yet"):
        network().stream().generate(3, encode=scaled)
    stream = network().stream(window=3).warm([[0.1]])
    with pytest.raises(
        InputError, match=r"1 of the 3 steps of its window.*2 more are wanted. Feed"
    ):
        stream.generate(3, encode=scaled)
    assert len(network().stream(window=3, pad=0).warm([[0.1]]).generate(3, encode=scaled)) == 3


def test_a_state_from_elsewhere_says_no_answer():
    pool = network().streams()
    pool.feed({"ada": [0.3]})
    stream = pool.stream("ada")
    assert np.isnan(stream.answer).all()
    with pytest.raises(InputError, match=r"its state came from elsewhere\. Feed it first"):
        stream.generate(3, encode=scaled)
    stream.feed([0.3])
    assert len(stream.generate(3, encode=scaled)) == 3


def test_several_inputs_are_refused():
    one, other = layers.Input((None, 1), name="one"), layers.Input((None, 1), name="other")
    model = legato.Model([one, other], layers.GRU(1)(layers.Concatenate()([one, other])))
    stream = model.stream()
    stream.feed([[0.1], [0.2]])
    with pytest.raises(UnsupportedError, match="several inputs, 'one', 'other'"):
        stream.generate(2)


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"temperature": -1}, "temperature is -1"),
        ({"temperature": np.nan}, "temperature is nan"),
        ({"temperature": "hot"}, "temperature is 'hot'"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32}, "seed is 4294967296"),
        ({"seed": 0.5}, "seed is 0.5"),
    ],
)
def test_draws_that_cannot_be_are_refused(options, told):
    with pytest.raises(InputError, match=told):
        legato.sample(**options)
