"""A row by itself = the same row in a file; a stream of rows = the model led along a sequence.

The oracles are ``read`` and ``Task.inputs_of`` on whole columns, and ``Trained.predict_steps``.
"""

import numpy as np
import polars
import pytest

import legato
from legato._series.rows import encode_value
from legato._series.sequences import Column

COUNT = 60
KINDS = {
    "stateful": {"target": "load", "horizon": 2},
    "stateless": {"target": "mode", "stateful": False, "steps": 5},
    "window": {"target": ["heat", "load"], "framing": "window", "steps": 4},
    "features": {"target": "heat", "framing": "features", "steps": 3},
    "prefix": {"target": "mode", "framing": "prefix", "steps": 6},
    "runs": {"target": "load", "framing": "runs", "steps": 4},
}


def table() -> dict[str, list]:
    """Quantities, labels that are words and labels that are numbers, as values of Python."""
    rng = np.random.default_rng(5)
    steps = np.arange(COUNT)
    return {
        "load": (np.sin(steps / 3) + rng.normal(0, 0.1, COUNT)).tolist(),
        "heat": (20 + 4 * np.cos(steps / 5) + rng.normal(0, 0.1, COUNT)).tolist(),
        "day": (steps % 7).tolist(),
        "open": (steps % 7 < 5).tolist(),
        "mode": [("up", "down", "off")[each] for each in rng.integers(3, size=COUNT)],
    }


def rows(columns: dict[str, list]) -> list[dict]:
    return [dict(zip(columns, each, strict=True)) for each in zip(*columns.values(), strict=True)]


@pytest.fixture(scope="module", params=KINDS)
def trained(request):
    options = {"stateful": None, **KINDS[request.param]}
    if options.get("framing"):
        options["stateful"] = False
    return legato.train(
        table(), categorical=["day"], units=3, epochs=1, test=0, verbose=0, **options
    )


def test_a_stream_of_rows_is_answered_as_a_sequence_is(trained):
    sequences = trained.read(table())
    inputs = trained.inputs_of(sequences)
    numbers = np.stack([trained.numbers_of(row) for row in rows(table())])
    np.testing.assert_array_equal(numbers, inputs)
    pool, answers = trained.streams(), []
    for each in numbers:
        answers.append(pool.feed({"": each})[""])
    expected = trained.predict_steps(inputs, sequences.lengths)
    assert np.isnan(expected[0]).any() == (trained.shape.framing in ("window", "features"))
    np.testing.assert_allclose(answers, expected, rtol=1e-5, atol=1e-5)


def test_answers_are_told_in_words(trained):
    expected = trained.predict_steps(trained.inputs_of(trained.read(table())), np.array([COUNT]))
    told = trained.told(expected[-1])
    if trained.task.kind == "forecast":
        found = trained.forecast(table()).columns()
        for column in trained.task.targets:
            values = told[column.name]
            values = values if isinstance(values, list) else [values]
            np.testing.assert_allclose(values, found[column.name], rtol=1e-5)
        assert not {*told} - {column.name for column in trained.task.targets}
    else:
        found = trained.classify(table()).columns()
        assert told == {"label": found["label"][-1], "probability": found["probability"][-1]}
    nothing = trained.told(np.full_like(expected[-1], np.nan))
    assert {str(each) for each in nothing.values()} <= {"None", "[None, None]"}


def test_words_are_what_a_file_says(trained, tmp_path):
    columns = table()
    polars.DataFrame(columns).write_csv(tmp_path / "t.csv")
    words = polars.read_csv(tmp_path / "t.csv", infer_schema=False).to_dicts()
    expected = trained.inputs_of(trained.read(tmp_path / "t.csv"))
    np.testing.assert_array_equal([trained.numbers_of(row) for row in words], expected)


def test_a_text_is_fed_by_characters(tmp_path):
    book, part = tmp_path / "book.txt", tmp_path / "part.txt"
    book.write_text("to be or not to be,\n" * 9)
    part.write_text("not to be,\n")
    text = legato.train(book, units=3, epochs=1, test=0, verbose=0)
    numbers = [text.numbers_of({"character": each}) for each in part.read_text()]
    np.testing.assert_array_equal(numbers, text.inputs_of(text.read(part)))


QUANTITY = Column("load")
WORDS = Column("mode", ("007", "1.50", "a b", "true"), (0.0, 1.0, 2.0, 3.0))
NUMBERS = Column("day", ("-1", "0", "2.5", "3"), (-1.0, 0.0, 2.5, 3.0))
BOOLEANS = Column("open", ("false", "true"), (0.0, 1.0))


@pytest.mark.parametrize(
    ("column", "value", "number"),
    [
        (QUANTITY, 3, 3),
        (QUANTITY, " 1e-3 ", 0.001),
        (QUANTITY, np.float32(0.5), 0.5),
        (QUANTITY, True, 1),
        (QUANTITY, "False", 0),
        (WORDS, "007", 0),
        (WORDS, "1.50", 1),
        (WORDS, " a b ", 2),
        (WORDS, True, 3),
        (NUMBERS, 3, 3),
        (NUMBERS, 3.0, 3),
        (NUMBERS, "3.0", 3),
        (NUMBERS, " -1", -1),
        (NUMBERS, "2.50", 2.5),
        (BOOLEANS, False, 0),
        (BOOLEANS, " TRUE", 1),
    ],
)
def test_a_value_is_the_number_that_stands_for_it(column, value, number):
    assert encode_value({"other": "x", column.name: value}, column) == number


@pytest.mark.parametrize(
    ("column", "value", "told"),
    [
        (QUANTITY, "abc", "The column 'load' holds 'abc'; a number up to 3.4"),
        (QUANTITY, "1_000", "holds '1_000'; a number"),
        (QUANTITY, "inf", "holds 'inf'; a number"),
        (QUANTITY, 1e300, "holds 1e[+]300; a number"),
        (QUANTITY, 10**400, "holds 1000000.* …; a number"),
        (QUANTITY, [1], r"holds \[1\]; a number"),
        (QUANTITY, float("nan"), "holds nan; a number"),
        (QUANTITY, None, "holds nothing: the value is missing. Fill it in, or leave the row out."),
        (QUANTITY, "", "holds nothing: the value is missing"),
        (QUANTITY, " NA ", "holds ' NA ': the value is missing"),
        (WORDS, None, "'mode' holds nothing: the value is missing"),
        (WORDS, "zoe", "holds 'zoe', which the model was not trained on. It knows '007', '1.50', "),
        (WORDS, "7", "holds '7', which the model was not trained on"),
        (WORDS, {"a": 1}, "which the model was not trained on"),
        (NUMBERS, 4, "holds 4, which the model was not trained on. It knows '-1', '0', '2.5', '3'"),
        (NUMBERS, True, "holds True, which the model was not trained on"),
        (BOOLEANS, 1, "holds 1, which the model was not trained on"),
    ],
)
def test_a_value_that_is_none_is_refused(column, value, told):
    with pytest.raises(legato.InputError, match=told):
        encode_value({column.name: value}, column)


def test_a_column_that_is_missing_is_named():
    with pytest.raises(legato.InputError, match=r"no column 'load', which .* Did you mean 'Load'"):
        encode_value({"Load": 1}, QUANTITY)


def test_a_row_of_padding_is_refused():
    trained = legato.train({"a": [1.0, 2.0, 3.0] * 9}, units=2, epochs=1, test=0, verbose=0)
    with pytest.raises(legato.InputError, match="the number that marks padding for this model"):
        trained.numbers_of({"a": trained.pad})
