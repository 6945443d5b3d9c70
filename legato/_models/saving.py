"""Saves models as Keras model files, and their weights.

The files are Keras's own, and open in plain Keras. legato adds three things: files are written
whole or not at all; they hold the number of rows, without which plain Keras opens no stateful layer
(in ``.keras`` files as part of the layer, see ``StatefulLayer.get_build_config``); and they hold
the states of the layers' random generators, which Keras does not save. Limits: a model file has no
recurrent state; ``save_states`` writes that.
"""

import io
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from legato._errors import InputError
from legato._models.conversion import convert_model
from legato._models.file_limits import RECORD_FILE, check_datasets, check_members
from legato._platform import keras_private
from legato._platform.atomic_files import write_whole
from legato._platform.input_files import check_is_regular, refusing_damage
from legato._recurrent.stateful_layers import StatefulLayer, with_rows

MODEL_SUFFIXES = (".keras", ".h5", ".hdf5")
HDF5_SUFFIXES = (".h5", ".hdf5")

_KerasModel = keras.Model if TYPE_CHECKING else object  # the class that the mixin extends


class SaveMethods(_KerasModel):
    """``save``, ``save_weights`` and ``load_weights``, mixed into Keras's model classes."""

    def save(self, filepath, overwrite=True, zipped=None, **kwargs) -> None:
        """Write the model to one file: layers, weights, compile options and optimizer state.

        The file is written whole or not at all.

        Args:
            filepath: a path that ends in ``.keras``, or in ``.h5`` for Keras's old format.
            overwrite: whether an existing file is replaced without asking at the terminal.
            zipped, kwargs: as in Keras. A folder (``zipped=False``) and an address that is no
                local path are written by Keras, file by file.

        Raises:
            InputError: the path has another suffix.
            OutputError: the folder is missing or cannot be written.

        Examples:
            >>> import legato
            >>> model = legato.Sequential([legato.layers.Input((3, 1)), legato.layers.LSTM(2)])
            >>> model.save("small.keras")
            >>> legato.load_model("small.keras").output_shape
            (None, 2)
        """
        save = keras_private.keep_compile_config(self, super().save)
        if zipped is False or _is_address(filepath):
            save(filepath, overwrite=overwrite, zipped=zipped, **kwargs)
            return
        path = _checked_path(filepath, MODEL_SUFFIXES, "model")

        def write(temporary: Path) -> None:
            if path.suffix in HDF5_SUFFIXES:
                content = _MemoryFile(temporary)
                save(content, zipped=zipped, **kwargs)
                _declare_rows(self, content)
                temporary.write_bytes(content.getbuffer())
            else:
                save(temporary, zipped=zipped, **kwargs)
                _write_seeds(self, temporary)
                _write_training_record(self, temporary)

        _write(path, overwrite, write)

    def save_weights(self, filepath, overwrite=True, max_shard_size=None) -> None:
        """Write the weights alone; ``load_weights`` reads them into a model of the same layers.

        The file is written whole or not at all.

        Args:
            filepath: a path that ends in ``.weights.h5``.
            overwrite: whether an existing file is replaced without asking at the terminal.
            max_shard_size: as in Keras, which then writes several files, one by one.

        Raises:
            InputError: the path has another suffix, or the model is not built.
            OutputError: the folder is missing or cannot be written.
        """
        save = super().save_weights
        if max_shard_size is not None or _is_address(filepath):
            save(filepath, overwrite=overwrite, max_shard_size=max_shard_size)
            return
        path = _checked_path(filepath, (".weights.h5",), "weights")
        if not self.built:
            raise InputError(
                f"Model {self.name!r} is not built, so it has no weights to save yet: build it "
                "first, by model.build(input_shape) or by running it once."
            )

        def write(temporary: Path) -> None:
            content = _MemoryFile(temporary)
            save(content)
            temporary.write_bytes(content.getbuffer())

        _write(path, overwrite, write)

    def load_weights(self, filepath, skip_mismatch=False, **kwargs) -> None:
        """Read the weights of a file into the model, as Keras does; whole or not at all.

        Args:
            filepath: a file of ``save_weights``, or a model file.
            skip_mismatch, kwargs: as in Keras.

        Raises:
            InputError: the file is damaged, no regular file, larger than the limit when it is
                unpacked, or has the weights of other layers.
        """
        load = super().load_weights
        is_local = isinstance(filepath, (str, os.PathLike)) and not _is_address(filepath)
        path = Path(filepath) if is_local else None
        if path is None or path.is_dir() or not path.exists():
            load(filepath, skip_mismatch=skip_mismatch, **kwargs)
            return
        check_is_regular(path, "a file of weights")
        what, remedy = "file of weights for this model", "use one that a model like it wrote."
        with refusing_damage(path, what, remedy):
            if path.suffix == ".keras":
                with zipfile.ZipFile(path) as archive:
                    check_members(archive, path)
            else:
                check_datasets(path, path)
            with _keeping_variables(self):
                load(path, skip_mismatch=skip_mismatch, **kwargs)

    @classmethod
    def _unpickle_model(cls, bytesio):
        """A copied or unpickled model as legato's; Keras makes a plain one."""
        return convert_model(super()._unpickle_model(bytesio))


@contextmanager
def _keeping_variables(model: keras.Model) -> Generator[None]:
    """Put all variables back to their values if something fails, or is interrupted."""
    optimizer = getattr(model, "optimizer", None)
    variables = [*model.variables, *(optimizer.variables if optimizer else [])]
    values = [each.value for each in variables]
    try:
        yield
    except BaseException:
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        raise


