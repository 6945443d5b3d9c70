"""A stream session: parse batches of lines, feed each row to its stream, and write the answers.

The lines of a batch are fed together, and their states are kept before their answers are written:
one line is answered at once, many take few calls, and no answer is written whose state could be
lost. Answers come in the order of the lines, except to long lines of one stream among several,
which are fed in pieces (``_long_lines``). If the disk is full after some lines of a batch, these
are answered and the error names the others. The size of a batch may change the last digits of an
answer, as in ``predict``.
"""

import sys
from collections.abc import Callable
from itertools import dropwhile
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from legato._errors import InputError, LegatoError
from legato._platform.output_streams import OutputStream, make_printable
from legato._platform.wording import listed
from legato._serve.row_codecs import PlainModelCodec, TrainedModelCodec
from legato.cli._error_reporting import name_options
from legato.cli._line_formats import CsvLines, JsonLines, ParsedLine, detect_format
from legato.cli._long_lines import Request, WaitingLines

if TYPE_CHECKING:
    from legato import Stream, Streams

Answer = tuple[dict[str, Any], int]  # decoded, and how many steps its stream has then seen
_RANGES_SHOWN = 20  # of lines, in an error
_ERROR_CHARACTERS = 400  # of an error that are shown
_MIN_STEPS = 4  # of a stream, for which a program that takes several steps is compiled


