"""The commands that use a trained model: output, files, and errors in one sentence.

Most tests run the command in this process, on small files and one small model of each kind;
pipes are tested in a process of its own.
"""

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import polars
import pytest
from command_runs import SMALL, error_of, output_of, run_legato, write_file

import legato
from legato.cli import _trained_commands

NOTE = (
    "The model was trained and scored for 1 step ahead; beyond, forecasts are made from forecasts, "
    "and errors grow: to forecast {0} steps directly, and have their score, train with --horizon "
    "{0}.\n"
)

pytestmark = pytest.mark.usefixtures("in_shop")


def test_the_handling_of_missing_values_is_kept_for_evaluate(tmp_path):
    data = tmp_path / "gaps.csv"
    data.write_text(
        "x,y\n" + "".join(f"{at},{at * at % 7 if at % 9 else ''}\n" for at in range(40))
    )
    out = tmp_path / "m.keras"
    output_of("train", data, "--missing", "drop", "-q", "-o", out, *SMALL)
    assert json.loads(output_of("evaluate", out, data, "--json"))["predictions"]


def test_evaluate_says_that_part_of_the_horizon_is_scored(tmp_path):
    out, data = tmp_path / "m.keras", tmp_path / "short.csv"
    wave = [str(at * at % 7) for at in range(40)]
    (tmp_path / "whole.csv").write_text("\n".join(["x", *wave]))
    data.write_text("\n".join(["x", *wave[5:7]]))
    output_of("train", tmp_path / "whole.csv", "--horizon", "3", "-q", "-o", out, *SMALL)
    note = "Only the next step is scored: the data do not go on for the horizon of 3 steps."
    assert json.loads(output_of("evaluate", out, data, "--json"))["notes"][0].startswith(note)
    assert output_of("evaluate", out, data).startswith(note)


@pytest.mark.quick_cases(1)
@pytest.mark.parametrize(("policy", "known"), [("forward", True), ("drop", True), (None, False)])
def test_forecasts_handle_missing_values_as_in_training(tmp_path, policy, known):
    gaps, whole = (write_file(tmp_path, f"{name}.csv", "x\n") for name in ("gaps", "whole"))
    rows = [str(at * at % 7) for at in range(40)]
    whole.write_text("x,y\n" + "".join(f"{at},{row}\n" for at, row in enumerate(rows)))
    for at in (5, 20, 39):  # the last is the future
        rows[at] = ""
    gaps.write_text("x,y\n" + "".join(f"{at},{row}\n" for at, row in enumerate(rows)))
    out = tmp_path / "m.keras"
    words = ["--missing", policy] if policy else []
    output_of("train", gaps if known else whole, *words, "-q", "-o", out, *SMALL)
    if known:
        assert len(json.loads(output_of("forecast", out, gaps, "--json"))["y"]) == 1
        return
    message = error_of("forecast", out, gaps)
    assert "gaps.csv, line 7, column 'y': the value is missing, the first of 2 such. The" in message
    assert "fill it in or leave the row out, or train with --missing 'forward' or" in message


def test_show_prints_the_report_of_training(shop):
    assert output_of("show", "sales.keras") + "wrote sales.keras\n" == shop.output["sales"]


def test_a_forecast_is_printed_written_and_given_as_json(tmp_path):
    table = json.loads(output_of("forecast", "sales.keras", "sales.csv", "-n", "3", "--json"))
    assert table["month"] == ["2014-01", "2014-02", "2014-03"]
    assert list(table)[:3] == ["step", "month", "sold"]
    output = output_of("forecast", "sales.keras", "sales.csv", "-n", "3")
    heads = "step month sold low 80 % high 80 % low 95 % high 95 %"
    assert output.split("\n")[0].split() == heads.split()
    assert f"{table['sold'][2]:.4f}" in output
    for name, read in {
        "a.csv": polars.read_csv,
        "a.parquet": polars.read_parquet,
        "a.json": polars.read_json,
    }.items():
        out = tmp_path / name
        words = ["-n", "3", "-o", out]
        output = output_of("forecast", "sales.keras", "sales.csv", *words)
        assert output == f"wrote {out}\n{NOTE.format(3)}"
        assert read(out).to_dict(as_series=False) == table


def test_quantiles_are_asked_for_by_commas():
    words = ["forecast", "sales.keras", "sales.csv", "--json", "--quantiles"]
    table = json.loads(output_of(*words, "0.1,0.5,0.9"))
    assert [name for name in table if "quantile" in name] == [
        f"quantile {each}" for each in ("0.1", "0.5", "0.9")
    ]
    assert "low 80 %" not in table
    assert "expected numbers from 0.005 to 0.995" in error_of(*words, "10,90")
    assert "quantiles are ['a', '0.5']" in error_of(*words, "a,0.5")


