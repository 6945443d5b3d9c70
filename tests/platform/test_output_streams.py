"""Output to streams that are missing, closed, incomplete, full, or of a small encoding."""

import io
import subprocess
import sys

import keras
import numpy as np
import pytest
from cells import FEATURES, UNITS, inputs, spread

import legato
from legato import layers, report
from legato._platform.output_streams import (
    OutputStream,
    make_printable,
    replace_unencodable,
)

X = inputs(6)
y = spread(np.random.default_rng(5), len(X), UNITS)


class OnlyWrite:
    """An object that collects what is written to it, and has nothing else."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text


class Encoded(io.TextIOWrapper):
    """Standard output in an encoding; ``declared`` is what it says of it."""

    def __init__(self, encoding):
        super().__init__(io.BytesIO(), encoding=encoding, newline="\n")

    @property
    def text(self) -> str:
        self.flush()
        return self.buffer.getvalue().decode(self.encoding)


class Misnamed(OnlyWrite):
    """A stream that takes ASCII only and says nothing of it."""

    def write(self, text):
        text.encode("ascii")
        super().write(text)


class Broken(OnlyWrite):
    """A window that is gone, of a program with a graphical interface."""

    encoding = 7

    def write(self, text=""):
        raise RuntimeError("wrapped object has been deleted")

    isatty = flush = fileno = write


class Full(io.StringIO):
    """A file on a full disk."""

    def write(self, text):
        raise OSError(28, "No space left on device")


def closed():
    stream = io.StringIO()
    stream.close()
    return stream


STREAMS = {
    "None": lambda: None,
    "closed": closed,
    "only write": OnlyWrite,
    "ascii": lambda: Encoded("ascii"),
    "cp1252": lambda: Encoded("cp1252"),
    "misnamed": Misnamed,
    "broken": Broken,
    "full": Full,
}


@pytest.fixture(scope="module")
def model():
    made = legato.Sequential([keras.Input((None, FEATURES)), layers.GRU(UNITS, stateful=True)])
    made.compile("sgd", "mse")
    return made


@pytest.mark.parametrize("name", STREAMS)
def test_every_verb_runs_whatever_standard_output_is(name, model, monkeypatch):
    for verbose in (0, 1, 2, "auto"):
        stream = STREAMS[name]()
        monkeypatch.setattr(sys, "stdout", stream)
        model.fit(X, y, batch_size=2, verbose=verbose)
        model.evaluate(X, y, batch_size=2, verbose=verbose)
        model.predict(X, batch_size=2, verbose=verbose)
        text = getattr(stream, "text", "")
        if hasattr(stream, "text") and name != "broken":
            assert ("loss" in text) == (verbose in (1, 2))
        if verbose == 1 and name in ("ascii", "cp1252", "misnamed"):
            assert f"epoch 1/1 {24 * '='}" in text
    monkeypatch.undo()


@pytest.mark.parametrize("name", ["ascii", "cp1252"])
def test_what_is_printed_can_be_encoded(name, monkeypatch):
    stream = STREAMS[name]()
    monkeypatch.setattr(sys, "stdout", stream)
    lanes = legato.Lanes([7, 3, 5, 2], rows=2, steps=3)
    print(lanes)
    made = legato.Sequential([keras.Input((None, 1)), layers.LSTM(2, name="память")])
    report.print_trace(made.stream().trace([[0.1], [0.2]]))
    report.print_model(made)
    print(legato.proportion(9, 10, did="прошли"), made.states)
    monkeypatch.undo()
    text = stream.text
    assert ("row 0  [0--|0--|0..[3-." in text) == (name == "ascii")
    assert "?????? h" in text
    assert str(lanes).endswith("|···")


@pytest.mark.parametrize("name", ["None", "closed", "only write"])
def test_tables_are_printed_whatever_standard_output_is(name, monkeypatch):
    stream = STREAMS[name]()
    monkeypatch.setattr(sys, "stdout", stream)
    report.print_table({"a": [1.5], "b": ["·"]})
    monkeypatch.undo()
    if name == "only write":
        assert "1.5" in stream.text
        assert "·" in stream.text


def test_a_full_disk_is_an_error_where_output_is_required():
    with pytest.raises(legato.OutputError, match=r"cannot be written \(No space left on device\)"):
        OutputStream(Full(), required=True).write("x")


def test_lines_of_streams_are_utf_8_in_any_encoding():
    stream = Encoded("ascii")
    OutputStream(stream, required=True).write_utf8("да · \udcff\n")
    assert stream.buffer.getvalue() == "да · \\udcff\n".encode()


def test_look_alikes_and_other_replacements():
    assert replace_unencodable("3 → 4 · ━━ Ж…", "ascii") == "3 -> 4 . == ?..."
    assert replace_unencodable("3 → 4 · ━━ Ж…", "cp1252") == "3 -> 4 · == ?…"
    assert replace_unencodable("Ж \udcff", "utf-8") == "Ж ?"
    assert replace_unencodable("→ ЖЖ", "ascii", escape=True) == r"-> \u0416\u0416"
    assert make_printable("\x1b[31mx\n") == r"\x1b[31mx\n"


def test_descriptors_that_were_closed_are_opened_on_the_null_device(tmp_path):
    code = """if True:
        import os
        from legato._platform.output_streams import safe_standard_streams
        with safe_standard_streams():
            print("·")
            assert os.open("file", os.O_CREAT | os.O_WRONLY) > 2
    """
    words = ["sh", "-c", 'exec "$0" -c "$1" >&- <&-', sys.executable, code]
    done = subprocess.run(words, cwd=tmp_path, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert (tmp_path / "file").read_bytes() == b""
