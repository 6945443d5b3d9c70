"""``legato alphabet``: help, runs, errors in one sentence, and no files after an interruption."""

import gc
import html
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest
from forked import COMMAND, ForkedPython
from interrupting import interrupted
from typer.testing import CliRunner

from legato import __version__
from legato.cli import _interrupts, app

PICTURES = ["learning", "answers", "influence", "traces", "questions"]


def run(*words):
    return CliRunner().invoke(app, list(words))


def test_help_names_the_networks_and_the_options():
    output = run("alphabet", "--help").output
    for word in ["naive", "variable", "--seed", "--replicates", "--out", "--quiet", "--debug"]:
        assert word in output


def test_version():
    assert run("--version").output.strip() == f"legato {__version__}"


@pytest.mark.parametrize(
    ("words", "status", "message"),
    [
        (["alphabet", "gru"], 2, "legato: There is no network 'gru'; the six are 1 naive"),
        (["alphabet", "--replicates", "0"], 2, "Invalid value for '--replicates'"),
        (["alphabet", "1", "--out", "/dev/null/x"], 2, "legato: The folder /dev/null/x cannot be"),
        (["alphabet", "1", "--report", "/dev/null/x"], 2, "Name another with --report."),
        (["alphabet", "1", "--quick"], 2, "legato: --quick makes a quick page: name its folder"),
    ],
)
def test_invalid_arguments_give_one_sentence_and_a_status(words, status, message):
    result = run(*words)
    assert result.exit_code == status
    assert message in result.output
    assert "Traceback" not in result.output


def test_debug_shows_the_traceback():
    result = run("alphabet", "gru", "--debug")
    assert result.exit_code == 1
    assert type(result.exception).__name__ == "InputError"


@pytest.mark.slow
def test_two_networks_end_to_end(tmp_path):
    """As a user runs it: in its own process, with warnings as errors, writing files."""
    out = tmp_path / "new" / "folder"
    done = subprocess.run(
        [sys.executable, "-W", "error", "-m", "legato", "alphabet", "naive", "5", "--out", out],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "1 naive" in done.stdout
    assert "84.00 %" in done.stdout
    assert "epoch 300/300" in done.stdout
    assert "seeded with A and fed its own answers" in done.stdout
    assert "Y → Z" in done.stdout
    assert sorted(path.name for path in out.iterdir()) == ["alphabet.json", "alphabet.png"]
    runs = json.loads((out / "alphabet.json").read_text(encoding="utf-8"))["runs"]
    assert [one["network"]["name"] for one in runs] == ["naive", "stateful"]


def test_quiet_prints_the_table_alone():
    done = run("alphabet", "5", "--quiet")
    assert done.exit_code == 0
    assert "100.00 %" in done.output
    assert "epoch" not in done.output
    assert "→ B" not in done.output


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_swallowed_by_garbage_collection_is_sent_again():
    """As during a compilation by XLA, when JAX's garbage collection callback runs next."""

    def collect(*_):
        gc.callbacks.remove(collect)
        raise KeyboardInterrupt

    def work():
        gc.collect(0)  # over long before SIGINT is sent, which then meets a thread that waits
        time.sleep(30)

    gc.callbacks.append(collect)
    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt), _interrupts.resent_interrupts():
        work()
    assert time.monotonic() - began < 20  # the sleep was interrupted


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_run_is_reported_and_leaves_no_file(tmp_path):
    words = ["alphabet", "6", "--out", tmp_path, "--replicates", "50"]
    process = ForkedPython(COMMAND, words, environment={**os.environ, "PYTHONUNBUFFERED": "1"})
    process.stdout.readline()  # training has begun
    time.sleep(1)
    assert interrupted(process) == ("Interrupted: 0 of 50 runs had finished; no file was written.")
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def quick_efforts(monkeypatch):
    """Replace the questions by two; lists whether each was answered with quick effort."""
    from legato import alphabet

    quickly: list[bool] = []

    def experiment(effort):
        quickly.append(effort.quick)
        return alphabet.Found("holds", "[b]It is[/b].", (alphabet.Group("a", np.ones(3)),))

    questions = tuple(
        alphabet.Question(name, f"Is it [i]{name}[/i]?", "It is.", experiment) for name in "ab"
    )
    monkeypatch.setattr(alphabet, "QUESTIONS", questions)
    return quickly


@pytest.mark.slow
def test_a_report_is_a_page_on_several_seeds_and_the_questions(
    tmp_path, quick_efforts, monkeypatch
):
    from legato import alphabet

    (real,) = alphabet.find_questions(["series"])
    monkeypatch.setattr(alphabet, "QUESTIONS", (*alphabet.QUESTIONS, real))
    folder = tmp_path / "new" / "folder"
    done = run("alphabet", "naive", "--report", str(folder), "--quick", "--seed", "4")
    assert done.exit_code == 0, done.output
    assert "question 2 of 3 · Is it [i]b[/i]?" in done.output
    assert quick_efforts == [True, True]
    names = ["alphabet.html", *(f"{each}.png" for each in PICTURES)]
    assert sorted(path.name for path in folder.iterdir()) == sorted(names)
    assert all(f"wrote {folder / name}" in done.output.replace("\n", "") for name in names)
    page = (folder / "alphabet.html").read_text(encoding="utf-8")
    assert "under seeds 4–6;" in page
    assert "[b]It is[/b]." in page
    assert html.escape(real.asks) in page
    command = f"legato alphabet naive --report {folder} --seed 4 --replicates 3 --quick"
    assert f"<code>{command}</code>" in page


def test_a_quiet_report_prints_only_what_it_wrote(tmp_path, quick_efforts):
    words = ["naive", "--report", str(tmp_path), "--replicates", "1", "--quiet"]
    done = run("alphabet", *words)
    assert done.exit_code == 0, done.output
    assert "question 1" not in done.output
    assert quick_efforts == [False, False]
    assert "wrote" in done.output


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_report_leaves_no_file(tmp_path):
    """Interrupted while a question is being answered, in its own process."""
    code = """
import time
from legato import alphabet
wait = lambda effort: time.sleep(60)
alphabet.QUESTIONS = (alphabet.Question("a", "Is it?", "It is.", wait),)
from legato.cli import app
app(["alphabet", "naive", "--replicates", "1", "--out", PLACE, "--report", PLACE])
"""
    code = code.replace("PLACE", repr(str(tmp_path)))
    process = ForkedPython(code, environment={**os.environ, "PYTHONUNBUFFERED": "1"})
    for line in process.stdout:
        if line.startswith("question 1 of 1"):
            break
    time.sleep(0.5)
    assert interrupted(process) == (
        "Interrupted: 0 of 1 questions were answered; no file was written."
    )
    assert list(tmp_path.iterdir()) == []
