"""Up to which size is a step faster as a single function than as XLA's usual chain of calls?

legato against itself: the same ``fit`` with its program emitted as one function and with plain
``jit``, over units, batch sizes and time steps. The rule in
``legato/_platform/single_function.py`` comes from these figures.

    python benchmarks/small_programs.py
"""

import time

import numpy as np
from _bench import machine

import legato
from legato import layers
from legato._execution import compiled_loop

SIZES = [  # LSTM units, batch size, time steps
    (8, 4, 1), (8, 32, 1), (16, 4, 1), (16, 8, 1), (16, 25, 1), (32, 1, 1), (32, 2, 1), (32, 8, 1),
    (32, 1, 10), (32, 2, 5), (64, 1, 50), (128, 1, 1), (128, 1, 10), (256, 1, 1), (256, 1, 10),
]  # fmt: skip
ROUNDS = 3


def step_us(units: int, batch: int, steps: int, small: bool) -> float:
    """Microseconds of a training step of an LSTM and a softmax, without compilation."""
    compiled_loop.is_small = lambda *_, **__: small
    samples = batch * 16
    x = np.random.rand(samples, steps, 1).astype("float32")
    y = np.eye(26, dtype="float32")[np.random.randint(26, size=samples)]
    model = legato.Sequential(
        [layers.Input((steps, 1)), layers.LSTM(units), layers.Dense(26, activation="softmax")]
    )
    model.compile(loss="categorical_crossentropy", optimizer="adam", metrics=["accuracy"])
    model.fit(x, y, batch_size=batch, verbose=0)
    times = []
    for _ in range(ROUNDS):
        began = time.perf_counter()
        model.fit(x, y, batch_size=batch, epochs=40, verbose=0)
        times.append((time.perf_counter() - began) / (40 * 16))
    return 1e6 * float(np.median(times))


def main() -> None:
    """Print one row for each size, ratios first."""
    is_small = compiled_loop.is_small
    print(*machine().values(), sep=", ")
    print("plain / one function   rule   units  batch  steps   one function   plain, µs a step")
    for units, batch, steps in SIZES:
        weights = 4 * units * (units + 2) + 26 * (units + 1)
        chosen = "one" if is_small(batch, weights, training=True) else "plain"
        one, plain = (step_us(units, batch, steps, small) for small in (True, False))
        print(
            f"{plain / one:20.2f}  {chosen:>5}  {units:6}  {batch:5}  {steps:5}  {one:13.1f}  "
            f"{plain:18.1f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
