"""Lines heard, fed to their streams and answered: a line for each, in their order.

What lines are at hand are fed together, kept, answered and handed over before more are read. So a
single line is answered at once, many are answered in few calls, and whatever was answered is kept.
Which lines come together may change the last digits of an answer, as the size of a batch does.
"""

import sys
from itertools import dropwhile
from operator import itemgetter
from typing import TYPE_CHECKING, Any, NamedTuple

from legato._errors import InputError, LegatoError
from legato.cli._command_support import in_words_of_the_command
from legato.cli._line_formats import Csv, Json, Line, form_of
from legato.cli._line_steps import Known, Plain

if TYPE_CHECKING:
    from legato import Streams

_SHOWN = 400  # characters of a fault
_MANY = 4  # lines of a stream that are worth a program for several steps
Turns = dict[str | int, list[int]]  # the name of a stream → which lines ask it, in order


class Heard(NamedTuple):
    """What a line asks.

    Attributes:
        line: its number.
        key: as it came, by the name of its column; nothing without one.
        name: of the stream.
        x, steps: what is fed, and how many steps that is; None if it is one as such.
        fault: why there is no answer; "" if there is.
    """

    line: int
    key: dict[str, Any]
    name: str
    x: Any = None
    steps: int | None = None
    fault: str = ""


class StreamSession:
    """Lines heard, fed to their streams, and answered.

    Args:
        steps: how rows become steps, and answers words.
        pool: the streams.
        key: the column that names a stream; None: all lines are one.
        keep_going: whether it goes on after a bad line.

    Raises:
        InputError: the key is called as an answer is.
    """

    def __init__(
        self, steps: Known | Plain, pool: "Streams", key: str | None, keep_going: bool = False
    ):
        self._steps, self._pool, self._key, self._keep_going = steps, pool, key, keep_going
        self._form: Json | Csv | None = None
        self._count = "steps seen" if "steps" in steps.answers else "steps"
        self._check_key([self._count, "error", *steps.answers])

    def _check_key(self, taken: list[str]) -> None:
        if self._key in taken:
            raise InputError(
                f"--key names {self._key!r}, which is what a part of the answers is called: call "
                "that column otherwise."
            )

    def hear(self, lines: list[tuple[int, bytes]]) -> None:
        """Answer some lines.

        Raises:
            InputError: one is bad. Those before it are answered and kept.
            OutputError: the states cannot be kept.
        """
        if self._form is None:
            lines = list(dropwhile(lambda line: not line[1].strip(), lines))
            if not lines:
                return
            self._form = form_of(lines[0][1])
        rows = self._form.read(lines)
        self._answer(self._form, rows, self._header(self._form))

    def end(self) -> None:
        """Answer what is left when no more lines come."""
        if self._form is not None:
            self._answer(self._form, self._form.rest())

    def _header(self, form: Json | Csv) -> str:
        """What stands above the answers, when it is known."""
        if isinstance(form, Json) or form.answered or not form.names:
            return ""
        names = [name for name in form.names if name != self._key]
        keys = [] if self._key is None else [self._key]
        if self._key is not None and self._key not in form.names:
            from legato._series.sequences import suggest_columns

            raise InputError(
                f"The header has no column {self._key!r}, which --key names."
                f"{suggest_columns(self._key, names)}"
            )
        columns = self._steps.columns(names if isinstance(self._steps, Plain) else form.names)
        self._check_key(columns)
        form.answered = [*keys, self._count, *columns]
        return form.header()

    def _answer(self, form: Json | Csv, rows: list[Line], header: str = "") -> None:
        heard: list[Heard] = []
        new: set[str] = set()
        for row in rows:
            heard.append(self._understood(row, new))
            if heard[-1].fault and not self._keep_going:
                break
        answers = iter(self._fed([each for each in heard if not each.fault]))
        told = [header]
        for each in heard:
            if not each.fault:
                answer, steps = next(answers)
                told.append(form.write({**each.key, self._count: steps, **answer}))
            elif self._keep_going:
                told.append(form.write_fault(each.key, each.fault))
        sys.stdout.buffer.write("".join(told).encode("utf-8", "backslashreplace"))
        sys.stdout.buffer.flush()
        for each in heard:
            if each.fault and not self._keep_going:
                raise InputError(f"Line {each.line}: {each.fault}")
            if each.fault:
                print(f"legato: Line {each.line}: {each.fault}", file=sys.stderr)

    def _understood(self, line: Line, new: set[str]) -> Heard:
        """What a line asks; ``new`` are names of streams that lines before it begin."""
        key, name, fault = {}, "", line.fault
        try:
            if not fault:
                key, name = self._key_of(line.row)
                x, steps = self._steps.step(line.row)
                self._check_room(name, new)
                return Heard(line.number, key, name, x, steps)
        except LegatoError as error:
            fault = in_words_of_the_command(str(error))
        if len(fault) > _SHOWN:
            fault = f"{fault[: _SHOWN // 2]} … {fault[-_SHOWN // 2 :]}"
        return Heard(line.number, key, name, fault=f"{fault[0].lower()}{fault[1:]}")

    def _key_of(self, row: Any) -> tuple[dict[str, Any], str]:
        """The key as it came, and the stream's name."""
        if self._key is None:
            return {}, ""
        key = row.get(self._key) if isinstance(row, dict) else None
        if key is None or (isinstance(key, str) and not key.strip()):
            raise InputError(
                f"there is no {self._key!r} that says whose step this is: name the stream in "
                "every line."
            )
        if isinstance(key, bool) or not isinstance(key, (str, int)):
            raise InputError(
                f"the key {self._key!r} is {key!r}; a text or a whole number was expected."
            )
        return {self._key: key}, str(key).strip()

    def _check_room(self, name: str, new: set[str]) -> None:
        if name not in self._pool and name not in new:
            if len(self._pool) + len(new) >= self._pool.limit:
                raise InputError(
                    f"{name!r} would be one stream more than the limit of {self._pool.limit:,}: "
                    "allow more with --limit."
                )
            new.add(name)

    # Feeding.

    def _fed(self, asked: list[Heard]) -> list[tuple[dict[str, Any], int]]:
        """What is answered to each, and how many steps its stream has then seen."""
        turns: Turns = {}
        for at, each in enumerate(asked):
            turns.setdefault(each.name, []).append(at)
        most = max(map(len, turns.values()), default=0)
        alone = all(each.steps is None and hasattr(each.x, "shape") for each in asked)
        if alone and most >= _MANY and most * len(turns) <= 2 * len(asked):  # few go unused
            return self._fed_together(asked, turns)
        found: list = [None] * len(asked)
        for turn in range(most):
            turns = {name: places for name, places in turns.items() if len(places) > turn}
            answers = self._pool.feed({n: asked[at[turn]].x for n, at in turns.items()})
            for name, answer in answers.items():
                found[turns[name][turn]] = self._steps.told(answer), self._pool.steps(name)
        return found

    def _fed_together(self, asked: list[Heard], turns: Turns) -> list[tuple[dict[str, Any], int]]:
        """The same where all are single steps, those of a stream as one feed of several."""
        import jax
        import numpy as np

        found: list = [None] * len(asked)
        fed = {name: np.stack([asked[at].x for at in places]) for name, places in turns.items()}
        for name, answers in self._pool.feed(fed).items():
            begin, one = self._pool.steps(name) - len(turns[name]), isinstance(answers, np.ndarray)
            for step, at in enumerate(turns[name]):
                answer = answers[step] if one else jax.tree.map(itemgetter(step), answers)
                found[at] = self._steps.told(answer), begin + step + 1
        return found
