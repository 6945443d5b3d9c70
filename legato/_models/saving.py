"""How a model is written to a file and what a model read from one becomes.

Files are Keras's, to the letter: what legato writes opens in plain Keras, and the other way round
a model Keras has read becomes legato's in place, every layer and variable staying the object it
was. legato adds that a file is whole or absent, the number of rows without which plain Keras opens
no stateful layer (in ``.keras`` files it stands with the layer, see
``layers.Carries.get_build_config``), and how far the random generators of dropout have come, which
Keras forgets. Recurrent state is in no model file: ``save_states`` has it.
"""

import json
import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import keras
import numpy as np

from legato._errors import InputError
from legato._platform import keras_private
from legato._platform.atomic_files import write_whole
from legato._recurrent.stateful_layers import StatefulLayer, adopt, with_rows

MODEL_SUFFIXES = (".keras", ".h5", ".hdf5")
_HDF5 = (".h5", ".hdf5")
_ABOUT = "legato.json"
_BECOMES: dict[type, type] = {}  # Keras's model class → legato's

_KerasModel = keras.Model if TYPE_CHECKING else object  # what the saving is mixed into


def stands_for(cls: type, keras_cls: type) -> None:
    """Write ``cls`` to files as the Keras model class it extends, and read that as ``cls``."""
    keras_private.saved_as(cls, keras_cls)
    _BECOMES[keras_cls] = cls


class SaveMethods(_KerasModel):
    """Saving as Keras does it, but whole or not at all; mixed into Keras's model classes."""

    def save(self, filepath, overwrite=True, zipped=None, **kwargs) -> None:
        """Write the model: layers, weights, and how it was compiled with its optimizer's state.

        Args:
            filepath: a path that ends in ``.keras``, or in ``.h5`` for Keras's old format.
            overwrite: whether an old file goes without asking at the terminal.
            zipped, kwargs: as in Keras. A folder (``zipped=False``) or an address that is not a
                path is written by Keras, piece by piece.

        Raises:
            InputError: the path ends otherwise.
            OutputError: the folder is missing or cannot be written.

        Example:
            >>> import legato
            >>> model = legato.Sequential([legato.layers.Input((3, 1)), legato.layers.LSTM(2)])
            >>> model.save("small.keras")
            >>> legato.load_model("small.keras").output_shape
            (None, 2)
        """
        save = super().save
        if zipped is False or _is_address(filepath):
            save(filepath, overwrite=overwrite, zipped=zipped, **kwargs)
            return
        path = _checked(filepath, MODEL_SUFFIXES, "model")

        def write(temporary: Path) -> None:
            save(temporary, zipped=zipped, **kwargs)
            if path.suffix in _HDF5:
                _declare_rows(self, temporary)
            else:
                _note_seeds(self, temporary)
                _note_about(self, temporary)

        _write(path, overwrite, write)

    def save_weights(self, filepath, overwrite=True, max_shard_size=None) -> None:
        """Write the weights alone, to be read by ``load_weights`` into a model built alike.

        Args:
            filepath: a path that ends in ``.weights.h5``.
            overwrite: whether an old file goes without asking at the terminal.
            max_shard_size: as in Keras, which writes the several files piece by piece.

        Raises:
            InputError: the path ends otherwise, or the model is not built.
            OutputError: the folder is missing or cannot be written.
        """
        save = super().save_weights
        if max_shard_size is not None or _is_address(filepath):
            save(filepath, overwrite=overwrite, max_shard_size=max_shard_size)
            return
        path = _checked(filepath, (".weights.h5",), "weights")
        if not self.built:
            raise InputError(
                f"Model {self.name!r} is not built, so it has no weights to save yet: build it "
                "first, by model.build(input_shape) or by running it once."
            )
        _write(path, overwrite, save)

    @classmethod
    def _unpickle_model(cls, bytesio):
        """A copied or unpickled model carries too; Keras's way makes a plain one."""
        return become(super()._unpickle_model(bytesio))


def become(model):
    """Make a model that Keras read legato's, and every model and recurrent layer in it.

    The very objects are changed. A user's own subclass of a Keras model class stays itself, with
    legato's verbs behind its own.

    Returns:
        The model.
    """
    layers = keras_private.flatten_layers(model)
    for each in layers:
        if isinstance(each, keras.Model) and not isinstance(each, SaveMethods):
            each.__class__ = _carrying(type(each))
    adopt(model)
    inputs = keras_private.known_inputs(model)
    if inputs and inputs[0].shape[0] is None:
        for each in layers:
            if isinstance(each, StatefulLayer):
                keras_private.change_built_shapes(
                    each, lambda shape: with_rows(shape, None, over=True)
                )
    return model


