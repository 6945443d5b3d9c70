"""Scripts typed the way Keras 2 was used in 2016 run with only their import lines changed.

Each script in ``keras2/`` is one of the six alphabet networks, run as a user runs it: in another
process, every warning an error. ``EPOCHS`` shortens the training where only the printed lines are
checked. The scripts seed NumPy, as one did; Keras 3 draws weights from Python's own generator,
so that one is seeded here, outside the script.
"""

import itertools
import os
import re
import string
from collections.abc import Iterable
from pathlib import Path

import pytest
from forked import ForkedPython

HERE = Path(__file__).parent
LETTERS = string.ascii_uppercase
SCRIPTS = sorted(path.stem for path in (HERE / "keras2").glob("*.py"))
NEXT = dict(itertools.pairwise(LETTERS))
NEXT_SCRIPT = "== next script"
RUN = f"""
import random, runpy, sys
for script in sys.argv[1:]:
    print({NEXT_SCRIPT!r})
    random.seed(7)
    runpy.run_path(script, run_name='__main__')
"""


def run_script(name: str, epochs: int | None = None) -> list[str]:
    """Run a script in a process of its own and return the lines it printed."""
    return run_scripts([name], epochs)[name]


def run_scripts(names: Iterable[str], epochs: int | None = None) -> dict[str, list[str]]:
    """Run scripts one after the other in one process, every warning an error.

    Returns:
        The lines that each printed.
    """
    environment = dict(os.environ) | ({} if epochs is None else {"EPOCHS": str(epochs)})
    scripts = [HERE / "keras2" / f"{name}.py" for name in names]
    process = ForkedPython(RUN, scripts, environment=environment, strict=True)
    output, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    _, *printed = output.split(f"{NEXT_SCRIPT}\n")
    return {name: lines.splitlines() for name, lines in zip(names, printed, strict=True)}


@pytest.fixture(scope="module")
def short_runs():
    """Every script with two epochs; one process, which loads Keras and JAX once."""
    return run_scripts(SCRIPTS, epochs=2)


def answers(lines: list[str]) -> list[tuple[str, str]]:
    """``['A', 'B'] -> C`` and ``A -> B`` after the training → (pattern, answer)."""
    after = lines[next(i for i, line in enumerate(lines) if line.startswith("Model Accuracy")) :]
    found = [re.fullmatch(r"\[?([A-Z', ]+)\]? -> ([A-Z])", line) for line in after]
    return [(re.sub(r"[^A-Z]", "", each[1]), each[2]) for each in found if each]


def epoch_lines(lines: list[str]) -> list[str]:
    """The line that ``verbose=2`` printed for each epoch."""
    return [line for line in lines if re.match(r"\d+/\d+ - .*loss: \d", line)]


@pytest.mark.quick_cases(3)
@pytest.mark.parametrize("name", SCRIPTS)
def test_a_script_runs_with_only_its_imports_changed(name, short_runs):
    lines = short_runs[name]
    patterns = [re.fullmatch(r"([A-Z]{1,5}) -> ([A-Z])", line) for line in lines]
    shown = [each for each in patterns[: patterns.index(None)] if each]
    count = {"three_letter_time_steps": 23, "three_letter_window": 23, "variable_length": 1000}
    assert len(shown) == count.get(name, 25)
    assert all(NEXT[each[1][-1]] == each[2] for each in shown)
    steps = 1 if name == "whole_alphabet_batch" else len(shown)
    epochs = epoch_lines(lines)
    assert len(epochs) == 2
    for line in epochs:
        assert re.match(rf"{steps}/{steps} - \d+s - [\d.]+(us|ms|s)/step - ", line)
        assert re.search(r"accuracy: \d\.\d{4}", line)
    assert len([line for line in lines if re.fullmatch(r"Model Accuracy: \d+\.\d\d%", line)]) == 1
    counts = {"whole_alphabet_batch": 25 + 20, "variable_length": 20, "stateful": 25 + 5}
    assert len(answers(lines)) == counts.get(name, len(shown))


@pytest.mark.parametrize("name", ["stateful"])
def test_the_stateful_script_recites_the_alphabet_and_fails_at_k_from_a_fresh_state(name):
    lines = run_script(name)
    assert len(epoch_lines(lines)) == 300
    assert "Model Accuracy: 100.00%" in lines
    said = answers(lines)
    assert said[:25] == list(NEXT.items())
    # From a fresh state it answers to K as to the first letter, and continues from there.
    assert lines.index("New start: K") > lines.index("Model Accuracy: 100.00%")
    assert said[25:] == [("K", "B"), ("B", "C"), ("C", "D"), ("D", "E"), ("E", "F")]


@pytest.mark.slow
def test_the_script_with_three_time_steps_learns_every_pattern():
    lines = run_script("three_letter_time_steps")
    assert "Model Accuracy: 100.00%" in lines
    assert all(answer == NEXT[pattern[-1]] for pattern, answer in answers(lines))


@pytest.mark.slow
def test_the_script_with_the_whole_alphabet_in_a_batch_learns_every_letter():
    lines = run_script("whole_alphabet_batch")
    assert "Model Accuracy: 100.00%" in lines
    assert all(answer == NEXT[pattern] for pattern, answer in answers(lines))
