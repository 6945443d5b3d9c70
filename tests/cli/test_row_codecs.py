"""Steps and answers of ``legato stream``, for plain models and for trained ones."""

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from cells import spread
from stream_runs import (
    answers_to,
    as_csv,
    as_json,
    assert_close,
    load_once,
    random_steps,
    stream_error,
    stream_outputs,
    to_json,
)

import legato
from legato import layers

# Models of plain Keras and of legato.


def test_a_line_may_hold_several_steps_or_name_its_step(plain):
    xs = random_steps(6).tolist()
    output = as_json(
        answers_to(plain, lines=to_json([xs[0], {"x": xs[1], "at": "noon"}, xs[2:5], xs[5]]))
    )
    assert [each["steps"] for each in output] == [1, 2, 5, 6]
    found = [output[0]["y"], output[1]["y"], *output[2]["y"], output[3]["y"]]
    assert_close(found, stream_outputs(plain, np.array(xs, "float32")))


def test_other_shapes_of_steps_and_answers(tmp_path, rng):
    tokens = legato.Sequential(
        [layers.Input((None,), dtype="int32"), layers.Embedding(5, 3), layers.GRU(2)]
    )
    tokens.save(tmp_path / "tokens.keras")
    output = as_json(answers_to(tmp_path / "tokens.keras", lines="3\n[1, 2]\n4"))
    assert [each["steps"] for each in output] == [1, 3, 4]
    found = [output[0]["y"], *output[1]["y"], output[2]["y"]]
    assert_close(found, stream_outputs(tmp_path / "tokens.keras", [3, 1, 2, 4]))
    output = as_csv(answers_to(tmp_path / "tokens.keras", lines="token\n3\n1\n"), ",")
    assert_close([[each["y0"], each["y1"]] for each in output], found[:2])
    by_step, once = layers.Input((None, 2), name="by_step"), layers.Input((3,), name="once")
    carried = layers.LSTM(3)(by_step)
    outputs = {"a": layers.Dense(1)(carried), "b": layers.Concatenate()([carried, once])}
    legato.Model([by_step, once], outputs).save(tmp_path / "two.keras")
    rows = [
        {"who": "ada", "by_step": spread(rng, 2).tolist(), "once": spread(rng, 3).tolist()}
        for _ in range(3)
    ]
    output = as_json(answers_to(tmp_path / "two.keras", "--key", "who", lines=to_json(rows)))
    stream = load_once(tmp_path / "two.keras").stream()
    for each, row in zip(output, rows, strict=True):
        expected = stream.feed([row["by_step"], row["once"]])
        assert list(each) == ["who", "steps", "y"]
        for name in "ab":
            assert_close(each["y"][name], expected[name])
    assert (
        "has several inputs or outputs, for which a row of a CSV has no places: send"
        in stream_error(tmp_path / "two.keras", lines="a,b\n1,2\n")
    )
    assert (
        'no "x" in the object: put the step there, or one entry for each input: by_step, once.'
        in (stream_error(tmp_path / "two.keras", lines=to_json([{"once": 1}])))
    )


def test_an_incomplete_window_has_no_answer(plain):
    xs = random_steps(5)
    output = as_json(answers_to(plain, "--window", 3, lines=to_json(xs.tolist())))
    assert [each["y"] for each in output[:2]] == [[None, None]] * 2
    assert_close([each["y"] for each in output[2:]], stream_outputs(plain, xs, window=3)[2:])
    output = as_csv(answers_to(plain, "--window", 3, lines="a,b,c\n1,2,3\n"))
    assert output == [{"steps": "1", "y0": "", "y1": ""}]
    output = as_json(answers_to(plain, "--window", 3, "--pad", -1, lines=to_json(xs.tolist())))
    assert_close([each["y"] for each in output], stream_outputs(plain, xs, window=3, pad=-1))


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
    trained, found = load_once(sensors), []
    for at, row in enumerate(rows):
        before = [each for each in rows[: at + 1] if each["machine"] == row["machine"]]
        data = {name: [each[name] for each in before] for name in row if name != "at"}
        found.append(trained.forecast(data).values[0].T)
    return np.array(found)