def _carrying(keras_cls: type) -> type:
    """The class that carries for a Keras model class or a user's subclass of one."""
    if keras_cls not in _BECOMES:
        kinds = (keras_private.Functional, keras.Sequential, keras.Model)
        kind = next(each for each in kinds if issubclass(keras_cls, each))
        about = {"__module__": keras_cls.__module__, "__qualname__": keras_cls.__qualname__}
        made = type(keras_cls.__name__, (keras_cls, _BECOMES[kind]), about)
        stands_for(made, keras_cls)
    return _BECOMES[keras_cls]


def _is_address(filepath) -> bool:
    """Whether something Keras can write to is not a path on this machine."""
    return "://" in str(filepath)


def _checked(filepath, suffixes: tuple[str, ...], what: str) -> Path:
    """The path, if it can be one that this is written to.

    Raises:
        InputError: it is no path, or ends otherwise.
    """
    ends = " or ".join(suffixes)
    if not isinstance(filepath, (str, os.PathLike)):
        raise InputError(f"A path that ends in {ends} was expected; {filepath!r} came.")
    path = Path(filepath)
    if not path.name.endswith(suffixes) or path.name in suffixes:
        raise InputError(
            f"{path} cannot be a file of {what}: its name must end in {ends}. "
            "Keras tells by the ending how to read it."
        )
    return path


def _write(path: Path, overwrite: bool, write: Callable[[Path], object]) -> None:
    if overwrite or not path.exists() or keras_private.may_overwrite(path):
        write_whole(path, write)


def _declare_rows(model, path: Path) -> None:
    """Fix the number of rows in an HDF5 model file, which has no other place for it.

    Plain Keras opens a stateful layer only with one: the rows remembered, else 1.
    """
    layers = [
        each for each in keras_private.flatten_layers(model) if isinstance(each, StatefulLayer)
    ]
    rows = [each.rows_to_save for each in layers if each.stateful]
    if not rows:
        return
    import h5py

    with h5py.File(path, "r+") as file:
        config = json.loads(str(file.attrs["model_config"]))
        for inputs in _input_configs(config):
            inputs["batch_shape"] = with_rows(inputs["batch_shape"], max(rows))
        file.attrs["model_config"] = json.dumps(config).encode()


def _note_seeds(model, path: Path) -> None:
    """Write the random generators' states into the archive's comment, which nobody else reads."""
    seeds = [variable.numpy().tolist() for variable in _seeds(model)]
    comment = json.dumps({"legato": {"seeds": seeds}}).encode()
    if seeds and len(comment) <= zipfile.ZIP_MAX_COMMENT:
        with zipfile.ZipFile(path, "a") as archive:
            archive.comment = comment


def recall_seeds(model, path: Path) -> None:
    """Put the random generators where they were when the model was saved, if the file says so."""
    if path.suffix != ".keras" or not path.is_file():
        return
    with zipfile.ZipFile(path) as archive:
        comment = archive.comment
    if not comment.startswith(b'{"legato"'):
        return
    seeds, variables = json.loads(comment)["legato"]["seeds"], _seeds(model)
    if len(seeds) == len(variables):  # else a class of the user's has other layers by now
        for variable, seed in zip(variables, seeds, strict=True):
            variable.assign(np.array(seed, variable.dtype))


def about(model) -> dict | None:
    """What a model knows of its training, as JSON takes it; saved and loaded with it."""
    return model.__dict__.get("_legato_about")


def set_about(model, known: dict | None) -> None:
    """Let a model know of its training."""
    model.__dict__["_legato_about"] = known


def _note_about(model, path: Path) -> None:
    if about(model) is not None:
        with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(_ABOUT, json.dumps(about(model), ensure_ascii=False))


def recall_about(model, path: Path) -> None:
    """Let a model know what its file says of its training.

    Raises:
        InputError: that part of the file is not as legato wrote it.
    """
    if path.suffix != ".keras" or not path.is_file():
        return
    with zipfile.ZipFile(path) as archive:
        if _ABOUT not in archive.namelist():
            return
        try:
            told = json.loads(archive.read(_ABOUT))
            if not isinstance(told, dict):
                raise ValueError(f"it is a {type(told).__name__}")
        except ValueError as error:
            raise InputError(
                f"{path} says of its training what cannot be read ({error}): {_ABOUT} in it was "
                "altered. Use a file as legato wrote it."
            ) from error
    set_about(model, told)


def _seeds(model) -> list:
    """The state variables of the random generators of a model's layers, in order."""
    return [each for each in model.variables if each.name == "seed_generator_state"]


def _input_configs(config):
    """The configurations of every input layer inside a configuration."""
    if isinstance(config, dict):
        if config.get("class_name") == "InputLayer":
            yield config["config"]
        config = list(config.values())
    if isinstance(config, list):
        for each in config:
            yield from _input_configs(each)
