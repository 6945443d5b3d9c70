"""Output on a terminal; on streams that are missing, closed, full, or of a small encoding."""

import contextlib
import fcntl
import json
import os
import re
import shutil
import struct
import subprocess
import sys
import termios
import zipfile

import pytest
from command_runs import SMALL, error_of, output_of, write_file
from forked import ForkedPython

from legato._execution.progress import Progress
from legato.cli import _output, app


class OnlyWrite:
    """An object that collects what is written to it, and has nothing else."""

    def __init__(self):
        self.text = ""

    def write(self, text):
        self.text += text


def on_a_terminal(columns: int, act) -> str:
    """The output on a terminal while a function, given the terminal, runs."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(slave, "w") as terminal:
        act(terminal)
    shown = b""
    with os.fdopen(master, "rb", 0) as screen, contextlib.suppress(OSError):  # at its end
        while part := screen.read(65536):
            shown += part
    return shown.decode()


def test_a_terminal_shows_the_current_task(monkeypatch):
    def act(terminal):
        monkeypatch.setattr(sys, "stderr", terminal)
        with _output.show_status("reading [bold]x[/]", quiet=False):
            pass
        with _output.show_status("nothing", quiet=True):
            pass

    output = on_a_terminal(80, act)
    assert "reading [bold]x[/]" in output
    assert "nothing" not in output


COMMANDS = """if True:
    import json, sys
    from legato.cli import app
    statuses = []
    for words in json.loads(sys.argv[1]):
        try:
            app(words)
        except SystemExit as end:
            statuses.append(end.code)
    print(statuses)
"""


@pytest.mark.slow
def test_all_commands_print_where_the_encoding_is_ascii(in_shop, tmp_path):
    """In one process, with Cyrillic names of files, columns, groups and labels."""
    data, model, labels = (str(tmp_path / name) for name in ("дом.csv", "дом.keras", "да.csv"))
    rows = [
        f"{shop},{at},{at * at % 7},{'да' if at % 3 else 'нет'}"
        for shop in "ЖЩ"
        for at in range(30)
    ]
    write_file(tmp_path, "дом.csv", "\n".join(["дом,день,вес,знак", *rows]))
    write_file(tmp_path, "да.csv", "x,y\n" + "1,да\n2,нет\n" * 20)
    read = ["--group", "дом", "--time", "день", "--target", "вес"]
    options = ["--units", "2", "--epochs", "1", "--no-refit"]
    process = ForkedPython(
        COMMANDS,
        [json.dumps([
            ["--help"],
            ["train", data, *read, *options, "-o", model],
            ["train", data, *read, "--framing", "chunks", "--plan"],
            ["evaluate", model, data],
            ["forecast", model, data],
            ["forecast", model, data, "--json"],
            ["show", model],
            ["train", labels, *options, "-o", model],
            ["classify", model, labels],
            ["generate", "book.keras", "-n", "9"],
            ["generate", "book.keras", "-n", "9", "-p", "Ж"],
            ["alphabet", "1"],
            ["alphabet", "questions", "cold", "--quick"],
        ])],
        environment={**os.environ, "PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    output, errors = process.communicate()
    assert (output + errors).isascii()
    assert process.returncode == 0, errors
    assert output.splitlines()[-1] == str([*[0] * 10, 2, 0, 0])
    assert re.search(r"\n\?{3}  +step  +\?{4}  +\?{3} ", output)
    assert r'"\u0434\u043e\u043c": [' in output
    assert "\nrow 0  [0-----" in output
    assert errors.count("legato:") == 1
    assert r"\u0416" in errors
    assert "Traceback" not in errors


@pytest.mark.slow
def test_a_model_is_written_though_standard_output_is_closed(in_shop, tmp_path):
    words = ["train", "sales.csv", "--time", "month", *SMALL, "-o", tmp_path / "m.keras"]
    run = ["sh", "-c", 'exec "$@" >&- <&-', "sh", sys.executable, "-m", "legato", *words]
    done = subprocess.run(run, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    assert zipfile.is_zipfile(tmp_path / "m.keras")


FULL = (
    "legato: The output cannot be written (No space left on device). Send it to a file with room, "
    "or to a program that reads it.\n"
)


def test_a_full_disk_is_one_sentence():
    for words in (["--version"], ["show", "--help"]):
        with open("/dev/full", "w") as full:
            run = [sys.executable, "-m", "legato", *words]
            done = subprocess.run(run, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
        assert (done.returncode, done.stderr) == (2, FULL)


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize("words", [
    ["forecast", "sales.keras", "sales.csv", "-n", "3"],
    ["forecast", "sales.keras", "sales.csv", "--json"],
    ["generate", "book.keras", "-n", "9"],
])  # fmt: skip
def test_results_that_do_not_fit_on_the_disk_are_one_sentence(words, in_shop, monkeypatch, capsys):
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stdout", full)
        with pytest.raises(SystemExit) as end:
            app(words)
        monkeypatch.undo()
    assert end.value.code == 2
    assert capsys.readouterr().err == FULL


@pytest.mark.parametrize("stream", [None, OnlyWrite()], ids=["None", "only write"])
def test_a_command_runs_whatever_standard_output_is(stream, in_shop, monkeypatch):
    monkeypatch.setattr(sys, "stdout", stream)
    with pytest.raises(SystemExit) as end:
        app(["forecast", "sales.keras", "sales.csv", "-n", "3"])
    monkeypatch.undo()
    assert end.value.code == 0
    assert stream is None or "2014-03" in stream.text


def test_control_characters_in_names_are_escaped(in_shop, tmp_path):
    odd = tmp_path / "\x1b[31m red.csv"
    assert error_of("train", odd) == "There is no file " + str(odd).replace("\x1b", r"\x1b") + ".\n"
    shutil.copy("sales.csv", odd)
    out = odd.with_suffix(".keras")
    output = output_of("train", odd, "--time", "month", "-o", out, "-q", *SMALL)
    assert output == "wrote " + str(out).replace("\x1b", r"\x1b") + "\n"


def test_the_progress_line_fits_the_terminal():
    def act(terminal):
        progress = Progress(1, epochs=400, steps=10, stream=terminal)
        progress.begin(0)
        progress.steps(0, 5)
        progress.epoch(0, {"loss": 0.5, "accuracy": 0.25, "val_loss": 0.125})
        progress.end()

    output = on_a_terminal(40, act)
    lines = [line for line in re.split("[\r\n]+", output) if line]
    assert lines
    assert all(line.startswith("epoch ") and len(line) == 39 for line in lines)
