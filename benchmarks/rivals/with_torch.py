"""The usual PyTorch training loop: `nn.LSTM`, `nn.Linear`, cross-entropy, Adam, one batch a step.

One thread: with two, steps took about as long on an idle machine, and ten times as long in some
runs on a busy one.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from typing import Any

import _networks
import numpy as np
from _stepwise import Feed, Way
from _worker import Loaded, Rival, serve


def with_epsilon_of_keras(adam: Any) -> None:
    """Let a new Adam add epsilon where Keras adds it: before the bias correction."""
    steps = itertools.count(1)

    def set_epsilon(adam: Any, *_: Any) -> None:
        adam.param_groups[0]["eps"] = 1e-7 / math.sqrt(1 - 0.999 ** next(steps))

    adam.register_step_pre_hook(set_epsilon)


class Torch(Rival):
    def __init__(self, network: _networks.Network) -> None:
        import torch

        self._torch, self._network = torch, network
        inputs, targets = _networks.samples(network)
        self._inputs, self._targets = torch.from_numpy(inputs), torch.from_numpy(targets).long()
        self._lstm = torch.nn.LSTM(network.features, network.units, batch_first=True)
        self._dense = torch.nn.Linear(network.units, _networks.LETTERS)
        self._loss = torch.nn.CrossEntropyLoss()
        self._optimise()

    def _optimise(self) -> None:
        parameters = [*self._lstm.parameters(), *self._dense.parameters()]
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        self._adam = self._torch.optim.Adam(trained, lr=0.001, eps=1e-7)

    def _train_batch(self, rows: Any, state: Any) -> tuple:
        """One step: the loss, the number of right answers and the state to carry."""
        self._adam.zero_grad()
        outputs, (h, c) = self._lstm(self._inputs[rows], state)
        logits = self._dense(outputs[:, -1])
        loss = self._loss(logits, self._targets[rows])
        loss.backward()
        self._adam.step()
        correct = (logits.detach().argmax(-1) == self._targets[rows]).sum()
        carried = (h.detach(), c.detach()) if self._network.stateful else None
        return loss.detach(), correct, carried

    def _train_epoch(self, batches: Any) -> tuple[list, float]:
        state, losses, correct = None, [], 0
        for rows in batches:
            loss, right, state = self._train_batch(rows, state)
            losses.append(loss)
            correct += right
        return losses, float(correct / batches.numel())

    def fit(self, epochs: int) -> float:
        torch, network, accuracy = self._torch, self._network, 0.0
        for _ in range(epochs):
            draw = torch.randperm if network.shuffle else torch.arange
            order = draw(network.samples).reshape(-1, network.batch_size)
            _, accuracy = self._train_epoch(order)
        return accuracy

    def losses(self) -> list[float]:
        self._set_weights()
        epochs = self._torch.from_numpy(_networks.check_orders(self._network)).long()
        return [float(loss) for batches in epochs for loss in self._train_epoch(batches)[0]]

    def _set_weights(self) -> None:
        """Start from `first_weights`; torch's second bias stays zero, as Keras has only one."""
        weights = [self._torch.from_numpy(w) for w in _networks.first_weights(self._network)]
        kernel, recurrent, bias, dense, dense_bias = weights
        self._lstm.bias_hh_l0.requires_grad_(False).zero_()
        with self._torch.no_grad():
            self._lstm.weight_ih_l0.copy_(kernel.T)
            self._lstm.weight_hh_l0.copy_(recurrent.T)
            self._lstm.bias_ih_l0.copy_(bias)
            self._dense.weight.copy_(dense.T)
            self._dense.bias.copy_(dense_bias)
        self._optimise()
        with_epsilon_of_keras(self._adam)

    def _answer(self, sample: np.ndarray) -> np.ndarray:
        torch = self._torch
        with torch.inference_mode():
            outputs, _ = self._lstm(torch.from_numpy(sample))
            return self._dense(outputs[:, -1]).softmax(-1).numpy()

    def _evaluate(self) -> tuple[float, float]:
        state, loss, correct = None, 0.0, 0
        batches = self._torch.arange(self._network.samples).reshape(-1, self._network.batch_size)
        with self._torch.inference_mode():
            for rows in batches:
                outputs, carried = self._lstm(self._inputs[rows], state)
                logits = self._dense(outputs[:, -1])
                loss += self._loss(logits, self._targets[rows])
                correct += (logits.argmax(-1) == self._targets[rows]).sum()
                state = carried if self._network.stateful else None
        return float(loss / len(batches)), float(correct / self._network.samples)

    def calls(self) -> dict[str, Callable[[], Any]]:
        sample = _networks.samples(self._network)[0][:1]
        return {
            "fit, one epoch": lambda: self.fit(1),
            "evaluate": self._evaluate,
            "model(x), one sample": lambda: self._answer(sample),
        }

    def _cell(self) -> tuple[Any, Any]:
        """`LSTMCell` and `Linear` with `first_weights`."""
        torch, network = self._torch, self._network
        weights = map(torch.from_numpy, _networks.first_weights(network))
        kernel, recurrent, bias, kernel_out, bias_out = weights
        cell = torch.nn.LSTMCell(network.features, network.units)
        dense = torch.nn.Linear(network.units, _networks.LETTERS)
        with torch.no_grad():
            cell.weight_ih.copy_(kernel.T)
            cell.weight_hh.copy_(recurrent.T)
            cell.bias_ih.copy_(bias)
            cell.bias_hh.zero_()
            dense.weight.copy_(kernel_out.T)
            dense.bias.copy_(bias_out)
        return cell, dense

    def ways(self) -> dict[str, Way]:
        torch, units = self._torch, self._network.units
        cell, dense = self._cell()

        def begin(mode: Callable[[], Any]) -> Feed:
            state = torch.zeros(1, units), torch.zeros(1, units)

            def feed(x: np.ndarray) -> np.ndarray:
                nonlocal state
                with mode():
                    state = cell(torch.from_numpy(x), state)
                    return dense(state[0]).softmax(-1).numpy()

            return feed

        shape = (1, self._network.features)
        return {
            "LSTMCell, no_grad": Way(lambda: begin(torch.no_grad), shape),
            "LSTMCell, inference_mode": Way(lambda: begin(torch.inference_mode), shape),
        }


def load() -> Loaded:
    import torch

    torch.set_num_threads(1)
    return Torch, {"torch": torch.__version__, "threads": str(torch.get_num_threads())}


if __name__ == "__main__":
    serve(load)
