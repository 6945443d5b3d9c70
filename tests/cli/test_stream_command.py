"""``legato stream``: one answer for each line, as JSON and as CSV, whatever comes or ends it.

The oracle is ``model.stream()``, fed directly. Most tests run the command in this process, where
lines that are available are processed together; pipes and signals are tested in a process of its
own.
"""

import csv
import inspect
import io
import json
import re
import shlex
import signal
import subprocess
import sys
from functools import cache
from pathlib import Path

import keras
import numpy as np
import pytest
from cells import set_weights, spread
from interrupting import sigint_handled_by
from loading import loaded_after
from typer.testing import CliRunner

import legato
from legato import layers
from legato.cli import _line_formats, _stream_command, app
from legato.cli._error_reporting import name_options
from legato.cli._stream_command import _load

STEPS = 12


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    """A model of plain Keras: three features a step, two outputs."""
    path = tmp_path_factory.mktemp("plain") / "plain.keras"
    model = keras.Sequential(
        [keras.Input((None, 3)), keras.layers.LSTM(4), keras.layers.Dense(2, activation="softmax")]
    )
    set_weights(model)
    model.save(path)
    return path


@pytest.fixture(scope="module")
def sensors(tmp_path_factory):
    """A model of ``legato train`` that forecasts two columns two steps ahead."""
    rng = np.random.default_rng(4)
    data = {
        "machine": [name for name in "ab" for _ in range(40)],
        "load": rng.normal(size=80).tolist(),
        "mode": [("up", "down")[each] for each in rng.integers(2, size=80)],
        "heat": np.sin(np.arange(80) / 3).tolist(),
    }
    trained = legato.train(
        data, target=["heat", "load"], horizon=2, group="machine", units=3, epochs=1, verbose=0
    )
    path = tmp_path_factory.mktemp("sensors") / "sensors.keras"
    trained.save(path)
    return path


@pytest.fixture(scope="module")
def modes(tmp_path_factory):
    """One that classifies, by windows of three steps."""
    rng = np.random.default_rng(4)
    load = rng.normal(size=80)
    data = {
        "load": load.tolist(),
        "mode": [("low", "high")[each] for each in (load > 0).astype(int)],
    }
    trained = legato.train(
        data, framing="window", steps=3, stateful=False, units=3, epochs=1, verbose=0
    )
    path = tmp_path_factory.mktemp("modes") / "modes.keras"
    trained.save(path)
    return path


@cache
def _loaded(path: Path):
    return _load(path)


def loaded(path: Path):
    """The model that the command loads from a file; each file is loaded once in a process."""
    return _loaded(path.resolve())


@pytest.fixture(autouse=True)
def _loads_once(monkeypatch):
    """Runs of the command share a model with its compiled steps: no run changes it."""
    monkeypatch.setattr(_stream_command, "_load", loaded)


def run(model, *words, lines):
    given = lines.encode() if isinstance(lines, str) else lines
    return CliRunner().invoke(app, ["stream", str(model), *map(str, words)], input=given)


def done(model, *words, lines) -> str:
    """The answers to lines that are all valid."""
    result = run(model, *words, lines=lines)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def as_json(output: str) -> list:
    return [json.loads(line) for line in output.split("\n")[:-1]]


def as_csv(output: str, delimiter: str = ",") -> list[dict]:
    return list(csv.DictReader(io.StringIO(output), delimiter=delimiter))


def to_json(values) -> str:
    return "".join(json.dumps(each) + "\n" for each in values)


def steps(count: int = STEPS, seed: int = 0) -> np.ndarray:
    return spread(np.random.default_rng(seed), count, 3)


def stream_outputs(model: Path, xs, **options) -> np.ndarray:
    """The outputs of a stream of the model on these steps."""
    return loaded(model).stream(**options).feed(xs)


def assert_close(one, other):
    np.testing.assert_allclose(np.asarray(one, float), np.asarray(other), rtol=1e-5, atol=1e-6)


@pytest.fixture
def one_by_one(monkeypatch):
    """Lines arrive in pieces, hardly ever two together."""
    monkeypatch.setattr(_line_formats, "BLOCK_BYTES", 7)


# One answer for each line.


