"""Mutations of files in tests: bits flipped, bytes replaced, parts cut out, repeated or swapped."""

import json
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from legato import LegatoError

_OTHER_VALUES = (None, True, -1, 0, 2.5, "", "lstm", [], [None], {}, {"class_name": "Dense"})


def mutations(content: bytes, count: int, seed: int) -> Iterator[bytes]:
    """Mutated contents, the same for a seed."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        changed = bytearray(content)
        for _ in range(int(rng.integers(1, 4))):
            at = int(rng.integers(0, max(1, len(changed))))
            length = int(rng.integers(1, 40))
            match int(rng.integers(0, 6)):
                case 0:
                    changed[at : at + 1] = bytes(
                        b ^ 1 << int(rng.integers(8)) for b in changed[at : at + 1]
                    )
                case 1:
                    changed[at : at + 1] = rng.bytes(1)
                case 2:
                    changed[at : at + length] = b""
                case 3:
                    changed[at:at] = changed[at : at + length]
                case 4:
                    changed[at : at + length] = rng.bytes(length)
                case 5:
                    del changed[at + length * 20 :]
        yield bytes(changed)


def json_mutations(value: Any, count: int, seed: int = 14) -> Iterator[bytes]:
    """JSON texts in which one value, at any depth, is another or is missing."""
    rng = np.random.default_rng(seed)
    for _ in range(count):
        changed = json.loads(json.dumps(value))
        places = list(_places(changed))
        holder, key = places[int(rng.integers(len(places)))]
        at = int(rng.integers(len(_OTHER_VALUES) + 1))
        if at == len(_OTHER_VALUES):
            del holder[key]
        else:
            holder[key] = _OTHER_VALUES[at]
        yield json.dumps(changed).encode()


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    keys = value.keys() if isinstance(value, dict) else range(len(value))
    for key in keys:
        yield value, key
        if isinstance(value[key], (dict, list)):
            yield from _places(value[key])


def unexpected_errors(
    path: Path,
    whole: bytes,
    load: Callable[[Path], object],
    count: int,
    seed: int = 14,
    wrap: Callable[[bytes], bytes] = bytes,
) -> list[str]:
    """``errors_of`` for mutations of a content that is read, of which ``wrap`` makes the file's."""
    path.write_bytes(wrap(whole))
    load(path)
    return errors_of(path, map(wrap, mutations(whole, count, seed)), load)


def errors_of(path: Path, contents: Iterable[bytes], load: Callable[[Path], object]) -> list[str]:
    """Load files of several contents: all errors that are not legato's or do not name the file."""
    found = []
    for at, content in enumerate(contents):
        path.write_bytes(content)
        try:
            load(path)
        except LegatoError as error:
            if path.name not in str(error) or "\n" in str(error):
                found.append(f"{at}: {error}")
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as error:  # of Polars, panics too
            found.append(f"{at}: {type(error).__name__}: {error}")
    return found
