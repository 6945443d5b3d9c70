"""One row at a time, encoded, streamed and decoded, against whole sequences.

The oracles are ``read`` and ``inputs_of`` on whole columns, and ``predict_steps``.
"""

import numpy as np
import polars
import pytest

import legato

COUNT = 30  # no more samples than a batch has, so that all batches have one size
KINDS = {
    "stateful": {"target": "load", "horizon": 2},
    "stateless": {"target": "mode", "stateful": False, "steps": 5},
    "window": {"target": ["heat", "load"], "framing": "window", "steps": 4},
    "features": {"target": "heat", "framing": "features", "steps": 3},
    "prefix": {"target": "mode", "framing": "prefix", "steps": 6},
    "runs": {"target": "load", "framing": "runs", "steps": 4},
}


def table() -> dict[str, list]:
    """Quantities, and labels that are words, numbers or booleans, as Python values."""
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


@pytest.mark.quick_cases(3)
def test_a_stream_of_rows_gives_the_outputs_of_the_sequence(trained):
    sequences = trained.read(table())
    inputs = trained.inputs_of(sequences)
    numbers = np.stack([trained.encode(row) for row in rows(table())])
    np.testing.assert_array_equal(numbers, inputs)
    pool, answers = trained.streams(), []
    for each in numbers:
        answers.append(pool.feed({"": each})[""])
    expected = trained.predict_steps(inputs, sequences.lengths)
    assert np.isnan(expected[0]).any() == (trained.shape.framing in ("window", "features"))
    np.testing.assert_allclose(answers, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.quick_cases(3)
def test_outputs_are_decoded_as_in_forecast_and_classify(trained):
    expected = trained.predict_steps(trained.inputs_of(trained.read(table())), np.array([COUNT]))
    decoded = trained.decode(expected[-1])
    assert decoded == trained.told(expected[-1])  # its earlier name
    if trained.task.kind == "forecast":
        found = trained.forecast(table()).columns()
        for column in trained.task.targets:
            values = decoded[column.name]
            values = values if isinstance(values, list) else [values]
            np.testing.assert_allclose(values, found[column.name], rtol=1e-5)
        assert not {*decoded} - {column.name for column in trained.task.targets}
    else:
        found = trained.classify(table()).columns()
        assert decoded["label"] == found["label"][-1]
        assert decoded["probability"] == pytest.approx(found["probability"][-1], rel=1e-7)
        assert decoded.keys() == {"label", "probability"}
    nothing = trained.decode(np.full_like(expected[-1], np.nan))
    assert {str(each) for each in nothing.values()} <= {"None", "[None, None]"}


def test_strings_are_encoded_as_in_a_file(trained, tmp_path):
    columns = table()
    polars.DataFrame(columns).write_csv(tmp_path / "t.csv")
    words = polars.read_csv(tmp_path / "t.csv", infer_schema=False).to_dicts()
    expected = trained.inputs_of(trained.read(tmp_path / "t.csv"))
    np.testing.assert_array_equal([trained.encode(row) for row in words], expected)


def test_characters_are_encoded_as_in_a_text(tmp_path):
    book, part = tmp_path / "book.txt", tmp_path / "part.txt"
    book.write_text("to be or not to be,\n" * 9)
    part.write_text("not to be,\n")
    text = legato.train(book, units=3, epochs=1, test=0, verbose=0)
    numbers = [text.encode({"character": each}) for each in part.read_text()]
    np.testing.assert_array_equal(numbers, text.inputs_of(text.read(part)))


def test_a_row_of_padding_is_refused():
    trained = legato.train({"a": [1.0, 2.0, 3.0] * 9}, units=2, epochs=1, test=0, verbose=0)
    with pytest.raises(legato.InputError, match="the number that marks padding for this model"):
        trained.encode({"a": trained.pad})
