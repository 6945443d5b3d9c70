"""What an executor does is what this process does, to the bit."""

import multiprocessing
import os
import signal
import threading
import time
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import jax
import keras
import numpy as np
import pytest
from forked import forks

import legato
from legato import alphabet, layers

SEEDS = 5
X = np.random.default_rng(0).normal(size=(8, 4, 2)).astype("float32")
Y = X[:, -1, :1]


def build():
    model = legato.Sequential(
        [layers.Input((4, 2)), layers.GRU(3, dropout=0.2, stateful=True), layers.Dense(1)]
    )
    model.compile("adam", "mse")
    return model


def ignore_the_seed():
    keras.utils.set_random_seed(1)
    return build()


def data_of(seed: int) -> tuple:
    return X + np.float32(seed), Y


def pause(seed: int) -> list:
    """Callbacks that take time, so that a worker can be killed meanwhile."""
    return [keras.callbacks.LambdaCallback(on_train_end=lambda logs: time.sleep(0.5))]


def replicate(executor=None, X=X, y=Y, **options) -> legato.Replicates:
    options = {"n": SEEDS, "epochs": 3, "batch_size": 4, "verbose": 0, **options}
    return legato.replicate(build, X, y, executor=executor, **options)


def assert_same(one: legato.Replicates, other: legato.Replicates) -> None:
    assert one.seeds == other.seeds
    assert one.histories == other.histories
    for mine, theirs in zip(one.weights, other.weights, strict=True):
        assert all(map(np.array_equal, mine, theirs))
    np.testing.assert_array_equal(one.predict(X), other.predict(X))
    np.testing.assert_array_equal(one.model(1).predict(X[:4]), other.model(1).predict(X[:4]))


def spawned() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn"))


@pytest.fixture(autouse=True, scope="module")
def _compiled_as_in_other_processes():
    """Programs that were compiled for other tests, with more optimizations, are not used."""
    jax.clear_caches()


@pytest.fixture(scope="module")
def pool():
    with ProcessPoolExecutor(2, mp_context=forks()) as made:
        yield made


@pytest.fixture(scope="module")
def alone() -> legato.Replicates:
    return replicate()


def test_processes_train_the_same_replicates(pool, alone, capsys):
    assert_same(replicate(pool, verbose=2), alone)
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("Seed ") for line in lines) == SEEDS


def test_data_of_each_seed_are_made_where_it_is_trained(pool):
    assert_same(replicate(pool, data_of, None), replicate(None, data_of, None))


def test_threads_of_an_executor_train_the_same_replicates(alone):
    with ThreadPoolExecutor(3) as threads:
        assert_same(replicate(threads), alone)


@pytest.mark.slow
def test_processes_search_the_same_settings(pool):
    wave = {"load": np.sin(np.arange(60) / 3)}
    options = {"units": 2, "epochs": 1, "layers": 1, "horizon": 2, "test": 10, "verbose": 0}
    planned = legato.plan(wave, **options, framing="window", steps=6, search=3)
    found = [planned.search(executor=each) for each in (pool, None)]
    assert found[0].config == found[1].config
    trials = [each._search_record["trials"] for each in found]
    for mine, theirs in zip(*trials, strict=True):
        assert mine["options"] == theirs["options"]
        np.testing.assert_allclose(mine["score"], theirs["score"], rtol=1e-5)


@pytest.mark.slow
def test_processes_answer_the_same_question(pool):
    def experiment(way) -> alphabet.Found:
        runs = way.train_network("", alphabet.NETWORKS[3], 2, epochs=3)
        return alphabet.Found("holds", "", (alphabet.Group("loss", runs.scores["loss"]),))

    question = alphabet.Question("loss", "How much?", "Much.", experiment)
    answers = [*alphabet.answer([question], executor=pool), *alphabet.answer([question])]
    there, here = (each.found.groups[0].scores for each in answers)
    np.testing.assert_array_equal(there, here)


def test_processes_score_the_same_backtest(pool):
    wave = {"load": np.sin(np.arange(60) / 3)}
    trained = legato.train(wave, units=2, epochs=1, horizon=2, verbose=0)
    other = {"load": np.cos(np.arange(50) / 2)}
    found = [trained.evaluate(other, executor=each).as_numbers() for each in (pool, None)]
    assert found[0] == found[1]


@pytest.mark.slow
def test_seeds_of_a_killed_process_are_trained_here(alone):
    """As ``concurrent.futures`` has it, the death of one process breaks the pool."""
    with spawned() as pool:
        pool.submit(os.getpid).result()

        def kill() -> None:
            time.sleep(1)
            os.kill(next(iter(pool._processes)), signal.SIGKILL)

        killing = threading.Thread(target=kill)
        killing.start()
        with pytest.warns(UserWarning, match="process of the executor ended"):
            found = replicate(pool, callbacks=pause)
        killing.join()
    assert_same(found, alone)


@pytest.mark.slow
def test_a_dask_cluster_one_of_whose_workers_is_killed(alone):
    distributed = pytest.importorskip("distributed")
    options = {"n_workers": 2, "threads_per_worker": 1, "dashboard_address": None}
    with distributed.LocalCluster(**options) as cluster, distributed.Client(cluster) as client:
        first, *_ = client.run(os.getpid).values()

        def kill() -> None:
            time.sleep(1)
            os.kill(first, signal.SIGKILL)

        killing = threading.Thread(target=kill)
        killing.start()
        found = replicate(client.get_executor(), callbacks=pause)
        killing.join()
    assert_same(found, alone)


# Bad input.


def test_an_executor_that_forks_is_refused():
    forking = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("fork"))
    with forking, pytest.raises(legato.InputError, match=r"forks this process.*spawn"):
        replicate(forking)


def test_what_is_no_executor_is_refused():
    with pytest.raises(legato.InputError, match=r"executor is a int.*concurrent\.futures"):
        replicate(4)


def test_what_cannot_be_sent_is_named(pool):
    with pytest.raises(legato.InputError, match=r"cannot be sent to another process.*lambda"):
        replicate(pool, callbacks=lambda seed: [])


def test_errors_of_tasks_are_those_of_this_process(pool):
    with pytest.raises(legato.InputError, match="build ignores its seed"):
        legato.replicate(ignore_the_seed, X, Y, n=2, executor=pool)
