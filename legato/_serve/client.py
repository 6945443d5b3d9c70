"""A client of ``legato serve``: streams on a server, with the methods of streams in memory.

Every feed has an id, and is sent again after a cut connection or a refusal that may pass; the
server feeds an id once. Numbers travel as JSON that reads back to the bit; infinite answers come as
NaN.
"""

from collections.abc import Mapping
from typing import Any
from uuid import uuid4

from legato._errors import InputError, MissingError
from legato._serve.client_values import Output, decode_answers, encode_body, quoted_name
from legato._serve.remote_streams import RemoteStream, RemoteStreams


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
        >>> with legato.connect("http://127.0.0.1:8000") as model:
        ...     stream = model.stream("pump-7")
        ...     stream.feed([0.1, 0.2, 0.3]).shape
        (2,)
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


class RemoteModel:
    """A model on a server; made by ``legato.connect``. Threads may share it.

    Attributes:
        name: of the model.
        url: of the server.

    Examples:
        >>> import legato
        >>> with legato.connect("http://127.0.0.1:8000") as model:
        ...     stream = model.stream("pump-1")
        ...     stream.feed([0.1, 0.2, 0.3]).shape
        (2,)
    """

    def __init__(self, requests: Any, name: str | None):
        self._requests, self.url = requests, requests.url
        if name is None:
            name = _first_name(requests)
        about = requests.call("GET", f"/v2/models/{quoted_name(name)}")
        try:
            self.name: str = about["name"]
            self._inputs = {each["name"] for each in about["inputs"]}
            self._outputs = [
                Output(each["datatype"], len(each["shape"]) - 2) for each in about["outputs"]
            ]
        except (KeyError, TypeError):
            raise _not_legato(self.url) from None
        self._path = f"/v1/models/{quoted_name(self.name)}"

    def __repr__(self) -> str:
        return f"<RemoteModel: {self.name!r} at {self.url}>"

    def stream(self, name: str | None = None) -> RemoteStream:
        """A stream on the server.

        Args:
            name: of the stream: the one of that name goes on where it is, and a new name begins one
                when it is fed. Default: a new unique name.
        """
        return RemoteStream(self, uuid4().hex if name is None else name)

    def streams(self) -> RemoteStreams:
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
                "content": encode_body(body),
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
        return decode_answers(reply["y"], iter(self._outputs), len(self._outputs), every)


def _first_name(requests: Any) -> str:
    """The name of a server's first model."""
    try:
        return requests.call("GET", "/v1/models")["models"][0]["name"]
    except (KeyError, TypeError, IndexError):
        raise _not_legato(requests.url) from None


def _not_legato(url: str) -> InputError:
    return InputError(f"{url} does not answer as `legato serve` does: is it another server?")
