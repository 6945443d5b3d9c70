"""``legato train``: its report, options, and errors that leave the old model."""

import inspect
import json
import os
import re
import signal
from pathlib import Path
from typing import get_args

import pytest
from command_runs import SMALL, error_of, output_of, run_legato, write_file
from forked import ForkedPython

import legato
from legato._forecasting import train_config
from legato._series.missing_values import MissingPolicy
from legato.cli import _train_command

pytestmark = pytest.mark.usefixtures("in_shop")


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
    facts = json.loads(output_of("train", source, *words, *SMALL, "--json", "-o", out))
    assert facts["model"] == str(out)
    assert facts["data"]["source"] == source
    assert facts["scores"]["verdict"]


def test_quiet_prints_only_the_file_written(tmp_path):
    out = tmp_path / "new.keras"
    assert output_of("train", "wave.npy", *SMALL, "-q", "-o", out) == f"wrote {out}\n"


def test_a_plan_neither_trains_nor_writes():
    before = sorted(Path().iterdir())
    words = ["sensors.parquet", "--group", "machine", "--time", "at", "--rows", "1", "--plan"]
    output = output_of("train", *words)
    assert "lstm of 32 units, state carried; chunks of 38 steps in 1 row, 0.0 % padding" in output
    assert "training  200 epochs, learning rate 0.003" in output
    lanes = legato.Lanes([38, 38, 38], rows=1)
    assert output.endswith(f"\n\n{lanes}\n")
    facts = json.loads(output_of("train", *words, "--json"))
    assert facts["laid"] == {"steps": 38, "rows": 1, "batches": 3}
    assert facts["data"]["test_steps"] == 30
    output = output_of("train", "wave.npy", "--framing", "window", "--plan", "--early-stop", "5")
    assert "no state carried; window of 12 steps\n" in output
    assert "at most 200 epochs, learning rate 0.003; stops after 5 that are no better" in output
    assert sorted(Path().iterdir()) == before


def test_choices_are_those_of_the_package():
    output = run_legato("train", "--help", env={"COLUMNS": "200"}).output
    for choices in (
        train_config.Kind,
        train_config.Framing,
        train_config.Cell,
        train_config.Split,
        MissingPolicy,
    ):
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


# Errors.


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
    "a unit": ("a,b\n1,5 kW\n2,6 kW\n3,7 kW\n", [],
               "alone, 5, or say that the column holds labels with --categorical 'b'."),
    "missing": ("a,b\n1,\n2,3\n", [], "Leave such rows out with --missing 'drop'"),
}  # fmt: skip


@pytest.mark.parametrize("fault", FAULTS)
def test_invalid_data_give_one_line(tmp_path, fault):
    content, words, message = FAULTS[fault]
    data = write_file(tmp_path, "d.csv", content)
    assert message in error_of("train", data, "-o", tmp_path / "m.keras", *SMALL, *words)
    assert list(tmp_path.iterdir()) == [data]


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to this user")
def test_a_folder_without_permission_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    assert "cannot be written (Permission denied)" in error_of(
        "train", "no.csv", "-o", tmp_path / "m.keras"
    )


@pytest.mark.parametrize("option", ["units", "epochs", "rows", "steps", "layers", "horizon"])
def test_a_size_below_1_is_refused(option):
    result = run_legato("train", "sales.csv", f"--{option}", "0")
    assert result.exit_code == 2
    assert f"--{option}" in result.stderr


def test_plan_refuses_what_train_refuses():
    words = ["train", "wave.npy", "--framing", "window", "--stateful"]
    assert "so there is nothing to carry" in error_of(*words)
    assert "so there is nothing to carry" in error_of(*words, "--plan")


def test_a_failing_run_keeps_the_old_model(tmp_path):
    model = tmp_path / "m.keras"
    output_of("train", "wave.npy", *SMALL, "-q", "-o", model)
    before = model.read_bytes()
    message = error_of("train", "wave.npy", *SMALL, "-o", model, "--learning-rate", "1e30")
    assert "--learning-rate" in message
    assert model.read_bytes() == before
    assert list(tmp_path.iterdir()) == [model]


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
    model = write_file(tmp_path, "m.keras", "the old one")
    words = ["train", "wave.npy", "-o", model, "--epochs", "9999999"]  # takes hours
    process = ForkedPython(TELLS_WHEN_IT_FITS, words)
    assert process.stdout.readline() == "fitting\n"
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 130
    assert output == ""
    assert errors.strip().splitlines()[-1] == "Interrupted: files are whole or as they were."
    assert model.read_text() == "the old one"
    assert list(tmp_path.iterdir()) == [model]


@pytest.mark.slow
def test_a_search_in_two_processes_finds_what_one_finds(tmp_path):
    words = ["train", "sales.csv", "--time", "month", *SMALL, "--search", "2", "--quiet", "-o"]
    found = []
    for at, more in enumerate([[], ["--processes", "2"]]):
        path = tmp_path / f"{at}.keras"
        output_of(*words, path, *more)
        trials = legato.Trained.load(path).known["training"]["search"]["trials"]
        found.append([(each["options"], each["score"]) for each in trials])
    assert len(found[0]) == 2
    for (options, score), (others, other) in zip(*found, strict=True):
        assert options == others
        assert score == pytest.approx(other, rel=1e-5)


def test_processes_without_a_search_are_refused():
    message = error_of("train", "sales.csv", "--time", "month", "--processes", "2")
    assert "--processes is 2" in message
    assert "give --search 20 too" in message
