"""Each example runs by itself, every warning an error, and prints the lines that show its point."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SHOWN = {
    "recite_the_alphabet": [
        "accuracy in the last epoch: 100%",
        "from A, fed its own answers: ABCDEFGHIJKLMNOPQRSTUVWXYZ",
        "K, after A to J:             L",
    ],
    "many_sequences": [
        "64 sequences of 2 to 11 time steps",
        "176 samples: 44 batches of 4 rows, 64 starts",
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
}


def printed(name: str) -> list[str]:
    """The lines an example prints in a process of its own."""
    paths = [str(EXAMPLES.parent), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-W", "error", str(EXAMPLES / f"{name}.py")],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert not done.stderr
    return done.stdout.splitlines()


def number_after(lines: list[str], words: str) -> float:
    """The number that follows some words."""
    line = next(line for line in lines if words in line)
    return float(line.split(words)[1].split(",")[0])


def test_every_example_is_run():
    assert sorted(SHOWN) == sorted(path.stem for path in EXAMPLES.glob("*.py"))


@pytest.mark.parametrize("name", SHOWN)
def test_an_example_shows_its_point(name):
    lines = printed(name)
    assert [line for line in SHOWN[name] if line not in lines] == [], "\n".join(lines)
    if name == "many_sequences":
        told, untold = (number_after(lines, words) for words in ("with starts:", "without:"))
        assert 10 * told < untold
    if name == "initial_state":
        for words in ("after training:", "nothing flowing:"):
            assert abs(number_after(lines, words) - 3.0) < 0.02
