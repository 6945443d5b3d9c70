"""Help: examples that run, every option, and no heavy imports."""

import inspect
import re
import shlex
from pathlib import Path

import pytest
from command_runs import SMALL, output_of, run_legato
from loading import loaded_after
from stream_runs import answers_to, random_steps, to_json

from legato.cli import _report_command, _stream_command, _train_command, _trained_commands

COMMANDS = {
    "train": _train_command.train,
    "report": _report_command.report,
    **{
        name: getattr(_trained_commands, name)
        for name in "evaluate forecast generate classify show".split()
    },
}
EXAMPLES = [
    example
    for command in COMMANDS.values()
    for example in re.findall(r"`(legato [^`]+)`", inspect.getdoc(command) or "")
]


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_in_the_help_run(in_shop, example):
    words = shlex.split(example)[1:]
    if words[0] == "train":
        if "--plan" not in words:
            words += SMALL
        if "--search" in words:
            words += ["--search", "2"]
    else:
        model = Path("model.keras")
        model.write_bytes(Path("sales.keras").read_bytes())
    output_of(*words)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_and_every_option_and_loads_no_keras(name):
    output = run_legato(name, "--help").output
    assert "Example" in output
    for parameter in inspect.signature(COMMANDS[name]).parameters.values():
        if parameter.name not in ("data", "model"):
            flag = {"columns": "column"}.get(parameter.name, parameter.name)
            assert f"--{flag.replace('_', '-')}" in output


def test_the_help_of_all_commands_loads_neither_keras_nor_numpy():
    ask = "\n".join(
        f"with contextlib.suppress(SystemExit):\n    app([{words}'--help'])"
        for words in ("", *(f"'{name}', " for name in COMMANDS))
    )
    loaded = loaded_after(f"import contextlib\nfrom legato.cli import app\n{ask}")
    assert not {"keras", "jax", "numpy", "polars", "matplotlib"} & loaded


def test_the_main_help_lists_the_commands():
    output = run_legato("--help").output
    assert all(f"│ {name} " in output for name in ("alphabet", *COMMANDS))


def test_the_main_help_lists_stream():
    assert "│ stream " in run_legato("--help").output


def test_the_help_of_stream_lists_every_option_and_loads_no_keras():
    output = run_legato("stream", "--help").output
    for name in inspect.signature(_stream_command.stream).parameters:
        assert name == "model" or f"--{name.replace('_', '-')}" in output
    ask = "with contextlib.suppress(SystemExit):\n    app(['stream', '--help'])"
    loaded = loaded_after(f"import contextlib\nfrom legato.cli import app\n{ask}")
    assert not {"keras", "jax", "numpy", "polars", "matplotlib"} & loaded


def test_the_examples_in_the_help_of_stream_run(plain, sensors, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("model.keras").write_bytes(plain.read_bytes())
    Path("sensors.keras").write_bytes(sensors.read_bytes())
    Path("steps.jsonl").write_text(to_json(random_steps().tolist()))
    Path("readings.jsonl").write_text(to_json(random_steps().tolist()))
    Path("new.csv").write_text("machine,load,mode,heat\na,1,up,2\nb,3,down,4\n")
    examples = re.findall(r"- `([^`]+)`", inspect.getdoc(_stream_command.stream) or "")
    assert len(examples) == 3
    for example in examples:
        words = shlex.split(example)
        source = words[words.index("<") + 1] if "<" in words else "readings.jsonl"
        words = words[words.index("legato") + 2 :]
        words = words[: words.index("<")] if "<" in words else words
        assert len(answers_to(*words, lines=Path(source).read_text()).splitlines()) > 1
    assert {path.name for path in tmp_path.glob("*.state")} == {"model.state", "sensors.state"}
    assert not list(tmp_path.glob("*.log"))
