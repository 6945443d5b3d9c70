"""How long does the influence of every time step on every prediction take?

`legato.influence` of single steps through a stateful LSTM and a dense layer, against the usual
code without it: `jax.jacfwd` and `jax.jacrev` of a plain Keras model with the same weights that
takes all steps as one sample (a `lax.scan`), compiled, and the norm over the outputs. `first` is a
first call, with compilation; ratios are of further calls, alternating, in one process. `lost` is
the share of entries that float32 rounded to 0; `difference` is the largest difference from
`influence`, as a share of the largest influence.

    python benchmarks/influence.py
    python benchmarks/influence.py --steps 500 --outputs 26
"""

import legato  # noqa: I001  before Keras, so that it runs on JAX
import argparse
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import jax
import keras
import numpy as np
from _bench import in_turn, machine, progress, ratios, save, significant, spread, table


class Measurement(NamedTuple):
    """The influence matrix of one method, the seconds of its first call and of further calls."""

    matrix: np.ndarray
    first: float
    further: list[float]


def stack(layers, outputs: int, units: int, **options) -> list:
    """The layers, from `legato.layers` or `keras.layers`."""
    return [layers.Input((None, 1)), layers.LSTM(units, **options), layers.Dense(outputs)]


def ways(x: np.ndarray, outputs: int, units: int) -> dict[str, Callable[[], np.ndarray]]:
    """The methods compared: functions that return the matrix, (steps, steps)."""
    keras.utils.set_random_seed(1)
    carrying = legato.Sequential(stack(legato.layers, outputs, units, stateful=True))
    plain = keras.Sequential(stack(keras.layers, outputs, units, return_sequences=True))
    plain.set_weights(carrying.get_weights())
    values = [
        [each.value for each in group]
        for group in (plain.trainable_variables, plain.non_trainable_variables)
    ]

    def outputs_of(steps):
        return plain.stateless_call(*values, steps[None, :, None])[0][0]

    def by(derivative: Callable) -> Callable[[], np.ndarray]:
        compiled = jax.jit(derivative(outputs_of))

        def matrix():
            found = np.asarray(compiled(x[:, 0, 0]))  # (steps, outputs, steps)
            return np.sqrt(np.einsum("ioj,ioj->ij", found, found, dtype="float64"))

        return matrix

    return {
        "legato.influence": lambda: legato.influence(carrying, x, batch_size=1, verbose=0).matrix,
        "jax.jacfwd": by(jax.jacfwd),
        "jax.jacrev": by(jax.jacrev),
    }


def measure(steps: int, outputs: int, units: int, rounds: int) -> dict[str, Measurement]:
    """All methods, alternating."""
    x = np.random.default_rng(0).normal(size=(steps, 1, 1)).astype("float32")
    methods, found = ways(x, outputs, units), {}
    for name, do in methods.items():
        began = time.perf_counter()
        found[name] = Measurement(do(), time.perf_counter() - began, [])
    for number in range(rounds):
        progress(f"{steps} steps, {outputs} outputs: round {number + 1} of {rounds}")
        for name in in_turn([*methods], number):
            began = time.perf_counter()
            methods[name]()
            found[name].further.append(time.perf_counter() - began)
    return found


def lines(found: dict[str, Measurement]) -> list[list[str]]:
    """One line a method: ratio, seconds, first call, share lost, largest difference."""
    ours = found["legato.influence"]
    return [
        [
            name,
            significant(median(ratios(each.further, ours.further))),
            f"{spread(each.further)} s",
            f"{significant(each.first)} s",
            f"{100 * np.mean((each.matrix == 0) & (ours.matrix > 0)):.1f} %",
            f"{np.abs(each.matrix - ours.matrix).max() / ours.matrix.max():.0e}",
        ]
        for name, each in found.items()
    ]


def main() -> None:
    """Measure, print, and save if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--steps", nargs="+", type=int, default=[250, 500, 1000, 2000, 4000])
    parser.add_argument("--outputs", nargs="+", type=int, default=[1])
    parser.add_argument("--units", type=int, default=50)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="also write the numbers to this file")
    given, times = parser.parse_args(), {}
    print((__doc__ or "").splitlines()[0], ", ".join(machine().values()), sep="\n")
    for outputs in given.outputs:
        for steps in given.steps:
            head = f"LSTM({given.units}), Dense({outputs}), {steps:,} steps"
            found = measure(steps, outputs, given.units, given.rounds)
            columns = [head, "× influence", "time", "first", "lost", "difference"]
            print(f"\n{table(columns, lines(found))}", flush=True)
            times[head] = {
                name: {"first_s": each.first, "further_s": each.further}
                for name, each in found.items()
            }
    save(given.json, {}, times)


if __name__ == "__main__":
    main()