def test_a_forecaster_answers_by_column(sensors):
    rows = rows_of_sensors()
    expected = expected_of_sensors(sensors, rows)
    output = as_json(answers_to(sensors, "--key", "machine", lines=to_json(rows)))
    assert [list(each) for each in output] == [["machine", "steps", "heat", "load"]] * len(rows)
    assert_close([[each["heat"], each["load"]] for each in output], expected)
    line = io.StringIO()
    writer = csv.DictWriter(line, list(rows[0]), delimiter=";")
    writer.writeheader()
    writer.writerows(rows)
    output = as_csv(answers_to(sensors, "--key", "machine", lines=line.getvalue()), ";")
    names = [f"{name} {ahead} ahead" for name in ("heat", "load") for ahead in (1, 2)]
    assert list(output[0]) == ["machine", "steps", *names]
    assert_close([[each[name] for name in names] for each in output], expected.reshape(-1, 4))


def test_a_classifier_answers_with_a_label(modes):
    load = [0.5, -0.2, 1.5, -0.7]
    found = load_once(modes).classify({"load": load}).columns()
    output = as_json(answers_to(modes, lines=to_json([{"load": each} for each in load])))
    nothing = {"label": None, "probability": None}
    assert output[:2] == [{"steps": at, **nothing} for at in (1, 2)]
    assert [each["label"] for each in output[2:]] == found["label"]
    assert_close([each["probability"] for each in output[2:]], found["probability"])
    output = answers_to(modes, lines="when,load\nnoon,0.5\nlater,-0.2\n")
    assert output == "steps,label,probability\n1,,\n2,,\n"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"load": None}, "the column 'load' holds nothing: the value is missing. Fill it in, or"),
        ({"load": "much"}, "the column 'load' holds 'much'; a number up to 3.4"),
        (
            {"mode": "off"},
            "the column 'mode' holds 'off', which the model was not trained on. Its labels",
        ),
        ({"load": [1]}, "the column 'load' holds [1]; a number"),
    ],
)
def test_an_invalid_row_for_a_trained_model_is_refused(sensors, line, message):
    good, bad = rows_of_sensors(2)
    lines = to_json([good, {**bad, **line}])
    assert f"Line 2: {message}" in stream_error(sensors, lines=lines, answered=1)


def test_lines_that_are_no_rows_for_a_trained_model_are_refused(sensors):
    message = stream_error(sensors, lines="[1, 2, 3]\n")
    assert 'an object was expected, by the names of columns: {"load": …, "mode": …' in message
    message = stream_error(sensors, lines='{"Load": 1, "mode": "up", "heat": 2}\n')
    assert (
        "there is no column 'load', which the model was trained on. Did you mean 'Load'" in message
    )
    message = stream_error(sensors, lines="Load,mode,heat\n1,up,2\n")
    assert "The header has no column 'load', which the model was trained on. Did you me" in message


def test_the_count_of_steps_is_renamed_if_a_column_has_its_name(tmp_path):
    path = tmp_path / "walks.keras"
    walks = {"steps": [1.0, 2.0, 4.0, 3.0] * 9}
    legato.train(walks, units=2, epochs=1, verbose=0).save(path)
    output = as_json(answers_to(path, lines=to_json([{"steps": 2}, {"steps": 3.5}])))
    assert [each["steps seen"] for each in output] == [1, 2]
    assert_close([each["steps"] for each in output], expected_of(path, [2.0, 3.5]))
    assert "--key names 'steps'" in stream_error(path, "--key", "steps", lines="")


def expected_of(path: Path, values: list) -> list:
    """The forecasts after each of the values of one column."""
    trained, name = load_once(path), "steps"
    return [trained.forecast({name: values[: at + 1]}).values[0, 0, 0] for at in range(len(values))]