def check_json(plain):
    output = as_json(done(plain, lines=to_json(steps().tolist())))
    assert [each["steps"] for each in output] == list(range(1, STEPS + 1))
    assert [list(each) for each in output] == [["steps", "y"]] * STEPS
    assert_close([each["y"] for each in output], stream_outputs(plain, steps()))


def check_csv(plain):
    rows = "".join(",".join(map(repr, each)) + "\n" for each in steps().tolist())
    output = as_csv(done(plain, lines="a,b,c\n" + rows))
    assert [each["steps"] for each in output] == [str(at + 1) for at in range(STEPS)]
    assert list(output[0]) == ["steps", "y0", "y1"]
    assert_close([[each["y0"], each["y1"]] for each in output], stream_outputs(plain, steps()))


@pytest.mark.parametrize("check", [check_json, check_csv])
def test_lines_are_answered_with_the_outputs_of_a_stream(plain, check):
    check(plain)


@pytest.mark.parametrize("check", [check_json, check_csv])
def test_lines_that_arrive_one_by_one_have_the_same_answers(plain, check, one_by_one):
    check(plain)


def test_more_lines_than_are_processed_together(plain):
    xs = steps(3000)
    output = as_json(done(plain, lines=to_json(xs.tolist())))
    assert [each["steps"] for each in output] == list(range(1, 3001))
    assert_close([each["y"] for each in output], stream_outputs(plain, xs))


def test_a_line_may_hold_several_steps_or_name_its_step(plain):
    xs = steps(6).tolist()
    output = as_json(
        done(plain, lines=to_json([xs[0], {"x": xs[1], "at": "noon"}, xs[2:5], xs[5]]))
    )
    assert [each["steps"] for each in output] == [1, 2, 5, 6]
    found = [output[0]["y"], output[1]["y"], *output[2]["y"], output[3]["y"]]
    assert_close(found, stream_outputs(plain, np.array(xs, "float32")))


def test_no_input_gives_no_output(plain, tmp_path):
    for lines in ("", "\n", " \n\n"):
        assert done(plain, "--state", tmp_path / "a.state", "--key", "user", lines=lines) == ""
    assert done(plain, lines="a,b,c\n") == "steps,y0,y1\n"


@pytest.mark.parametrize("separator", ",;\t|")
def test_csv_of_several_dialects(plain, separator):
    rows = [("key", " a ", '"b\n"', "c"), *[(f'"{at};,\t|\n"', at, f" {at}", 1) for at in range(3)]]
    lines = "\ufeff\r\n" + "\r\n\r\n".join(separator.join(map(str, row)) for row in rows)
    output = as_csv(done(plain, "--key", "key", lines=lines), separator)
    assert [each["key"] for each in output] == [f"{at};,\t|\n" for at in range(3)]
    xs = np.array([[[at, at, 1]] for at in range(3)], "float32")
    expected = [stream_outputs(plain, x)[0] for x in xs]
    assert_close([[each["y0"], each["y1"]] for each in output], expected)


def test_other_shapes_of_steps_and_answers(tmp_path, rng):
    tokens = legato.Sequential(
        [layers.Input((None,), dtype="int32"), layers.Embedding(5, 3), layers.GRU(2)]
    )
    tokens.save(tmp_path / "tokens.keras")
    output = as_json(done(tmp_path / "tokens.keras", lines="3\n[1, 2]\n4"))
    assert [each["steps"] for each in output] == [1, 3, 4]
    found = [output[0]["y"], *output[1]["y"], output[2]["y"]]
    assert_close(found, stream_outputs(tmp_path / "tokens.keras", [3, 1, 2, 4]))
    output = as_csv(done(tmp_path / "tokens.keras", lines="token\n3\n1\n"), ",")
    assert_close([[each["y0"], each["y1"]] for each in output], found[:2])
    by_step, once = layers.Input((None, 2), name="by_step"), layers.Input((3,), name="once")
    carried = layers.LSTM(3)(by_step)
    outputs = {"a": layers.Dense(1)(carried), "b": layers.Concatenate()([carried, once])}
    legato.Model([by_step, once], outputs).save(tmp_path / "two.keras")
    rows = [
        {"who": "ada", "by_step": spread(rng, 2).tolist(), "once": spread(rng, 3).tolist()}
        for _ in range(3)
    ]
    output = as_json(done(tmp_path / "two.keras", "--key", "who", lines=to_json(rows)))
    stream = loaded(tmp_path / "two.keras").stream()
    for each, row in zip(output, rows, strict=True):
        expected = stream.feed([row["by_step"], row["once"]])
        assert list(each) == ["who", "steps", "y"]
        for name in "ab":
            assert_close(each["y"][name], expected[name])
    assert (
        "has several inputs or outputs, for which a row of a CSV has no places: send"
        in error_line(tmp_path / "two.keras", lines="a,b\n1,2\n")
    )
    assert (
        'no "x" in the object: put the step there, or one entry for each input: by_step, once.'
        in (error_line(tmp_path / "two.keras", lines=to_json([{"once": 1}])))
    )


