"""Single networks of ``legato train`` give in ONNX Runtime what they give in Keras.

Of ensembles it is tested where those are trained: ``test_ensemble``, ``test_label_ensemble`` and
``test_covariates``.
"""

import numpy as np
import pytest
from onnx_files import CLOSE, assert_exported
from trained_examples import labelled_machines, predict_step_by_step, shop_sales

import legato
from legato import InputError, layers
from legato._forecasting import network
from legato._forecasting.network import Shape, build_networks
from legato._forecasting.task import infer_task


def inputs_of(trained, data) -> np.ndarray:
    """The first sequence, (time steps, inputs)."""
    sequences = trained.read(data)
    names = [each.name for each in sequences.columns]
    return sequences.of(0)[:, [names.index(each.name) for each in trained.task.inputs]]


def padded(trained, values: np.ndarray) -> np.ndarray:
    """Two rows of one sequence (time steps, inputs), the second with padding before it."""
    rows = np.repeat(values[None].astype("float32"), 2, axis=0)
    rows[1, :3] = trained.pad
    return rows


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(
    ("name", "data"),
    [("forecaster", "sales_file"), ("generator", "text_file"), ("classifier", None)],
)
def test_a_network_that_carries_state_goes_on_from_any_step(name, data, request, tmp_path):
    trained = request.getfixturevalue(name)
    values = inputs_of(
        trained, labelled_machines() if data is None else request.getfixturevalue(data)
    )
    trained.model.reset_states()
    file = assert_exported(trained.model, tmp_path, padded(trained, values))
    y, _ = file.in_chunks(values[None].astype("float32"), [1] * len(values))
    np.testing.assert_allclose(y[0], predict_step_by_step(trained, values), **CLOSE)


@pytest.mark.parametrize("framing", ["window", "features", "prefix", "runs"])
def test_a_network_of_every_framing(framing, rng, tmp_path):
    task = infer_task(legato.read(shop_sales(), group="shop", time="month"), "forecast", "sold", 2)
    shape = Shape(units=3, layers=2, framing=framing, steps=4, bidirectional=True, dropout=0.5)
    values = rng.normal(20, 3, (30, len(task.inputs))).astype("float32")
    networks = build_networks(task, shape, values, rng.normal(1, 2, (30, 2)))
    rows = values[:12].reshape(3, 4, -1)
    if framing in ("prefix", "runs"):
        rows[0, :2] = networks.pad
    assert_exported(networks.model, tmp_path, rows)


def test_many_categories_are_embedded(monkeypatch, text_file, tmp_path):
    monkeypatch.setattr(network, "MAX_ONE_HOT", 4)
    sequences = legato.read(text_file)
    task = infer_task(sequences, "generate")
    model = build_networks(task, Shape(units=3), sequences.values, None).model
    assert any(isinstance(each, layers.Embedding) for each in model.layers)
    assert_exported(model, tmp_path, sequences.values[None, :20].astype("float32"))


def test_what_was_trained_has_the_model_to_export(forecaster, tmp_path):
    with pytest.raises(InputError, match=r"and Trained came\. It has one: give its \.model\."):
        legato.export_onnx(forecaster, tmp_path / "model.onnx")
