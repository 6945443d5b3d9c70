"""Random state is saved, restored and seeded for a while, for every generator that Keras uses."""

import random

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