def test_an_incomplete_window_has_no_answer(plain):
    xs = steps(5)
    output = as_json(done(plain, "--window", 3, lines=to_json(xs.tolist())))
    assert [each["y"] for each in output[:2]] == [[None, None]] * 2
    assert_close([each["y"] for each in output[2:]], stream_outputs(plain, xs, window=3)[2:])
    output = as_csv(done(plain, "--window", 3, lines="a,b,c\n1,2,3\n"))
    assert output == [{"steps": "1", "y0": "", "y1": ""}]
    output = as_json(done(plain, "--window", 3, "--pad", -1, lines=to_json(xs.tolist())))
    assert_close([each["y"] for each in output], stream_outputs(plain, xs, window=3, pad=-1))


# Many streams in one input.

HOSTILE = ["ada", "a/../b", "a\\b\0c", "ö🎻\u2028", 'say "hi", you', "-1", "x" * 9999, "null"]


@pytest.mark.parametrize("count", [2, 40, 400])
def test_every_key_is_its_own_stream(plain, count, rng):
    """Some keys come often and some once, which are fed by different methods."""
    keys = rng.integers(count, size=700).tolist() + [0] * 40
    rng.shuffle(keys)
    xs = steps(len(keys))
    rows = [{"user": key, "x": x.tolist()} for key, x in zip(keys, xs, strict=True)]
    output = as_json(done(plain, "--key", "user", lines=to_json(rows)))
    assert [each["user"] for each in output] == keys
    model = loaded(plain)
    for key in set(keys[:20]):
        own = [at for at, each in enumerate(keys) if each == key]
        assert [output[at]["steps"] for at in own] == list(range(1, len(own) + 1))
        assert_close([output[at]["y"] for at in own], model.stream().feed(xs[own]))


def test_any_value_is_a_key(plain, tmp_path):
    names = [*HOSTILE, 7, 2**70]
    state = tmp_path / "users.state"
    rows = to_json([{"user": name, "x": [1, 2, 3]} for name in names])
    for time in (1, 2):
        output = as_json(done(plain, "--key", "user", "--state", state, lines=rows))
        assert [each["user"] for each in output] == names
        assert {each["steps"] for each in output} == {time}
    line = io.StringIO()
    csv.writer(line).writerows([["a", "user", "b", "c"], *[[1, name, 2, 3] for name in names]])
    output = as_csv(done(plain, "--key", "user", "--state", state, lines=line.getvalue()))
    assert [each["user"] for each in output] == [str(name) for name in names]
    assert {each["steps"] for each in output} == {"3"}  # the same streams, whatever the form
    assert list(tmp_path.iterdir()) == [state]


def test_a_lone_surrogate_is_a_key(plain):
    output = done(plain, "--key", "user", lines='{"user": "\\ud800", "x": [1, 2, 3]}\n')
    assert as_json(output)[0]["user"] == "\ud800"


# Kept between runs.


