"""ONNX Runtime on the file that `legato.export_onnx` writes, with the state passed in and out.

`run` is the usual call of its manual. `bound` is its fastest use: all arrays are bound beforehand,
one pair for the state before a step and one for the state after it, alternating, so that a call
only copies its output. Each on one thread, and on ONNX Runtime's default number of threads.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from _networks import LETTERS, Network, first_weights
from _stepwise import Feed, Way
from _worker import Loaded, Rival, serve

THREADS = {"one thread": 1, "its own threads": 0}


class OnnxRuntime(Rival):
    """Prediction only."""

    def __init__(self, network: Network) -> None:
        from with_legato import build

        import legato

        self._network = network
        model = build(network)
        model.set_weights(first_weights(network))
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.onnx")
            legato.export_onnx(model, path)
            self._file = path.read_bytes()

    def fit(self, epochs: int) -> float:
        raise NotImplementedError("ONNX Runtime does not train.")

    def losses(self) -> list[float]:
        raise NotImplementedError("ONNX Runtime does not train.")

    def calls(self) -> dict[str, Callable[[], Any]]:
        return {}

    def ways(self) -> dict[str, Way]:
        import onnxruntime

        ways, shape = {}, (1, 1, self._network.features)
        for name, threads in THREADS.items():
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = threads
            session = onnxruntime.InferenceSession(self._file, options)
            ways[f"run, {name}"] = Way(partial(self._run, session), shape)
            ways[f"bound, {name}"] = Way(partial(Bound, session, self._network), shape)
        return ways

    def _run(self, session: Any) -> Feed:
        x_name, h_name, c_name = (each.name for each in session.get_inputs())
        h = c = np.zeros((1, self._network.units), "float32")

        def feed(x: np.ndarray) -> np.ndarray:
            nonlocal h, c
            answer, h, c = session.run(None, {x_name: x, h_name: h, c_name: c})
            return answer

        return feed


class Bound:
    """A session that reads and writes the same arrays in every call."""

    def __init__(self, session: Any, network: Network) -> None:
        self._session = session
        state = [np.zeros((2, 1, network.units), "float32") for _ in range(2)]
        pairs = [[each[at] for each in state] for at in range(2)]
        self._x = np.zeros((1, 1, network.features), "float32")
        self._answer = np.zeros((1, LETTERS), "float32")
        self._arrays = state  # a binding does not keep its arrays alive
        self._now = self._binding(before=pairs[0], after=pairs[1])
        self._next = self._binding(before=pairs[1], after=pairs[0])

    def _binding(self, before: list[np.ndarray], after: list[np.ndarray]) -> Any:
        binding = self._session.io_binding()
        for given, array in zip(self._session.get_inputs(), [self._x, *before], strict=True):
            binding.bind_input(given.name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        for made, array in zip(self._session.get_outputs(), [self._answer, *after], strict=True):
            binding.bind_output(made.name, "cpu", 0, np.float32, array.shape, array.ctypes.data)
        return binding

    def __call__(self, x: np.ndarray) -> np.ndarray:
        self._x[...] = x
        self._session.run_with_iobinding(self._now)
        self._now, self._next = self._next, self._now
        return self._answer.copy()


def load() -> Loaded:
    """Import ONNX Runtime and the packages that write the file."""
    import onnx
    import onnxruntime

    import legato

    version = getattr(legato, "__version__", "unreleased")
    versions = {"onnxruntime": onnxruntime.__version__, "onnx": onnx.__version__, "legato": version}
    return OnnxRuntime, versions


if __name__ == "__main__":
    serve(load)
