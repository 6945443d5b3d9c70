"""``load_model``: loads a model file of legato or plain Keras as a legato model.

Keras loads the file, with all its checks, and ``saving.convert_model`` converts the model. Files of
other kinds are recognized first, so that the error can name the kind.
"""

import os
import zipfile
import zlib
from pathlib import Path
from typing import cast

import keras

from legato._errors import InputError, OutputError, StateError
from legato._models.model import Model
from legato._models.saving import MODEL_SUFFIXES, convert_model, load_seeds, load_training_record
from legato._recurrent.state import State


def load_model(
    filepath,
    custom_objects=None,
    compile=True,  # noqa: A002  Keras's name
    safe_mode=True,
) -> Model:
    """Load a model from a file, as ``keras.saving.load_model`` does, with state carried.

    ``keras.Sequential`` becomes ``legato.Sequential`` and a functional model ``legato.Model``, also
    nested ones; recurrent layers carry state as ``legato.layers`` do. The model starts from the
    initial state: ``save_states`` writes states to a file of their own, for ``model.load_states``.

    Args:
        filepath: a ``.keras`` file, an ``.h5`` file, or anything else that Keras opens.
        custom_objects: your own classes and functions that are not registered, by name.
        compile: whether to compile the model as it was saved, with the optimizer's state.
        safe_mode: whether to refuse ``lambda``, which could run any code when loaded.

    Returns:
        A ``legato.Sequential``, a functional ``legato.Model``, or a subclass of your own.

    Raises:
        OutputError: there is no such file, or it cannot be read.
        InputError: the file holds no model: it is truncated, a state, weights alone, or another
            format.
        TypeError: a class or function is not known (raised by Keras, with the remedy).

    Example:
        >>> import keras, legato
        >>> inputs = keras.Input((3, 1), batch_size=2)
        >>> plain = keras.Model(inputs, keras.layers.LSTM(2, stateful=True)(inputs))
        >>> plain.save("plain.keras")
        >>> model = legato.load_model("plain.keras")
        >>> model.predict([[[0.1], [0.2], [0.3]]], verbose=0).shape  # any number of rows
        (1, 2)
    """
    local = isinstance(filepath, (str, os.PathLike)) and "://" not in str(filepath)
    if local:
        _check_file(Path(filepath))
    try:
        model = keras.saving.load_model(
            filepath, custom_objects=custom_objects, compile=compile, safe_mode=safe_mode
        )
    except (zipfile.BadZipFile, zlib.error, OSError) as error:
        raise InputError(_damaged(filepath, error)) from error
    except ValueError as error:
        if local and Path(filepath).is_dir() and not (Path(filepath) / "config.json").exists():
            raise InputError(f"{filepath} is a folder, and no model. Name a model file.") from error
        raise
    model = convert_model(model)
    if local:
        load_seeds(model, Path(filepath))
        load_training_record(model, Path(filepath))
    return cast(Model, model)


def _check_file(path: Path) -> None:
    """Refuse a file that is no model file, naming its kind.

    Raises:
        OutputError: it cannot be read.
        InputError: it is of another kind.
    """
    if path.is_dir():
        return  # an unzipped model, or a checkpoint: Keras checks it
    try:
        path.open("rb").close()
    except OSError as error:
        raise OutputError(
            f"{path} cannot be read ({error.strerror or error}). Name a model file that exists and "
            "that you may read."
        ) from error
    if _holds_state(path):
        raise InputError(
            f"{path} holds the state of a model, not the model: open the model's own file, and "
            "then model.load_states(path)."
        )
    if path.suffix not in MODEL_SUFFIXES:
        raise InputError(
            f"{path} does not end in {' or '.join(MODEL_SUFFIXES)}, as the model files that Keras "
            "reads do. Rename it if it is one."
        )
    if path.suffix == ".keras":
        _check_archive(path)
    else:
        _check_hdf5(path)


def _holds_state(path: Path) -> bool:
    try:
        State.load(path)
    except StateError:
        return False
    return True


def _check_archive(path: Path) -> None:
    try:
        with zipfile.ZipFile(path) as archive:
            is_model = "config.json" in archive.namelist()
    except (zipfile.BadZipFile, OSError) as error:
        raise InputError(_damaged(path, error)) from error
    if not is_model:
        raise InputError(
            f"{path} is a zip archive, but not a Keras model: it has no config.json. Use a file "
            "that model.save wrote."
        )


def _check_hdf5(path: Path) -> None:
    import h5py

    try:
        with h5py.File(path) as file:
            is_model = "model_config" in file.attrs
    except OSError as error:
        raise InputError(_damaged(path, error)) from error
    if not is_model:
        raise InputError(
            f"{path} is an HDF5 file without a model in it. If it holds weights, make the model "
            "first, and then model.load_weights(path)."
        )


def _damaged(path, error: Exception) -> str:
    return (
        f"{path} is not a whole model file ({error}). It was cut short, altered, or written by "
        "something else: use a file that model.save wrote."
    )
