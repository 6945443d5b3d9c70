"""Each example runs by itself, every warning an error, and prints the lines of its result.

Keras and JAX are loaded before; that an example would load them in the right order is read off.
"""

import ast
import os
from pathlib import Path

import pytest
from environment import AS_FOR_USERS
from forked import run_scripts

EXAMPLES = Path(__file__).parents[1] / "examples"
SHOWN = {
    "recite_the_alphabet": [
        "accuracy in the last epoch: 100%",
        "from A, fed its own answers: ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "K, after A to J:             L",
    ],
    "alphabet_streamed": [
        "  K, cold:                 B",
        "  K, after A to J:         L",
        "  generated from there:    LMNOPQRSTUVWXYZ",
        "  saved at K, loaded:      LMNOPQRSTUVWXYZ",
        "  a fork at M, fed ABC:    OPQ",
        "  another, reset first:    BCD",
        "  generated at M:          NOPQRSTUVWXYZ",
        "  Z, 25 times:             BCDEFGHIJKLMNOPQRSTUVWXYZ",
    ],
    "many_sequences": [
        "64 sequences of 2 to 11 steps, 441 in all, in 4 rows: "
        "172 samples of 3 steps in 43 batches, 14.5 % padding",
        "a sequence alone gets the same answers: True",
    ],
    "warm_up_and_fork": [
        "history:     [1, 2, 1, 2, 3]",
        "saved and loaded is the same to the bit: True",
        "going up:    [4, 5, 6]",
        "going down:  [2, 1, 0]",
        "down, and on: [-1, 0]",
        "the past is still there: True",
    ],
    "initial_state": [
        "a fresh row before training: 0.00",
        "the error is gone: True",
    ],
    "keras_layers_unchanged": [
        "different answers to one input: 3",
        "after a reset, the first again: True",
        "states: {'block/low': [(1, 4)], 'high': [(1, 3), (1, 3)]}",
        "the very layer: True True",
        "epochs a callback saw: [0, 1, 2]",
        "rows remembered: 3",
    ],
    "monthly_series": ["every seed beats persistence: True"],
    "far_back": [
        "state carried: True",
        "  sequences of 40 to 79 steps, kept from training: 100%",
        "  sequences of 300 steps: 100%",
        "state carried: False",
    ],
    "many_machines": [
        "24 sequences of 119 to 477 steps, 7,493 in all: load, temperature",
        "scores the same: True",
    ],
    "character_model": ["It writes, after 'The ':"],
}


# Their programs take longer to compile than to run, and are compiled with few optimizations.
COMPUTE_LITTLE = ("initial_state", "keras_layers_unchanged", "many_sequences", "warm_up_and_fork")


def printed(name: str, folder: Path) -> list[str]:
    """The lines an example prints in a process of its own."""
    environment = os.environ | ({} if name in COMPUTE_LITTLE else AS_FOR_USERS)
    done = run_scripts([EXAMPLES / f"{name}.py"], folder, environment)
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.splitlines()


def number_after(lines: list[str], words: str, end: str = ",") -> float:
    """The number that follows some words."""
    line = next(line for line in lines if words in line)
    return float(line.split(words)[1].split(end)[0])


def test_every_example_is_run():
    assert sorted(SHOWN) == sorted(path.stem for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("name", SHOWN)
def test_an_example_imports_legato_before_keras(name):
    """As a process must that has not loaded Keras yet, to run it on JAX."""
    packages = []
    for each in ast.walk(ast.parse((EXAMPLES / f"{name}.py").read_text(encoding="utf-8"))):
        if isinstance(each, ast.Import):
            packages += [(each.lineno, alias.name.split(".")[0]) for alias in each.names]
        elif isinstance(each, ast.ImportFrom) and each.module:
            packages.append((each.lineno, each.module.split(".")[0]))
    order = [package for _, package in sorted(packages)]
    assert "legato" in order
    assert order.index("legato") < (order.index("keras") if "keras" in order else len(order))


TAKE_LONG = ("alphabet_streamed", "character_model", "far_back", "many_machines", "monthly_series")


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name in TAKE_LONG)) for name in SHOWN],
)
def test_an_example_prints_its_result(name, tmp_path):
    lines = printed(name, tmp_path)
    assert [line for line in SHOWN[name] if line not in lines] == [], "\n".join(lines)
    if name == "many_sequences":
        carried, mixed = (number_after(lines, words) for words in ("with starts:", "without:"))
        assert 10 * carried < mixed
    if name == "alphabet_streamed":
        assert lines.count("  the same as predict:     True") == 2
        windowed, carried = (
            [int(line.split()[-4]) for line in lines if words in line and line.endswith("right")]
            for words in ("last letters seen:", "its state carried:")
        )
        assert min(windowed) >= 21
        assert max(carried) <= 5
    if name == "initial_state":
        for words in ("after training:", "nothing flowing:"):
            assert abs(number_after(lines, words) - 3.0) < 0.02
    if name == "monthly_series":
        assert sum("it beats every baseline, the best of them," in line for line in lines) == 3
        assert sum(line.startswith("1961-") for line in lines) == 12
    if name == "far_back":
        without = lines[lines.index("state carried: False") :]
        assert without[-1].endswith("it is not distinguishable from majority.")
    if name == "many_machines":
        assert number_after(lines, "in 82 batches, ", " %") < 5
        assert "% below persistence's" in "".join(lines)
        assert sum(line.startswith("  2026-") for line in lines) == 5
    if name == "character_model":
        bits, guess = (number_after(lines, words) for words in ("character: ", "a guess: "))
        assert 1 < bits < 0.75 * guess
        assert "it beats majority." in "".join(lines)
