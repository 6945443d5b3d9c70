"""Streams on a server, with the methods of streams in memory."""

import os
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload
from uuid import uuid4

from legato._errors import InputError, OutputError
from legato._platform.atomic_files import write_whole
from legato._platform.checks import check_count
from legato._platform.locks import Lock, with_lock
from legato._serve.client_values import quoted_name

if TYPE_CHECKING:
    from legato._serve.client import RemoteModel

_BINARY = "application/octet-stream"
_PAGE = 1000  # names of streams in one request


class RemoteStream:
    """One live sequence of a model on a server; made by ``RemoteModel.stream``.

    Its methods do what those of ``legato.Stream`` do. The state is on the server, which keeps it
    when this object, or the server, goes. Threads may share a stream: they take turns.

    Attributes:
        name: of the stream.

    Examples:
        >>> import legato
        >>> with legato.connect("http://127.0.0.1:8000") as model:
        ...     stream = model.stream("pump-2")
        ...     answers = stream.feed([[0.1, 0.2, 0.3], [0.2, 0.2, 0.4]])
        ...     answers.shape, stream.steps
        ((2, 2), 2)
    """

    def __init__(self, model: "RemoteModel", name: str):
        self._model, self.name = model, name
        if not isinstance(name, str) or not name:
            raise InputError(f"The name of a stream is {name!r}; a text was expected.")
        self._path = f"/streams/{quoted_name(name)}"
        self._lock = Lock()  # held from sending a feed until it is answered

    def __repr__(self) -> str:
        return f"<RemoteStream: {self.name!r} of {self._model.name!r} at {self._model.url}>"

    # Feeding.

    @with_lock
    def feed(
        self, x: Any, *, every: bool = True, start: bool = False, request_id: str | None = None
    ) -> Any:
        """Feed one step, or several, exactly once, and return the answers.

        Args:
            x: as for ``Stream.feed``; for a model of ``legato train`` also a dictionary of values
                by names of columns, which is one step, or a list of these.
            every: whether to return the answers to all of several steps, or only the last.
            start: whether the stream begins anew before.
            request_id: at most 256 characters: the server feeds an id once, and answers it
                again as long as it is among the last eight of the stream. Default: a new one. Give
                the id of a message, say, to feed it once even if this process dies meanwhile.

        Returns:
            The answer, or answers, as ``Stream.feed`` gives them; a dictionary, or a list of these,
            where x came by names of columns.

        Raises:
            InputError: x does not fit. The stream has not moved.
            StateError: the stream's state is of other weights than the server's model.
            OutputError: the server did not answer in time; the steps may have been fed.
        """
        request_id = uuid4().hex if request_id is None else request_id
        body = {**self._model._steps(x), "id": request_id, "start": start}
        with _naming_id(request_id):
            reply = self._model._call("POST", f"{self._path}/feed", body)
        return self._model._answers(reply, every)

    @with_lock
    def peek(self, x: Any, *, every: bool = True, start: bool = False) -> Any:
        """The answers that ``feed`` would return; the stream stays as it is."""
        body = {**self._model._steps(x), "peek": True, "start": start}
        return self._model._answers(self._model._call("POST", f"{self._path}/feed", body), every)

    def warm(self, history: Any, *, start: bool = False) -> "RemoteStream":
        """Feed a history without returning answers; returns the stream.

        Raises:
            InputError, StateError, OutputError: as ``feed`` does.
        """
        self.feed(history, start=start)
        return self

    # The carried state.

    @property
    def steps(self) -> int:
        """The number of steps fed since it began; 0 if it was not fed yet."""
        about = self._model._call("GET", self._path, none_if_missing=True)
        return 0 if about is None else about["steps"]

    @property
    def state(self) -> bytes:
        """The carried state and the number of steps, as bytes of a safetensors file.

        It can be assigned: the state of another stream of a model with the same weights.

        Raises:
            InputError: there is no such stream yet.
            StateError: (when assigned) it is damaged, or another model's.
        """
        requests = self._model._requests
        path = f"{self._model._path}{self._path}/state"
        response = requests.send("GET", path, headers={"Accept": _BINARY})
        requests.check(response)
        return response.content

    @state.setter
    @with_lock
    def state(self, state: bytes) -> None:
        if not isinstance(state, (bytes, bytearray, memoryview)):
            raise InputError(
                f"The state of a stream on a server is bytes, as another one gave them; "
                f"{type(state).__name__} came."
            )
        headers = {"Content-Type": _BINARY}
        options: dict[str, Any] = {"content": bytes(state), "headers": headers}
        self._model._call("PUT", f"{self._path}/state", **options)

    @with_lock
    def reset(self) -> None:
        """Put the stream back to its beginning, as if it had been fed nothing."""
        self._model._call("POST", f"{self._path}/reset", none_if_missing=True)

    @with_lock
    def end(self) -> None:
        """Let the server forget the stream; feeding it again begins another."""
        self._model._call("DELETE", self._path, none_if_missing=True)

    @overload
    def fork(self, n: None = None, *, into: str | None = None) -> "RemoteStream": ...
    @overload
    def fork(self, n: int, *, into: None = None) -> list["RemoteStream"]: ...
    @with_lock
    def fork(self, n: int | None = None, *, into: str | None = None) -> Any:
        """Copies of this stream that continue from here, independently.

        Args:
            n: how many; default: one, which is returned itself.
            into: name of the copy, in the place of a stream of that name, if any. Default: a new
                unique name for each.
        """
        if n is not None:
            check_count("n", n, noun="a number of streams")
        if n is not None and into is not None:
            raise InputError("n and into were both given: one name is for one copy.")
        forks = [self._model.stream(into) for _ in range(n or 1)]
        for each in forks:
            path, body = f"{self._path}/fork", {"into": each.name}
            done = self._model._call("POST", path, body, none_if_missing=True)
            if done is None and into is not None:  # this one was fed nothing: nor is the copy
                each.end()
        return forks[0] if n is None else forks

    # Files.

    def save(self, path: str | os.PathLike) -> None:
        """Write the state and the number of steps to a file, whole or not at all.

        Raises:
            InputError: there is no such stream yet.
            OutputError: the folder is missing or cannot be written.
        """
        content = self.state
        write_whole(path, lambda temporary: temporary.write_bytes(content))

    def load(self, path: str | os.PathLike) -> "RemoteStream":
        """Continue from the state in a file that ``save`` wrote; returns the stream.

        Raises:
            StateError: the file is damaged, or of another model or other weights.
            OutputError: it cannot be read.
        """
        try:
            content = Path(path).read_bytes()
        except OSError as error:
            raise OutputError(f"{path} cannot be read ({error}): name a file of save.") from error
        self.state = content
        return self