@pytest.mark.parametrize("cut", [1, 5, 11])
def test_two_runs_with_a_state_file_equal_one(plain, tmp_path, cut):
    rows = [{"user": "ab"[at % 3 // 2], "x": x} for at, x in enumerate(steps().tolist())]
    words = [plain, "--key", "user"]
    state = ["--state", tmp_path / "users.state"]
    output = done(*words, *state, lines=to_json(rows[:cut]))
    output += done(*words, *state, lines=to_json(rows[cut:]))
    whole = as_json(done(*words, lines=to_json(rows)))
    for one, other in zip(as_json(output), whole, strict=True):
        assert_close(one.pop("y"), other.pop("y"))
        assert one == other


def test_the_state_file_opens_in_a_stream(plain, tmp_path):
    done(plain, "--state", tmp_path / "a.state", lines=to_json(steps().tolist()))
    stream = loaded(plain).stream().load(tmp_path / "a.state")
    assert stream.steps == STEPS
    assert_close(stream.feed(steps(1, 9)[0]), stream_outputs(plain, [*steps(), *steps(1, 9)])[-1])


def test_states_of_other_weights_are_refused_or_taken(plain, tmp_path):
    state = tmp_path / "a.state"
    done(plain, "--state", state, lines="[1,2,3]\n")
    model = legato.load_model(plain)
    set_weights(model, 8)
    model.save(tmp_path / "other.keras")
    words = [tmp_path / "other.keras", "--state", state]
    message = error_line(*words, lines="[1,2,3]\n")
    assert "take it all the same with --other-weights." in message
    assert as_json(done(*words, "--other-weights", lines="[1,2,3]\n"))[0]["steps"] == 2
    assert "is a model by its name" in error_line(plain, "--state", plain, lines="")


# Models trained by legato.


def rows_of_sensors(count: int = 8) -> list[dict]:
    rng = np.random.default_rng(8)
    return [
        {
            "at": f"2024-01-{at + 1:02d}",
            "machine": "ab"[at % 2],
            "mode": ("up", "down")[rng.integers(2)],
            "heat": float(rng.normal()),
            "load": float(rng.normal()),
        }
        for at in range(count)
    ]


def expected_of_sensors(sensors, rows) -> np.ndarray:
    """(rows, targets, steps ahead), by ``forecast`` on the earlier rows of each machine."""
    trained, found = loaded(sensors), []
    for at, row in enumerate(rows):
        before = [each for each in rows[: at + 1] if each["machine"] == row["machine"]]
        data = {name: [each[name] for each in before] for name in row if name != "at"}
        found.append(trained.forecast(data).values[0].T)
    return np.array(found)


def test_a_forecaster_answers_by_column(sensors):
    rows = rows_of_sensors()
    expected = expected_of_sensors(sensors, rows)
    output = as_json(done(sensors, "--key", "machine", lines=to_json(rows)))
    assert [list(each) for each in output] == [["machine", "steps", "heat", "load"]] * len(rows)
    assert_close([[each["heat"], each["load"]] for each in output], expected)
    line = io.StringIO()
    writer = csv.DictWriter(line, list(rows[0]), delimiter=";")
    writer.writeheader()
    writer.writerows(rows)
    output = as_csv(done(sensors, "--key", "machine", lines=line.getvalue()), ";")
    names = [f"{name} {ahead} ahead" for name in ("heat", "load") for ahead in (1, 2)]
    assert list(output[0]) == ["machine", "steps", *names]
    assert_close([[each[name] for name in names] for each in output], expected.reshape(-1, 4))


def test_a_classifier_answers_with_a_label(modes):
    load = [0.5, -0.2, 1.5, -0.7]
    found = loaded(modes).classify({"load": load}).columns()
    output = as_json(done(modes, lines=to_json([{"load": each} for each in load])))
    nothing = {"label": None, "probability": None}
    assert output[:2] == [{"steps": at, **nothing} for at in (1, 2)]
    assert [each["label"] for each in output[2:]] == found["label"]
    assert_close([each["probability"] for each in output[2:]], found["probability"])
    output = done(modes, lines="when,load\nnoon,0.5\nlater,-0.2\n")
    assert output == "steps,label,probability\n1,,\n2,,\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"load": None}, "the column 'load' holds nothing: the value is missing. Fill it in, or"),
        ({"load": "much"}, "the column 'load' holds 'much'; a number up to 3.4"),
        (
            {"mode": "off"},
            "the column 'mode' holds 'off', which the model was not trained on. It k",
        ),
        ({"load": [1]}, "the column 'load' holds [1]; a number"),
    ],
)
def test_an_invalid_row_for_a_trained_model_is_refused(sensors, line, message):
    good, bad = rows_of_sensors(2)
    lines = to_json([good, {**bad, **line}])
    assert f"Line 2: {message}" in error_line(sensors, lines=lines, answered=1)


def test_lines_that_are_no_rows_for_a_trained_model_are_refused(sensors):
    message = error_line(sensors, lines="[1, 2, 3]\n")
    assert 'an object was expected, by the names of columns: {"load": …, "mode": …' in message
    message = error_line(sensors, lines='{"Load": 1, "mode": "up", "heat": 2}\n')
    assert (
        "there is no column 'load', which the model was trained on. Did you mean 'Load'" in message
    )
    message = error_line(sensors, lines="Load,mode,heat\n1,up,2\n")
    assert "The header has no column 'load', which the model was trained on. Did you me" in message


def test_the_count_of_steps_is_renamed_if_a_column_has_its_name(tmp_path):
    path = tmp_path / "walks.keras"
    walks = {"steps": [1.0, 2.0, 4.0, 3.0] * 9}
    legato.train(walks, units=2, epochs=1, verbose=0).save(path)
    output = as_json(done(path, lines=to_json([{"steps": 2}, {"steps": 3.5}])))
    assert [each["steps seen"] for each in output] == [1, 2]
    assert_close([each["steps"] for each in output], expected_of(path, [2.0, 3.5]))
    assert "--key names 'steps'" in error_line(path, "--key", "steps", lines="")


def expected_of(path: Path, values: list) -> list:
    """The forecasts after each of the values of one column."""
    trained, name = loaded(path), "steps"
    return [trained.forecast({name: values[: at + 1]}).values[0, 0, 0] for at in range(len(values))]


# Invalid lines.


def error_line(model, *words, lines, answered: int = 0) -> str:
    """The error, one line; the lines before the invalid one are answered."""
    result = run(model, *words, lines=lines)
    assert result.exit_code == 2, result.output
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("legato: ")
    assert len(result.stdout.splitlines()) == answered
    assert run(model, *words, "--debug", lines=lines).exit_code == 1  # a traceback
    return result.stderr[len("legato: ") :]


BAD_JSON = {
    "not JSON": ("[1,2", "this is not JSON (Expecting ',' delimiter). Each line is a value by"),
    "a header": ("a,b,c", "this is not JSON (Expecting value)"),
    "too few": ("[1, 2]", "x has shape (2,); one step is (3,), and several are (steps, 3)."),
    "too many": ("[1, 2, 3, 4]", "x has shape (4,); one step is"),
    "NaN": ("[1, NaN, 3]", "x[1] for the input 'input"),
    "a gap": ("[1, null, 3]", "a number is missing (null): fill it in, or leave the line out."),
    "null": ("null", "a number is missing (null)"),
    "huge": ("[1, 1e999, 3]", "every number must be finite."),
    "words": ('["a", "b", "c"]', "numbers or booleans were expected."),
    "a word": ('"abc"', "numbers were expected."),
    "ragged": ("[[1, 2, 3], [1]]", "cannot be made into one array"),
    "no x": ('{"y": 1}', 'there is no "x" in the object: put the step there.'),
    "deep": ("[" * 99_999, "this is not JSON (maximum recursion depth"),
    "less deep": ("[" * 900 + "]" * 900, "x cannot be made into one array"),
    "long": ("9" * 5000, "this is not JSON (Exceeds the limit"),
    "not UTF-8": (b"[1, 2, 3] \xe4", "the byte 0xe4 is not UTF-8 text; send UTF-8."),
}  # fmt: skip
BAD_CSV = {
    "too few": ("1,2", "2 fields came, and the header has 3. Put a field that holds ',' in quot"),
    "too many": ("1,2,3,4", "4 fields came, and the header has 3."),
    "a word": ("1,x,3", "the column 'b' holds 'x'; a number up to 3.4e+38 was expected."),
    "NaN": ("1,nan,3", "the column 'b' holds 'nan': the value is missing."),
    "a gap": ("1,,3", "the column 'b' holds nothing: the value is missing. Fill it in, or leave"),
    "huge": ("1,1e99,3", "the column 'b' holds '1e99'; a number up to"),
    "a mark": ('1,"2"2,3', "this is no record of CSV (',' expected after '\"'). Write a quotation"),
    "not UTF-8": (b"1,2,\xe4", "the byte 0xe4 is not UTF-8 text; send UTF-8."),
}  # fmt: skip
BAD = [
    *[(b"", b"[1, 2, 3]", *each) for each in BAD_JSON.values()],
    *[(b"a,b,c\n", b"1,2,3", *each) for each in BAD_CSV.values()],
]


def encoded(header: bytes, *lines) -> bytes:
    return header + b"".join(
        (each if isinstance(each, bytes) else each.encode()) + b"\n" for each in lines
    )


@pytest.mark.parametrize(("header", "good", "bad", "message"), BAD)
def test_an_invalid_line_ends_the_command(plain, tmp_path, header, good, bad, message):
    state = tmp_path / "a.state"
    lines = encoded(header, good, good, b"", bad, good, bad)
    number = header.count(b"\n") + 4
    answered = header.count(b"\n") + 2
    result = run(plain, "--state", state, lines=lines)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"legato: Line {number}: ")
    assert message in result.stderr
    assert len(result.stderr) < 600
    assert len(result.stdout.splitlines()) == answered
    assert loaded(plain).stream().load(state).steps == 2  # the state before it


