"""Kills of saving: models, weights, states, streams and pools that are written again and again."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import keras
import numpy as np
from trials.kills import (
    FEATURES,
    UNITS,
    Tally,
    bits_of,
    killed,
    make_model,
    set_weights,
    spread,
)

import legato

FILES = ["m.keras", "m.h5", "m.weights.h5", "m.state", "stream.state", "pool.state"]


class Saves:
    """Saves files of what a number stands for, and reads them."""

    def __init__(self) -> None:
        self._model: Any = make_model()
        self._model.compile("adam", keras.losses.MeanSquaredError())
        self._fixed = make_model()  # whose streams are saved

    def save(self, path: Path, number: int) -> None:
        """Save what a number stands for, in the format of the file's name."""
        saved = self._made(path.name, number)
        save = saved.save_weights if path.name == "m.weights.h5" else saved.save
        save(path)

    def bits(self, name: str, number: int) -> bytes:
        """The bits of what a number stands for."""
        return self._bits(self._made(name, number))

    def saved_bits(self, path: Path) -> bytes:
        """The bits of what is in a file.

        Raises:
            LegatoError: it is damaged, or missing.
        """
        if path.name == "m.weights.h5":
            self._model.load_weights(path)
            return self._bits(self._model)
        load = {
            "m.state": legato.State.load,
            "stream.state": self._fixed.stream().load,
            "pool.state": self._fixed.streams().load,
        }.get(path.name, legato.load_model)
        return self._bits(load(path))

    def _made(self, name: str, number: int) -> Any:
        rng = np.random.default_rng(number)
        if name == "m.state":
            return legato.State({"lstm": (spread(rng, 2, UNITS), spread(rng, 2, UNITS))})
        if name == "stream.state":
            return self._fixed.stream().warm(spread(rng, 2, FEATURES))
        if name == "pool.state":
            pool = self._fixed.streams()
            pool.feed({each: spread(rng, FEATURES) for each in ("ada", "bob")})
            return pool
        set_weights(self._model, number)
        return self._model

    def _bits(self, made: Any) -> bytes:
        if isinstance(made, legato.State):
            return bits_of(made)
        if isinstance(made, legato.Streams):
            return b"".join(bits_of(made.state(name)) for name in made)
        if isinstance(made, legato.Stream):
            return bits_of(made.state)
        return b"".join(each.tobytes() for each in made.get_weights())


def run_saves(connection, folder: Path, first: int) -> None:
    """In the child: save one file after the other, without end."""
    saves = Saves()
    with TemporaryDirectory() as warm_up:
        for number, name in enumerate(FILES):
            saves.save(Path(warm_up) / name, number)
    connection.send(("begun",))
    for number in itertools.count(first):
        saves.save(folder / FILES[number % len(FILES)], number)
        connection.send(("done", number))


def kill_saves(kills: int, folder: Path, rng: np.random.Generator) -> Iterator[Tally]:
    """Kill processes that save files; yields the tally after each kill."""
    tally, saves = Tally("saves"), Saves()
    last: dict[str, int] = {}  # what each file was saved with last
    number = 0
    while tally.trials < kills:
        child = killed(tally, rng, run_saves, folder, number)
        for _, done in (each for each in child.messages if each[0] == "done"):
            last[FILES[done % len(FILES)]], number = done, done + 1
            tally.done += 1
        for name in FILES:
            unreported = number if FILES[number % len(FILES)] == name else None
            fault = fault_of_file(saves, folder / name, last.get(name), unreported)
            if fault:
                tally.add(*fault)
        yield tally
    saves.save(folder / FILES[0], number)  # the first file of a process removes what others left
    left = [each.name for each in folder.iterdir() if each.name not in FILES]
    if left:
        tally.add("error", f"left over: {', '.join(left)}")


def fault_of_file(
    saves: Saves, path: Path, last: int | None, unreported: int | None
) -> tuple[str, str] | None:
    """What is wrong with a file: the fault, and a note.

    Args:
        saves: reads it.
        path: of the file.
        last: the number that it was saved with last, if any.
        unreported: the number that it may have been saved with since.
    """
    if not path.exists():
        return None if last is None else ("lost", f"{path.name} is missing")
    try:
        found = saves.saved_bits(path)
    except legato.LegatoError as error:
        return "error", str(error)
    for number in (last, unreported):
        if number is not None and found == saves.bits(path.name, number):
            return None
    earlier = -1 if last is None else last - len(FILES)
    if earlier >= 0 and found == saves.bits(path.name, earlier):
        return "lost", f"{path.name} is as it was before the last time"
    return "different", f"{path.name} is not what was saved"
