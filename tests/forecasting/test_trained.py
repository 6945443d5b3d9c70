"""Trained models: generating text, files with the record of training, and refused requests."""

import json
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from trained_examples import TEXT, TINY, predict_step_by_step, shop_sales, weight_bytes

import legato
from legato import InputError, OutputError, Trained, train


def test_generating_again_compiles_nothing(generator, compiled):
    first = generator.generate(9, prompt="the", temperature=0.9, seed=1)
    before = compiled.count
    assert generator.generate(9, prompt="the", temperature=0.9, seed=1) == first
    generator.generate(9, prompt="the r", temperature=0.5, seed=2)
    assert compiled.count == before


def test_generated_letters_follow_the_predicted_probabilities(generator):
    prompt = "the rain"
    history = [[ord(each)] for each in prompt]
    expected = ""
    for _ in range(7):
        answers = predict_step_by_step(generator, np.array(history, "float32"))[-1]
        expected += generator.task.labels[answers.argmax()]
        history.append([ord(expected[-1])])
    assert "".join(generator.generate(7, prompt=prompt, temperature=0)) == expected
    assert "".join(generator.generate(7, prompt=list(prompt), temperature=1e-320)) == expected
    drawn = generator.generate(40, prompt=prompt, seed=5)
    assert generator.generate(40, prompt=prompt, seed=5) == drawn
    assert generator.generate(40, prompt=prompt, seed=6) != drawn
    assert set(drawn) <= set(TEXT)
    assert generator.is_text
    most = max(sorted(set(TEXT)), key=TEXT.count)
    assert generator.generate(9, seed=1) == generator.generate(9, prompt=most, seed=1)


def test_a_loaded_model_predicts_and_scores_as_the_saved_one(
    forecaster_file, sales_file, forecaster, generator, folder
):
    again = Trained.load(forecaster_file)
    assert again.known == json.loads(json.dumps(forecaster.known))
    assert (again.task, again.shape, again.pad) == (
        forecaster.task,
        forecaster.shape,
        forecaster.pad,
    )
    assert weight_bytes(again) == weight_bytes(forecaster)
    one, two = forecaster.forecast(sales_file, 5), again.forecast(sales_file, 5)
    assert one.values.tobytes() == two.values.tobytes()
    assert one.ends.tobytes() == two.ends.tobytes()
    assert again.evaluate(sales_file).as_numbers() == forecaster.known["scores"]
    generator.save(folder / "writer.keras")
    same = Trained.load(folder / "writer.keras")
    assert same.generate(20, prompt="a", seed=2) == generator.generate(20, prompt="a", seed=2)


def test_load_model_and_save_keep_the_record_of_training(forecaster_file, folder, forecaster):
    legato.load_model(forecaster_file).save(folder / "again.keras")
    assert Trained.load(folder / "again.keras").known == Trained.load(forecaster_file).known
    with zipfile.ZipFile(folder / "again.keras") as archive:
        assert archive.namelist().count("legato.json") == 1


def test_saving_keeps_the_state_and_a_failed_save_keeps_the_old_file(
    folder, forecaster, monkeypatch
):
    path = folder / "kept.keras"
    forecaster.model.predict_on_batch(np.ones((2, 3, 2), "float32"))
    before = forecaster.model.states
    forecaster.save(path)
    assert forecaster.model.states == before
    content = path.read_bytes()
    monkeypatch.setitem(forecaster.known, "note", object())  # which JSON does not take
    with pytest.raises(TypeError, match="not JSON serializable"):
        forecaster.save(path)
    assert path.read_bytes() == content
    assert forecaster.model.states == before
    assert [each.name for each in folder.glob(".*")] == []
    forecaster.model.reset_states()


PLAIN = """
import sys
sys.modules["legato"] = None
import keras, numpy
model = keras.saving.load_model(sys.argv[1])
with numpy.load(sys.argv[2]) as answer:
    came = model.predict(answer["x"], verbose=0)
    numpy.testing.assert_allclose(came, answer["y"], rtol=1e-6)
model.save(sys.argv[3])
"""


