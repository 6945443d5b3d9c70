"""Mutated files of every format: whatever is wrong with one, the error is legato's and names it."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from pathlib import Path

import h5py
import keras
import numpy as np
import polars
import pytest
from mutations import errors_of, json_mutations, unexpected_errors

import legato

COUNT = 25  # mutations of a format
ROWS = [(at, round(np.sin(at), 3), "ab"[at % 2]) for at in range(40)]
TABLE = "t,x,label\n" + "".join(f"{t},{x},{label}\n" for t, x, label in ROWS)
FRAME = polars.DataFrame(ROWS, ["t", "x", "label"], orient="row")


def packed(write) -> bytes:
    """What a function writes to a file."""
    file = io.BytesIO()
    write(file)
    return file.getvalue()


def zipped(members: dict[str, bytes], comment: bytes = b"") -> bytes:
    def write(file):
        with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in members.items():
                archive.writestr(name, content)
            archive.comment = comment

    return packed(write)


DATA = {
    "t.csv": TABLE.encode(),
    "t.txt": b"It was the best of times,\nit was the worst of times.\n" * 9,
    "t.csv.gz": gzip.compress(TABLE.encode()),
    "t.csv.bz2": bz2.compress(TABLE.encode()),
    "t.csv.xz": lzma.compress(TABLE.encode()),
    "t.zip": zipped({"t.csv": TABLE.encode()}),
    "t.json": json.dumps(FRAME.to_dicts()).encode(),
    "t.jsonl": FRAME.write_ndjson().encode(),
    "t.parquet": packed(FRAME.write_parquet),
    "t.npy": packed(lambda file: np.save(file, FRAME["x"].to_numpy())),
    "t.npz": packed(lambda file: np.savez_compressed(file, x=FRAME["x"].to_numpy())),
}


@pytest.mark.parametrize("name", DATA)
def test_data(name, tmp_path):
    assert unexpected_errors(tmp_path / name, DATA[name], legato.read, COUNT) == []


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    """A folder with a model's files."""
    folder = tmp_path_factory.mktemp("saved")
    model = legato.Sequential(
        [
            legato.layers.Input((None, 2), batch_size=1),
            legato.layers.LSTM(2, stateful=True, dropout=0.1),
            legato.layers.Dense(1),
        ]
    )
    model.compile("adam", keras.losses.MeanSquaredError())
    model.save(folder / "m.keras")
    model.save(folder / "m.h5")
    model.save_weights(folder / "m.weights.h5")
    model.states.save(folder / "m.state")
    model.stream().save(folder / "m.stream")
    return folder


def rezipped(content: bytes, member: str):
    """Makes a .keras file with another content of a member; ``"comment"`` is the archive's."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = {each: archive.read(each) for each in archive.namelist()}
        comment = archive.comment
    whole = comment if member == "comment" else members[member]

    def wrap(changed: bytes) -> bytes:
        if member == "comment":
            return zipped(members, changed)
        return zipped(members | {member: changed}, comment)

    return whole, wrap


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("member", ["config.json", "metadata.json", "model.weights.h5", "comment"])
def test_members_of_model_files(member, saved, tmp_path):
    whole, wrap = rezipped((saved / "m.keras").read_bytes(), member)
    path = tmp_path / "m.keras"
    assert unexpected_errors(path, whole, legato.load_model, COUNT, wrap=wrap) == []


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["m.keras", "m.h5", "m.weights.h5", "m.state", "m.stream"])
def test_files_of_models(name, saved, tmp_path):
    model = legato.load_model(saved / "m.keras")
    load = {
        "m.weights.h5": model.load_weights,
        "m.state": legato.State.load,
        "m.stream": model.stream().load,
    }.get(name, legato.load_model)
    whole = (saved / name).read_bytes()
    assert unexpected_errors(tmp_path / name, whole, load, COUNT) == []


@pytest.mark.filterwarnings("ignore")
def test_deep_json_in_a_model_file(saved, tmp_path):
    content = (saved / "m.keras").read_bytes()
    path = tmp_path / "m.keras"
    _, wrap = rezipped(content, "config.json")
    path.write_bytes(wrap(b"[" * 100_000))
    with pytest.raises(legato.InputError, match=r"m\.keras is not a whole model file"):
        legato.load_model(path)
    path.write_bytes(content)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("legato.json", "[" * 100_000)
    with pytest.raises(legato.InputError, match=r"training record of .*m\.keras cannot be read"):
        legato.load_model(path)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["m.keras", "m.h5"])
def test_well_formed_but_wrong_configurations(name, saved, tmp_path):
    content = (saved / name).read_bytes()
    if name == "m.keras":
        whole, wrap = rezipped(content, "config.json")
        texts = json_mutations(json.loads(whole), 4 * COUNT)
    else:
        (tmp_path / "whole.h5").write_bytes(content)

        def wrap(changed: bytes) -> bytes:
            with h5py.File(tmp_path / "whole.h5", "r+") as file:
                file.attrs["model_config"] = changed
            return (tmp_path / "whole.h5").read_bytes()

        with h5py.File(tmp_path / "whole.h5") as file:
            texts = json_mutations(json.loads(file.attrs["model_config"]), COUNT)
    assert errors_of(tmp_path / name, map(wrap, texts), legato.load_model) == []