@pytest.mark.parametrize(("header", "good", "bad", "message"), BAD)
def test_with_keep_going_invalid_lines_are_reported_and_skipped(plain, header, good, bad, message):
    result = run(plain, "--keep-going", lines=encoded(header, good, bad, good, good, bad))
    assert result.exit_code == 0
    first = header.count(b"\n") + 2
    marks = [line.split(": ")[:2] for line in result.stderr.splitlines()]
    assert marks == [["legato", f"Line {first}"], ["legato", f"Line {first + 3}"]]
    assert message in result.stderr
    if header:
        answers = as_csv(result.stdout)
        assert [each["steps"] for each in answers] == ["1", "", "2", "3", ""]
        assert {each["y0"] for each in (answers[1], answers[4])} == {""}
    else:
        answers = as_json(result.stdout)
        assert [each.get("steps") for each in answers] == [1, None, 2, 3, None]
        assert list(answers[1]) == ["error"]
        assert f"Line {first}: {answers[1]['error']}\n" in result.stderr


def test_the_answer_to_an_invalid_line_has_its_key(plain):
    lines = "user,a,b,c\nada,1,2,3\nbob,1,2,x\nada,1,2,3\n"
    result = run(plain, "--keep-going", "--key", "user", lines=lines)
    output = as_csv(result.stdout)
    assert [(each["user"], each["steps"]) for each in output] == [
        ("ada", "1"),
        ("bob", ""),
        ("ada", "2"),
    ]