def test_sample_paths_are_written_as_rows():
    words = ["forecast", "sales.keras", "sales.csv", "-n", "2", "--paths", "3", "--seed", "1"]
    table = json.loads(output_of(*words, "--json"))
    assert next(iter(table)) == "path"
    assert (min(table["path"]), max(table["path"])) == (1, 3)
    assert table == json.loads(output_of(*words, "--json"))


def test_a_forecast_beyond_the_horizon_says_what_it_is_made_of():
    words = ["forecast", "sales.keras", "sales.csv"]
    assert "forecasts" not in output_of(*words)
    assert "intervals" not in output_of(*words, "-n", "8")
    assert "Errors are known up to 8 steps ahead; intervals" in output_of(*words, "-n", "9")
    assert output_of(*words, "-n", "3").endswith(NOTE.format(3))
    assert json.loads(output_of(*words, "-n", "3", "--json"))


def test_a_forecast_of_several_sequences_is_drawn(tmp_path):
    out = tmp_path / "next [x] $y$.png"
    output = output_of("forecast", "sensors.keras", "sensors.parquet", "--png", out)
    assert output.splitlines()[0].split()[:4] == ["machine", "step", "at", "temperature"]
    assert [line.split()[0] for line in output.splitlines()[1:10]] == list("aaabbbccc")
    assert output.splitlines()[-1] == f"wrote {out}"
    assert out.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert out.stat().st_size > 10_000


def test_predicted_labels_are_printed_written_and_given_as_json(tmp_path):
    table = json.loads(output_of("classify", "walks.keras", "new.csv", "--json"))
    assert list(table) == ["walk", "label", "probability"]  # the name in the data
    assert set(table["label"]) <= {"ann", "bob"}
    output = output_of("classify", "walks.keras", "new.csv").splitlines()
    assert [line.split()[:2] for line in output[1:]] == [
        [name, label] for name, label in zip(table["walk"], table["label"], strict=True)
    ]
    out = tmp_path / "labels.parquet"
    output_of("classify", "walks.keras", "new.csv", "-o", out)
    assert polars.read_parquet(out).to_dict(as_series=False) == table


def test_generated_text_continues_the_prompt():
    words = ["generate", "book.keras", "-p", "It was", "-n", "30", "--seed", "3"]
    output = output_of(*words)
    assert output.startswith("It was")
    assert len(output) == len("It was") + 30 + 1
    assert json.loads(output_of(*words, "--json")) == {
        "prompt": "It was",
        "labels": list(output[6:-1]),
    }


def test_generated_text_is_not_markup(tmp_path):
    odd = tmp_path / "odd [bold].txt"
    odd.write_text("[bold]:smile:[/] 🎻\n" * 20, encoding="utf-8")
    model = tmp_path / "odd [bold].keras"
    assert f"wrote {model}" in output_of("train", odd, "-o", model, *SMALL)
    prompt = "[bold]:smile:[/] "
    assert output_of("generate", model, "-p", prompt, "-n", "1").startswith(prompt)


def test_a_score_can_start_fresh():
    warm = json.loads(output_of("evaluate", "sensors.keras", "sensors.parquet", "--json"))
    fresh = json.loads(
        output_of("evaluate", "sensors.keras", "sensors.parquet", "--json", "--fresh")
    )
    assert warm["predictions"] == 24
    assert fresh["predictions"] == 21  # the first step of each sequence has no history
    output = output_of("evaluate", "sensors.keras", "sensors.parquet")
    assert warm["verdict"] in output
    assert output.startswith("Errors over 24 forecasts\n")


def test_a_score_by_several_processes_is_the_same(monkeypatch):
    asked = []

    def threads(count):  # start at once
        asked.append(count)
        return ThreadPoolExecutor(count)

    words = ["evaluate", "sensors.keras", "sensors.parquet", "--json"]
    alone = output_of(*words)
    monkeypatch.setattr(_trained_commands, "worker_processes", threads)
    assert output_of(*words, "--processes", "2") == alone
    assert asked == [2]


def test_show_describes_any_model(tmp_path):
    path = tmp_path / "plain.keras"
    layers = legato.layers
    model = legato.Sequential(
        [layers.Input((None, 3)), layers.GRU(5, stateful=True, name="g"), layers.Dense(2, name="d")]
    )
    model.save(path)
    output = output_of("show", path)
    for line in [
        "has no record of its training",
        "input   (any, any, 3)",
        "output  (any, 2)",
        "states  g 5 numbers a row",
        "g      GRU    (any, 5)         150",
    ]:
        assert line in output
    facts = json.loads(output_of("show", path, "--json"))
    assert facts["states"] == {"g": [[1, 5]]}
    assert [layer["parameters"] for layer in facts["layers"]] == [150, 12]


@pytest.mark.parametrize(
    "change",
    [
        lambda known: known.pop("data"),
        lambda known: known["training"].update(course=None),
        lambda known: known.update(scores={"model": [3]}),
    ],
)
def test_a_record_that_cannot_be_shown_is_an_error(change):
    trained = legato.Trained.load("sales.keras")
    change(trained.known)
    trained.save("altered.keras")
    result = run_legato("show", "altered.keras")
    assert result.exit_code == 2
    assert result.stderr.startswith("legato: The record of the training in altered.keras cannot be")
    assert result.stderr.count("\n") == 1