def _is_address(filepath) -> bool:
    """Whether Keras writes to a remote address (``scheme://…``), not to a local path."""
    return "://" in str(filepath)


def _checked_path(filepath, suffixes: tuple[str, ...], content: str) -> Path:
    """A path with one of the suffixes that Keras requires of a file of this content.

    Raises:
        InputError: it is no path, or has another suffix.
    """
    ends = " or ".join(suffixes)
    if not isinstance(filepath, (str, os.PathLike)):
        raise InputError(f"A path that ends in {ends} was expected; {filepath!r} came.")
    path = Path(filepath)
    if not path.name.endswith(suffixes) or path.name in suffixes:
        raise InputError(
            f"{path} cannot be a file of {content}: its name must end in {ends}. "
            "Keras chooses the format by it."
        )
    return path


def _write(path: Path, overwrite: bool, write: Callable[[Path], object]) -> None:
    if overwrite or not path.exists() or keras_private.may_overwrite(path):
        write_whole(path, write)


class _MemoryFile(io.BytesIO):
    """A file in memory that has a path, by whose suffix Keras chooses the format.

    The HDF5 library is given no file on a disk: when the disk is full, it leaves objects that it
    cannot close, of which the process crashes later.
    """

    def __init__(self, path: Path):
        super().__init__()
        self._path = str(path)

    def __fspath__(self) -> str:
        return self._path

    __str__ = __fspath__


def _declare_rows(model, content: io.BytesIO) -> None:
    """Set the batch size of the inputs in an HDF5 model file, which has no other place for it.

    Plain Keras opens stateful layers only with a batch size: the number of rows remembered, else 1.
    """
    layers = [
        each for each in keras_private.flatten_layers(model) if isinstance(each, StatefulLayer)
    ]
    rows = [each.rows_to_save for each in layers if each.stateful]
    if not rows:
        return
    import h5py

    with h5py.File(content, "r+") as file:
        config = json.loads(str(file.attrs["model_config"]))
        for inputs in _input_configs(config):
            inputs["batch_shape"] = with_rows(inputs["batch_shape"], max(rows))
        file.attrs["model_config"] = json.dumps(config).encode()


def _write_seeds(model, path: Path) -> None:
    """Write the random generators' states as the archive's comment, which Keras ignores."""
    seeds = [variable.numpy().tolist() for variable in _seeds(model)]
    comment = json.dumps({"legato": {"seeds": seeds, "crc32": _checksum(seeds)}}).encode()
    if seeds and len(comment) <= zipfile.ZIP_MAX_COMMENT:
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = comment


def load_seeds(model, path: Path) -> None:
    """Set the random generators to their states when the model was saved, if the file has them.

    Raises:
        ValueError, LookupError, TypeError: the states are not as they were written. A zip archive
            has a checksum of each member, but none of its comment; earlier versions wrote none.
    """
    if path.suffix != ".keras" or not path.is_file():
        return
    with zipfile.ZipFile(path) as archive:
        comment = archive.comment
    is_own = comment.startswith(b'{"legato"') or (b'"seeds"' in comment and b'"crc32"' in comment)
    if not is_own:
        return  # none, or another program's
    found, variables = json.loads(comment)["legato"], _seeds(model)
    seeds = found["seeds"]
    if found.get("crc32", _checksum(seeds)) != _checksum(seeds):
        raise ValueError("the checksum of its random states differs")
    if len(seeds) == len(variables):  # else the user's class has other layers than when saved
        for variable, seed in zip(variables, seeds, strict=True):
            variable.assign(np.array(seed, variable.dtype))


def _checksum(seeds: list) -> int:
    """The checksum of random generators' states."""
    return zlib.crc32(json.dumps(seeds).encode())


def training_record(model) -> dict | None:
    """The record of a model's training, as JSON types; saved and loaded with the model."""
    return model.__dict__.get("_legato_training_record")


def set_training_record(model, record: dict | None) -> None:
    """Attach the record of its training to a model, or with None remove it."""
    model.__dict__["_legato_training_record"] = record


def _write_training_record(model, path: Path) -> None:
    record = training_record(model)
    if record is not None:
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(RECORD_FILE, json.dumps(record, ensure_ascii=False))


def load_training_record(model, path: Path) -> None:
    """Attach the training record of a model file, if it has one, to the model read from it.

    Raises:
        InputError: the record is not as legato wrote it.
    """
    if path.suffix != ".keras" or not path.is_file():
        return
    with zipfile.ZipFile(path) as archive:
        if RECORD_FILE not in archive.namelist():
            return
        try:
            record = json.loads(archive.read(RECORD_FILE))
            if not isinstance(record, dict):
                raise ValueError(f"it is a {type(record).__name__}")
        except (ValueError, RecursionError) as error:
            raise InputError(
                f"The training record of {path} cannot be read ({error}): {RECORD_FILE} in it was "
                "altered. Use a file as legato wrote it."
            ) from error
    set_training_record(model, record)


def _seeds(model) -> list:
    """The state variables of the random generators of a model's layers, in order."""
    return [each for each in model.variables if each.name == "seed_generator_state"]


def _input_configs(config):
    """The configurations of all input layers inside a model's configuration."""
    if isinstance(config, dict):
        if config.get("class_name") == "InputLayer":
            yield config["config"]
        config = list(config.values())
    if isinstance(config, list):
        for each in config:
            yield from _input_configs(each)
