"""Kills of ``legato stream``, in which each of several keys is a stream."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from trials.kills import EARLY, LOG_BYTES, Tally, killed, make_model, numbers_of

import legato
from legato._streams import log_store
from legato._streams.log_store import LogStore
from legato.cli import _line_formats, app

KEYS = 12
LINES = 20_000  # that a process is given, more than it answers


class Keys:
    """The inputs, answers and states of each key's stream, fed step by step without a stop."""

    def __init__(self) -> None:
        self._pool = make_model().streams()
        self._answers: list[list[np.ndarray]] = [[] for _ in range(KEYS)]

    def input(self, key: int, step: int) -> list[float]:
        """The input of a key at a step, counted from 0."""
        return [round(float(np.sin(at * (key + 1) * 0.7 + step * 0.31)), 6) for at in (1, 2, 3)]

    def answer(self, key: int, steps: int) -> np.ndarray:
        """The answer to step number ``steps``, counted from 1."""
        answers = self._answers[key]
        while len(answers) < steps:
            answers.append(self._pool.feed({key: self.input(key, len(answers))})[key])
        return answers[steps - 1]

    def state(self, key: int, steps: int) -> np.ndarray:
        """The state after so many steps, no fewer than were asked for before."""
        self.answer(key, steps)
        return numbers_of(self._pool.state(key))


def run_stream(connection, folder: Path, batch_lines: int, is_early: bool) -> None:
    """In the child: ``legato stream`` from a file of lines to one of answers.

    It has begun as it opens the state file if ``is_early``, and else as it keeps the first step,
    when all is compiled.
    """
    log_store.MIN_LOG_BYTES = LOG_BYTES
    _line_formats.BATCH_LINES = batch_lines
    begins = "load" if is_early else "put"
    method = getattr(LogStore, begins)

    def begin(self, *given, **options):
        setattr(LogStore, begins, method)
        connection.send(("begun",))
        return method(self, *given, **options)

    setattr(LogStore, begins, begin)
    for number, name in enumerate(("lines.jsonl", "answers.jsonl", "errors.txt")):
        way = os.O_RDONLY if number == 0 else os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        os.dup2(os.open(folder / name, way), number)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(at, how) for at, how in enumerate("rww"))
    words = [folder / "model.keras", "--key", "user", "--state", folder / "keys.state"]
    app(["stream", *map(str, words)])


def write_lines(path: Path, keys: Keys, kept: list[int], rng: np.random.Generator) -> None:
    """Write lines of random keys, each of which goes on after the steps that are kept."""
    steps, lines = list(kept), []
    for key in rng.integers(KEYS, size=LINES).tolist():
        lines.append(json.dumps({"user": key, "x": keys.input(key, steps[key])}) + "\n")
        steps[key] += 1
    path.write_text("".join(lines))


def whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of JSON in a file, without one that a kill cut short."""
    text = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def check_stream(tally: Tally, folder: Path, keys: Keys, kept: list[int], is_exact: bool) -> None:
    """Check answers and kept states after a kill; ``kept`` becomes the steps kept now."""

    def is_same(one: Any, other: np.ndarray) -> bool:
        one = np.asarray(one, other.dtype)
        return np.array_equal(one, other) if is_exact else np.allclose(one, other, 1e-5, 1e-6)

    answered = list(kept)
    for each in whole_lines(folder / "answers.jsonl"):
        key, tally.done = each["user"], tally.done + 1
        answered[key] += 1
        if each["steps"] != answered[key]:
            how = "lost" if each["steps"] < answered[key] else "twice"
            tally.add(how, f"step {answered[key]} of key {key} was answered as {each['steps']}")
        elif not is_same(each["y"], keys.answer(key, each["steps"])):
            tally.add("different", f"the answer to step {each['steps']} of key {key}")
    with make_model().streams(file=folder / "keys.state") as pool:
        for key in range(KEYS):
            kept[key] = pool.steps(str(key)) if str(key) in pool else 0
            if kept[key] < answered[key]:
                tally.add("lost", f"of key {key}, {answered[key] - kept[key]} answered steps")
            elif kept[key] and not is_same(
                numbers_of(pool.state(str(key))), keys.state(key, kept[key])
            ):
                tally.add("different", f"the state of key {key} after {kept[key]} steps")


def kill_stream(
    kills: int, folder: Path, rng: np.random.Generator, batch_lines: int
) -> Iterator[Tally]:
    """Kill ``legato stream``; yields the tally after each kill."""
    is_exact = batch_lines == 1
    tally = Tally("legato stream, line by line" if is_exact else "legato stream, lines together")
    keys, kept, copy = Keys(), [0] * KEYS, folder / "copy"
    make_model().save(folder / "model.keras")
    while tally.trials < kills:
        write_lines(folder / "lines.jsonl", keys, kept, rng)
        for name in ("answers.jsonl", "errors.txt"):
            (folder / name).unlink(missing_ok=True)
        killed(tally, rng, run_stream, folder, batch_lines, rng.uniform() < EARLY)
        shutil.copytree(folder, copy)  # so that the next process opens what the kill left
        try:
            check_stream(tally, copy, keys, kept, is_exact)
            errors = (copy / "errors.txt").read_text() if (copy / "errors.txt").exists() else ""
        except legato.LegatoError as error:
            errors = str(error)
        shutil.rmtree(copy)
        if errors:
            tally.add("error", errors)
        yield tally
