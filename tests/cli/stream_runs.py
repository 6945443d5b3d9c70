"""Runs of ``legato stream`` in this process, and the outputs of ``model.stream()`` beside them."""

import csv
import io
import json
from functools import cache
from pathlib import Path

import numpy as np
from cells import spread
from command_runs import run_legato

from legato.cli._stream_command import _load

STEPS = 12
_loaded = cache(_load)


def load_once(path: Path):
    """The model that the command makes of a file, loaded once in a process: it never changes."""
    return _loaded(path.resolve())


def run_stream(model, *words, lines):
    given = lines.encode() if isinstance(lines, str) else lines
    return run_legato("stream", model, *words, input=given)


def answers_to(model, *words, lines) -> str:
    """The answers to lines that are all valid."""
    result = run_stream(model, *words, lines=lines)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def stream_error(model, *words, lines, answered: int = 0) -> str:
    """The error, one line; the lines before the invalid one are answered."""
    result = run_stream(model, *words, lines=lines)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("legato: ")
    assert len(result.stdout.splitlines()) == answered
    assert run_stream(model, *words, "--debug", lines=lines).exit_code == 1  # a traceback
    return result.stderr[len("legato: ") :]


def as_json(output: str) -> list:
    return [json.loads(line) for line in output.split("\n")[:-1]]


def as_csv(output: str, delimiter: str = ",") -> list[dict]:
    return list(csv.DictReader(io.StringIO(output), delimiter=delimiter))


def to_json(values) -> str:
    return "".join(json.dumps(each) + "\n" for each in values)


def random_steps(count: int = STEPS, seed: int = 0) -> np.ndarray:
    return spread(np.random.default_rng(seed), count, 3)


def stream_outputs(model: Path, xs, **options) -> np.ndarray:
    """The outputs of a stream of the model on these steps."""
    return load_once(model).stream(**options).feed(xs)


def assert_close(one, other):
    np.testing.assert_allclose(np.asarray(one, float), np.asarray(other), rtol=1e-5, atol=1e-6)
