"""The commands for one's own data: output, files, help, and errors in one sentence.

Most tests run the command in this process, on small files and one small model of each kind;
signals, pipes and terminals are tested in a process of its own.
"""

import contextlib
import fcntl
import inspect
import json
import os
import re
import shlex
import signal
import struct
import subprocess
import sys
import termios
from pathlib import Path
from types import SimpleNamespace
from typing import get_args

import numpy as np
import polars
import pytest
from loading import loaded_after
from typer.testing import CliRunner

import legato
from legato._execution.progress import Progress
from legato._forecasting import config
from legato._series import reading
from legato.cli import _error_reporting, _output, _train_command, _trained_commands, app

SMALL = ("--units", "4", "--epochs", "2")
COMMANDS = {
    "train": _train_command.train,
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
BOOK = "It was the best of times, it was the worst of times. " * 12


def run(*words, **options):
    return CliRunner().invoke(app, [str(word) for word in words], **options)


def done(*words, **options):
    """The output of a command that succeeds."""
    result = run(*words, **options)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def write_data(folder: Path) -> None:
    """Small files of every kind, all rows different."""
    rng = np.random.default_rng(1)
    count = 48
    months = [f"{2010 + at // 12}-{at % 12 + 1:02d}" for at in range(count)]
    sold = 50 + 10 * np.sin(np.arange(count) * np.pi / 6) + rng.normal(size=count)
    sales = polars.DataFrame({"month": months, "sold": sold.round(3)})
    sales.write_csv(folder / "sales.csv")
    sales.write_csv(folder / "sales.tsv", separator="\t")
    machines = {
        "machine": [name for name in "abc" for _ in range(count)],
        "at": [f"2024-01-{at // 24 + 1:02d} {at % 24:02d}:00" for at in range(count)] * 3,
        "load": rng.normal(size=3 * count),
        "temperature": 20 + 3 * np.sin(np.arange(3 * count) / 4),
    }
    polars.DataFrame(machines).write_parquet(folder / "sensors.parquet")
    walks = {
        "walk": [at for at in range(20) for _ in range(6)],
        "x": rng.normal(size=120),
        "y": rng.normal(size=120),
        "who": ["bob" if at % 2 else "ann" for at in range(20) for _ in range(6)],
    }
    polars.DataFrame(walks).write_csv(folder / "walks.csv")
    polars.DataFrame(walks).drop("who").write_csv(folder / "new.csv")
    np.save(folder / "wave.npy", np.sin(np.arange(60) / 3))
    np.savez(folder / "waves.npz", a=np.sin(np.arange(60) / 3), b=np.cos(np.arange(60) / 3))
    (folder / "book.txt").write_text(BOOK)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """A folder of data, and the output of training a model of each kind on them."""
    folder = tmp_path_factory.mktemp("shop")
    write_data(folder)
    output = {}
    with contextlib.chdir(folder):
        for name, words in {
            "sales": ("sales.csv", "--time", "month"),
            "sensors": ("sensors.parquet", "--group", "machine", "--time", "at", "--horizon", "3"),
            "walks": ("walks.csv", "--group", "walk"),
            "book": ("book.txt",),
        }.items():
            output[name] = done("train", *words, "-o", f"{name}.keras", *SMALL)
    return SimpleNamespace(folder=folder, output=output)


@pytest.fixture(autouse=True)
def _inside(shop, monkeypatch):
    monkeypatch.chdir(shop.folder)


# Training.


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("sales", [
            "data      sales.csv: 1 sequence of 48 steps, 48 in all, 2010-01-01 to 2013-12-01, "
            "1 month apart",
            "task      forecast sold, 1 step ahead",
            "network   lstm of 4 units, state carried; chunks of 38 steps in 1 row, 0.0 % padding",
            "split     by time: 38 steps learnt from, 10 kept for the score",
            "states    lstm",
            "Errors over 10 forecasts",
            "seasonal persistence (12 steps)",
        ]),
        ("sensors", ["task      forecast temperature, 3 steps ahead", "takes     load, temperature",
                     "1 ahead  2 ahead  3 ahead"]),
        ("walks", ["task      classify who of a whole sequence, one of 2: ann bob",
                   "split     by group: ", "95 % interval  bits a label", "majority"]),
        ("book", ["task      generate character of the next step, one of 16: ' ' , . I a b e",
                  "last label"]),
    ],
)  # fmt: skip
def test_train_prints_task_network_training_and_scores(shop, name, lines):
    output = re.sub(r"lstm_\d+", "lstm", shop.output[name])
    for line in lines:
        assert line in output
    assert re.search(r"training  2 epochs in \d+\.\d s\n", output)
    assert output.rstrip().splitlines()[-1] == f"wrote {name}.keras"
    assert "\x1b" not in output
    assert "epoch 2/2" not in output  # the output is no terminal
    assert not any(line != line.rstrip() for line in output.splitlines()[:8])