@pytest.mark.parametrize("keep_going", [[], ["--keep-going"]])
@pytest.mark.parametrize(
    ("words", "lines", "message"),
    [
        ([], "a,b\n1,2\n", "The header has 2 columns besides the key, a, b, and a step of 'input"),
        (["--key", "a"], "a,b,c\n1,2,3\n", "The header has 2 columns besides the key, b, c, and"),
        (["--key", "A"], "a,b,c,d\n", "The header has no column 'A', which --key names. Did you m"),
        ([], "a,b,a\n", "Line 1 begins a CSV with the names of its columns, and 'a' comes twice."),
        ([], "\na,,b\n", "Line 2 begins a CSV with the names of its columns, and one is empty."),
        ([], b"a,\xe4\n1,2\n", "Line 1: the byte 0xe4 is not UTF-8"),
        ([], '"a"b,c\n1,2\n', "Line 1: this is no record of CSV"),
        ([], '\na,"b,c\n1,2,3\n', "Line 2: a quotation mark in the record that begins here is"),
        ([], "a,b,c".encode("utf-16"), "Standard input is UTF-16 text, and UTF-8 was expected."),
        (["--key", "steps"], "[1]\n", "--key names 'steps', which is what a part of the answers"),
        (["--key", "y0"], "a,b,c,y0\n", "--key names 'y0', which is what a part of the answers"),
        (["--pad", "1"], "[1]\n", "--pad 1.0 fills a window before its first step, and the st"),
    ],
)  # fmt: skip
def test_some_errors_end_the_command_even_with_keep_going(plain, words, lines, message, keep_going):
    assert message in error_line(plain, *words, *keep_going, lines=lines)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1, 2, 3]", "there is no 'user' that says whose step this is: name the stream in every"),
        ('{"x": [1, 2, 3]}', "there is no 'user'"),
        ('{"x": [1, 2, 3], "user": null}', "there is no 'user'"),
        ('{"x": [1, 2, 3], "user": " "}', "there is no 'user'"),
        ('{"x": [1, 2, 3], "user": true}', "the key 'user' is True; a text or a whole number was"),
        ('{"x": [1, 2, 3], "user": [1]}', "the key 'user' is [1]; a text or a whole number was"),
        ('{"x": [1, 2, 3], "user": 1.5}', "the key 'user' is 1.5; a text or a whole number was"),
    ],
)
def test_a_line_without_a_key_is_an_error(plain, line, message):
    good = '{"user": "ada", "x": [1, 2, 3]}'
    assert f"Line 2: {message}" in error_line(
        plain, "--key", "user", lines=f"{good}\n{line}\n", answered=1
    )


