"""Generating with a stream = feeding its own choices back, one by one."""

from functools import cache

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import legato
from legato import InputError, UnsupportedError, layers

CLASSES = 6


def network(features: int = 1, outputs: int = CLASSES, activation: str | None = "softmax"):
    """A network whose outputs differ clearly from step to step."""
    model = legato.Sequential(
        [layers.Input((None, features)), layers.GRU(5), layers.Dense(outputs, activation)]
    )
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(size=w.shape) * 3 for w in model.get_weights()])
    return model


fixed = cache(network)  # made once: generating changes no weights


def feed_choices_back(stream, count: int, choose, encode) -> np.ndarray:
    """The oracle: choose from the last output, feed the choice, repeat."""
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
def test_generate_equals_feeding_choices_back(count):
    stream = warmed(fixed())
    expected = feed_choices_back(stream.fork(), count, np.argmax, scaled)
    choices = stream.generate(count, legato.argmax, encode=scaled)
    np.testing.assert_array_equal(choices, expected)
    assert stream.steps == 4 + count
    assert len(np.unique(choices)) > 1 or count < 5


def test_generating_more_than_one_program_holds():
    stream = warmed(fixed())
    expected = feed_choices_back(stream.fork(), 5000, np.argmax, scaled)
    np.testing.assert_array_equal(stream.generate(5000, encode=scaled), expected)


def test_generating_in_two_parts_equals_generating_at_once():
    one, other = warmed(fixed()).fork(2)
    for choose in (legato.argmax, legato.sample(1.2, seed=5)):
        whole = one.generate(20, choose, encode=scaled)
        parts = [other.generate(n, choose, encode=scaled) for n in (3, 1, 16)]
        np.testing.assert_array_equal(np.concatenate(parts), whole)
        assert one.state.allclose(other.state)


def test_classes_are_one_hot_if_the_model_has_as_many_features():
    stream = warmed(fixed(features=CLASSES))
    expected = feed_choices_back(
        stream.fork(), 9, np.argmax, lambda choice: np.eye(CLASSES)[choice]
    )
    np.testing.assert_array_equal(stream.generate(9), expected)


def test_tokens_are_fed_back_unchanged():
    model = legato.Sequential(
        [
            layers.Input((None,), dtype="int32"),
            layers.Embedding(CLASSES, 4, embeddings_initializer="glorot_normal"),
            layers.LSTM(5),
            layers.Dense(CLASSES, "softmax"),
        ]
    )
    stream = model.stream().warm([1, 2])
    expected = feed_choices_back(stream.fork(), 9, np.argmax, int)
    np.testing.assert_array_equal(stream.generate(9), expected)


def test_forecasts_are_fed_back_unchanged():
    stream = warmed(fixed(2, 2, activation=None))
    expected = feed_choices_back(stream.fork(), 6, np.copy, np.copy)
    generated = stream.generate(6)
    assert generated.shape == (6, 2)
    np.testing.assert_allclose(generated, expected, rtol=1e-4, atol=1e-5)


def test_a_stateless_model_with_a_window_generates_too():
    stream = warmed(fixed(), window=3)
    expected = feed_choices_back(stream.fork(), 9, np.argmax, scaled)
    np.testing.assert_array_equal(stream.generate(9, encode=scaled), expected)


def test_choose_and_encode_may_be_any_functions():
    def second_best(answer):
        return jnp.argsort(answer)[-2]

    stream = warmed(fixed())
    choices = stream.fork().generate(8, second_best, encode=scaled)
    expected = feed_choices_back(stream.fork(), 8, lambda answer: np.argsort(answer)[-2], scaled)
    np.testing.assert_array_equal(choices, expected)
    table = {at: (at + 1) % CLASSES for at in range(CLASSES)}  # no tracer is found in it
    choices = stream.fork().generate(8, lambda answer: table[int(np.argmax(answer))], encode=scaled)
    expected = feed_choices_back(
        stream.fork(), 8, lambda answer: table[int(np.argmax(answer))], scaled
    )
    np.testing.assert_array_equal(choices, expected)


def test_different_functions_have_different_programs(compiled):
    stream = warmed(fixed())

    def by(factor):
        return stream.fork().generate(8, lambda answer: answer[:1] * factor)

    first = by(1.0)
    before = compiled.count
    np.testing.assert_array_equal(by(1.0), first)
    assert compiled.count == before
    assert not np.allclose(by(2.0), first)


class Best:
    """Chooses with a method, which differs between objects."""

    def __init__(self, place: int):
        self.place = place

    def choose(self, answer):
        return jnp.argsort(answer)[self.place]


