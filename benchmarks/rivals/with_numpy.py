"""The reference in NumPy, float64, for the losses and outputs of the rivals.

One sample and one gate at a time, as on paper. It is an oracle for checks and is not timed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import _networks
import numpy as np
from _stepwise import Feed, Way
from _worker import Loaded, Rival, serve


def _sigmoid(z: np.ndarray) -> np.ndarray:
    return 1.0 / (1.0 + np.exp(-z))


class Numpy(Rival):
    def __init__(self, network: _networks.Network) -> None:
        self._network = network
        self._inputs, self._targets = _networks.samples(network)
        self._weights = [w.astype("float64") for w in _networks.first_weights(network)]
        self._first = [np.zeros_like(w) for w in self._weights]
        self._second = [np.zeros_like(w) for w in self._weights]
        self._steps = 0
        self._reset()

    def _reset(self) -> None:
        shape = (self._network.batch_size, self._network.units)
        self._h, self._c = np.zeros(shape), np.zeros(shape)

    def fit(self, epochs: int) -> float:
        raise NotImplementedError("The NumPy oracle only computes losses.")

    def losses(self) -> list[float]:
        losses = []
        for epoch in _networks.check_orders(self._network):
            self._reset()
            losses += [self._train_batch(rows) for rows in epoch]
        return losses

    def calls(self) -> dict[str, Callable[[], Any]]:
        return {}

    def _train_batch(self, rows: np.ndarray) -> float:
        total, gradient = 0.0, [np.zeros_like(w) for w in self._weights]
        for row, sample in enumerate(rows):
            trace, h, c = self._forward(
                self._inputs[sample], self._h[row].copy(), self._c[row].copy()
            )
            if self._network.stateful:
                self._h[row], self._c[row] = h, c
            answers = self._answers(h)
            total -= np.log(answers[self._targets[sample]])
            answers[self._targets[sample]] -= 1.0  # now the gradient of the logits
            for mean, part in zip(gradient, self._backward(trace, h, answers), strict=True):
                mean[...] += part / len(rows)
        self._adam(gradient)
        return float(total / len(rows))

    def _answers(self, h: np.ndarray) -> np.ndarray:
        logits = h @ self._weights[3] + self._weights[4]
        answers = np.exp(logits - logits.max())
        return answers / answers.sum()

    def ways(self) -> dict[str, Way]:
        def begin() -> Feed:
            h = c = np.zeros(self._network.units)

            def feed(x: np.ndarray) -> np.ndarray:
                nonlocal h, c
                _, h, c = self._forward(x[None], h, c)
                return self._answers(h)

            return feed

        return {"float64": Way(begin, (self._network.features,))}

    def _forward(self, sample: np.ndarray, h: np.ndarray, c: np.ndarray) -> tuple:
        kernel, recurrent, bias = self._weights[:3]
        trace = []
        for x in sample:
            zi, zf, zg, zo = np.split(x @ kernel + h @ recurrent + bias, 4)
            i, f, g, o = _sigmoid(zi), _sigmoid(zf), np.tanh(zg), _sigmoid(zo)
            trace.append((x, h, c, i, f, g, o))
            c = f * c + i * g
            h = o * np.tanh(c)
        return trace, h, c

    def _backward(self, trace: list, h: np.ndarray, d_logits: np.ndarray) -> list[np.ndarray]:
        kernel, recurrent, bias, dense, _ = self._weights
        parts = [np.zeros_like(w) for w in (kernel, recurrent, bias)]
        d_h, d_c = dense @ d_logits, 0.0
        for x, h_before, c, i, f, g, o in reversed(trace):
            tanh_c = np.tanh(f * c + i * g)
            d_c = d_c + d_h * o * (1 - tanh_c**2)
            d_i, d_f, d_g, d_o = d_c * g, d_c * c, d_c * i, d_h * tanh_c
            gates = (d_i * i * (1 - i), d_f * f * (1 - f), d_g * (1 - g**2), d_o * o * (1 - o))
            d_z = np.concatenate(gates)
            parts[0] += np.outer(x, d_z)
            parts[1] += np.outer(h_before, d_z)
            parts[2] += d_z
            d_h, d_c = recurrent @ d_z, d_c * f
        return [*parts, np.outer(h, d_logits), d_logits]

    def _adam(self, gradient: list[np.ndarray]) -> None:
        self._steps += 1
        alpha = 0.001 * np.sqrt(1 - 0.999**self._steps) / (1 - 0.9**self._steps)
        moments = zip(self._weights, gradient, self._first, self._second, strict=True)
        for weight, part, first, second in moments:
            first[...] += (part - first) * 0.1
            second[...] += (part**2 - second) * 0.001
            weight[...] -= alpha * first / (np.sqrt(second) + 1e-7)


def load() -> Loaded:
    return Numpy, {"numpy": np.__version__}


if __name__ == "__main__":
    serve(load)