@pytest.mark.parametrize("source", ["sales.tsv", "wave.npy", "waves.npz"])
def test_train_reads_other_kinds_of_files(source, tmp_path):
    words = ["--time", "month"] if source == "sales.tsv" else []
    out = tmp_path / "new.keras"
    facts = json.loads(done("train", source, *words, *SMALL, "--json", "-o", out))
    assert facts["model"] == str(out)
    assert facts["data"]["source"] == source
    assert facts["scores"]["verdict"]


def test_the_handling_of_missing_values_is_kept_for_evaluate(tmp_path):
    data = tmp_path / "gaps.csv"
    data.write_text(
        "x,y\n" + "".join(f"{at},{at * at % 7 if at % 9 else ''}\n" for at in range(40))
    )
    out = tmp_path / "m.keras"
    done("train", data, "--missing", "drop", "-q", "-o", out, *SMALL)
    assert json.loads(done("evaluate", out, data, "--json"))["predictions"]


def test_quiet_prints_only_the_file_written(tmp_path):
    out = tmp_path / "new.keras"
    assert done("train", "wave.npy", *SMALL, "-q", "-o", out) == f"wrote {out}\n"


def test_show_prints_the_report_of_training(shop):
    assert done("show", "sales.keras") + "wrote sales.keras\n" == shop.output["sales"]


def test_a_plan_neither_trains_nor_writes():
    before = sorted(Path().iterdir())
    words = ["sensors.parquet", "--group", "machine", "--time", "at", "--rows", "1", "--plan"]
    output = done("train", *words)
    assert "lstm of 32 units, state carried; chunks of 38 steps in 1 row, 0.0 % padding" in output
    assert "training  200 epochs, learning rate 0.003" in output
    lanes = legato.Lanes([38, 38, 38], rows=1)
    assert output.endswith(f"\n\n{lanes}\n")
    facts = json.loads(done("train", *words, "--json"))
    assert facts["laid"] == {"steps": 38, "rows": 1, "batches": 3}
    assert facts["data"]["test_steps"] == 30
    output = done("train", "wave.npy", "--framing", "window", "--plan", "--early-stop", "5")
    assert "no state carried; window of 12 steps\n" in output
    assert "at most 200 epochs, learning rate 0.003; stops after 5 that are no better" in output
    assert sorted(Path().iterdir()) == before


# Forecasts, labels, text and scores.


def test_a_forecast_is_printed_written_and_given_as_json(tmp_path):
    table = json.loads(done("forecast", "sales.keras", "sales.csv", "-n", "3", "--json"))
    assert table["month"] == ["2014-01-01", "2014-02-01", "2014-03-01"]
    assert list(table)[:3] == ["step", "month", "sold"]
    output = done("forecast", "sales.keras", "sales.csv", "-n", "3")
    assert output.split("\n")[0].split() == "step month sold low 80 % high 80 %".split()
    assert f"{table['sold'][2]:.4f}" in output
    for name, read in {
        "a.csv": polars.read_csv,
        "a.parquet": polars.read_parquet,
        "a.json": polars.read_json,
    }.items():
        out = tmp_path / name
        words = ["-n", "3", "-o", out]
        assert done("forecast", "sales.keras", "sales.csv", *words) == f"wrote {out}\n"
        assert read(out).to_dict(as_series=False) == table


def test_a_forecast_of_several_sequences_is_drawn(tmp_path):
    out = tmp_path / "next [x] $y$.png"
    output = done("forecast", "sensors.keras", "sensors.parquet", "--png", out)
    assert output.splitlines()[0].split()[:4] == ["machine", "step", "at", "temperature"]
    assert [line.split()[0] for line in output.splitlines()[1:10]] == list("aaabbbccc")
    assert output.splitlines()[-1] == f"wrote {out}"
    assert out.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert out.stat().st_size > 10_000


def test_predicted_labels_are_printed_written_and_given_as_json(tmp_path):
    table = json.loads(done("classify", "walks.keras", "new.csv", "--json"))
    assert list(table) == ["sequence", "label", "probability"]
    assert set(table["label"]) <= {"ann", "bob"}
    output = done("classify", "walks.keras", "new.csv").splitlines()
    assert [line.split()[:2] for line in output[1:]] == [
        [name, label] for name, label in zip(table["sequence"], table["label"], strict=True)
    ]
    out = tmp_path / "labels.parquet"
    done("classify", "walks.keras", "new.csv", "-o", out)
    assert polars.read_parquet(out).to_dict(as_series=False) == table


