"""Training: scaling fitted on the training part, random seeds, early stopping, carried state."""

import random

import numpy as np
import pytest
from trained_examples import LENGTHS, TINY, weight_bytes

import legato
from legato import Column, Sequences, train


def test_scaling_is_that_of_the_training_part(sales_file, forecaster):
    sequences = legato.read(sales_file, group="shop", time="month")
    learnt = [
        sequences.of(at)[: length - round(0.2 * length)]
        for at, length in enumerate(LENGTHS.values())
    ]
    config = forecaster.model.get_layer("scaling").get_config()
    values = np.concatenate(learnt).astype("float32").astype("float64")
    np.testing.assert_allclose(np.ravel(config["mean"]), values.mean(0), rtol=1e-6)
    np.testing.assert_allclose(np.ravel(config["variance"]), values.var(0), rtol=1e-5)
    changes = [
        np.concatenate([part[t + 1][::-1] - part[t][::-1], part[t + 2][::-1] - part[t][::-1]])
        for part in learnt
        for t in range(len(part) - 2)
    ]
    config = forecaster.model.get_layer("change").get_config()
    np.testing.assert_allclose(np.ravel(config["mean"]), np.mean(changes, 0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("framing", ["chunks", "runs"])
def test_a_seed_repeats_training_to_the_bit_and_global_random_states_stay(framing):
    wave = {"wave": np.sin(np.arange(40) / 3)}
    options = {**TINY, "framing": framing, "steps": 4, "test": 0}
    made = []
    for seed in (1, 1, 2):
        random.seed(len(made))
        np.random.seed(len(made))
        kept, orders = random.getstate(), repr(np.random.get_state())
        made.append(weight_bytes(train(wave, **options, seed=seed)))
        assert random.getstate() == kept
        assert repr(np.random.get_state()) == orders
    assert made[0] == made[1]
    assert made[0] != made[2]


def test_early_stopping_chooses_the_epochs_and_then_all_data_are_fitted():
    rng = np.random.default_rng(4)
    noise = {"noise": rng.normal(size=40)}
    options = {**TINY, "learning_rate": 0.2, "test": 0}
    found = train(noise, **options | {"epochs": 12}, early_stop=2, validation=6)
    trial = found.known["training"]["trial"]
    losses = trial["history"]["val_loss"]
    best = trial["best_epochs"]
    assert best == np.argmin(losses) + 1
    assert len(losses) == min(best + 2, 12) < 12
    assert len(found.known["training"]["course"]["history"]["loss"]) == best
    assert weight_bytes(found) == weight_bytes(train(noise, **options | {"epochs": best}))


@pytest.mark.slow
def test_events_far_back_are_recognized_only_with_carried_state():
    def signs(lengths, seed):
        rng = np.random.default_rng(seed)
        label = rng.integers(0, 2, len(lengths))
        signal = rng.normal(scale=0.3, size=lengths.sum())
        signal[np.cumsum(lengths) - lengths] = 2 * label - 1
        columns = (Column("signal"), Column("sign", ("minus", "plus"), (0.0, 1.0)))
        values = np.column_stack([signal, np.repeat(label, lengths)])
        return Sequences(
            values, lengths, columns, tuple(f"{at}/{seed}" for at in range(len(label)))
        )

    data = signs(np.random.default_rng(0).integers(12, 24, 80), 1)
    longer = signs(np.full(100, 60), 2)
    options = {"units": 6, "epochs": 150, "learning_rate": 0.02, "verbose": 0}
    carried = train(data, steps=4, **options)
    assert carried.evaluate(longer).model.accuracy == 1
    low, high = train(data, steps=4, stateful=False, **options).evaluate(longer).model.interval
    assert low < 0.5 < high
