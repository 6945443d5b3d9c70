"""Damaged files in tests: flipped bits, and files as earlier versions of legato wrote them."""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file

import legato

SAMPLED = 2000  # bits of a file


def bits_to_flip(size: int, seed: int = 14) -> Iterable[int]:
    """Bits of a file of so many bytes: all of them, or a seeded sample."""
    if 8 * size <= SAMPLED:
        return range(8 * size)
    return np.random.default_rng(seed).permutation(8 * size)[:SAMPLED].tolist()


def with_flipped_bits(path: Path) -> Iterator[int]:
    """Flip one bit of a file after the other, and put it back; yields the bit's number."""
    whole = path.read_bytes()
    for bit in bits_to_flip(len(whole)):
        altered = bytearray(whole)
        altered[bit // 8] ^= 1 << bit % 8
        path.write_bytes(altered)
        yield bit
    path.write_bytes(whole)


def assert_flips_refused(path: Path, load: Callable[[], object]) -> None:
    """Check that a file with any flipped bit is refused with an error that names it."""
    load()
    for _ in with_flipped_bits(path):
        with pytest.raises(legato.StateError) as raised:
            load()
        assert str(path) in str(raised.value)
    load()


def flips_accepted(path: Path, load: Callable[[], object]) -> list[int]:
    """The bits that can be flipped unnoticed; any other error than a ``StateError`` is raised."""
    load()
    accepted, messages = [], []
    for bit in with_flipped_bits(path):
        try:
            load()
            accepted.append(bit)
        except legato.StateError as error:
            messages.append(str(error))
    assert [message for message in messages if str(path) not in message] == []
    return accepted


def contents(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """Arrays and metadata of a safetensors file."""
    with safe_open(path, "numpy") as file:
        return {name: file.get_tensor(name) for name in file.keys()}, file.metadata()  # noqa: SIM118


def write_version_1(path: Path, arrays: Mapping, about: Mapping[str, str]) -> None:
    """Write a file as earlier versions did, whose checksum covers the arrays alone."""
    about = {name: text for name, text in about.items() if name != "mark"}
    digest = hashlib.sha256()
    for name in sorted(arrays):
        digest.update(f"{name} {arrays[name].shape} {arrays[name].dtype} ".encode())
        digest.update(arrays[name].tobytes())
    version = f"{about['format'].rpartition('.')[0]}.1"
    save_file(dict(arrays), path, {**about, "format": version, "sha256": digest.hexdigest()})


def rewrite_as_version_1(path: Path, **changed: str) -> None:
    """Replace a file by one of version 1, maybe with other metadata."""
    arrays, about = contents(path)
    if "names" in arrays:  # they were metadata
        about["names"] = json.dumps(json.loads(arrays.pop("names").tobytes()))
    write_version_1(path, arrays, about | changed)
