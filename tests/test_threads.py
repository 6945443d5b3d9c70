"""Threads that use one model, one stream or one pool.

The network counts: h ← h + x, fed with ones. n calls from any threads then have the answers 1 … n,
each once, and the state is n; a lost or a doubled change shows in the numbers.
"""

import copy
import os
import pickle
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import pytest

import legato
from legato import layers
from legato._platform.atomic_files import write_whole

THREADS = 8
ONE = np.ones((1, 1, 1), "float32")
TARGET = np.zeros((1, 1), "float32")


@keras.saving.register_keras_serializable("tests")
class CountingCell(keras.layers.Layer):
    """h ← h + x."""

    state_size = output_size = 1

    def call(self, inputs, states, training=False):
        state = states[0] + inputs
        return state, [state]

    def get_initial_state(self, batch_size=None):
        return [keras.ops.zeros((batch_size, 1))]


class Noise(keras.layers.Layer):
    """Random numbers, in predictions too."""

    def __init__(self):
        super().__init__()
        self.seeds = keras.random.SeedGenerator(1)

    def compute_output_shape(self, shape):
        return shape

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), seed=self.seeds)


def same():
    """A layer that gives its input: there is something to train, at a rate of 0."""
    return layers.Dense(1, kernel_initializer="ones")


def counting(*more, stateful: bool = True, built: bool = True):
    """A network that counts, and more layers after it; compiled."""
    first = [layers.Input((None, 1))] if built else []
    model = legato.Sequential([*first, layers.RNN(CountingCell(), stateful=stateful), *more])
    model.compile(optimizer=keras.optimizers.SGD(0.0), loss="mse")
    return model


