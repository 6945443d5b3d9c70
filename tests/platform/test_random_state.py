"""Random state is saved, restored and seeded for a while, for every generator that Keras uses."""

import random
import threading

import keras
import numpy as np

from legato._platform.random_state import (
    copy_numpy_generator,
    global_random_state,
    restore_random_state,
    temporary_seed,
)


def test_a_temporary_seed_draws_as_set_random_seed_does_and_restores_the_state():
    def drawn():
        return random.random(), np.random.random(), float(keras.random.uniform(()))

    keras.utils.set_random_seed(3)
    expected = drawn()
    keras.utils.set_random_seed(4)
    after = drawn()
    keras.utils.set_random_seed(4)
    with temporary_seed(3):
        assert drawn() == expected
    assert drawn() == after


def test_a_restored_state_draws_the_same_numbers_again():
    random.gauss(0, 1)  # keeps a second number for the next call
    kept = global_random_state()
    first = random.gauss(0, 1), np.random.normal(size=3).tolist()
    restore_random_state(kept)
    assert (random.gauss(0, 1), np.random.normal(size=3).tolist()) == first


def test_a_copied_generator_draws_what_the_global_one_would_draw():
    copy = copy_numpy_generator()
    assert copy.permutation(9).tolist() == np.random.permutation(9).tolist()


def _draws() -> list:
    functions = (random.random, random.gauss, random.getrandbits, random.randint, random.shuffle)
    arguments = [(), (0, 1), (70,), (1, 10**9), ([1, 2, 3],)]
    return [function(*given) for function, given in zip(functions, arguments, strict=True)]


def test_threads_that_draw_meanwhile_change_nothing():
    """Tornado's threads draw several times a second."""
    keras.utils.set_random_seed(7)
    expected = [_draws() for _ in range(200)]
    random.seed(1)
    random.gauss(0, 1)
    before = random.getstate()
    found, stop = [], threading.Event()

    def draw() -> None:
        while not stop.is_set():
            random.random()
            random.gauss(0, 1)

    other = threading.Thread(target=draw)
    other.start()
    with temporary_seed(7):
        found = [_draws() for _ in range(200)]
    stop.set()
    other.join()
    assert found == expected
    assert random.getstate() != before  # the other thread's draws are not taken back
