"""Model files as a server reads them, from the disk or from its store."""

import tempfile
from pathlib import Path
from typing import Any, NamedTuple

from legato._errors import InputError
from legato._serve.row_codecs import PlainModelCodec, TrainedModelCodec
from legato._streams.compiled_steps import CompiledSteps
from legato._streams.model_methods import compiled_steps_of

_COMPILED_SIZES = tuple(1 << power for power in range(7))  # batches, before the first request
_TRIES = 3  # to read a file that does not change meanwhile
_MOST_BYTES = 2**28  # of a file that is kept in the store: Redis takes twice as much


class LoadedModel(NamedTuple):
    """A model that can be served.

    Attributes:
        codec: of its rows.
        compiled: its compiled steps.
        content: of its file; empty if it is too large to be kept in a store.
    """

    codec: Any
    compiled: CompiledSteps
    content: bytes


def load_model_file(path: Path) -> LoadedModel:
    """Load a model to be served.

    Raises:
        InputError: it is no model, or is being written.
        OutputError: there is no such file, or it cannot be read.
        UnsupportedError, StateError: the model cannot be fed step by step.
    """
    for _ in range(_TRIES):
        before = _state_of(path)
        codec, compiled = _load(path)
        content = path.read_bytes() if before[0] <= _MOST_BYTES else b""
        if _state_of(path) == before:
            return LoadedModel(codec, compiled, content)
    raise InputError(
        f"{path} was written while it was read, {_TRIES} times: write the model to another file, "
        "and rename that."
    )


def load_model_content(content: bytes) -> LoadedModel:
    """Load the content of a model file; see ``load_model_file``."""
    with tempfile.TemporaryDirectory(prefix="legato-serve-") as folder:
        path = Path(folder) / "model.keras"
        path.write_bytes(content)
        return LoadedModel(*_load(path), content)


def _state_of(path: Path) -> tuple[int, int, int]:
    """What changes when a file is written or replaced."""
    try:
        found = path.stat()
    except OSError:  # the loader says it better
        return 0, 0, 0
    return found.st_size, found.st_mtime_ns, found.st_ino


def _load(path: Path) -> tuple[Any, CompiledSteps]:
    from legato import Trained, load_model

    try:
        trained = Trained.load(path)
    except InputError:
        model = load_model(path)  # raises the same again if it is no model
        compiled = compiled_steps_of(model, "auto", None)
        codec: Any = PlainModelCodec(model.stream())
    else:
        lookback: dict[str, Any] = {"window": "auto", "pad": None, **trained.lookback}
        compiled = compiled_steps_of(trained.model, **lookback)
        codec = TrainedModelCodec(trained)
    if not compiled.takes_any_batch:
        compiled.compile(_COMPILED_SIZES)
    compiled.compile()
    return codec, compiled