@pytest.fixture(autouse=True)
def _frequent_switches():
    """Threads that change often, so that what can go wrong does."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(before)


def in_threads(work, count: int = THREADS) -> list:
    """The results of ``work(number of the thread)``, begun at one moment in all threads."""
    barrier = threading.Barrier(count)

    def run(number: int):
        barrier.wait()
        return work(number)

    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(run, range(count)))


def repeated(call, times: int) -> list:
    """The answers, as numbers, of a call that each of the threads makes some times."""
    found = in_threads(lambda _: [np.asarray(call()).item() for _ in range(times)])
    return sorted(answer for each in found for answer in each)


def count_of(state: legato.State) -> float:
    ((values,),) = state.values()
    return np.asarray(values).item()


# Models.

PREDICTIONS = {
    "predict": lambda model: model.predict(ONE, verbose=0),
    "predict in batches": lambda model: model.predict(ONE, batch_size=1, verbose=0),
    "predict_on_batch": lambda model: model.predict_on_batch(ONE),
    "model(x)": lambda model: model(ONE),
    "model(x, mask)": lambda model: model(ONE, mask=None),
}


@pytest.mark.parametrize("name", PREDICTIONS)
def test_every_prediction_of_a_stateful_model_counts(name):
    model = counting()
    times = 5 if name == "model(x, mask)" else 50  # Keras's own call is slow
    answers = repeated(lambda: PREDICTIONS[name](model), times)
    assert answers == list(range(1, THREADS * times + 1))
    assert count_of(model.states) == THREADS * times


def test_predictions_of_several_batches_count():
    model, several = counting(), np.ones((3, 1, 1), "float32")
    found = in_threads(
        lambda _: [model.predict(several, batch_size=1, verbose=0).ravel() for _ in range(20)]
    )
    answers = np.concatenate([each for part in found for each in part]).reshape(-1, 3)
    assert (np.diff(answers, axis=1) == 1).all()  # none came between the batches of one call
    assert sorted(answers.ravel()) == list(range(1, THREADS * 60 + 1))


@pytest.mark.parametrize("verb", ["train_on_batch", "test_on_batch", "evaluate"])
def test_every_batch_of_training_and_evaluation_counts(verb):
    model = counting(same())
    options = {"verbose": 0} if verb == "evaluate" else {}
    losses = repeated(lambda: getattr(model, verb)(ONE, TARGET, **options), 20)
    assert losses == [n**2 for n in range(1, THREADS * 20 + 1)]
    assert count_of(model.states) == THREADS * 20
    if verb == "train_on_batch":
        assert int(model.optimizer.iterations.value) == THREADS * 20


def test_advance_false_leaves_the_state_while_others_advance_it():
    model = counting()

    def work(number: int):
        return [model.predict(ONE, verbose=0, advance=number % 2 == 0).item() for _ in range(50)]

    found = in_threads(work)
    advanced = sorted(answer for each in found[::2] for answer in each)
    assert advanced == list(range(1, THREADS // 2 * 50 + 1))


def test_random_numbers_of_predictions_are_drawn_once():
    model = legato.Sequential([layers.Input((1,)), Noise()])
    answers = repeated(lambda: model.predict(ONE[0], verbose=0), 30)
    assert len(set(answers)) == THREADS * 30


@pytest.mark.parametrize("name", PREDICTIONS)
@pytest.mark.parametrize("built", [True, False])
def test_first_calls_from_several_threads(built, name):
    model = counting(same(), built=built)
    assert repeated(lambda: PREDICTIONS[name](model), 1) == list(range(1, THREADS + 1))


def test_first_calls_of_different_methods_and_shapes():
    model = counting(layers.Dropout(0.5), layers.Dense(1), stateful=False, built=False)
    calls = [
        lambda x, y: model.predict(x, verbose=0),
        lambda x, y: model(x),
        lambda x, y: model.evaluate(x, y, verbose=0),
        model.train_on_batch,
    ]

    def work(number: int):
        x = np.ones((1 + number % 3, 2 + number // 4, 1), "float32")
        return calls[number % 4](x, x[:, 0])

    in_threads(work)
    assert int(model.optimizer.iterations.value) == THREADS // 4


# Training.


class Held(keras.callbacks.Callback):
    """Holds ``fit`` in its first epoch until it is released."""

    def __init__(self):
        super().__init__()
        self.begun, self.released = threading.Event(), threading.Event()

    def on_epoch_begin(self, epoch, logs=None):
        self.begun.set()
        assert self.released.wait(60)


@pytest.fixture
def held_fit():
    """A function that starts ``fit`` in a thread named "trainer", which stays in an epoch."""
    callback, threads = Held(), []

    def begin(model, x=ONE, y=TARGET, **options):
        options |= {"verbose": 0, "callbacks": [callback]}
        thread = threading.Thread(
            target=lambda: model.fit(x, y, **options), name="trainer", daemon=True
        )
        threads.append(thread)
        thread.start()
        assert callback.begun.wait(60)

        def end():
            callback.released.set()
            thread.join(60)

        return end

    yield begin
    callback.released.set()
    for thread in threads:
        thread.join(60)


REFUSED = {
    "fit": lambda model: model.fit(ONE, TARGET, verbose=0),
    "train_on_batch": lambda model: model.train_on_batch(ONE, TARGET),
    "evaluate": lambda model: model.evaluate(ONE, TARGET, verbose=0),
    "test_on_batch": lambda model: model.test_on_batch(ONE, TARGET),
    "predict": PREDICTIONS["predict"],
    "predict_on_batch": PREDICTIONS["predict_on_batch"],
    "model(x)": PREDICTIONS["model(x)"],
    "reset_states": lambda model: model.reset_states(),
    "states =": lambda model: setattr(model, "states", model.states),
}


def test_what_changes_the_model_is_refused_beside_fit(held_fit):
    model = counting(same())
    stream = model.stream()
    stream.feed([1.0])
    end = held_fit(model, epochs=3)
    for name, call in REFUSED.items():
        with pytest.raises(legato.UnsupportedError, match=r"runs in thread 'trainer'") as raised:
            call(model)
        assert str(raised.value).startswith(f"{name} was called while fit of the same model")
    assert stream.feed([1.0]) == 2  # a stream has a state of its own
    assert model.states.rows == 0
    end()
    assert count_of(model.states) == 1
    assert int(model.optimizer.iterations.value) == 3
    model.fit(ONE, TARGET, verbose=0)
    assert PREDICTIONS["predict"](model) == 3


def test_two_fits_lose_no_update():
    model = counting(same())
    outcomes = []

    def work(_):
        try:
            model.fit(ONE, TARGET, epochs=20, verbose=0)
            outcomes.append(True)
        except legato.UnsupportedError:
            outcomes.append(False)

    in_threads(work)
    assert True in outcomes
    assert int(model.optimizer.iterations.value) == 20 * sum(outcomes)


def test_a_stateless_model_predicts_beside_fit(held_fit):
    """The statistics of the training stay, although ``predict`` returns them too."""
    X = np.random.default_rng(0).normal(size=(4, 2, 1)).astype("float32")

    def make():
        keras.utils.set_random_seed(1)
        more = layers.BatchNormalization(), layers.Dropout(0.5), layers.Dense(1)
        return counting(*more, stateful=False)

    alone, model = make(), make()
    alone.fit(X, X[:, 0], epochs=2, verbose=0, callbacks=[keras.callbacks.Callback()])
    expected = model.predict(X[:2], verbose=0)
    end = held_fit(model, X, X[:, 0], epochs=2)
    np.testing.assert_array_equal(model.predict(X[:2], verbose=0), expected)
    assert model.predict(X[:3], verbose=0).shape == (3, 1)  # a program that is compiled now
    assert model(X[:3]).shape == (3, 1)
    end()
    for mine, theirs in zip(model.get_weights(), alone.get_weights(), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-6, atol=1e-7)


def test_statistics_of_training_are_not_overwritten_by_predictions():
    model = counting(layers.BatchNormalization(momentum=0.0), stateful=False)
    model.predict(ONE, verbose=0)
    done = threading.Event()

    def work(number: int):
        if number:
            while not done.is_set():
                model.predict(ONE, verbose=0)
                model.predict(ONE, verbose=0, batch_size=1)
            return
        try:
            for value in range(100):
                model.train_on_batch(np.full((1, 1, 1), value, "float32"), TARGET)
                assert np.asarray(model.layers[-1].moving_mean.value).item() == value
        finally:
            done.set()

    in_threads(work, 3)


def test_callbacks_of_fit_use_the_model():
    model, seen = counting(), []

    class Uses(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            model.evaluate(ONE, TARGET, verbose=0, advance=False)
            model.test_on_batch(ONE, TARGET)
            seen.append(model.predict(ONE, verbose=0).item())
            model.reset_states()

    model.fit(ONE, TARGET, epochs=3, verbose=0, callbacks=[Uses()], reset="never")
    assert seen == [3, 3, 3]


def test_a_generator_of_training_data_runs_the_model():
    """It is read on another thread, while ``fit`` waits for it."""
    model, seen = counting(), []

    def batches():
        for _ in range(4):
            seen.append(model.predict(ONE, verbose=0, advance=False).item())
            yield ONE, TARGET

    model.fit(batches(), steps_per_epoch=4, verbose=0)
    assert len(seen) == 4
    assert count_of(model.states) == 4


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_an_interrupted_fit_lets_others_go_on(error):
    model = counting()

    class Stops(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            raise error

    with pytest.raises(error):
        model.fit(ONE, TARGET, verbose=0, callbacks=[Stops()])
    assert repeated(lambda: model.predict(ONE, verbose=0), 1) == list(range(2, THREADS + 2))


def test_models_train_side_by_side():
    models = [counting(same()) for _ in range(THREADS)]
    in_threads(lambda number: models[number].fit(ONE, TARGET, epochs=number, verbose=0))
    done = [int(model.optimizer.iterations.value) for model in models[1:]]
    assert done == list(range(1, THREADS))


def test_replicates_are_predicted_from_several_threads():
    """They share one model, whose weights are set to one replicate's after the other's."""
    X = np.linspace(0.1, 1, 4, dtype="float32").reshape(2, 2, 1)

    def build():
        return counting(layers.Dense(1), stateful=False)

    runs = legato.replicate(build, X, X[:, 0], seeds=[1, 2], verbose=0)
    expected = runs.predict(X)
    assert not np.array_equal(*expected)
    for found in in_threads(lambda _: [runs.predict(X) for _ in range(5)]):
        np.testing.assert_array_equal(found, [expected] * 5)


def test_a_model_that_has_a_lock_is_copied_and_pickled():
    model = counting()
    assert PREDICTIONS["predict"](model) == 1
    copied, unpickled = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    assert repeated(lambda: PREDICTIONS["predict"](copied), 1) == [*range(2, 10)]
    assert repeated(lambda: PREDICTIONS["predict"](unpickled), 1) == [*range(1, 9)]  # no state
    assert PREDICTIONS["predict"](model) == 2


def test_the_umask_stays_when_threads_write_files(tmp_path):
    before = os.umask(0o22)
    try:
        in_threads(lambda n: [write_whole(tmp_path / f"{n}", Path.touch) for _ in range(50)])
        assert os.umask(0o22) == 0o22
    finally:
        os.umask(before)
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o644}


# Streams and pools.


@pytest.fixture(scope="module")
def counter():
    """A counting network that is streamed, and not changed."""
    return counting()


def test_every_feed_of_a_stream_counts(counter):
    stream = counter.stream()
    answers = repeated(lambda: stream.feed([1.0]), 200)
    assert answers == list(range(1, THREADS * 200 + 1))
    assert stream.steps == count_of(stream.state) == THREADS * 200


def test_first_feeds_of_streams_from_several_threads():
    """Several window lengths and pools, of a model of which nothing was compiled."""
    model = counting(same())
    stream = model.stream()

    def work(number: int):
        own, pool = model.stream(window=1 + number % 3 or None), model.streams()
        steps = np.ones((1 + 20 * (number % 2), 1), "float32")
        answers = own.feed(steps)[-1].item(), pool.feed({"ada": steps})["ada"][-1].item()
        return (*answers, len(steps), stream.feed([1.0]).item())

    found = in_threads(work)
    assert sorted(each[-1] for each in found) == list(range(1, THREADS + 1))
    assert [each[1] for each in found] == [each[2] for each in found]


def test_a_stream_is_fed_peeked_forked_traced_and_saved_at_once(counter, tmp_path):
    stream = counter.stream()
    one = np.ones((1, 1), "float32")

    def work(number: int):
        for at in range(20):
            stream.feed([1.0])
            assert stream.feed(one, every=False).item() > 0
            assert stream.peek([1.0]).item() > 0
            fork = stream.fork()
            assert fork.steps == count_of(fork.state)
            stream.trace(one)
            stream.warm(one)
            stream.generate(1, lambda answer: answer * 0 + 1)
            path = tmp_path / f"{number}-{at}.state"
            stream.save(path)
            saved = counter.stream().load(path)
            assert saved.steps == count_of(saved.state)

    in_threads(work)
    assert stream.steps == count_of(stream.state) == THREADS * 20 * 5


def test_every_feed_of_a_name_of_a_pool_counts(counter, tmp_path):
    with counter.streams(file=tmp_path / "pool.state") as pool:
        answers = repeated(lambda: pool.feed({"ada": [1.0]})["ada"], 100)
        assert answers == list(range(1, THREADS * 100 + 1))
        assert pool.steps("ada") == THREADS * 100
    with counter.streams(file=tmp_path / "pool.state") as again:
        assert again.steps("ada") == count_of(again.state("ada")) == THREADS * 100


def test_the_log_of_a_pool_that_threads_feed_is_whole(counter, tmp_path):
    """The process is killed: the log is there, the pool was not closed."""
    pool = counter.streams(file=tmp_path / "pool.state")

    def work(number: int):
        for at in range(30):
            pool.feed({"all": [1.0], f"own {number}": [1.0], f"new {number} {at}": [1.0]})
            pool.drop(f"new {number} {at}")

    in_threads(work)
    for path in tmp_path.iterdir():
        (tmp_path / f"copy.{path.name}").write_bytes(path.read_bytes())
    with counter.streams(file=tmp_path / "copy.pool.state") as again:
        assert again.steps("all") == count_of(again.state("all")) == THREADS * 30
        assert {again.steps(f"own {number}") for number in range(THREADS)} == {30}
        assert len(again) == THREADS + 1
    pool.close()


def test_a_pool_is_fed_peeked_evicted_restored_and_saved_at_once(counter, tmp_path):
    pool = counter.streams(folder=tmp_path / "evicted")

    def work(number: int):
        mine = f"own {number}"
        for at in range(20):
            pool.feed({"all": [1.0], mine: [1.0]})
            assert pool.peek({mine: [1.0]})[mine].item() == at + 2
            pool.evict(mine)
            pool.restore(mine)
            pool.fork(mine, f"fork {number}")
            pool.reset(f"fork {number}")
            pool.put(f"copy {number}", pool.stream(mine))
            path = tmp_path / f"{number}.state"
            pool.save(path)
            saved = counter.streams().load(path)
            assert all(saved.steps(each) == count_of(saved.state(each)) for each in saved)
            assert len(pool.idle(3)) <= len(list(pool))

    in_threads(work)
    assert pool.steps("all") == count_of(pool.state("all")) == THREADS * 20
    assert {pool.steps(f"copy {number}") for number in range(THREADS)} == {20}


def test_weights_of_two_moments_are_never_mixed():
    """Two layers are trained alike, so that their outputs are equal at any moment."""
    x = layers.Input((1,))
    alike = [layers.Dense(1, kernel_initializer="zeros")(x) for _ in range(2)]
    model = legato.Model(x, layers.Concatenate()(alike))
    model.compile(optimizer=keras.optimizers.SGD(0.01), loss="mse")
    done, stream, pool = threading.Event(), model.stream(), model.streams()
    answers = set()

    def work(number: int):
        try:
            at = 0
            while number == 0 and len(answers) < 20:
                model.train_on_batch(ONE[0], np.full((1, 2), at % 7))
                at += 1
            while number and not done.is_set():
                answers.add(tuple(stream.feed([1.0])))
                answers.add(tuple(pool.feed({"ada": [1.0]})["ada"]))
                answers.add(tuple(model.predict(ONE[0], verbose=0)[0]))
        finally:
            done.set()

    in_threads(work, 4)
    assert all(one == other for one, other in answers)
