"""A model keeps the programs that it used last, and answers the same when one is compiled anew."""

import gc
import weakref

import keras
import numpy as np
import pytest
from cells import FEATURES, STEPS, Counter, inputs, spread

import legato
from legato._execution import recent_programs
from legato._execution.recent_programs import RecentPrograms

X = inputs(5, seed=4)
y = spread(np.random.default_rng(5), len(X), 2)
COUNTS = (1, 2, 3, 4)


@pytest.fixture
def model(monkeypatch):
    monkeypatch.setattr(recent_programs, "PROGRAMS_KEPT", 2)
    made = legato.Sequential(
        [keras.Input((STEPS, FEATURES)), legato.layers.GRU(3), legato.layers.Dense(2)]
    )
    made.compile("sgd", "mse")
    return made


def kept(loop) -> list[int]:
    return [len(each) for each in (loop.runs, loop.prepared, loop.repeated)]


def test_many_batch_sizes_keep_few_programs_and_the_same_answers(model):
    first = [model.predict(X[:count], verbose=0) for count in COUNTS]
    assert kept(model.predict_function) == [2, 2, 2]
    for count, answer in zip(COUNTS, first, strict=True):
        np.testing.assert_array_equal(model.predict(X[:count], verbose=0), answer)
    by_batch = [model.predict(X[:count], batch_size=count, verbose=0) for count in COUNTS]
    for answer, same in zip(first, by_batch, strict=True):
        np.testing.assert_array_equal(answer, same)


def test_evaluations_and_trainings_keep_few_programs(model):
    losses = [model.evaluate(X[:count], y[:count], verbose=0) for count in COUNTS]
    assert kept(model.test_function)[:2] == [2, 2]
    assert losses == [model.evaluate(X[:count], y[:count], verbose=0) for count in COUNTS]
    for count in COUNTS[:3]:
        model.fit(X[:count], y[:count], verbose=0)
    assert kept(model.train_function)[:2] == [2, 2]


def test_a_program_that_is_used_stays_and_one_that_is_dropped_is_freed(model):
    def predict(count):
        model.predict(X[:count], batch_size=count, verbose=0)

    predict(1)
    predict(2)
    used, unused = [weakref.ref(each) for each in model.predict_function.runs.values()]
    counter = Counter()
    predict(1)
    assert not counter.count
    predict(3)
    gc.collect()
    assert used() is not None
    assert unused() is None


def test_an_entry_that_was_read_stays(monkeypatch):
    monkeypatch.setattr(recent_programs, "PROGRAMS_KEPT", 2)
    programs = RecentPrograms()
    programs["a"], programs["b"] = 1, 2
    assert programs.get("a") == 1
    programs["c"] = 3
    assert programs.values() == [1, 3]
    assert programs.get("b") is None
