"""Models of `_sequences.py` in legato, in Keras on JAX, in PyTorch and in ONNX Runtime.

    with_sequences.py legato | legato off | keras | torch THREADS | onnxruntime THREADS

`legato off` does without the native kernel. THREADS is a number, or `all` for one a core. PyTorch's
threads wait passively: if they spin, as they do by default, a step takes ten times as long on a
busy machine. It reads the outputs at the ends of masked rows from those of all steps, which is
faster than packed sequences; its dropout has a new mask at every step, Keras's one for all steps.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from _sequences import MODELS, SequenceModel, first_weights, lengths, samples
from _worker import Loaded, Rival, serve

CHECKED_EPOCHS, CHECKED_ROWS = 2, 8


class Sequences(Rival):
    """Training and prediction of one model; its weights are `first_weights` at first."""

    def __init__(self, model: SequenceModel) -> None:
        self._shape = model
        self._inputs, self._targets = samples(model)

    def train(self, epochs: int) -> list[float]:
        """Train for some epochs, in the order of the samples; return the loss of each."""
        raise NotImplementedError

    def predict(self) -> np.ndarray:
        """Predict all samples, batch by batch."""
        raise NotImplementedError

    def fit(self, epochs: int) -> float:
        return self.train(epochs)[-1]

    def losses(self) -> list[float]:
        """Predictions with the first weights, and the losses of some epochs without dropout."""
        rival = type(self)(replace(self._shape, dropout=0.0))
        outputs = [float(each) for each in rival.predict()[:CHECKED_ROWS, 0]]
        return outputs + rival.train(CHECKED_EPOCHS)

    def calls(self) -> dict[str, Callable[[], Any]]:
        return {"predict": self.predict}


def build(package: Any, model: SequenceModel) -> Any:
    """The model in legato or in Keras."""
    layers = package.layers
    stack = [layers.Input((model.steps, model.inputs))]
    if model.masked:
        stack.append(layers.Masking(0.0))
    for number in range(model.layers):
        options = {"return_sequences": number + 1 < model.layers}
        if number:
            options["dropout"] = model.dropout
        stack.append(getattr(layers, model.cell)(model.units, **options))
    built = package.Sequential([*stack, layers.Dense(1)])
    built.set_weights(first_weights(model))
    return built


class KerasSequences(Sequences):
    """legato or Keras: `fit` and `predict`."""

    package: Any

    def __init__(self, model: SequenceModel) -> None:
        super().__init__(model)
        self._model = build(self.package, model)
        self._model.compile(optimizer="adam", loss="mse")
        self._options: dict[str, Any] = {"batch_size": model.rows, "verbose": 0}

    def train(self, epochs: int) -> list[float]:
        history = self._model.fit(
            self._inputs, self._targets, epochs=epochs, shuffle=False, **self._options
        )
        return [float(each) for each in history.history["loss"]]

    def predict(self) -> np.ndarray:
        return self._model.predict(self._inputs, **self._options)


class TorchSequences(Sequences):
    """`nn.LSTM` or `nn.GRU`, `nn.Linear` and the fused Adam."""

    def __init__(self, model: SequenceModel) -> None:
        import torch
        from with_torch import with_epsilon_of_keras

        super().__init__(model)
        self._torch = torch
        self._batches = [
            tuple(torch.from_numpy(each[at : at + model.rows]) for each in (x, y, last))
            for x, y, last in [(self._inputs, self._targets, lengths(model) - 1)]
            for at in range(0, len(x), model.rows)
        ]
        self._rnn = getattr(torch.nn, model.cell)(
            model.inputs, model.units, model.layers, batch_first=True, dropout=model.dropout
        )
        self._dense = torch.nn.Linear(model.units, 1)
        self._set_weights()
        weights = [each for each in self._weights() if each.requires_grad]
        self._adam = torch.optim.Adam(weights, lr=0.001, eps=1e-7, fused=True)
        with_epsilon_of_keras(self._adam)

    def _weights(self) -> list:
        return [*self._rnn.parameters(), *self._dense.parameters()]

    def _set_weights(self) -> None:
        """Use `first_weights`; an LSTM's second bias stays zero, as Keras has only one."""
        *recurrent, kernel, bias = first_weights(self._shape)
        values = []
        for at in range(0, len(recurrent), 3):
            values += self._layer_values(*recurrent[at : at + 3])
        with self._torch.no_grad():
            for weight, value in zip(self._weights(), [*values, kernel.T, bias], strict=True):
                weight.copy_(self._torch.from_numpy(np.ascontiguousarray(value)))
        if self._shape.cell == "LSTM":
            for layer in range(self._shape.layers):
                getattr(self._rnn, f"bias_hh_l{layer}").requires_grad_(False)

    def _layer_values(self, *given: np.ndarray) -> list[np.ndarray]:
        """The weights of a layer as PyTorch has them; its GRU has the first two gates exchanged."""
        kernel, recurrent, bias = given
        if self._shape.cell == "LSTM":
            return [kernel.T, recurrent.T, bias, 0 * bias]
        gates = np.arange(3 * self._shape.units).reshape(3, -1)[[1, 0, 2]].ravel()
        return [kernel.T[gates], recurrent.T[gates], *bias[:, gates]]

    def _outputs(self, x: Any, last: Any) -> Any:
        outputs, _ = self._rnn(x)
        if self._shape.masked:
            return self._dense(outputs[self._torch.arange(len(x)), last])
        return self._dense(outputs[:, -1])

    def _loss(self, x: Any, y: Any, last: Any) -> Any:
        self._adam.zero_grad()
        loss = self._torch.nn.functional.mse_loss(self._outputs(x, last), y)
        loss.backward()
        self._adam.step()
        return loss.detach()

    def train(self, epochs: int) -> list[float]:
        self._rnn.train()
        losses = [[self._loss(*batch) for batch in self._batches] for _ in range(epochs)]
        return [float(self._torch.stack(each).mean()) for each in losses]

    def predict(self) -> np.ndarray:
        self._rnn.eval()
        with self._torch.no_grad():
            outputs = [self._outputs(x, last) for x, _, last in self._batches]
            return self._torch.cat(outputs).numpy()


