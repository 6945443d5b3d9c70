"""Dropout and bidirectional layers of a single network."""

import numpy as np
import pytest
from trained_examples import TINY, weight_bytes

from legato import InputError, TrainConfig, Trained, layers, plan, report, train

STEPS, UNITS = 5, TINY["units"]
WAVE = {"load": np.sin(np.arange(40) / 3)}
KINDS = {
    "plain": {},
    "dropout": {"dropout": 0.4},
    "recurrent dropout": {"recurrent_dropout": 0.4},
    "bidirectional": {"bidirectional": True, "steps": STEPS},
    "all": {"bidirectional": True, "dropout": 0.4, "recurrent_dropout": 0.3, "layers": 2},
}


@pytest.fixture(scope="module")
def networks() -> dict[str, Trained]:
    return {name: train(WAVE, **TINY, **options) for name, options in KINDS.items()}


@pytest.mark.slow
def test_the_layers_are_those_that_were_asked_for(networks):
    def of(name: str, kind: type) -> list:
        return [each for each in networks[name].model.layers if isinstance(each, kind)]

    assert of("plain", layers.Dropout) == of("plain", layers.Bidirectional) == []
    assert [each.rate for each in of("dropout", layers.Dropout)] == [0.4]
    assert [each.recurrent_dropout for each in of("recurrent dropout", layers.LSTM)] == [0.4]
    assert [each.rate for each in of("all", layers.Dropout)] == [0.4, 0.4]
    both = of("all", layers.Bidirectional)
    assert [each.forward_layer.recurrent_dropout for each in both] == [0.3, 0.3]
    assert [each.backward_layer.units for each in both] == [UNITS, UNITS]
    assert networks["bidirectional"].shape.framing == "window"
    assert not networks["bidirectional"].shape.stateful


@pytest.mark.slow
@pytest.mark.parametrize("name", KINDS)
def test_a_seed_gives_one_network_and_its_forecasts_are_not_random(networks, name, tmp_path):
    trained = networks[name]
    again = train(WAVE, **TINY, **KINDS[name])
    assert weight_bytes(again) == weight_bytes(trained)
    found = trained.forecast(WAVE, 3).values
    np.testing.assert_array_equal(trained.forecast(WAVE, 3).values, found)
    again.save(tmp_path / "model.keras")
    opened = Trained.load(tmp_path / "model.keras")
    assert opened.shape == trained.shape
    np.testing.assert_array_equal(opened.forecast(WAVE, 3).values, found)


@pytest.mark.slow
def test_dropout_changes_what_is_learnt(networks):
    plain = weight_bytes(networks["plain"])
    assert weight_bytes(networks["dropout"]) != plain != weight_bytes(networks["recurrent dropout"])


@pytest.mark.slow
def test_a_bidirectional_network_sees_its_window_and_nothing_else(networks):
    trained = networks["bidirectional"]
    window = WAVE["load"][-STEPS:].astype("float32").reshape(1, STEPS, 1)
    expected = trained.model.predict(window, verbose=0)
    found = trained.forecast(WAVE, 1).values[:, :, 0]
    np.testing.assert_allclose(found, expected, rtol=1e-5)
    for at in range(STEPS):
        other = window.copy()
        other[0, at] += 1
        assert abs(trained.model.predict(other, verbose=0) - expected).max() > 1e-4


def test_a_plan_says_so(capsys):
    report.print_plan(plan(WAVE, bidirectional=True, dropout=0.25, verbose=0))
    shown = " ".join(capsys.readouterr().out.split())
    assert "bidirectional lstm of 32 units, dropout 0.25, no state carried; window of" in shown


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, "dropout is 1.0; a share from 0 to below 1 was expected"),
        ({"recurrent_dropout": -0.1}, "recurrent_dropout is -0.1; a share from 0 to below 1"),
        ({"bidirectional": True, "framing": "chunks"}, "chunks ask for an output at every step"),
        ({"bidirectional": True, "stateful": True}, "cannot carry state from one to the next"),
        ({"dropout": 0.1, "framing": "ensemble"}, "An ensemble chooses .*, and dropout came"),
    ],
)
def test_options_that_do_not_fit(options, message):
    with pytest.raises(InputError, match=message):
        TrainConfig(**options)
