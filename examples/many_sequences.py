"""What one learns: sequences of different lengths train together as the rows of one batch.

Each sequence is cut into chunks of three time steps, the last one padded and masked. A row of the
batch holds one sequence after another; ``starts=`` says at which chunks a new one begins, so that
its row is reset and the others run on. The network is asked, at every step, for the first number of
the sequence: only memory can tell it, and memory of the sequence before would mislead it.
"""

import random

import numpy as np

from legato import Sequential, layers

CHUNK, ROWS, PADDING = 3, 4, -1.0


def into_rows(sequences: list[np.ndarray]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Lay sequences end to end in rows.

    Args:
        sequences: arrays (time steps,).

    Returns:
        Samples (batches * ROWS, CHUNK, 1), row r of batch k at index k * ROWS + r; the sequence
        each belongs to, -1 for none; and whether it is that sequence's first chunk.
    """
    rows: list[list] = [[] for _ in range(ROWS)]
    for number, sequence in enumerate(sequences):
        row = min(rows, key=len)
        for begin in range(0, len(sequence), CHUNK):
            chunk = np.full((CHUNK, 1), PADDING)
            part = sequence[begin : begin + CHUNK]
            chunk[: len(part), 0] = part
            row.append((chunk, number, begin == 0))
    nothing = (np.full((CHUNK, 1), PADDING), -1, False)
    longest = max(map(len, rows))
    rows = [row + [nothing] * (longest - len(row)) for row in rows]
    chunks, numbers, starts = zip(*[row[k] for k in range(longest) for row in rows], strict=True)
    return np.array(chunks), np.array(numbers), np.array(starts)


random.seed(7)  # Keras draws initial weights from Python's generator
rng = np.random.default_rng(7)
sequences = [rng.uniform(size=length) for length in rng.integers(2, 12, 64)]
X, numbers, starts = into_rows(sequences)
firsts = np.array([sequence[0] for sequence in sequences])
y = np.broadcast_to(firsts[numbers].reshape(-1, 1, 1), X.shape)  # of padding: never looked at

model = Sequential(
    [
        layers.Input((None, 1)),
        layers.Masking(PADDING),
        layers.LSTM(24, return_sequences=True, stateful=True),
        layers.Dense(1),
    ]
)
model.compile(loss="mse", optimizer="adam")
lengths = [len(sequence) for sequence in sequences]
print(f"{len(sequences)} sequences of {min(lengths)} to {max(lengths)} time steps")
print(f"{len(X)} samples: {len(X) // ROWS} batches of {ROWS} rows, {starts.sum()} starts")

model.fit(X, y, batch_size=ROWS, starts=starts, epochs=200, verbose=0)
model.reset_states()
told = model.evaluate(X, y, batch_size=ROWS, starts=starts, verbose=0)
model.reset_states()
untold = model.evaluate(X, y, batch_size=ROWS, verbose=0)
print(f"error with starts: {told:.4f}, without: {untold:.4f}")

model.reset_states()
together = model.predict(X, batch_size=ROWS, starts=starts, verbose=0)
apart = 0.0
for number in (0, 1, 2, 3):  # each other length is another program to compile
    sequence = sequences[number]
    model.reset_states()
    alone = model.predict(sequence.reshape(1, -1, 1), verbose=0)[0, :, 0]
    crowd = together[numbers == number].reshape(-1)[: len(sequence)]
    apart = max(apart, float(abs(alone - crowd).max()))
print("a sequence alone gets the same answers:", apart < 1e-5)