def test_the_number_of_streams_is_limited(plain, tmp_path):
    words = [plain, "--key", "user", "--limit", "2", "--state", tmp_path / "a.state"]
    rows = to_json([{"user": name, "x": [1, 2, 3]} for name in "abacb"])
    result = run(*words, "--keep-going", lines=rows)
    assert [each.get("steps") for each in as_json(result.stdout)] == [1, 1, 2, None, 2]
    message = "'c' would be one stream more than the limit of 2: allow more with --limit.\n"
    assert result.stderr == f"legato: Line 4: {message}"
    assert message in error_line(*words, lines=rows, answered=3)


def test_a_quotation_mark_that_is_never_closed_is_an_error(plain):
    lines = 'a,b,c\n1,2,3\n1,"2,3\n1,2,3\n'
    message = "Line 3: a quotation mark in the record that begins here is never closed."
    assert message in error_line(plain, lines=lines, answered=2)
    result = run(plain, "--keep-going", lines=lines)
    assert result.stdout.splitlines()[2:] == [",,"]
    assert message in result.stderr


def test_fields_that_are_all_empty_are_a_row(plain):
    message = "the column 'a' holds nothing: the value is missing."
    assert f"Line 2: {message}" in error_line(plain, lines="a\tb\tc\n\t\t\n", answered=1)


def test_an_endless_line_is_refused(plain, monkeypatch):
    monkeypatch.setattr(_line_formats, "LINE_BYTES", 2**17)
    message = error_line(plain, lines=b"[1, 2, 3]\n" + b"[" + b" " * 2**18, answered=1)
    assert "Line 2 has no end within 131,072 bytes" in message


# In a process of its own.