def test_methods_of_different_objects_have_different_programs():
    stream = warmed(fixed())
    for place in (-1, -2, 0):
        expected = feed_choices_back(
            stream.fork(), 5, lambda answer, at=place: np.argsort(answer)[at], scaled
        )
        choices = stream.fork().generate(5, Best(place).choose, encode=scaled)
        np.testing.assert_array_equal(choices, expected)


def test_samples_follow_the_probabilities():
    stream = warmed(fixed())
    expected = stream.answer
    draws = [
        stream.fork().generate(1, legato.sample(seed=seed), encode=scaled)[0] for seed in range(400)
    ]
    shares = np.bincount(draws, minlength=CLASSES) / len(draws)
    np.testing.assert_allclose(shares, expected, atol=4 * 0.5 / np.sqrt(len(draws)))


def test_logits_are_sampled_if_declared_as_logits():
    with_softmax, without = warmed(fixed()), warmed(fixed(activation=None))
    for seed in range(5):
        expected = with_softmax.fork().generate(9, legato.sample(0.8, seed), encode=scaled)
        choose = legato.sample(0.8, seed, logits=True)
        np.testing.assert_array_equal(without.fork().generate(9, choose, encode=scaled), expected)
    with pytest.raises(InputError, match=r"not the probabilities of classes.*logits=True"):
        without.generate(3, legato.sample(), encode=scaled)


def test_temperature_sharpens_and_seeds_repeat():
    stream = warmed(fixed())

    def draw(temperature, seed):
        return stream.fork().generate(50, legato.sample(temperature, seed), encode=scaled)

    np.testing.assert_array_equal(draw(0, 3), stream.fork().generate(50, encode=scaled))
    np.testing.assert_array_equal(draw(1.0, 3), draw(1.0, 3))
    assert not np.array_equal(draw(1.0, 3), draw(1.0, 4))
    assert not np.array_equal(draw(1.0, None), draw(1.0, None))
    np.testing.assert_array_equal(draw(1e-3, 8), draw(0, 8))


def test_without_compilation_sampling_runs_step_by_step():
    stream = warmed(network())
    with jax.disable_jit():
        choices = stream.fork().generate(4, legato.sample(1.0, 2), encode=scaled)
    np.testing.assert_array_equal(choices, stream.generate(4, legato.sample(1.0, 2), encode=scaled))


def test_a_failing_choice_leaves_the_stream_as_it_was():
    stream = warmed(fixed())
    before = stream.state, stream.steps
    for choose, error in ((lambda answer: 1 / 0, ZeroDivisionError), (lambda: 1, TypeError)):
        with pytest.raises(error):
            stream.generate(4, choose, encode=scaled)
        assert (stream.state, stream.steps) == before


@pytest.mark.parametrize("error", [TypeError("no temperature"), IndexError("no such letter")])
@pytest.mark.parametrize("name", ["choose", "encode"])
def test_errors_in_user_functions_are_raised_unchanged(name, error):
    calls = []

    def failing(value):
        calls.append(value)
        raise error

    with pytest.raises(type(error)) as raised:
        warmed(fixed()).generate(4, **{"encode": scaled, name: failing})
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
def test_a_function_that_cannot_be_traced_runs_step_by_step(choose):
    stream = warmed(fixed())
    expected = feed_choices_back(stream.fork(), 3, choose, scaled)
    np.testing.assert_array_equal(stream.generate(3, choose, encode=scaled), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
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
def test_invalid_arguments_of_generate_are_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        warmed(fixed()).generate(**arguments)


def test_generate_needs_an_output_to_start_from():
    with pytest.raises(InputError, match="fed nothing yet"):
        fixed().stream().generate(3, encode=scaled)
    stream = fixed().stream(window=3).warm([[0.1]])
    with pytest.raises(
        InputError, match=r"1 of the 3 steps of its window.*2 more are needed. Feed"
    ):
        stream.generate(3, encode=scaled)
    assert len(fixed().stream(window=3, pad=0).warm([[0.1]]).generate(3, encode=scaled)) == 3


def test_a_stream_taken_from_a_pool_generates_only_after_a_step():
    pool = fixed().streams()
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
    ("options", "message"),
    [
        ({"temperature": -1}, "temperature is -1"),
        ({"temperature": np.nan}, "temperature is nan"),
        ({"temperature": "hot"}, "temperature is 'hot'"),
        ({"seed": -1}, "seed is -1"),
        ({"seed": 2**32}, "seed is 4294967296"),
        ({"seed": 0.5}, "seed is 0.5"),
    ],
)
def test_invalid_arguments_of_sample_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        legato.sample(**options)
