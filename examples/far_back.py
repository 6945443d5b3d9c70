"""What one learns: what happened far back can be told only if state is carried from chunk to chunk.

Each sequence begins with a sign, +1 or -1, and goes on with noise; its label is the sign. A network
is asked for the label at every step, in chunks of ten. Carrying state it answers right at the end
of sequences many chunks long, longer than any it was trained on; without carrying, every chunk
after the first is noise, and it can only guess. Gradients never reach back further than ten steps
in either case: that the label is asked for all along is what teaches the network to hold on to it.
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