class StreamSession:
    """Answers lines: parses them, feeds their streams and writes to standard output.

    Args:
        codec: encodes rows as steps, and decodes answers.
        streams: the streams, by name.
        key: the column that names a stream; None: all lines belong to one.
        keep_going: write an error in place of the answer to a bad line, and go on.

    Raises:
        InputError: the key has the name of a part of the answers.
    """

    def __init__(
        self,
        codec: TrainedModelCodec | PlainModelCodec,
        streams: "Streams",
        key: str | None,
        keep_going: bool = False,
    ):
        self._codec, self._streams, self._key, self._keep_going = codec, streams, key, keep_going
        self._format: JsonLines | CsvLines | None = None
        self._waiting = WaitingLines()
        self._count = "steps seen" if "steps" in codec.output_names else "steps"
        self._check_key([self._count, "error", *codec.output_names])

    def _check_key(self, reserved: list[str]) -> None:
        if self._key in reserved:
            raise InputError(
                f"--key names {self._key!r}, which is what a part of the answers is called: call "
                "that column otherwise."
            )

    def answer(self, lines: list[tuple[int, bytes]]) -> None:
        """Answer a batch of lines.

        Raises:
            InputError: a line is bad, and ``keep_going`` is not set. The lines before it are
                answered, and their states kept.
            OutputError: the states cannot be kept; the lines whose states were are answered.
        """
        if self._format is None:
            lines = list(dropwhile(lambda line: not line[1].strip(), lines))
            if not lines:
                return
            self._format = detect_format(lines[0][1])
        parsed = self._format.parse(lines)
        self._answer(self._format, parsed, self._header(self._format))

    def catch_up(self, until: Callable[[], bool] = lambda: False) -> None:
        """Feed the steps of long lines, piece by piece, and answer those that are fed.

        Args:
            until: whether to stop after a piece; asked unless too many lines wait already.

        Raises:
            OutputError: as ``answer`` does.
        """
        while self._waiting:
            self._feed_piece()
            if self._waiting.have_room and until():
                return

    def finish(self) -> None:
        """Answer the lines left when the input ends."""
        if self._format is not None:
            self.catch_up()
            self._answer(self._format, self._format.finish())

    def _header(self, form: JsonLines | CsvLines) -> str:
        """The header of the answers, once, as soon as the columns are known."""
        if isinstance(form, JsonLines) or form.output_columns or not form.names:
            return ""
        names = [name for name in form.names if name != self._key]
        keys = [] if self._key is None else [self._key]
        if self._key is not None and self._key not in form.names:
            from legato._series.sequences import suggest_columns

            raise InputError(
                f"The header has no column {self._key!r}, which --key names."
                f"{suggest_columns(self._key, names)}"
            )
        inputs = names if isinstance(self._codec, PlainModelCodec) else form.names
        columns = self._codec.output_columns(inputs)
        self._check_key(columns)
        form.output_columns = [*keys, self._count, *columns]
        return form.format_header()

    def _answer(
        self, form: JsonLines | CsvLines, parsed: list[ParsedLine], header: str = ""
    ) -> None:
        requests: list[Request] = []
        new = {name for name in self._waiting if name not in self._streams}
        for line in parsed:
            requests.append(self._request(line, new))
            if requests[-1].error and not self._keep_going:
                break
        self._feed_and_write(form, self._without_waiting(requests), header)
        if requests and requests[-1].error and not self._keep_going:
            self.catch_up()
            raise InputError(f"Line {requests[-1].line}: {requests[-1].error}")
        for each in requests:
            if each.error:
                print(make_printable(f"legato: Line {each.line}: {each.error}"), file=sys.stderr)

    def _without_waiting(self, requests: list[Request]) -> list[Request]:
        """The requests to be fed now; the others are put among those that wait."""
        if self._key is None:
            return requests
        now = []
        for each in requests:
            if not each.error and (each.is_long or each.name in self._waiting):
                self._waiting.append(each)
            else:
                now.append(each)
        return now

    def _feed_and_write(
        self, form: JsonLines | CsvLines, requests: list[Request], header: str = ""
    ) -> None:
        valid = [each for each in requests if not each.error]
        answered: list[Answer | None] = [None] * len(valid)
        failure = None
        try:
            self._feed(valid, answered)
        except Exception as error:  # after the lines that were fed before it are answered
            failure = error
        answers = iter(answered)
        output = [header]
        for each in requests:
            if not each.error:
                if (found := next(answers)) is not None:
                    output.append(self._format_answer(form, each, *found))
            elif self._keep_going:
                output.append(form.format_error(each.key, each.error))
        OutputStream(sys.stdout, required=True).write_utf8("".join(output))
        if isinstance(failure, LegatoError):
            pairs = zip(valid, answered, strict=True)
            lines = [each.line for each, found in pairs if found is None]
            raise self._not_answered(failure, lines) from failure
        if failure is not None:
            raise failure

    def _format_answer(
        self, form: JsonLines | CsvLines, request: Request, answer: dict[str, Any], steps: int
    ) -> str:
        return form.format_answer({**request.key, self._count: steps, **answer})

    def _not_answered(self, failure: LegatoError, lines: list[int]) -> LegatoError:
        """The error that says which lines are not answered: these, and those that wait."""
        numbers = _line_ranges(sorted([*lines, *self._waiting.numbers]))
        return type(failure)(
            f"{failure} Not answered, and not in any stream's state: {numbers}. All other lines up "
            "to there are answered and kept: send only these again, and those after them."
        )

    def _copy_of_stream(self, name: str) -> "Stream":
        if name in self._streams:
            return self._streams.stream(name)
        assert isinstance(self._codec, PlainModelCodec)  # of the other, a line is one step
        return self._codec.stream.fork()

    def _feed_piece(self) -> None:
        """Feed a piece of a long line; after the last one, answer it and the lines behind it."""
        assert self._format is not None
        long = self._waiting.next_long(self._copy_of_stream)
        if not long.feed_piece():
            return
        request, stream = long.request, long.stream
        try:
            self._streams.put(request.name, stream)
        except LegatoError as error:
            raise self._not_answered(error, []) from error
        answer = self._codec.decode(long.answer())
        behind = self._waiting.finish(long)
        output = self._format_answer(self._format, request, answer, stream.steps)
        OutputStream(sys.stdout, required=True).write_utf8(output)
        self._feed_and_write(self._format, behind)

    def _request(self, line: ParsedLine, new: set[str]) -> Request:
        """A line as a request; ``new`` holds the names of streams that the batch begins so far."""
        key, name, message = {}, "", line.error
        try:
            if not message:
                key, name = self._stream_key(line.row)
                x, steps = self._codec.encode(line.row)
                self._check_limit(name, new)
                return Request(line.number, key, name, x, steps)
        except LegatoError as error:
            message = name_options(str(error))
        if len(message) > _ERROR_CHARACTERS:
            half = _ERROR_CHARACTERS // 2
            message = f"{message[:half]} … {message[-half:]}"
        return Request(line.number, key, name, error=f"{message[0].lower()}{message[1:]}")

    def _stream_key(self, row: Any) -> tuple[dict[str, Any], str]:
        """The key as it came, by its column, and the stream's name."""
        if self._key is None:
            return {}, ""
        key = row.get(self._key) if isinstance(row, dict) else None
        if key is None or (isinstance(key, str) and not key.strip()):
            raise InputError(
                f"there is no {self._key!r}, the key of the stream: give it in every line."
            )
        if isinstance(key, bool) or not isinstance(key, (str, int)):
            raise InputError(
                f"the key {self._key!r} is {key!r}; a text or a whole number was expected."
            )
        return {self._key: key}, str(key).strip()

    def _check_limit(self, name: str, new: set[str]) -> None:
        if name not in self._streams and name not in new:
            if len(self._streams) + len(new) >= self._streams.limit:
                raise InputError(
                    f"{name!r} would be one stream more than the limit of "
                    f"{self._streams.limit:,}: allow more with --limit."
                )
            new.add(name)

    # Feeding.

    def _feed(self, requests: list[Request], answered: list[Answer | None]) -> None:
        """Feed requests, the first of every stream in one call, then the second of each, and so on.

        Args:
            requests: all without errors.
            answered: filled in for each request, as soon as its stream's state is kept.
        """
        places: dict[str, list[int]] = {}  # of each stream's requests, in order
        for at, each in enumerate(requests):
            places.setdefault(each.name, []).append(at)
        most = max(map(len, places.values()), default=0)
        single = all(each.steps is None and hasattr(each.x, "shape") for each in requests)
        if single and most >= _MIN_STEPS and most * len(places) <= 2 * len(requests):  # few padded
            self._feed_several_steps(requests, places, answered)
            return
        for turn in range(most):
            places = {name: every for name, every in places.items() if len(every) > turn}
            answers = self._streams.feed({n: requests[at[turn]].x for n, at in places.items()})
            for name, answer in answers.items():
                decoded = self._codec.decode(answer)
                answered[places[name][turn]] = decoded, self._streams.steps(name)

    def _feed_several_steps(
        self,
        requests: list[Request],
        places: dict[str, list[int]],
        answered: list[Answer | None],
    ) -> None:
        """Feed requests of one step each in one call, with all steps of a stream as one input."""
        import jax
        import numpy as np

        inputs = {name: np.stack([requests[at].x for at in each]) for name, each in places.items()}
        for name, answers in self._streams.feed(inputs).items():
            before = self._streams.steps(name) - len(places[name])
            one_output = isinstance(answers, np.ndarray)
            for step, at in enumerate(places[name]):
                answer = answers[step] if one_output else jax.tree.map(itemgetter(step), answers)
                answered[at] = self._codec.decode(answer), before + step + 1


def _line_ranges(lines: list[int]) -> str:
    """Numbers of lines as ranges: ``lines 3, 5–9 and 12``; of many ranges the first ones."""
    ranges: list[list[int]] = []
    for line in lines:
        if ranges and line == ranges[-1][-1] + 1:
            ranges[-1][1:] = [line]
        else:
            ranges.append([line])
    words = ["–".join(map(str, each)) for each in ranges]
    if len(words) > _RANGES_SHOWN:
        words[_RANGES_SHOWN:] = ["others"]
    return f"{'lines' if len(lines) > 1 else 'line'} {listed(words)} ({len(lines):,} in all)"
