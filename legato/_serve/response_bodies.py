"""The JSON bodies of responses."""

from typing import Annotated, Any

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

REFERENCE = "#/components/schemas/{name}"  # of a body in the OpenAPI document

Steps = Annotated[int, Meta(description="How many steps the stream was fed so far.")]
Version = Annotated[str, Meta(description="Number of the model's version.")]
Name = Annotated[str, Meta(description="The stream's name.")]
State = Annotated[str, Meta(description="Content of a file of Stream.save, in base64.")]
ByColumn = Annotated[dict[str, Any], Meta(description="Values by names of columns.")]


class Answers(Struct, kw_only=True):
    """What steps are answered with: one of y, answer and answers."""

    y: Annotated[
        Any,
        Meta(description="Numbers, nested as the model's outputs; for several steps, a list."),
    ] = UNSET
    answer: ByColumn | UnsetType = UNSET
    answers: list[ByColumn] | UnsetType = UNSET


class FeedAnswer(Answers, kw_only=True):
    """The answer to a feed."""

    stream: Name
    steps: Steps
    version: Version
    again: (
        Annotated[bool, Meta(description="True if the request had been answered before.")]
        | UnsetType
    ) = UNSET


class FailedFeed(Struct):
    """A feed that was refused, among several."""

    stream: Name
    error: Annotated[str, Meta(description="One sentence.")]
    status: Annotated[int, Meta(description="That the feed would have got alone.")]


_EITHER = [{"$ref": REFERENCE.format(name=each)} for each in ("FeedAnswer", "FailedFeed")]


class FeedsAnswer(Struct):
    """The answers to several feeds, in their order."""

    answers: list[Annotated[Any, Meta(extra_json_schema={"anyOf": _EITHER})]]


class StatelessAnswer(Answers, kw_only=True):
    """The answer to steps of a sequence whose state the client keeps."""

    steps: Steps
    state: State


class EventData(Answers, kw_only=True):
    """The data of an event: a stream was fed."""

    steps: Steps


class StreamNames(Struct):
    """Names of streams, in order."""

    streams: list[str]


class StreamSteps(Struct):
    """How many steps a stream was fed."""

    stream: Name
    steps: Steps


class StreamAbout(StreamSteps):
    """How many steps a stream was fed, and the version that it goes on with."""

    version: Version


class StreamState(StreamAbout):
    """A stream's state."""

    state: State


class ModelStreams(Struct):
    """A model, and its streams in memory."""

    name: str
    versions: list[Version]
    streams_in_memory: int


class ModelsAnswer(Struct):
    """All models."""

    models: list[ModelStreams]
    streams_stored: Annotated[int, Meta(description="Counted about every ten seconds.")]


class ServerAbout(Struct):
    """The server, and its extensions of the protocol."""

    name: str
    version: str
    extensions: list[str]


class ServerLive(Struct):
    """Whether the server runs."""

    live: bool


class ServerReady(Struct):
    """Whether the server takes requests."""

    ready: bool


class ModelReady(Struct):
    """Whether a model is loaded."""

    name: str
    ready: bool


class IndexEntry(Struct):
    """A version of a model."""

    name: str
    version: Version
    state: str


class LoadAnswer(Struct, omit_defaults=True):
    """What became of the streams when a version was loaded."""

    version: Version
    streams_moved: Annotated[int, Meta(description="To this version.")]
    streams_left: Annotated[int, Meta(description="On older versions.")]
    reason: Annotated[str, Meta(description="Why one of them was left.")] = ""


class TensorAbout(Struct):
    """An input or output of a model; -1 is an axis of any size."""

    name: str
    datatype: str
    shape: list[int]


class ModelAbout(Struct):
    """Inputs and outputs of a model."""

    name: str
    versions: list[Version]
    platform: str
    inputs: list[TensorAbout]
    outputs: list[TensorAbout]


class OutputTensor(Struct, kw_only=True):
    """An output; without data where its bytes follow the JSON part."""

    name: str
    datatype: str
    shape: list[int]
    data: Any = UNSET
    parameters: dict[str, Any] | UnsetType = UNSET


class InferAnswer(Struct, kw_only=True):
    """The answer to an inference request."""

    model_name: str
    model_version: Version
    id: str | UnsetType = UNSET
    parameters: dict[str, Any] | UnsetType = UNSET
    outputs: list[OutputTensor] = msgspec.field(default_factory=list)
