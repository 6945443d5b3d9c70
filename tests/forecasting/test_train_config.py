"""Options of training: invalid values, and the keywords and options made from them."""

import inspect
from dataclasses import fields
from typing import get_args

import numpy as np
import pytest

import legato
from legato import InputError, TrainConfig
from legato._forecasting.network import CELLS
from legato._forecasting.train_config import Cell


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"horizon": 0}, "horizon is 0; a whole number of at least 1"),
        ({"horizon": 1.5}, r"horizon is 1\.5; a whole number"),
        ({"task": "guess"}, "task is 'guess'; one of 'forecast', 'classify', 'generate' was exp"),
        ({"split": "tiem"}, "split is 'tiem'; one of 'time', 'group' was expected"),
        ({"missing": "zero"}, "missing is 'zero'; one of 'error', 'drop', 'forward'"),
        ({"missing": None}, "missing is None; one of 'error', 'drop', 'forward'"),
        ({"cell": "lstn"}, "cell is 'lstn'; one of 'lstm', 'gru', 'simple' was expected"),
        ({"framing": "windows"}, "framing is 'windows'; one of 'chunks', 'window', 'features'"),
        ({"units": 0}, "units is 0; a whole number of at least 1 was expected"),
        ({"units": 2.5}, r"units is 2\.5; a whole number"),
        ({"seed": None}, "seed is None; a whole number"),
        ({"layers": 0}, "layers is 0; a whole number"),
        ({"steps": -1}, "steps is -1; a whole number"),
        ({"test": 1.5}, r"test is 1\.5; a share below 1 or a whole number"),
        ({"validation": np.inf}, "validation is inf; a share below 1 or a whole number"),
        ({"framing": "window", "stateful": True}, r"'window' makes ind.* samples.* stateful=False"),
    ],
)  # fmt: skip
def test_an_option_out_of_its_range_is_refused(options, message):
    with pytest.raises(InputError, match=message):
        TrainConfig(**options)


@pytest.mark.parametrize("verb", [legato.train, legato.plan])
def test_the_fields_are_the_keywords(verb):
    parameters = inspect.signature(verb).parameters
    assert [*parameters] == ["data", *(each.name for each in fields(TrainConfig))]
    for each in fields(TrainConfig):
        assert parameters[each.name].kind is inspect.Parameter.KEYWORD_ONLY
        assert parameters[each.name].default == each.default
        assert parameters[each.name].annotation == each.type


def test_every_option_is_described():
    for each in fields(TrainConfig):
        assert f"        {each.name}: {each.metadata['help']}\n" in f"{TrainConfig.__doc__}\n"


def test_every_cell_has_a_layer():
    assert get_args(Cell) == tuple(CELLS)


def test_a_whole_number_may_come_as_a_float():
    data = {"x": np.arange(30.0) ** 2}
    assert legato.plan(data, test=6.0).data["test_steps"] == 6
    assert legato.plan(data, test=6).config == TrainConfig(test=6)
