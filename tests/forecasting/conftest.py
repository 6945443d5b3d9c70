"""A forecaster, a classifier and a generator of letters, each trained once for all tests here."""

from pathlib import Path

import pytest
from trained_examples import SHOPS, TEXT, TINY, labelled_machines, shop_sales, write_csv

from legato import Trained, train


@pytest.fixture(scope="session")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("trained")


@pytest.fixture(scope="session")
def sales_file(folder) -> Path:
    return write_csv(folder / "sales.csv", shop_sales())


@pytest.fixture(scope="session")
def forecaster(sales_file) -> Trained:
    """Forecasts both columns, named in another order than in the file, two months ahead."""
    return train(sales_file, **SHOPS, **TINY)


@pytest.fixture(scope="session")
def text_file(folder) -> Path:
    path = folder / "rain.txt"
    path.write_text(TEXT)
    return path


@pytest.fixture(scope="session")
def generator(text_file) -> Trained:
    return train(text_file, **TINY, steps=30, learning_rate=0.05)


@pytest.fixture(scope="session")
def classifier() -> Trained:
    return train(labelled_machines(), **TINY, steps=4)


@pytest.fixture(scope="session")
def forecaster_file(folder, forecaster) -> Path:
    path = folder / "seller.keras"
    forecaster.save(path)
    return path
