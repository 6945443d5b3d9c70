"""A client of ``legato serve``: streams on a server, with the methods of streams in memory.

Every feed has an id, and is sent again after a cut connection or a refusal that may pass; the
server feeds an id once. Numbers travel as JSON that reads back to the bit; infinite answers come as
NaN.
"""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, overload
from urllib.parse import quote
from uuid import uuid4

import numpy as np

from legato._errors import InputError, MissingError, OutputError
from legato._platform.atomic_files import write_whole
from legato._platform.checks import check_count
from legato._platform.locks import Lock, with_lock

_BINARY = "application/octet-stream"
_PAGE = 1000  # names of streams in one request
_TYPES = {"FP16": "float16", "FP32": "float32", "FP64": "float64"}  # others are NumPy's names


def connect(
    url: str,
    *,
    api_key: str | None = None,
    model: str | None = None,
    timeout: float = 15.0,
    retries: int = 20,
    deadline: float = 60.0,
) -> "RemoteModel":
    """Connect to a server that ``legato serve`` started.

    Args:
        url: its address, such as ``http://127.0.0.1:8000``.
        api_key: one that the server knows, if it has keys.
        model: name of one of its models. Default: its first.
        timeout: seconds that one try of a request waits for the server.
        retries: how often a request is sent again at most, after a cut connection or a refusal
            that may pass, with pauses of 0.05 s and more.
        deadline: seconds for a request with all its tries.

    Returns:
        The model there, which makes streams.

    Raises:
        InputError: this is no such server, it does not know the key, or has no such model.
        OutputError: it does not answer.
        MissingError: httpx is not installed.

    Examples:
        >>> import legato
        >>> with legato.connect("http://127.0.0.1:8000") as model:  # doctest: +SKIP
        ...     stream = model.stream("pump-7")
        ...     stream.feed([0.1, 0.2, 0.3])
    """
    try:
        from legato._serve.retried_requests import RetriedRequests
    except ModuleNotFoundError as error:
        raise MissingError(
            "legato.connect needs httpx, not installed here: pip install 'legato[client]'."
        ) from error
    requests = RetriedRequests(url, api_key, timeout, retries, deadline)
    try:
        return RemoteModel(requests, model)
    except BaseException:
        requests.close()
        raise


class _Output(NamedTuple):
    """An output of a model: the protocol's name of its dtype, and the number of axes of an answer
    to one step."""

    type: str
    axes: int


