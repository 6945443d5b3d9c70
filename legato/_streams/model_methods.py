"""``stream`` and ``streams``: the methods of models that make live sequences."""

import os
from functools import partial
from typing import TYPE_CHECKING, Literal

import keras

from legato._platform.locks import TRACING
from legato._streams.batched_steps import MAX_BATCH
from legato._streams.compiled_steps import CompiledSteps
from legato._streams.folder_store import FolderStore
from legato._streams.log_store import LogStore
from legato._streams.step import LookBack, ModelStep, check_window
from legato._streams.stream import Stream
from legato._streams.streams import Streams

_KerasModel = keras.Model if TYPE_CHECKING else object  # the class that these methods extend


class StreamMethods(_KerasModel):
    """Live sequences of a model, each with a state of its own."""

    def stream(
        self,
        *,
        window: LookBack = "auto",
        pad: float | None = None,
        compile: bool = False,  # noqa: A002  what it does
    ) -> Stream:
        """One live sequence, fed as it arrives, however the model was trained.

        Args:
            window: time steps that an answer depends on, the current one included; None: all since
                the beginning, carried in the recurrent layers. ``"auto"`` is as the model was
                trained: state is carried if a layer is stateful, or samples may have any number of
                time steps; a stateless model of samples of n steps (by its input's shape) gets a
                window of the last n and starts from its initial state at every step.
            pad: the number that fills a window before the first step, as in training on sequences
                padded in front. Default: no answer (NaN) before a window is full.
            compile: compile the programs of a step now, not when the first is fed.

        Returns:
            A stream that was fed nothing. It neither reads nor changes ``model.states``.

        Raises:
            StateError: the model is not built yet.
            InputError: a window or padding that does not fit the model.
            UnsupportedError: the model cannot be fed step by step; the message says why.

        Examples:
            >>> import legato
            >>> model = legato.Sequential([legato.layers.Input((None, 1)), legato.layers.GRU(2)])
            >>> stream = model.stream()
            >>> stream.warm([[0.1], [0.2]]).feed([0.3]).shape
            (2,)
        """
        compiled = compiled_steps_of(self, window, pad)
        if compile:
            compiled.compile()
        return Stream(compiled)

    def streams(
        self,
        limit: int | None = None,
        *,
        folder: str | os.PathLike | None = None,
        file: str | os.PathLike | None = None,
        sync: Literal["off", "close", "feed"] = "close",
        other_weights: bool = False,
        window: LookBack = "auto",
        pad: float | None = None,
        compile: bool = False,  # noqa: A002  what it does
    ) -> Streams:
        """Many live sequences by name, of which any subset is fed at a time.

        Args:
            limit: the most streams in memory. Default: as many as fit into a GiB.
            folder: where ``evict`` puts streams; made if it is missing.
            file: where the streams in memory are also kept, with a log FILE.log beside it. Every
                answered feed is in them even if the process is killed; a pool that opens the file
                again goes on to the bit. Close the pool, or use it in a ``with`` statement, so that
                all is in the one file.
            sync: what a loss of power may take. ``"off"``: what was fed since the pool was opened,
                or since its file was last written anew. ``"close"``: that, until ``close`` ends,
                even with an error. ``"feed"``: nothing that was answered; every change waits for
                the disk, one wait for all streams of a feed and for all threads.
            other_weights: load a file's streams also if the model's weights are others now.
            window, pad: as for ``stream``.
            compile: compile the programs of a step now, for batches of all sizes.

        Raises:
            StateError, InputError, UnsupportedError: as ``stream`` does.
            StateError: the file is damaged, or of another model or other weights.
            InputError: the file has more streams than the limit, or an unknown ``sync``.
            OutputError: the folder or the file cannot be written, or another pool has it open.

        Examples:
            >>> import legato
            >>> model = legato.Sequential([legato.layers.Input((None, 1)), legato.layers.GRU(2)])
            >>> pool = model.streams()
            >>> sorted(pool.feed({"ada": [0.1], "bob": [0.2]}))
            ['ada', 'bob']
        """
        compiled = compiled_steps_of(self, window, pad)
        if compile:
            compiled.compile([1 << power for power in range(MAX_BATCH.bit_length())])
        evicted = None if folder is None else FolderStore(folder, compiled.files)
        open_store = None
        if file is not None:
            open_store = partial(
                LogStore, file, compiled.files, other_weights=other_weights, sync=sync
            )
        return Streams(compiled, limit, open_store, evicted)


def compiled_steps_of(model, window: LookBack, pad: float | None) -> CompiledSteps:
    """The compiled steps of a model, made once for each window and padding."""
    check_window(window, pad)
    with TRACING:
        made = model.__dict__.setdefault("_legato_steppers", {})
        if (window, pad) not in made:
            made[window, pad] = CompiledSteps(ModelStep(model._model_state, window, pad))
        return made[window, pad]