class Process:
    """``legato stream`` on pipes."""

    def __init__(self, *words):
        command = [sys.executable, "-m", "legato", "stream", *map(str, words)]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        self.process = subprocess.Popen(command, **pipes)

    def ask(self, line) -> dict:
        """Send one line, and return its answer."""
        self.process.stdin.write(json.dumps(line).encode() + b"\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self, how: int | None = None) -> tuple[int, str, str]:
        """Status and remaining output and errors, after a signal or the end of the input."""
        if how is not None:
            self.process.send_signal(how)
        output, errors = self.process.communicate(timeout=60)
        return self.process.returncode, output.decode(), errors.decode()


@pytest.mark.usefixtures("interruptible")
def test_a_line_is_answered_at_once_and_its_state_is_kept(plain, tmp_path):
    state, xs = tmp_path / "a.state", steps()
    first = Process(plain, "--state", state)
    output = [first.ask(x.tolist()) for x in xs[:5]]
    assert first.end(signal.SIGKILL)[0] == -signal.SIGKILL
    second = Process(plain, "--state", state)
    output += [second.ask(x.tolist()) for x in xs[5:]]
    status, rest, errors = second.end(signal.SIGINT)
    assert (status, rest) == (130, "")
    assert errors.strip().splitlines()[-1] == "Interrupted: files are whole or as they were."
    assert [each["steps"] for each in output] == list(range(1, STEPS + 1))
    assert_close([each["y"] for each in output], stream_outputs(plain, xs))
    assert list(tmp_path.iterdir()) == [state]
    assert loaded(plain).stream().load(state).steps == STEPS


def test_a_command_that_starts_with_sigint_ignored_ignores_ctrl_c(plain):
    """As in the background of a shell script, where Ctrl-C is meant for the foreground."""
    with sigint_handled_by(signal.SIG_IGN):
        stream = Process(plain)
    first = stream.ask([1, 2, 3])
    stream.process.send_signal(signal.SIGINT)
    assert [first["steps"], stream.ask([1, 2, 3])["steps"]] == [1, 2]
    assert stream.end() == (0, "", "")


def test_a_killed_command_has_kept_the_state_of_every_answer(plain, tmp_path, rng):
    state, lines = tmp_path / "a.state", tmp_path / "steps.jsonl"
    keys, xs = [f"u{key}" for key in rng.integers(30, size=40_000)], steps(40_000)
    rows = [{"user": key, "x": x.tolist()} for key, x in zip(keys, xs, strict=True)]
    lines.write_text(to_json(rows))
    command = [sys.executable, "-m", "legato", "stream", plain, "--key", "user", "--state", state]
    quiet = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    with lines.open("rb") as source, subprocess.Popen(command, stdin=source, **quiet) as process:
        output = [process.stdout.readline() for _ in range(rng.integers(1, 3000))]
        process.kill()
        output += process.stdout.readlines()
    answered = {}
    for line in output:
        if line.endswith(b"\n"):
            answer = json.loads(line)
            answered[answer["user"]] = answer["steps"]
    model = loaded(plain)
    with model.streams(file=state) as pool:
        seen = {key: pool.steps(key) for key in pool}
        count = sum(seen.values())
        assert sum(answered.values()) <= count < len(rows)
        assert seen == {key: keys[:count].count(key) for key in set(keys[:count])}
        assert all(seen[key] >= steps for key, steps in answered.items())
        streams = {key: model.stream() for key in seen}
        for key, x in zip(keys[:count], xs[:count], strict=True):
            streams[key].feed(x)
        for key, stream in streams.items():
            assert pool.state(key).allclose(stream.state)


def test_a_closed_output_pipe_ends_the_stream_quietly(plain, tmp_path):
    (tmp_path / "steps.jsonl").write_text(to_json(steps(9000).tolist()))  # more than a pipe holds
    command = f"{sys.executable} -m legato stream {plain} --state {tmp_path}/a.state"
    piped = f"{command} < {tmp_path}/steps.jsonl | head -1; echo ${{PIPESTATUS[0]}}"
    process = subprocess.run(["bash", "-c", piped], capture_output=True, text=True, check=True)
    assert json.loads(process.stdout.splitlines()[0])["steps"] == 1
    assert process.stdout.splitlines()[1:] == ["0"]
    assert "legato:" not in process.stderr
    assert "BrokenPipe" not in process.stderr
    with loaded(plain).streams(file=tmp_path / "a.state") as pool:
        assert pool.steps("") >= 1


# Help and wording.


def test_arguments_in_messages_become_options_of_stream():
    message = name_options("window=n, pad=1.5 or a higher limit=. other_weights=True.")
    assert message == "--window n, --pad 1.5 or a higher --limit. --other-weights."


def test_the_main_help_lists_stream():
    assert "│ stream " in CliRunner().invoke(app, ["--help"]).output


def test_the_help_of_stream_lists_every_option_and_loads_no_keras():
    output = CliRunner().invoke(app, ["stream", "--help"]).output
    for name in inspect.signature(_stream_command.stream).parameters:
        assert name == "model" or f"--{name.replace('_', '-')}" in output
    ask = "with contextlib.suppress(SystemExit):\n    app(['stream', '--help'])"
    loaded = loaded_after(f"import contextlib\nfrom legato.cli import app\n{ask}")
    assert not {"keras", "jax", "numpy", "polars", "matplotlib"} & loaded


def test_the_examples_in_the_help_of_stream_run(plain, sensors, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("model.keras").write_bytes(plain.read_bytes())
    Path("sensors.keras").write_bytes(sensors.read_bytes())
    Path("steps.jsonl").write_text(to_json(steps().tolist()))
    Path("readings.jsonl").write_text(to_json(steps().tolist()))
    Path("new.csv").write_text("machine,load,mode,heat\na,1,up,2\nb,3,down,4\n")
    examples = re.findall(r"- `([^`]+)`", inspect.getdoc(_stream_command.stream) or "")
    assert len(examples) == 3
    for example in examples:
        words = shlex.split(example)
        source = words[words.index("<") + 1] if "<" in words else "readings.jsonl"
        words = words[words.index("legato") + 2 :]
        words = words[: words.index("<")] if "<" in words else words
        assert len(done(*words, lines=Path(source).read_text()).splitlines()) > 1
    assert {path.name for path in tmp_path.glob("*.state")} == {"model.state", "sensors.state"}
    assert not list(tmp_path.glob("*.log"))
