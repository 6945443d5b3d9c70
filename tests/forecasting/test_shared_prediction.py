"""Predictions that an executor shares out are those of one process, to the bit."""

import pickle
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool

import numpy as np
import pytest
from trained_examples import LATER, labelled_machines, shop_sales

import legato
from legato._forecasting import predictor, rollout
from legato._platform.executors import SentOnce


class Elsewhere(ThreadPoolExecutor):
    """An executor whose tasks and results are pickled, as those of other processes are."""

    def submit(self, fn, /, *args):
        sent = pickle.dumps((fn, args))

        def run():
            function, arguments = pickle.loads(sent)
            return pickle.loads(pickle.dumps(function(*arguments)))

        return super().submit(run)


class Breaking(Elsewhere):
    """Such an executor, of which a process is killed once two tasks are done."""

    done = 0

    def submit(self, fn, /, *args):
        self.done += 1
        if self.done <= 2:
            return super().submit(fn, *args)
        broken: Future = Future()
        broken.set_exception(BrokenProcessPool("a process was terminated"))
        return broken


@pytest.fixture(scope="module")
def ensemble() -> legato.Trained:
    rng = np.random.default_rng(0)
    waves = [np.sin(np.arange(90) / 3) + rng.normal(size=90) / 9 for _ in range(2)]
    return legato.train(waves, horizon=3, framing="ensemble", units=2, verbose=0, refit=False)


@pytest.fixture
def _small_batches(monkeypatch):
    monkeypatch.setattr(predictor, "BATCH", 8)
    monkeypatch.setattr(rollout, "ROWS", 2)


def unseen(kind: str):
    """Data that a model of a kind was not trained on."""
    if kind == "classifier":
        return labelled_machines(9, seed=8)
    if kind == "forecaster":
        return shop_sales(LATER, seed=5)
    rng = np.random.default_rng(1)
    return [10 * at + rng.normal(size=30 + at) for at in range(4)]


@pytest.mark.usefixtures("_small_batches")
@pytest.mark.parametrize("kind", ["ensemble", "forecaster", "classifier"])
def test_an_executor_gives_the_same_scores(kind, request):
    trained, data, lines = request.getfixturevalue(kind), unseen(kind), []
    expected = trained.evaluate(data).as_numbers()
    with Elsewhere(2) as executor:
        found = trained.evaluate(data, executor=executor, report=lines.append)
    assert found.as_numbers() == expected
    count = len(lines)
    assert count > 1
    assert lines[-1] == f"{count} of {count} parts are predicted"


@pytest.mark.usefixtures("_small_batches")
def test_what_a_lost_process_had_to_do_is_done_here(forecaster):
    data = shop_sales(LATER, seed=5) | {"shop": [f"{at // 9}" for at in range(89)]}
    expected = forecaster.evaluate(data).as_numbers()
    with Breaking(2) as executor, pytest.warns(UserWarning, match="and with it the executor"):
        found = forecaster.evaluate(data, executor=executor)
    assert executor.done > 2
    assert found.as_numbers() == expected


def test_any_steps_in_any_order(forecaster):
    sequences = forecaster.read(shop_sales())
    values, lengths = forecaster.inputs_of(sequences), sequences.lengths
    at = np.random.default_rng(2).permutation(len(values))[:20]
    every = forecaster.predict_steps(values, lengths)
    np.testing.assert_array_equal(forecaster.predict_at(values, lengths, at), every[at])


def test_what_tasks_share_is_unpickled_once():
    sent, other = SentOnce(np.arange(3)), SentOnce("other")
    first, second = (pickle.loads(pickle.dumps(sent)) for _ in range(2))
    assert first is second
    np.testing.assert_array_equal(first.value, sent.value)
    assert pickle.loads(pickle.dumps(other)).value == "other"


def test_what_is_no_executor_is_refused(forecaster):
    with pytest.raises(legato.InputError, match=r"executor is a int.*concurrent\.futures"):
        forecaster.evaluate(shop_sales(), executor=2)