def test_generated_text_continues_the_prompt():
    words = ["generate", "book.keras", "-p", "It was", "-n", "30", "--seed", "3"]
    output = done(*words)
    assert output.startswith("It was")
    assert len(output) == len("It was") + 30 + 1
    assert json.loads(done(*words, "--json")) == {"prompt": "It was", "labels": list(output[6:-1])}


def test_generated_text_is_not_markup(tmp_path):
    odd = tmp_path / "odd [bold].txt"
    odd.write_text("[bold]:smile:[/] 🎻\n" * 20, encoding="utf-8")
    model = tmp_path / "odd [bold].keras"
    assert f"wrote {model}" in done("train", odd, "-o", model, *SMALL)
    prompt = "[bold]:smile:[/] "
    assert done("generate", model, "-p", prompt, "-n", "1").startswith(prompt)


def test_a_score_can_start_fresh():
    warm = json.loads(done("evaluate", "sensors.keras", "sensors.parquet", "--json"))
    fresh = json.loads(done("evaluate", "sensors.keras", "sensors.parquet", "--json", "--fresh"))
    assert warm["predictions"] == 24
    assert fresh["predictions"] == 21  # the first step of each sequence has no history
    output = done("evaluate", "sensors.keras", "sensors.parquet")
    assert warm["verdict"] in output
    assert output.startswith("Errors over 24 forecasts\n")


def test_show_describes_any_model(tmp_path):
    path = tmp_path / "plain.keras"
    layers = legato.layers
    model = legato.Sequential(
        [layers.Input((None, 3)), layers.GRU(5, stateful=True, name="g"), layers.Dense(2, name="d")]
    )
    model.save(path)
    output = done("show", path)
    for line in [
        "does not say what it was trained on",
        "input   (any, any, 3)",
        "output  (any, 2)",
        "states  g 5 numbers a row",
        "g      GRU    (any, 5)         150",
    ]:
        assert line in output
    facts = json.loads(done("show", path, "--json"))
    assert facts["states"] == {"g": [[1, 5]]}
    assert [layer["parameters"] for layer in facts["layers"]] == [150, 12]


# Unusual names.

NASTY = {"[bold]x[/]": "[/]", "$y_{$": "$", "a\nb\tc": ":smile:", "🎻 " + 40 * "long": "é"}


def test_unusual_names_are_printed_unchanged(tmp_path):
    data, model, png = (tmp_path / f"[red]${name}" for name in ("d.csv", "m.keras", "p.png"))
    values = np.random.default_rng(3).normal(size=(40, 3))
    columns = dict(zip(list(NASTY)[:3], values.T, strict=True))
    kinds = [list(NASTY.values())[at % 4] for at in range(40)]
    last = list(NASTY)[3]
    polars.DataFrame({**columns, "kind": kinds, last: values[:, 0] ** 2}).write_csv(data)
    output = done("train", data, "-o", model, *SMALL)
    assert f"forecast {last}, 1 step ahead" in output
    assert "takes     [bold]x[/], $y_{$, a\\nb\\tc, kind (one of 4: $ :smile: [/] é), 🎻" in output
    done("forecast", model, data, "--png", png)
    narrow = done("forecast", model, data, env={"COLUMNS": "40"})
    assert "…" not in narrow
    table = json.loads(done("forecast", model, data, "--json"))
    assert f"{table[last][0]:.6g}"[:6] in narrow


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_narrow_terminal_shows_every_number(columns):
    words = ["evaluate", "sensors.keras", "sensors.parquet"]
    wide = done(*words)
    narrow = done(*words, env={"COLUMNS": str(columns)})
    assert max(map(len, narrow.splitlines())) <= columns
    assert set(re.findall(r"\d\.\d+", wide)) == set(re.findall(r"\d\.\d+", narrow))
    assert "…" not in narrow


# Errors.


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


