"""Files that are no models, damaged model files, and names that no model can be saved under."""

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from test_saving import made

import legato
from legato import InputError, OutputError, layers
from legato._models import saving


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("m", r"must end in \.keras or \.h5"),
        (".keras", r"must end in \.keras or \.h5"),
        ("m.pb", r"must end in \.keras or \.h5"),
        (None, r"A path that ends in \.keras or \.h5 or \.hdf5 was expected; None came"),
    ],
)
def test_invalid_names_of_files_are_refused(name, message, tmp_path):
    with pytest.raises(InputError, match=message):
        made("functional-stateless").save(name and tmp_path / name)


def test_invalid_files_of_weights_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"must end in \.weights\.h5"):
        made("functional-stateless").save_weights(tmp_path / "m.h5")
    with pytest.raises(InputError, match=r"not built.*model\.build"):
        legato.Sequential([layers.LSTM(2)]).save_weights(tmp_path / "m.weights.h5")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.weights.h5"])
def test_a_missing_folder_is_an_error(name, tmp_path):
    model = made("functional-stateless")
    save = model.save_weights if "weights" in name else model.save
    with pytest.raises(OutputError, match=r"cannot be written.*folder that exists"):
        save(tmp_path / "missing" / name)
    (tmp_path / name).mkdir()
    with pytest.raises(OSError, match="cannot be written"):
        save(tmp_path / name)
    assert [each.name for each in tmp_path.iterdir()] == [name]


def _state(folder: Path) -> Path:
    made("Sequential").save_states(folder / "past.keras")
    return folder / "past.keras"


def _weights(folder: Path) -> Path:
    made("Sequential").save_weights(folder / "m.weights.h5")
    return folder / "m.weights.h5"


def _zip(folder: Path) -> Path:
    with zipfile.ZipFile(folder / "m.keras", "w") as archive:
        archive.writestr("a.txt", "a")
    return folder / "m.keras"


def _cut(name: str) -> Callable:
    def make(folder: Path) -> Path:
        path = folder / name
        made("Sequential").save(path)
        path.write_bytes(path.read_bytes()[:-200])
        return path

    return make


def _altered(folder: Path) -> Path:
    path = folder / "m.keras"
    made("Sequential").save(path)
    content = bytearray(path.read_bytes())
    middle = content.index(b"HDF") + 3_000
    content[middle : middle + 500] = b"x" * 500
    path.write_bytes(content)
    return path


def _text(name: str) -> Callable:
    def make(folder: Path) -> Path:
        (folder / name).write_text("not a model")
        return folder / name

    return make


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda folder: folder / "no.keras", OutputError, r"no\.keras cannot be read \(No such"),
        (_state, InputError, r"holds the state of a model.*model\.load_states"),
        (_weights, InputError, r"HDF5 file without a model.*model\.load_weights"),
        (_zip, InputError, r"zip archive, but not a Keras model"),
        (_cut("m.keras"), InputError, r"not a whole model file.*cut short"),
        (_cut("m.h5"), InputError, r"not a whole model file.*cut short"),
        (_altered, InputError, r"not a whole model file.*altered"),
        (_text("m.keras"), InputError, r"not a whole model file"),
        (_text("m.h5"), InputError, r"not a whole model file"),
        (_text("m.txt"), InputError, r"does not end in \.keras or \.h5"),
    ],
    ids=lambda each: getattr(each, "__name__", None),
)
def test_files_that_are_no_models_are_refused(make, error, message, tmp_path):
    path = make(tmp_path)
    with pytest.raises(error, match=message):
        legato.load_model(path)


def test_a_missing_file_is_an_os_error(tmp_path):
    with pytest.raises(OSError, match=r"no\.h5"):
        legato.load_model(str(tmp_path / "no.h5"))


def test_a_flipped_bit_in_the_random_states_of_a_model_file_is_refused(tmp_path):
    model = legato.Sequential([layers.Input((2, 1)), layers.Dropout(0.5)])
    path = tmp_path / "m.keras"
    model.save(path)
    with zipfile.ZipFile(path) as archive:
        comment = archive.comment
    before = [np.asarray(each) for each in saving._seeds(model)]
    assert len(before) == 1
    for bit in range(8 * len(comment)):
        altered = bytearray(comment)
        altered[bit // 8] ^= 1 << bit % 8
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = bytes(altered)
        for variable in saving._seeds(model):
            variable.assign(np.zeros_like(variable))
        try:
            saving.load_seeds(model, path)
        except Exception:  # which load_model turns into an InputError
            continue
        np.testing.assert_array_equal([np.asarray(each) for each in saving._seeds(model)], before)


def test_random_states_of_an_earlier_version_have_no_checksum(tmp_path):
    model = legato.Sequential([layers.Input((2, 1)), layers.Dropout(0.5)])
    path = tmp_path / "m.keras"
    model.save(path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.comment = json.dumps({"legato": {"seeds": [[1, 2]]}}).encode()
    again = legato.load_model(path)
    np.testing.assert_array_equal([np.asarray(each) for each in saving._seeds(again)], [[1, 2]])


def _with_endless_heap(content: bytes) -> bytes:
    """An HDF5 file in whose first global heap the free object takes no room."""
    at = content.index(b"GCOL") + 16
    while index := int.from_bytes(content[at : at + 2], "little"):
        at += 16 + -(-int.from_bytes(content[at + 8 : at + 16], "little") // 8) * 8
    assert index == 0
    return content[: at + 8] + bytes(8) + content[at + 16 :]


@pytest.mark.parametrize("name", ["m.h5", "m.weights.h5", "m.keras"])
def test_a_file_whose_reading_would_never_end_is_refused(name, tmp_path):
    model, path = legato.Sequential([layers.Input((2, 1)), layers.LSTM(1)]), tmp_path / name
    (model.save_weights if "weights" in name else model.save)(path)
    if name == "m.keras":
        with zipfile.ZipFile(path) as archive:
            members = {each: archive.read(each) for each in archive.namelist()}
        members["model.weights.h5"] = _with_endless_heap(members["model.weights.h5"])
        with zipfile.ZipFile(path, "w") as archive:
            for member, content in members.items():
                archive.writestr(member, content)
    else:
        path.write_bytes(_with_endless_heap(path.read_bytes()))
    for load in (model.load_weights, *([] if "weights" in name else [legato.load_model])):
        with pytest.raises(InputError, match=rf"{name} is not a whole .*takes no room"):
            load(path)
