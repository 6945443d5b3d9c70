"""The hand-written C program `lstm.c`, compiled for each network's shape and called by ctypes."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import _networks
import numpy as np
from _worker import Loaded, MissingError, Rival, serve

SOURCE = Path(__file__).with_name("lstm.c")
# GCC unrolls a loop of 16 completely before it looks for vectors, and then finds none: network 4
# (16 units) would take four times as long. The parameter keeps such loops whole.
FLAGS = ["-O3", "-march=native", "-ffast-math", "--param=max-completely-peel-times=8"]


def compile_for(network: _networks.Network, folder: Path) -> ctypes.CDLL:
    """Compile `lstm.c` with the network's sizes as constants."""
    sizes = {
        "BATCH": network.batch_size,
        "TIME_STEPS": network.time_steps,
        "FEATURES": network.features,
        "UNITS": network.units,
        "CLASSES": _networks.LETTERS,
        "STATEFUL": int(network.stateful),
    }
    library = folder / f"lstm_{network.number}.so"
    defines = [f"-D{name}={value}" for name, value in sizes.items()]
    command = ["cc", *FLAGS, "-shared", "-fPIC", *defines, str(SOURCE), "-o", str(library), "-lm"]
    subprocess.run(command, check=True)
    loaded = ctypes.CDLL(str(library))
    loaded.model_bytes.restype = ctypes.c_size_t
    return loaded


def _pointer(array: np.ndarray) -> ctypes.c_void_p:
    return ctypes.c_void_p(array.ctypes.data)


class C(Rival):
    def __init__(self, network: _networks.Network) -> None:
        self._network = network
        with tempfile.TemporaryDirectory() as folder:
            self._library = compile_for(network, Path(folder))
        self._inputs, self._targets = _networks.samples(network)
        kernel, recurrent, bias, dense, dense_bias = _networks.first_weights(network)
        parts = (kernel, recurrent, bias, dense.T, dense_bias)
        flat = np.concatenate([part.ravel() for part in parts])
        self._model = np.empty(self._library.model_bytes() // 4, "float32")
        self._library.start(_pointer(self._model), _pointer(flat))
        self._epochs_seen = 0

    def _train(self, orders: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Train on orders (epochs, samples); losses a step and correct answers an epoch."""
        epochs, samples = orders.shape
        batches = samples // self._network.batch_size
        losses, correct = np.empty(epochs * batches, "float32"), np.empty(epochs, "int32")
        self._library.train(
            *map(_pointer, (self._model, self._inputs, self._targets, orders)),
            *map(ctypes.c_int, (epochs, batches)),
            *map(_pointer, (losses, correct)),
        )
        return losses, correct

    def fit(self, epochs: int) -> float:
        orders = _networks.sample_orders(self._network, epochs, seed=self._epochs_seen)
        self._epochs_seen += epochs
        _, correct = self._train(orders)
        return float(correct[-1] / self._network.samples)

    def losses(self) -> list[float]:
        batches = _networks.check_orders(self._network)
        losses, _ = self._train(np.ascontiguousarray(batches.reshape(len(batches), -1)))
        return losses.tolist()

    def calls(self) -> dict[str, Callable[[], Any]]:
        return {"fit, one epoch": lambda: self.fit(1)}


def load() -> Loaded:
    if shutil.which("cc") is None:
        raise MissingError("there is no C compiler named cc.")
    banner = subprocess.run(["cc", "--version"], capture_output=True, text=True, check=True)
    return C, {"compiler": banner.stdout.splitlines()[0], "flags": " ".join(FLAGS)}


if __name__ == "__main__":
    serve(load)