LONG = "".join(f"{at},{at * at % 7}\n" for at in range(30))
FAULTS = {
    "no such column": ("a,b\n" + LONG, ["--target", "c"], "d.csv has no column 'c'. There"),
    "a constant": ("a,b\n" + "1,5\n2,5\n" * 9, [], "The target 'b' is constant"),
    "not UTF-8": (b"a,b\n1,\xe4\n", [], "d.csv, line 2: the byte 0xe4 is not UTF-8"),
    "ragged": ("a,b\n1,2\n3\n", [], "d.csv, line 3: 1 field came, and the header has 2"),
    "twice": ("t,b\n1,2\n1,3\n", ["--time", "t"], "the time 1 comes twice, in lines 2 and 3. Take "
              "one out, or name the column that tells sequences apart with --group."),
    "a short one": ("g,b\n" + "x,1\nx,3\n" * 9 + "y,1\n", ["--group", "g"], "Sequence 'y' has"),
    "a long test": ("a,b\n" + LONG, ["--test", "90"], "has length 30 and its test part would take"),
    "no whole number": ("a,b\n" + LONG, ["--test", "1.5"], "test is 1.5; a share below 1 or"),
    "empty": ("", [], "d.csv is empty"),
    "a header": ("a,b\n", [], "has a header and no rows"),
    "missing": ("a,b\n1,\n2,3\n", [], "Leave such rows out with --missing 'drop'"),
}  # fmt: skip


def error_line(*words):
    """The error, one line."""
    result = run(*words)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("legato: ")
    assert run(*words, "--debug").exit_code == 1  # a traceback
    return result.stderr[len("legato: ") :]


@pytest.mark.parametrize("fault", FAULTS)
def test_invalid_data_give_one_line(tmp_path, fault):
    content, words, message = FAULTS[fault]
    data = put(tmp_path, "d.csv", content)
    assert message in error_line("train", data, "-o", tmp_path / "m.keras", *SMALL, *words)
    assert list(tmp_path.iterdir()) == [data]


UNSEEN = "walk,x,y,who\n" + "1,1,2,ann\n1,3,5,zoe\n" * 3


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "nothing.csv"], "There is no file nothing.csv."),
        (["train", "a folder"], "a folder is a folder; a file was expected."),
        (["train", "sales.keras"], "sales.keras is a model by its name; a file of data"),
        (["show", "nothing.keras"], "nothing.keras cannot be read (No such file"),
        (["show", "cut.keras"], "cut.keras is not a whole model file"),
        (["show", "false.keras"], "false.keras is not a whole model file"),
        (["show", "sales.csv"], "sales.csv does not end in .keras"),
        (["show", "a folder"], "a folder is a folder, and no model."),
        (["classify", "walks.keras", "narrow.csv"], "narrow.csv has no column 'y'."),
        (["classify", "sales.csv", "sales.keras"], "MODEL comes first, then DATA."),
        (["evaluate", "sales.csv", "sales.keras"], "MODEL comes first, then DATA."),
        (["forecast", "sales.csv", "sales.keras"], "MODEL comes first, then DATA."),
        (["forecast", "walks.keras", "walks.csv"], "was trained to classify, not to forecast"),
        (["generate", "book.keras", "-p", "Ω"], "The prompt holds 'Ω', which the model was not"),
    ],
)
def test_invalid_arguments_give_one_line(shop, words, message):
    whole = Path("sales.keras").read_bytes()
    put(shop.folder, "cut.keras", whole[: len(whole) // 2])
    put(shop.folder, "false.keras", "no model")
    put(shop.folder, "unseen.csv", UNSEEN)
    put(shop.folder, "narrow.csv", "walk,x\n1,2\n")
    put(shop.folder, "greek.txt", "It wasα")
    Path("a folder").mkdir(exist_ok=True)
    assert message in error_line(*words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "no.csv", "-o", "m.h5"], "m.h5 must end in .keras"),
        (["train", "no.csv", "-o", "not/there/m.keras"], "not/there/m.keras cannot be written ("),
        (["train", "no.csv", "-o", "/dev/null/m.keras"], "/dev/null/m.keras cannot be written ("),
        (["train", "no.csv", "-o", "d.keras"], "d.keras is a folder. Name a file."),
        (["forecast", "no.keras", "no.csv", "-o", "a.txt"], "a.txt must end in .csv or"),
        (["forecast", "no.keras", "no.csv", "--png", "a.jpg"], "a.jpg must end in .png"),
        (["classify", "no.keras", "no.csv", "-o", "not/a.csv"], "not/a.csv cannot be written ("),
    ],
)  # fmt: skip
def test_an_invalid_output_path_is_refused_before_reading(words, message):
    Path("d.keras").mkdir(exist_ok=True)
    assert message in error_line(*words)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to this user")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    assert "cannot be written (Permission denied)" in error_line(
        "train", "no.csv", "-o", tmp_path / "m.keras"
    )


