"""Classify sequences by their first step, with and without state carried from chunk to chunk.

Each sequence begins with its label, +1 or -1, followed by noise. The label is the target of every
step, and sequences are cut into chunks of ten steps. With carried state the prediction at the end
is right, also for sequences longer than any in training; without it, every chunk after the first
holds only noise, and accuracy is at chance. Gradients reach back ten steps at most in both cases:
the network learns to keep the label because it is the target of every step.
"""

import numpy as np

import legato
from legato import Column, Sequences

SEQUENCES, CHUNK = 200, 10


def signs(lengths: np.ndarray, seed: int) -> Sequences:
    """Sequences that begin with their label."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 2, len(lengths))
    signal = rng.normal(scale=0.3, size=lengths.sum())
    signal[np.cumsum(lengths) - lengths] = 2 * label - 1
    columns = (Column("signal"), Column("sign", ("minus", "plus"), (0.0, 1.0)))
    values = np.column_stack([signal, np.repeat(label, lengths)])
    return Sequences(values, lengths, columns, tuple(f"{at} of {seed}" for at in range(len(label))))


lengths = np.random.default_rng(0).integers(40, 80, SEQUENCES)
data, longer = signs(lengths, seed=1), signs(np.full(SEQUENCES, 300), seed=2)
for stateful in (True, False):
    trained = legato.train(data, target="sign", steps=CHUNK, stateful=stateful, verbose=0)
    kept, far = trained.scores, trained.evaluate(longer)
    print(f"state carried: {stateful}")
    print(f"  sequences of 40 to 79 steps, kept from training: {kept['model']['accuracy']:.0%}")
    print(f"  sequences of 300 steps: {far.model.accuracy:.0%}")
    print(f"  {far.verdict}")
