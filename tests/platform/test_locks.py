"""``ModelLock``: which calls wait or are refused, and what an interrupt leaves behind."""

import copy
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from legato import UnsupportedError
from legato._platform.locks import Lock, ModelLock, acting_for_this_thread


@pytest.fixture
def held():
    """``held(call)`` runs ``call(wait)`` in a thread up to its ``wait()``, and returns its end."""
    may_end, threads = threading.Event(), ThreadPoolExecutor(2)

    def begin(call):
        begun = threading.Event()

        def wait():
            begun.set()
            assert may_end.wait(60)

        done = threads.submit(call, wait)
        assert begun.wait(60)

        def end():
            may_end.set()
            return done.result(60)

        return end

    yield begin
    may_end.set()
    threads.shutdown()


def test_a_thread_enters_its_own_lock_again():
    lock = ModelLock()
    assert lock.run("evaluate", lambda: lock.run("predict", int, "7")) == 7
    assert lock.run_fit(lambda: lock.run_fit(lambda: lock.run("predict", int, "8"))) == 8


def test_others_are_refused_while_fit_runs(held):
    lock = ModelLock()
    end = held(lock.run_fit)
    with pytest.raises(UnsupportedError, match="evaluate was called while fit of the same model"):
        lock.run("evaluate", int)
    with pytest.raises(UnsupportedError, match="fit was called while fit of the same model"):
        lock.run_fit(int)
    assert lock.run("predict", int, "1", beside_fit=True) == 1
    end()
    assert lock.run("evaluate", int, "2") == 2


def test_a_thread_that_reads_for_another_enters_its_lock():
    lock = ModelLock()
    with ThreadPoolExecutor(1, initializer=acting_for_this_thread()) as reader:

        def read():
            return reader.submit(lock.run, "predict", int, "3").result(60)

        assert read() == lock.run("evaluate", read) == lock.run_fit(read) == 3


def test_an_interrupt_while_waiting_leaves_the_lock_to_others(held, interruptible):
    lock = ModelLock()
    end = held(lambda wait: lock.run("evaluate", wait))
    interrupt = partial(signal.pthread_kill, threading.get_ident(), signal.SIGINT)

    def wait():
        threading.Timer(0.05, interrupt).start()
        lock.run("predict", int)

    with pytest.raises(KeyboardInterrupt):
        wait()
    end()
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(lock.run, "predict", int, "4").result(60) == 4


@pytest.mark.parametrize("run", [lambda lock, call: lock.run("predict", call), ModelLock.run_fit])
def test_a_call_that_fails_leaves_the_lock_to_others(run):
    lock = ModelLock()
    with pytest.raises(ZeroDivisionError):
        run(lock, lambda: 1 / 0)
    with ThreadPoolExecutor(1) as thread:
        assert thread.submit(run, lock, int).result(60) == 0


def test_a_copy_of_a_locks_owner_has_a_lock_of_its_own():
    lock = Lock()
    with lock:
        own = copy.deepcopy({"lock": lock, "model": ModelLock()})
        with ThreadPoolExecutor(1) as thread:
            assert thread.submit(own["lock"].acquire, timeout=60).result(60)
    assert own["model"].run("predict", int, "5") == 5