@pytest.mark.parametrize("option", ["units", "epochs", "rows", "steps", "layers", "horizon"])
def test_a_size_below_1_is_refused(option):
    result = run("train", "sales.csv", f"--{option}", "0")
    assert result.exit_code == 2
    assert f"--{option}" in result.stderr


def test_plan_refuses_what_train_refuses():
    words = ["train", "wave.npy", "--framing", "window", "--stateful"]
    assert "so there is nothing to carry" in error_line(*words)
    assert "so there is nothing to carry" in error_line(*words, "--plan")


def test_a_failing_run_keeps_the_old_model(tmp_path):
    model = tmp_path / "m.keras"
    done("train", "wave.npy", *SMALL, "-q", "-o", model)
    before = model.read_bytes()
    message = error_line("train", "wave.npy", *SMALL, "-o", model, "--learning-rate", "1e30")
    assert "--learning-rate" in message
    assert model.read_bytes() == before
    assert list(tmp_path.iterdir()) == [model]


# In a process of its own.


TELLS_WHEN_IT_FITS = """
import itertools
import legato
from legato._execution.run import Run
from legato.cli import main

call, calls = Run.call, itertools.count()

def telling(*words):
    if next(calls) == 1:  # the program was compiled, and has run once
        print("fitting", flush=True)
    return call(*words)

Run.call = telling
main()
"""


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_run_keeps_the_old_model(tmp_path):
    model = put(tmp_path, "m.keras", "the old one")
    words = ["train", "wave.npy", "-o", model, "--epochs", "9999999"]  # takes hours
    process = subprocess.Popen(
        [sys.executable, "-c", TELLS_WHEN_IT_FITS, *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "fitting\n"
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == ""
    assert errors.strip().splitlines()[-1] == "Interrupted: files are whole or as they were."
    assert model.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [model]


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


def test_a_closed_output_pipe_ends_a_command_quietly():
    words = "forecast sales.keras sales.csv --json -n 2500"  # more than a pipe holds
    piped = f"{sys.executable} -m legato {words} | head -1; echo ${{PIPESTATUS[0]}}"
    process = subprocess.run(["bash", "-c", piped], capture_output=True, text=True, check=True)
    assert process.stdout == "{\n0\n"
    assert "legato:" not in process.stderr
    assert "BrokenPipe" not in process.stderr


# Help and wording.


@pytest.mark.parametrize("example", EXAMPLES)
def test_the_examples_in_the_help_run(shop, example):
    words = shlex.split(example)[1:]
    if words[0] == "train":
        if "--plan" not in words:
            words += SMALL
    else:
        model = Path("model.keras")
        model.write_bytes(Path("sales.keras").read_bytes())
    done(*words)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_has_examples_and_every_option_and_loads_no_keras(name):
    output = run(name, "--help").output
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
    output = run("--help").output
    assert all(f"│ {name} " in output for name in ("alphabet", *COMMANDS))


def test_choices_are_those_of_the_package():
    output = run("train", "--help", env={"COLUMNS": "200"}).output
    for choices in (config.Kind, config.Framing, config.Cell, config.Split, reading.Missing):
        assert "|".join(get_args(choices)) in output


def test_options_are_the_arguments_of_train():
    """Every argument of ``legato.train`` is an option, with the same default."""
    options = inspect.signature(_train_command.train).parameters
    for name, argument in inspect.signature(legato.train).parameters.items():
        if name in ("data", "verbose"):
            continue
        option = options[name]
        assert option.default == argument.default or not argument.default
    with pytest.raises(TypeError, match="unexpected keyword argument 'colour'"):
        legato.plan({"a": [1.0, 2.0]}, colour="red")


def test_arguments_in_messages_become_options():
    message = _error_reporting.name_options("Say group=, columns='a b' or\n missing='drop'.")
    assert message == "Say --group, --column 'a b' or --missing 'drop'."
    assert _error_reporting.name_options("column 'time=x'") == "column 'time=x'"
    assert _error_reporting.name_options("short: shortest=4.") == "short: --shortest 4."


def test_evaluate_names_labels_absent_from_training(shop):
    put(shop.folder, "unseen.csv", UNSEEN)
    put(shop.folder, "greek.txt", "It was α")
    output = done("evaluate", "walks.keras", "unseen.csv")
    assert (
        "the column 'who' of unseen.csv holds 'zoe' in row 3, which was not learnt from" in output
    )
    notes = json.loads(done("evaluate", "book.keras", "greek.txt", "--json"))["notes"]
    assert [note.split(",")[0] for note in notes] == [
        "1 step to be scored: the column 'character' of greek.txt holds 'α' in row 1"
    ]