def test_plain_keras_opens_it_and_saves_it_without_the_record(
    forecaster_file, sales_file, forecaster, folder, monkeypatch
):
    x = legato.read(sales_file, group="shop", time="month").of(0)[None].astype("float32")
    forecaster.model.reset_states()
    np.savez(folder / "answers.npz", x=x, y=forecaster.model.predict(x, verbose=0))
    forecaster.model.reset_states()
    monkeypatch.setenv("KERAS_BACKEND", "jax")
    files = [str(folder / each) for each in ("seller.keras", "answers.npz", "plain.keras")]
    done = subprocess.run(
        [sys.executable, "-c", PLAIN, *files], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    with pytest.raises(InputError, match=r"plain\.keras is a model, but has no record of its"):
        Trained.load(folder / "plain.keras")


def test_further_training_drops_the_record(forecaster, tmp_path):
    path = tmp_path / "seller.keras"
    forecaster.save(path)
    model = legato.load_model(path)
    model.compile("sgd", "mse")
    model.fit(np.ones((1, 2, 2)), np.ones((1, 2, 4)), verbose=0)
    model.save(path)
    with pytest.raises(InputError, match="has no record of its training"):
        legato.Trained.load(path)


@pytest.mark.parametrize(
    "refused", [lambda model: model.fit([], []), lambda model: model.train_on_batch([], [])]
)
def test_a_refused_training_keeps_the_record(forecaster, tmp_path, refused):
    path = tmp_path / "refused.keras"
    forecaster.save(path)
    model = legato.load_model(path)
    model.compile("sgd", "mse")
    with pytest.raises(InputError):
        refused(model)
    model.save(path)
    assert Trained.load(path).shape == forecaster.shape


def with_record(path: Path, to: Path, text: str | None) -> Path:
    """The same model with another ``legato.json``."""
    with zipfile.ZipFile(path) as old, zipfile.ZipFile(to, "w") as new:
        for name in old.namelist():
            if name != "legato.json":
                new.writestr(name, old.read(name))
        if text is not None:
            new.writestr("legato.json", text)
    return to


@pytest.mark.parametrize(
    ("alter", "message"),
    [
        (lambda record: "{",
         r"cannot be read \(Expecting property name.*legato\.json in it was alt"),
        (lambda record: "[1, 2]",
         r"cannot be read \(it is a list\): legato\.json in it was altered"),
        (lambda record: "[]", "it is a list"),
        (lambda record: '"x"', "it is a str"),
        (lambda record: None, "is a model, but has no record of its training"),
        (lambda record: "{}", "has no record of its training"),
        (lambda record: record | {"format": "legato.trained.9"},
         "has no record of its training"),
        (lambda record: {"format": record["format"]}, r"cannot be read \(KeyError 'task'\)"),
        (lambda record: record | {"task": []}, "cannot be read .*: it was altered, or written"),
        (lambda record: record | {"shape": {"wings": 2}}, "cannot be read .*wings"),
        (lambda record: record | {"pad": None}, "cannot be read "),
        (lambda record: record | {"known": [3]}, "cannot be read "),
        (lambda record: record | {"known": {"seen": []}}, "it lacks label_counts, read, season"),
    ],
)  # fmt: skip
def test_an_altered_record_is_refused(alter, message, forecaster_file, folder):
    with zipfile.ZipFile(forecaster_file) as archive:
        record = alter(json.loads(archive.read("legato.json")))
    text = record if record is None or isinstance(record, str) else json.dumps(record)
    path = with_record(forecaster_file, folder / "altered.keras", text)
    with pytest.raises(InputError, match=message):
        Trained.load(path)


@pytest.mark.parametrize(
    ("place", "value", "name"),
    [
        (("task", "kind"), "guess", "task"),
        (("task", "horizon"), 2.5, "horizon"),
        (("task", "horizon"), 0, "horizon"),
        (("task", "whole"), "lstm", "whole"),
        (("task", "inputs"), [], "inputs"),
        (("task", "inputs", 0, "name"), None, "inputs"),
        (("task", "targets", 0, "categories"), ["a"], "targets"),
        (("task", "targets", 0, "numbers"), [1.0], "targets"),
        (("shape", "cell"), "wing", "cell"),
        (("shape", "steps"), True, "steps"),
        (("shape", "stateful"), 1, "stateful"),
        (("shape", "framing"), None, "framing"),
        (("known", "read"), {}, "read"),
        (("known", "read", "group"), 7, "group"),
        (("known", "read", "columns"), 7, "columns"),
        (("known", "season"), -1, "season"),
        (("known", "label_counts"), [3], "label_counts"),
        (("known", "seen"), [[True, "a", "b"]], "seen"),
        (("known", "seen"), 2.5, "not iterable"),
        (("known", "intervals", "shape"), [3], "reshape"),
    ],
)
def test_a_record_with_a_wrong_value_is_refused(place, value, name, forecaster_file, folder):
    with zipfile.ZipFile(forecaster_file) as archive:
        record = json.loads(archive.read("legato.json"))
    *way, last = place
    holder = record
    for key in way:
        holder = holder[key]
    holder[last] = value
    path = with_record(forecaster_file, folder / "wrong.keras", json.dumps(record))
    with pytest.raises(InputError, match=rf"wrong\.keras cannot be read \(.*{name}.*was altered"):
        Trained.load(path)


def test_a_damaged_file_is_refused(forecaster_file, folder):
    content = bytearray(forecaster_file.read_bytes())
    with zipfile.ZipFile(forecaster_file) as archive:
        begin = archive.getinfo("legato.json").header_offset
    for at in (begin + 60, begin + 90):  # cannot be unpacked; has another checksum
        damaged = content.copy()
        damaged[at] ^= 255
        (folder / "damaged.keras").write_bytes(damaged)
        with pytest.raises(InputError, match=r"damaged\.keras is not a whole model file"):
            Trained.load(folder / "damaged.keras")


def test_invalid_paths_are_refused(folder, forecaster):
    with pytest.raises(InputError, match=r"seller\.h5 does not end in \.keras"):
        forecaster.save(folder / "seller.h5")
    with pytest.raises(OutputError, match="cannot be written"):
        forecaster.save(folder / "nowhere" / "seller.keras")
    with pytest.raises(OutputError, match="cannot be read"):
        Trained.load(folder / "nothing.keras")


def test_a_categorical_column_stays_one_when_its_values_look_like_numbers():
    """A column of codes stays one where all that is left of it are digits."""
    data = {"x": np.arange(21.0) % 4, "code": ["12", "B7", "C9"] * 7}
    trained = train(data, target="x", **TINY)
    only = {"x": [1.0, 2.0], "code": ["12", "12"]}
    assert trained.forecast(only).values.shape == (1, 1, 1)


SKY = {"x": np.arange(10.0), "sky": [*"ababababac"]}


@pytest.mark.parametrize(
    ("trained", "ask", "message"),
    [
        ("generator", lambda trained: trained.forecast(SKY), "trained to generate, not to"),
        ("forecaster", lambda trained: trained.generate(3), "trained to forecast, not to generate"),
        ("forecaster", lambda trained: trained.classify(SKY), "use forecast, or train another"),
        ("forecaster", lambda trained: trained.forecast(shop_sales(), 0), "steps is 0; a number"),
        ("generator", lambda trained: trained.generate(3, temperature=-1), "temperature is -1; a"),
        ("generator", lambda trained: trained.generate(3, temperature=np.nan), "ature is nan"),
        ("generator", lambda trained: trained.generate(0), "length is 0; a whole number of"),
        ("generator", lambda trained: trained.generate(3, prompt="Z"), "The prompt holds 'Z'"),
        ("forecaster", lambda trained: trained.forecast({"sold": [1.0]}), "has no column 'shop'"),
        ("classifier", lambda trained: trained.evaluate({"hum": [1.0, 2.0]}), "no column 'state'"),
    ],
)  # fmt: skip
def test_impossible_requests_are_refused(trained, ask, message, request):
    with pytest.raises(InputError, match=message):
        ask(request.getfixturevalue(trained))