class RemoteModel:
    """A model on a server; made by ``legato.connect``. Threads may share it.

    Attributes:
        name: of the model.
        url: of the server.
    """

    def __init__(self, requests: Any, name: str | None):
        self._requests, self.url = requests, requests.url
        if name is None:
            name = _first_name(requests)
        about = requests.call("GET", f"/v2/models/{_quoted(name)}")
        try:
            self.name: str = about["name"]
            self._inputs = {each["name"] for each in about["inputs"]}
            self._outputs = [
                _Output(each["datatype"], len(each["shape"]) - 2) for each in about["outputs"]
            ]
        except (KeyError, TypeError):
            raise _not_legato(self.url) from None
        self._path = f"/v1/models/{_quoted(self.name)}"

    def __repr__(self) -> str:
        return f"<RemoteModel: {self.name!r} at {self.url}>"

    def stream(self, name: str | None = None) -> "RemoteStream":
        """A stream on the server.

        Args:
            name: of the stream: the one of that name goes on where it is, and a new name begins one
                when it is fed. Default: a new unique name.
        """
        return RemoteStream(self, uuid4().hex if name is None else name)

    def streams(self) -> "RemoteStreams":
        """The streams on the server, by name, many of which can be fed at a time."""
        return RemoteStreams(self)

    def close(self) -> None:
        """Close the connections. The streams live on, on the server."""
        self._requests.close()

    def __enter__(self) -> "RemoteModel":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _call(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        """Send a request about the model's streams; returns its JSON answer."""
        if body is not None:
            options |= {
                "content": _as_json(body),
                "headers": {"Content-Type": "application/json"},
            }
        return self._requests.call(method, self._path + path, **options)

    def _steps(self, x: Any) -> dict[str, Any]:
        """Steps as the server takes them: rows by names of columns, or numbers."""
        if isinstance(x, Mapping):
            return {"x": x} if set(x) == self._inputs else {"row": x}
        if isinstance(x, (list, tuple)) and x and all(isinstance(each, Mapping) for each in x):
            return {"rows": x}
        return {"x": x}

    def _answers(self, reply: dict[str, Any], every: bool = True) -> Any:
        """The answers in a reply, or the last: arrays, or values by names of columns."""
        if "answer" in reply:
            return reply["answer"]
        if "answers" in reply:
            return reply["answers"] if every else reply["answers"][-1]
        return _as_arrays(reply["y"], iter(self._outputs), len(self._outputs), every)


class RemoteStream:
    """One live sequence of a model on a server; made by ``RemoteModel.stream``.

    Its methods do what those of ``legato.Stream`` do. The state is on the server, which keeps it
    when this object, or the server, goes. Threads may share a stream: they take turns.

    Attributes:
        name: of the stream.
    """

    def __init__(self, model: RemoteModel, name: str):
        self._model, self.name = model, name
        if not isinstance(name, str) or not name:
            raise InputError(f"The name of a stream is {name!r}; a text was expected.")
        self._path = f"/streams/{_quoted(name)}"
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
        try:
            reply = self._model._call("POST", f"{self._path}/feed", body)
        except OutputError as error:
            raise OutputError(
                f"{error} Whether the steps were fed is not known: feed them again with "
                f"request_id={request_id!r}, which feeds them once."
            ) from error
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


class RemoteStreams:
    """The streams of a model on a server, by name; made by ``RemoteModel.streams``."""

    def __init__(self, model: RemoteModel):
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
        path = f"/streams/{_quoted(name)}"
        return self._model._call("GET", path, none_if_missing=True) is not None

    def feed(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """Feed a step, or several, to each of some streams, as one batch, each exactly once.

        Args:
            x: name → input, as for ``RemoteStream.feed``. A new name begins a stream.

        Returns:
            Name → the answer, or answers, as ``RemoteStream.feed`` gives them.

        Raises:
            InputError: an x that does not fit. None has moved.
            LegatoError: some streams could not be fed, say because their states are of other
                weights; the others were, and their answers are its attribute ``answers``.
        """
        return self._send(x, lambda: {"id": uuid4().hex})

    def peek(self, x: Mapping[str, Any]) -> dict[str, Any]:
        """The answers that ``feed`` would return; every stream stays as it is, and none begins."""
        return self._send(x, lambda: {"peek": True})

    def _send(self, x: Mapping[str, Any], options: Any) -> dict[str, Any]:
        from legato._serve.retried_requests import error_of

        if not isinstance(x, Mapping):
            raise InputError(
                f"A mapping of names to steps was expected, such as {{'ada': x}}; "
                f"{type(x).__name__} came."
            )
        feeds = [
            {"stream": name, **self._model._steps(each), **options()} for name, each in x.items()
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


def _first_name(requests: Any) -> str:
    """The name of a server's first model."""
    try:
        return requests.call("GET", "/v1/models")["models"][0]["name"]
    except (KeyError, TypeError, IndexError):
        raise _not_legato(requests.url) from None


def _not_legato(url: str) -> InputError:
    return InputError(f"{url} does not answer as `legato serve` does: is it another server?")


def _quoted(name: str) -> str:
    """A name as one segment of a path; dots too, since "." and ".." mean something there."""
    try:
        return quote(name, safe="").replace(".", "%2E")
    except (TypeError, UnicodeEncodeError):
        raise InputError(f"{name!r} is no name: a text was expected.") from None


def _as_json(body: Any) -> bytes:
    """A request's body.

    Raises:
        InputError: it has something that is no number, or NaN or infinity.
    """
    try:
        return json.dumps(body, default=_plain, allow_nan=False).encode()
    except ValueError as error:
        raise InputError(
            f"x cannot be sent ({error}): every number must be finite. The stream has not moved: "
            "fill the gap, or mask that step with keras.layers.Masking."
        ) from None
    except (TypeError, RecursionError) as error:
        raise InputError(f"x cannot be sent ({error}): numbers or rows were expected.") from None


def _plain(value: Any) -> Any:
    """Arrays of any library as lists, and mappings as dictionaries."""
    if isinstance(value, Mapping):
        return dict(value)
    if not hasattr(value, "__array__"):
        raise TypeError(f"a {type(value).__name__}")
    return np.asarray(value).tolist()


def _as_arrays(y: Any, outputs: Iterator[_Output], count: int, every: bool) -> Any:
    """Answers as arrays, nested as the model's outputs: by name, or ``count`` in a list.

    Args:
        y: lists of numbers; None stands for NaN.
        outputs: the model's, in order.
        count: of outputs.
        every: whether the answers to all of several steps are wanted, or only the last.
    """
    if isinstance(y, dict):
        return {name: _as_arrays(y[name], outputs, 1, every) for name in sorted(y)}
    if count > 1:
        return [_as_arrays(each, outputs, 1, every) for each in y]
    output = next(outputs)
    array = np.array(y, _dtype(output.type))
    return array if every or array.ndim <= output.axes else array[-1]


def _dtype(name: str) -> Any:
    """The dtype that the protocol names so."""
    if name == "BF16":
        import ml_dtypes

        return ml_dtypes.bfloat16
    return _TYPES.get(name, name.lower())
