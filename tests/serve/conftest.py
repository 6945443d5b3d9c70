"""A small model, and a server of it, for the tests of a module."""

import pytest
from cells import set_weights
from serve.redis_server import RedisServer
from serve.serving import config_of, serving

import legato
from legato import layers

FEATURES, CLASSES = 3, 2


@pytest.fixture(scope="session")
def network():
    """A model whose steps the native library takes, or one compiled program."""
    model = legato.Sequential(
        [layers.Input((None, FEATURES), name="x"), layers.LSTM(4), layers.Dense(CLASSES)]
    )
    set_weights(model, 5)
    return model


@pytest.fixture(scope="session")
def model_file(network, tmp_path_factory):
    """Its file."""
    path = tmp_path_factory.mktemp("served") / "m.keras"
    network.save(path)
    return path


@pytest.fixture(scope="module")
def client(model_file, tmp_path_factory):
    """A client of a server with a store in a file."""
    store = tmp_path_factory.mktemp("store") / "m.streams"
    with serving(config_of(model_file, store)) as connected:
        yield connected


@pytest.fixture
def redis_server(tmp_path):
    """A Redis of the test's own."""
    folder = tmp_path / "redis"
    folder.mkdir()
    server = RedisServer(folder)
    server.start()
    yield server
    server.kill()
