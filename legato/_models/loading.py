"""``load_model``: loads a model file of legato or plain Keras as a legato model.

Keras loads the file, with all its checks, and ``conversion`` converts the model. Files of other
kinds are recognized first, so that the error can name the kind.
"""

import os
import re
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import cast

import keras

from legato._errors import InputError, OutputError, StateError
from legato._models.conversion import convert_model
from legato._models.file_limits import check_datasets, check_members
from legato._models.model import Model
from legato._models.saving import (
    HDF5_SUFFIXES,
    MODEL_SUFFIXES,
    load_seeds,
    load_training_record,
)
from legato._platform import keras_variables
from legato._platform.input_files import check_is_regular, refusing_damage
from legato._recurrent.state import State

# Keras's messages
_SHORT_NAME = re.compile(
    r"Could not deserialize '(?:\w+\.)*(\w+)' because it is not a KerasSaveable subclass"
)
_UNKNOWN = re.compile(r"(?:Could not locate|Could not deserialize|Unknown) (\w+):? '([^']*)'")


class _UnknownNameError(InputError, TypeError):
    """A model file needs a class or function that is not known; Keras's is a ``TypeError``."""


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
        InputError: the file holds no model: it is damaged, a state, weights alone, another format,
            no regular file, or larger than the limit when it is unpacked; or it has a ``lambda``.
            Of a class or function that is not known it is also a ``TypeError``, as Keras's.

    Examples:
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
    with _refusing_damage(filepath) if local else nullcontext():
        try:
            with keras_variables.drawing_initial_values_last():
                model = keras.saving.load_model(
                    filepath, custom_objects=custom_objects, compile=compile, safe_mode=safe_mode
                )
        except (OSError, TypeError, ValueError) as error:
            _explain(filepath, error)
            raise
        model = convert_model(model)
        if local:
            load_seeds(model, Path(filepath))
            load_training_record(model, Path(filepath))
    return cast(Model, model)


def _refusing_damage(path: str | os.PathLike):
    return refusing_damage(path, "model file", "use a file that model.save wrote.")


def _explain(path: str | os.PathLike, error: Exception) -> None:
    """Raise an ``InputError`` for what Keras refuses although it is not damaged.

    Raises:
        InputError: it has code in it, needs a class or function that is not known, was compiled
            with a name that Keras does not find again, or is a folder without a model.
    """
    message = str(error)
    if Path(path).is_dir() and not (Path(path) / "config.json").exists():
        raise InputError(f"{path} is a folder, and no model. Name a model file.") from error
    if "safe_mode=False" in message:
        raise InputError(
            f"{path} holds Python code (lambda), which could do anything when it is loaded. If you "
            "trust whoever wrote it, load it in Python: legato.load_model(path, safe_mode=False)."
        ) from error
    if Path(path).suffix in HDF5_SUFFIXES and (found := _SHORT_NAME.search(message)):
        raise InputError(
            f"{path} was compiled with {found[1]!r}, a short name that Keras does not find again "
            "in this format. Load it in Python without that: legato.load_model(path, "
            "compile=False); save it as .keras from then on."
        ) from error
    if found := _UNKNOWN.search(message):
        raise _UnknownNameError(
            f"{path} cannot be loaded: Could not locate {found[1]} {found[2]!r}. Decorate it with "
            "@keras.saving.register_keras_serializable() and import it first, or load the file in "
            f"Python: legato.load_model(path, custom_objects={{{found[2]!r}: …}})."
        ) from error


def _check_file(path: Path) -> None:
    """Refuse a file that is no model file, naming its kind.

    Raises:
        OutputError: it cannot be read.
        InputError: it is of another kind.
    """
    if path.is_dir():
        return  # an unzipped model, or a checkpoint: Keras checks it
    try:
        check_is_regular(path, "a model file")
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
    with _refusing_damage(path), zipfile.ZipFile(path) as archive:
        is_model = "config.json" in archive.namelist()
        check_members(archive, path)
    if not is_model:
        raise InputError(
            f"{path} is a zip archive, but not a Keras model: it has no config.json. Use a file "
            "that model.save wrote."
        )


def _check_hdf5(path: Path) -> None:
    import h5py

    with _refusing_damage(path):
        check_datasets(path, path)
        with h5py.File(path) as file:
            is_model = "model_config" in file.attrs
    if not is_model:
        raise InputError(
            f"{path} is an HDF5 file without a model in it. If it holds weights, make the model "
            "first, and then model.load_weights(path)."
        )