@contextmanager
def _naming_id(request_id: str) -> Generator[None]:
    """Within it, an error that leaves open what was fed says how to send it again."""
    try:
        yield
    except OutputError as error:
        named: Any = OutputError(
            f"{error} Whether the steps were fed is not known: feed them again with "
            f"request_id={request_id!r}, which feeds them once."
        )
        vars(named).update(vars(error))  # the answers of streams that were fed
        raise named from error


class RemoteStreams:
    """The streams of a model on a server, by name; made by ``RemoteModel.streams``.

    Examples:
        >>> import legato
        >>> with legato.connect("http://127.0.0.1:8000") as model:
        ...     streams = model.streams()
        ...     answers = streams.feed({"pump-3": [0.1, 0.2, 0.3], "pump-4": [0.2, 0.2, 0.4]})
        ...     sorted(answers), "pump-3" in streams
        (['pump-3', 'pump-4'], True)
    """

    def __init__(self, model: "RemoteModel"):
        self._model = model

    def __repr__(self) -> str:
        return f"<RemoteStreams: of {self._model.name!r} at {self._model.url}>"

    def __iter__(self) -> Iterator[str]:
        """The names of all streams of the model and the key, in order."""
        after = ""
        while True:
            params = {"after": after, "limit": str(_PAGE)}
            names = self._model._call("GET", "/streams", params=params)["streams"]
            yield from names
            if len(names) < _PAGE:
                return
            after = names[-1]

    def __contains__(self, name: object) -> bool:
        if not isinstance(name, str) or not name:
            return False
        path = f"/streams/{quoted_name(name)}"
        return self._model._call("GET", path, none_if_missing=True) is not None

    def feed(self, x: Mapping[str, Any], *, request_id: str | None = None) -> dict[str, Any]:
        """Feed a step, or several, to each of some streams, as one batch, each exactly once.

        Args:
            x: name → input, as for ``RemoteStream.feed``. A new name begins a stream.
            request_id: the id of the feed of each stream, as for ``RemoteStream.feed``. Default: a
                new one.

        Returns:
            Name → the answer, or answers, as ``RemoteStream.feed`` gives them.

        Raises:
            InputError: an x that does not fit. None has moved.
            LegatoError: some streams could not be fed, say because their states are of other
                weights; the others were, and their answers are its attribute ``answers``.
            OutputError: the server did not answer in time; the steps may have been fed.
        """
        request_id = uuid4().hex if request_id is None else request_id
        with _naming_id(request_id):
            return self._send(x, {"id": request_id})

    def peek(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """The answers that ``feed`` would return; every stream stays as it is, and none begins."""
        return self._send(x, {"peek": True})

    def _send(self, x: Mapping[str, Any], options: dict[str, Any]) -> dict[str, Any]:
        from legato._serve.retried_requests import error_of

        if not isinstance(x, Mapping):
            raise InputError(
                f"A mapping of names to steps was expected, such as {{'ada': x}}; "
                f"{type(x).__name__} came."
            )
        feeds = [
            {"stream": name, **self._model._steps(each), **options} for name, each in x.items()
        ]
        replies = self._model._call("POST", "/feed", {"feeds": feeds})["answers"]
        answers = {
            each["stream"]: self._model._answers(each) for each in replies if "error" not in each
        }
        failed = [each for each in replies if "error" in each]
        if failed:
            first = failed[0]
            error: Any = error_of(first["status"], f"Stream {first['stream']!r}: {first['error']}")
            error.answers = answers
            raise error
        return answers

    def stream(self, name: str) -> RemoteStream:
        """The stream of a name."""
        return self._model.stream(name)

    def steps(self, name: str) -> int:
        """How many steps a stream was fed; 0 if there is none."""
        return self.stream(name).steps

    def fork(self, name: str, into: str) -> None:
        """Copy a stream's state to another name, in the place of a stream of that name, if any."""
        self.stream(name).fork(into=into)

    def reset(self, name: str) -> None:
        """Put a stream back to its beginning."""
        self.stream(name).reset()

    def drop(self, name: str) -> None:
        """Let the server forget a stream."""
        self.stream(name).end()
