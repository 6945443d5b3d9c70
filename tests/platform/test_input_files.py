"""What a path is, before it is opened; and one error for whatever damaged files raise."""

import os
import socket
import warnings
import zipfile

import h5py
import numpy as np
import pytest

import legato
from legato import InputError, StateError
from legato._platform.input_files import check_is_regular, refusing_damage, unpacked_limit


@pytest.fixture(params=["pipe", "device", "link to a device", "folder", "socket"])
def special(request, tmp_path, monkeypatch):
    """The name of something in the current folder that is no regular file, and what it is."""
    monkeypatch.chdir(tmp_path)

    def make(name: str) -> str:
        match request.param:
            case "pipe":
                os.mkfifo(name)
            case "device":
                return "/dev/zero"
            case "link to a device":
                os.symlink("/dev/zero", name)
            case "folder":
                os.mkdir(name)
            case "socket":
                with socket.socket(socket.AF_UNIX) as found:
                    found.bind(name)
        return name

    return make


def test_what_is_no_regular_file_is_refused_at_once(special):
    for suffix, load in {
        ".keras": legato.load_model,
        ".h5": legato.load_model,
        ".state": legato.State.load,
        ".train.keras": legato.Trained.load,
    }.items():
        path = special(f"a{suffix}")
        with pytest.raises((InputError, StateError), match=r"is a (pipe|device|folder|socket)"):
            load(path)


def test_weights_and_streams_are_no_pipes(tmp_path):
    model = legato.Sequential([legato.layers.Input((3, 1)), legato.layers.LSTM(2, stateful=True)])
    os.mkfifo(tmp_path / "a.weights.h5")
    with pytest.raises(InputError, match=r"is a pipe; a file of weights was expected. Name a"):
        model.load_weights(tmp_path / "a.weights.h5")
    os.mkfifo(tmp_path / "a.state")
    with pytest.raises(StateError, match=r"is a pipe; a stream file was expected"):
        model.streams(file=tmp_path / "a.state")
    os.mkfifo(tmp_path / "b.state.log")
    with pytest.raises(StateError, match=r"is a pipe; the log of one was expected"):
        model.streams(file=tmp_path / "b.state")
    with pytest.raises(StateError, match=r"is a pipe; a stream file was expected"):
        model.stream().load(tmp_path / "a.state")


def test_a_link_to_a_regular_file_is_one(tmp_path):
    (tmp_path / "file").write_text("a")
    os.symlink("file", tmp_path / "link")
    check_is_regular(tmp_path / "link", "a file")
    with pytest.raises(FileNotFoundError):
        check_is_regular(tmp_path / "missing", "a file")
    with pytest.raises(FileNotFoundError):
        check_is_regular("a\0b", "a file")


def test_any_error_of_a_reader_becomes_one_with_its_cause():
    for cause in (KeyError("layers"), RuntimeError("no\nroom"), RecursionError(), MemoryError()):
        with (
            pytest.raises(InputError, match=r"^f.h5 is not a whole model file \(.+\).*Use") as got,
            refusing_damage("f.h5", "model file", "Use another."),
        ):
            raise cause
        assert got.value.__cause__ is cause
        assert "\n" not in str(got.value)
    with pytest.raises(StateError, match=r"^as it is$"), refusing_damage("f.h5", "file", "Use."):
        raise StateError("as it is")


@pytest.mark.parametrize("value", ["", "0", "-1", "1e9", "many"])
def test_the_limit_is_a_whole_number(value, monkeypatch):
    monkeypatch.setenv("LEGATO_UNPACKED_LIMIT", value)
    with pytest.raises(InputError, match=r"LEGATO_UNPACKED_LIMIT is .*; a whole number of"):
        unpacked_limit()


def test_model_files_that_unpack_to_more_than_the_limit_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "m.keras"
    legato.Sequential([legato.layers.Input((3, 1)), legato.layers.LSTM(2)]).save(path)
    weights = np.prod(legato.load_model(path).predict(np.zeros((1, 3, 1)), verbose=0).shape)
    assert weights == 2
    with zipfile.ZipFile(path) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
    for name, size in {"config.json": 2**17, "other": 2**21}.items():
        changed = members | {name: members.get(name, b"") + b" " * size}
        with zipfile.ZipFile(tmp_path / "big.keras", "w", zipfile.ZIP_DEFLATED) as archive:
            for each, content in changed.items():
                archive.writestr(each, content)
        monkeypatch.setenv("LEGATO_UNPACKED_LIMIT", str(2**20))
        with pytest.raises(InputError, match=r"more than .* bytes when it is unpacked.*LEGATO_UNP"):
            legato.load_model(tmp_path / "big.keras")
        monkeypatch.setenv("LEGATO_UNPACKED_LIMIT", str(2**24))
        legato.load_model(tmp_path / "big.keras")


@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.weights.h5"])
def test_arrays_that_take_more_than_the_limit_are_refused(name, tmp_path):
    model = legato.Sequential([legato.layers.Input((3, 1)), legato.layers.Dense(1)])
    path = hdf5 = tmp_path / name
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Keras: the format is old
        model.save_weights(path) if name == "m.weights.h5" else model.save(path)
    members = {}
    if name == "m.keras":
        with zipfile.ZipFile(path) as archive:
            members = {each: archive.read(each) for each in archive.namelist()}
        hdf5 = tmp_path / "weights.h5"
        hdf5.write_bytes(members["model.weights.h5"])
    load = model.load_weights if name == "m.weights.h5" else legato.load_model
    for options, message in (
        ({"shape": (10**6, 10**3)}, r"takes more than .* bytes .*LEGATO_UNPACKED_LIMIT"),
        ({"shape": (9,), "external": [("other", 0, 36)]}, "has an array in another file, 'extra'"),
    ):
        with h5py.File(hdf5, "r+") as file:
            file.pop("extra", None)
            file.create_dataset("extra", dtype="f4", **options)
        if members:
            with zipfile.ZipFile(path, "w") as archive:
                for each, content in (members | {"model.weights.h5": hdf5.read_bytes()}).items():
                    archive.writestr(each, content)
        for file_load in {load, model.load_weights}:
            with pytest.raises(InputError, match=f"{name} {message}"):
                file_load(path)
