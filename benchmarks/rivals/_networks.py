"""The six alphabet networks as plain numbers: shapes, samples, first weights and sample orders.

Every rival reads this one file, so that all of them train the same network on the same samples, and
(in a check) from the same weights in the same order. NumPy only. Letters are the integers 0-25
divided by 26; a target is the number of the next letter. The samples of network 6 are drawn with a
fixed seed.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

LETTERS = 26


@dataclass(frozen=True)
class Network:
    """One LSTM and a softmax over 26 letters: what is fixed before training starts."""

    number: int
    name: str
    time_steps: int
    features: int
    units: int
    epochs: int
    batch_size: int
    samples: int
    shuffle: bool = True
    stateful: bool = False

    @property
    def steps_per_epoch(self) -> int:
        """Training steps (batches) in one epoch; the batch size always divides the samples."""
        return self.samples // self.batch_size

    def describe(self) -> str:
        """One line for the head of a table."""
        return (
            f"Network {self.number}: {self.name}. LSTM({self.units}), {self.time_steps} time steps "
            f"of {self.features}, batch {self.batch_size}, "
            f"{self.steps_per_epoch} steps x {self.epochs} epochs"
        )


NETWORKS = {
    network.number: network
    for network in (
        Network(1, "one letter to one letter", 1, 1, 32, 500, 1, 25),
        Network(2, "three letters as features", 1, 3, 32, 500, 1, 23),
        Network(3, "three letters as time steps", 3, 1, 32, 500, 1, 23),
        Network(4, "all samples in one batch", 1, 1, 16, 5000, 25, 25, shuffle=False),
        Network(5, "stateful", 1, 1, 50, 300, 1, 25, shuffle=False, stateful=True),
        Network(6, "runs of one to five letters", 5, 1, 32, 500, 1, 1000),
    )
}


def samples(network: Network) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (samples, time steps, features), float32, and the next letters (samples,), int32."""
    if network.number == 6:
        return _padded_runs(network)
    window = network.time_steps * network.features
    starts = np.arange(network.samples)
    letters = starts[:, None] + np.arange(window)  # (samples, window)
    inputs = (letters / LETTERS).reshape(-1, network.time_steps, network.features)
    return inputs.astype("float32"), (starts + window).astype("int32")


def _padded_runs(network: Network) -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(7)
    inputs = np.zeros((network.samples, network.time_steps, 1), "float32")
    targets = np.empty(network.samples, "int32")
    for sample in range(network.samples):
        start = generator.integers(24)
        end = generator.integers(start, min(start + network.time_steps, 25))
        run = np.arange(int(start), int(end) + 1)
        inputs[sample, -len(run) :, 0] = run / LETTERS
        targets[sample] = end + 1
    return inputs, targets


def one_hot(targets: np.ndarray) -> np.ndarray:
    """Letters (samples,) as rows of 26 with a single one, float32."""
    return np.eye(LETTERS, dtype="float32")[targets]


def first_weights(network: Network) -> list[np.ndarray]:
    """Weights in Keras's order and layout: kernel, recurrent kernel, bias, dense kernel, bias.

    Not Keras's own draw (every backend has another): a fixed draw all rivals can start from.
    """
    generator = np.random.default_rng(network.number)
    units, features = network.units, network.features
    bias = np.zeros((4, units))
    bias[1] = 1.0  # the forget gate starts open, as in Keras
    weights = [
        generator.uniform(-0.3, 0.3, (features, 4 * units)),
        generator.uniform(-0.2, 0.2, (units, 4 * units)),
        bias.reshape(-1),
        generator.uniform(-0.3, 0.3, (units, LETTERS)),
        np.zeros(LETTERS),
    ]
    return [weight.astype("float32") for weight in weights]


def sample_orders(network: Network, epochs: int, seed: int = 7) -> np.ndarray:
    """The order in which each epoch visits the samples, (epochs, samples), int32."""
    orders = np.tile(np.arange(network.samples, dtype="int32"), (epochs, 1))
    if network.shuffle:
        np.random.default_rng(seed).permuted(orders, axis=1, out=orders)
    return orders


def check_orders(network: Network) -> np.ndarray:
    """Batches for a comparison of losses: about 40 steps, an epoch's end among them.

    Returns (epochs, steps, batch size), int32.
    """
    steps_per_epoch = min(network.steps_per_epoch, 20)
    epochs = 40 // steps_per_epoch
    orders = sample_orders(network, epochs)[:, : steps_per_epoch * network.batch_size]
    return orders.reshape(epochs, steps_per_epoch, network.batch_size)
