"""Train on sequences of different lengths as the rows of one batch.

``Lanes`` cuts each sequence into chunks of three time steps, the last one padded and masked, and
assigns them to rows, one sequence after another. ``starts=`` marks the first chunk of each
sequence, where its row is reset while the others carry on. The target of every step is the first
number of the sequence: it is known only from carried state, and state of the sequence before would
mislead.
"""

import random

import numpy as np

from legato import Lanes, Sequential, layers

PADDING = -1.0

random.seed(7)  # Keras draws initial weights from Python's generator
rng = np.random.default_rng(7)
sequences = [rng.uniform(size=length) for length in rng.integers(2, 12, 64)]
lanes = Lanes([len(each) for each in sequences], rows=4, steps=3)
X = lanes.lay(np.concatenate(sequences)[:, None], PADDING)
y = lanes.lay(np.repeat([each[0] for each in sequences], lanes.lengths)[:, None])
print(lanes)

model = Sequential(
    [
        layers.Input((None, 1)),
        layers.Masking(PADDING),
        layers.LSTM(24, return_sequences=True, stateful=True),
        layers.Dense(1),
    ]
)
model.compile(loss="mse", optimizer="adam")
options = {"batch_size": lanes.rows, "sample_weight": lanes.weights, "verbose": 0}
model.fit(X, y, starts=lanes.starts, epochs=200, **options)
model.reset_states()
with_starts = model.evaluate(X, y, starts=lanes.starts, **options)
model.reset_states()
without = model.evaluate(X, y, **options)
print(f"error with starts: {with_starts:.4f}, without: {without:.4f}")

model.reset_states()
outputs = model.predict(X, batch_size=lanes.rows, starts=lanes.starts, verbose=0)
together = np.split(lanes.gather(outputs), np.cumsum(lanes.lengths)[:-1])
apart = 0.0
for number in (0, 1, 2, 3):  # every further length compiles another program
    model.reset_states()
    alone = model.predict(sequences[number].reshape(1, -1, 1), verbose=0)[0]
    apart = max(apart, float(abs(alone - together[number]).max()))
print("a sequence alone gets the same answers:", apart < 1e-5)