# Unusual names.


NASTY = {"[bold]x[/]": "[/]", "$y_{$": "$", "a\nb\tc": ":smile:", "🎻 " + 40 * "long": "é"}


def test_unusual_names_are_printed_unchanged(tmp_path):
    data, model, png = (tmp_path / f"[red]${name}" for name in ("d.csv", "m.keras", "p.png"))
    values = np.random.default_rng(3).normal(size=(40, 3))
    columns = dict(zip(list(NASTY)[:3], values.T, strict=True))
    kinds = [list(NASTY.values())[at % 4] for at in range(40)]
    last = list(NASTY)[3]
    polars.DataFrame({**columns, "kind": kinds, last: values[:, 0] ** 2}).write_csv(data)
    output = output_of("train", data, "-o", model, *SMALL)
    assert f"forecast {last}, 1 step ahead" in output
    assert "takes     [bold]x[/], $y_{$, a\\nb\\tc, kind (one of 4: $ :smile: [/] é), 🎻" in output
    output_of("forecast", model, data, "--png", png)
    narrow = output_of("forecast", model, data, env={"COLUMNS": "40"})
    assert "…" not in narrow
    table = json.loads(output_of("forecast", model, data, "--json"))
    assert f"{table[last][0]:.6g}"[:6] in narrow


@pytest.mark.parametrize("columns", [40, 60, 80])
def test_a_narrow_terminal_shows_every_number(columns):
    words = ["evaluate", "sensors.keras", "sensors.parquet"]
    wide = output_of(*words)
    narrow = output_of(*words, env={"COLUMNS": str(columns)})
    assert max(map(len, narrow.splitlines())) <= columns
    assert set(re.findall(r"\d\.\d+", wide)) == set(re.findall(r"\d\.\d+", narrow))
    assert "…" not in narrow


# Errors.


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
    write_file(shop.folder, "cut.keras", whole[: len(whole) // 2])
    write_file(shop.folder, "false.keras", "no model")
    write_file(shop.folder, "unseen.csv", UNSEEN)
    write_file(shop.folder, "narrow.csv", "walk,x\n1,2\n")
    write_file(shop.folder, "greek.txt", "It wasα")
    Path("a folder").mkdir(exist_ok=True)
    assert message in error_of(*words)


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
    assert message in error_of(*words)


def test_a_closed_output_pipe_ends_a_command_quietly():
    words = "forecast sales.keras sales.csv --json -n 2500"  # more than a pipe holds
    piped = f"{sys.executable} -m legato {words} | head -1; echo ${{PIPESTATUS[0]}}"
    process = subprocess.run(["bash", "-c", piped], capture_output=True, text=True, check=True)
    assert process.stdout == "{\n0\n"
    assert "legato:" not in process.stderr
    assert "BrokenPipe" not in process.stderr


def test_evaluate_names_labels_absent_from_training(shop):
    write_file(shop.folder, "unseen.csv", UNSEEN)
    write_file(shop.folder, "greek.txt", "It was α")
    output = output_of("evaluate", "walks.keras", "unseen.csv")
    assert (
        "the column 'who' of unseen.csv holds 'zoe' in row 3, which was not learnt from" in output
    )
    notes = json.loads(output_of("evaluate", "book.keras", "greek.txt", "--json"))["notes"]
    assert [note.split(",")[0] for note in notes] == [
        "1 step to be scored: the column 'character' of greek.txt holds 'α' in row 1"
    ]


def test_columns_known_ahead_come_from_the_file_or_from_another(tmp_path):
    def lines(name: str, days: range, with_sales: int) -> Path:
        rows = [
            f"2026-{1 + day // 28:02}-{1 + day % 28:02},{day * 7 % 5 // 3},"
            f"{day % 3 + 9 if day < with_sales else ''}"
            for day in days
        ]
        return write_file(tmp_path, name, "\n".join(["day,promo,sold", *rows]) + "\n")

    whole, past = lines("whole.csv", range(44), 40), lines("past.csv", range(40), 40)
    future, out = lines("future.csv", range(38, 44), 0), tmp_path / "m.keras"
    text = output_of("train", whole, "--time", "day", "--calendar", "weekday", "-o", out, *SMALL)
    assert "4 rows at the end without a target: the future, in which 'promo' is known." in text
    assert "ahead     promo, weekday (calendar)" in text
    found = json.loads(output_of("forecast", out, whole, "--json"))
    again = json.loads(output_of("forecast", out, past, "-n", 1, "--future", future, "--json"))
    assert found == again
    message = error_of("forecast", out, past)
    assert "takes promo of the steps ahead" in message
    assert "(--future)" in message
