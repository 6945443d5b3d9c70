"""Files of compiled programs: whole or absent, bounded, and used by JAX."""

import os
import warnings
from pathlib import Path

import jax
import keras
import numpy as np
import pytest
from forked import all_received, forked
from jax._src import compilation_cache

import legato
from legato import layers
from legato._platform.backend import cache_directory
from legato._platform.program_files import ProgramFiles


def size_of(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir())


def test_a_program_is_what_was_put_there_last(tmp_path):
    files = ProgramFiles(tmp_path)
    assert files.get("one") is None
    files.put("one", b"first")
    files.put("two", b"")
    files.put("one", b"second")
    again = ProgramFiles(tmp_path)
    assert (again.get("one"), again.get("two"), again.get("three")) == (b"second", b"", None)
    assert len([*tmp_path.iterdir()]) == 2


def test_a_damaged_file_is_as_none_and_is_written_anew(tmp_path):
    files, program = ProgramFiles(tmp_path), bytes(range(64))
    files.put("key", program)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    for count in range(len(whole)):
        file.write_bytes(whole[:count])
        assert files.get("key") is None
    for at in range(len(whole)):
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert files.get("key") is None
    files.put("key", program)
    assert files.get("key") == program


def test_files_are_bounded_and_those_used_last_stay(tmp_path):
    limit = 10_000
    files = ProgramFiles(tmp_path, limit)
    files.put("often", bytes(1000))
    for at in range(50):
        files.put(f"number {at}", bytes(1000))
        assert size_of(tmp_path) < limit + limit / 16 + 2000
        assert files.get("often") is not None
        for age, file in enumerate(sorted(tmp_path.iterdir(), key=os.path.getmtime, reverse=True)):
            os.utime(file, (1e9 - age, 1e9 - age))  # the clock may not tell them apart
    assert files.get("number 49") is not None
    assert files.get("number 0") is None


def test_what_killed_processes_left_is_removed_and_other_files_stay(tmp_path):
    for name in ("1-1.partial", "2-2.partial", "mine.txt"):
        (tmp_path / name).write_bytes(b"half")
    for name in ("1-1.partial", "mine.txt"):
        os.utime(tmp_path / name, (1e9, 1e9))
    ProgramFiles(tmp_path).put("key", b"program")
    assert {file.name for file in tmp_path.iterdir()} == {"2-2.partial", "mine.txt", "key-cache"}


@pytest.mark.parametrize("key", ["key", "k" * 300])
def test_a_folder_that_takes_no_file_is_as_an_empty_one(key, tmp_path):
    for folder in (tmp_path / "gone", tmp_path / "file", tmp_path):
        if folder.name == "file":
            folder.write_bytes(b"")
        files = ProgramFiles(folder)
        files.put(key, b"program")
        assert files.get(key) == (b"program" if (folder, key) == (tmp_path, "key") else None)
    assert len([*tmp_path.iterdir()]) == 1 + (key == "key")


def test_jax_chooses_its_files_where_legato_looks_for_the_choice():
    """A new version of JAX may not: then its own files are used, and this test says so."""
    folder = jax.config.jax_compilation_cache_dir
    if folder is None or folder != str(cache_directory()):
        pytest.skip("the environment chooses another cache")
    chosen = compilation_cache.get_file_cache(folder)
    assert chosen is not None
    assert isinstance(chosen[0], ProgramFiles)


def predict(cache: str, connection) -> None:
    """Send what a network answers, and how often a compiled program was found and was not."""
    warnings.simplefilter("error")
    os.environ["LEGATO_CACHE_DIR"] = cache
    found = {"cache_hits": 0, "cache_misses": 0}

    def count(event: str, **_) -> None:
        name = event.rpartition("/")[2]
        found[name] = found.get(name, 0) + 1

    jax.monitoring.register_event_listener(count)
    keras.utils.set_random_seed(1)
    model = legato.Sequential([keras.Input((None, 3)), layers.LSTM(16), layers.Dense(2)])
    model.compile("sgd", "mse")
    x = np.linspace(-1, 1, 8 * 5 * 3, dtype="float32").reshape(8, 5, 3)
    model.fit(x, x[:, 0, :2], batch_size=4, epochs=1, verbose=0)
    connection.send_bytes(model.predict(x, verbose=0).tobytes())
    connection.send_bytes(f"{found['cache_hits']} {found['cache_misses']}".encode())


@pytest.mark.slow
def test_other_processes_find_the_programs_and_the_native_kernel_in_them(tmp_path):
    def run() -> tuple[bytes, int, int]:
        with forked(predict, str(tmp_path)) as (_, connection):
            answers, counts = all_received(connection)
        found, missed = counts.split()
        return answers, int(found), int(missed)

    first, _, compiled = run()
    assert compiled > 0
    second, found, missed = run()
    assert (second, missed) == (first, 0)
    assert found >= compiled
    for file in tmp_path.iterdir():  # as a full disk leaves them
        os.truncate(file, file.stat().st_size // 2)
    third, _, compiled_again = run()
    assert (third, compiled_again) == (first, compiled)
    assert run()[0] == first