class OnnxSequences(Sequences):
    """The file that `legato.export_onnx` writes; prediction only."""

    threads = 0

    def __init__(self, model: SequenceModel) -> None:
        import onnxruntime

        import legato

        super().__init__(model)
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = self.threads
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder, "model.onnx")
            legato.export_onnx(build(legato, model), path)
            self._session = onnxruntime.InferenceSession(path, options)
        self._x, *states = (each.name for each in self._session.get_inputs())
        self._states = {name: np.zeros((model.rows, model.units), "float32") for name in states}

    def train(self, epochs: int) -> list[float]:
        return []

    def predict(self) -> np.ndarray:
        outputs, run, rows = [], self._session.run, self._shape.rows
        for at in range(0, len(self._inputs), rows):
            batch = self._inputs[at : at + rows]
            outputs.append(run(None, {self._x: batch, **self._states})[0])
        return np.concatenate(outputs)


def load_legato(*native: str) -> Loaded:
    """Import legato, with its native kernel or without."""
    if native:
        os.environ["LEGATO_NATIVE"] = native[0]
    from with_legato import load

    import legato

    KerasSequences.package = legato
    return KerasSequences, load()[1]


def load_keras() -> Loaded:
    """Import Keras on JAX."""
    os.environ["KERAS_BACKEND"] = "jax"
    import jax
    import keras

    KerasSequences.package = keras
    return KerasSequences, {"keras": keras.__version__, "jax": jax.__version__}


def thread_count(threads: str) -> int:
    """The number of threads that an argument means."""
    return int(threads) if threads != "all" else os.cpu_count() or 1


def load_torch(threads: str) -> Loaded:
    """Import PyTorch."""
    os.environ["OMP_WAIT_POLICY"] = "PASSIVE"
    import torch

    torch.set_num_threads(thread_count(threads))
    return TorchSequences, {"torch": torch.__version__, "threads": str(torch.get_num_threads())}


def load_onnxruntime(threads: str) -> Loaded:
    """Import ONNX Runtime and the packages that write the file."""
    from with_onnxruntime import load

    OnnxSequences.threads = thread_count(threads)
    return OnnxSequences, {**load()[1], "threads": str(OnnxSequences.threads)}


LOAD = {
    "legato": load_legato,
    "keras": load_keras,
    "torch": load_torch,
    "onnxruntime": load_onnxruntime,
}

if __name__ == "__main__":
    serve(lambda: LOAD[sys.argv[1]](*sys.argv[2:]), MODELS)
