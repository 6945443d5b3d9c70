"""``explain``, mixed into the models: where each sample's state comes from, told before anything
runs.

What is told is the state contract, not a measurement; ``legato.influence`` measures, and a test
shows that the two agree. Beside it stands what is nearly always a mistake.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple, get_args

import keras
import numpy as np

from legato._errors import InputError
from legato._execution.compiled_loop import Reset
from legato._execution.data_adapter import DataAdapter
from legato._platform import keras_private
from legato._platform.checks import check_choice, check_count
from legato._recurrent.model_state import ModelState
from legato._recurrent.stateful_layers import StatefulLayer

_KerasModel = keras.Model if TYPE_CHECKING else object  # what the verb is mixed into

SHUFFLE_CHOICES = (None, False, True, "batch")  # what the verbs take
FIRST_LINES, LAST_LINES = 30, 5  # of a long table, when it is printed


@dataclass(frozen=True)
class Explanation:
    """Where each sample's state comes from.

    Attributes:
        sources: for each sample, the sample whose last state it goes on from; None if it begins
            with another.
        reasons: the same in words: ``"carried from sample 6"``, ``"reset: start of sequence 2"``,
            ``"fresh: stateless"``, ….
        later: what is different from the second epoch on, in a sentence; "" if nothing is.
        warnings: what is nearly always a mistake, a sentence each.

    Example:
        >>> import legato, numpy as np
        >>> model = legato.Sequential([legato.layers.Input((1, 1)),
        ...                            legato.layers.GRU(2, stateful=True)])
        >>> print(model.explain(np.ones((4, 1, 1)), batch_size=1, starts=[1, 0, 1, 0]))
        sample  its state
             0  reset: start of sequence 1
             1  carried from sample 0
             2  reset: start of sequence 2
             3  carried from sample 2
    """

    sources: tuple[int | None, ...]
    reasons: tuple[str, ...]
    later: str
    warnings: tuple[str, ...]

    def __str__(self) -> str:
        count = len(self.reasons)
        width = max(6, len(str(count - 1)))
        lines = [f"{at:>{width}}  {reason}" for at, reason in enumerate(self.reasons)]
        if count > FIRST_LINES + LAST_LINES:
            dots = f"{'…':>{width}}  {count - FIRST_LINES - LAST_LINES} more"
            lines = [*lines[:FIRST_LINES], dots, *lines[-LAST_LINES:]]
        notes = [self.later] if self.later else []
        notes += [f"Warning: {each}" for each in self.warnings]
        return "\n".join([f"{'sample':>{width}}  its state", *lines, *notes])


class ExplainMethod(_KerasModel):
    """Where state comes from, told before anything runs."""

    def explain(
        self,
        x,
        batch_size: int | None = None,
        *,
        shuffle: bool = False,
        starts=None,
        epochs: int = 1,
        reset: Reset = "epoch",
        validation_split: float = 0.0,
    ) -> Explanation:
        """Where each sample's state would come from in ``fit`` or ``predict``.

        Args:
            x: the inputs, (samples, …).
            batch_size, shuffle, starts, epochs, reset, validation_split: as in ``fit``; for
                ``predict``, ``batch_size`` and ``starts``.

        Returns:
            A value that prints as a table, with warnings of what is nearly always a mistake: rows
            that do not go on where the row before ended, overlapping windows in a stateful model,
            single steps in a stateless one, a smaller last batch, epochs that start warm, a
            validation set that begins in the middle of a sequence.

        Raises:
            InputError: data or arguments that ``fit`` refuses.

        Example:
            >>> import legato, numpy as np
            >>> model = legato.Sequential([legato.layers.Input((3, 1)), legato.layers.GRU(2)])
            >>> model.explain(np.ones((2, 3, 1))).reasons
            ('fresh: stateless', 'fresh: stateless')
        """
        check_choice("reset", reset, get_args(Reset))
        check_choice("shuffle", shuffle, SHUFFLE_CHOICES)
        epochs = check_count("epochs", epochs)
        if not 0 <= validation_split < 1:
            raise InputError(
                f"validation_split is {validation_split!r}; a number from 0 to below 1 was "
                "expected."
            )
        engine: ModelState = self._engine  # pyright: ignore[reportAttributeAccessIssue]
        held = DataAdapter(engine).held(x, batch_size, starts)
        count = held.samples.count
        order = _Order(
            training=int(count * (1 - validation_split)) if validation_split else count,
            count=count,
            rows=held.rows,
            starts=held.samples.starts,
            shuffled=bool(shuffle),
            reset=reset,
            epochs=epochs,
        )
        return _explanation(engine, held.samples.x, order)


class _Order(NamedTuple):
    """How samples come: the first ``training`` of ``count`` to be trained on."""

    training: int
    count: int
    rows: int
    starts: np.ndarray | None
    shuffled: bool
    reset: Reset
    epochs: int

    def starts_at(self, sample: int) -> bool:
        return self.starts is not None and bool(self.starts[sample])

    def sequence(self, sample: int) -> int:
        """The number, from 1, of the sequence that starts at a sample."""
        starts = np.zeros(self.count, bool) if self.starts is None else self.starts
        return int(starts[: sample + 1].sum()) + (not starts[0])


def _explanation(engine: ModelState, x, order: _Order) -> Explanation:
    carries = bool(engine.memories)
    warm = carries and engine.agreed_rows() > 0
    warm = warm and not all(memory.is_fresh for memory in engine.memories)
    told = [_told(at, order, carries, warm) for at in range(order.count)]
    sources, reasons = zip(*told, strict=True)
    warnings = (
        [*_of_rows(order), *_of_windows(x, order)] if carries else _of_single_steps(engine, x)
    )
    return Explanation(sources, reasons, _later(order) if carries else "", tuple(warnings))


def _told(at: int, order: _Order, carries: bool, warm: bool) -> tuple[int | None, str]:
    """The sample that a sample goes on from, and that in words."""
    begins = _begins(at, order, carries)
    if begins:
        return None, begins
    validates = at >= order.training
    if at - validates * order.training >= order.rows:
        return at - order.rows, f"carried from sample {at - order.rows}"
    if validates:
        return None, "fresh: first of the validation"
    return None, "carried: what the model remembers now" if warm else "fresh: first of the run"


def _begins(at: int, order: _Order, carries: bool) -> str:
    """Why a sample goes on from none before it, wherever it stands; "" if it may."""
    if not carries:
        return "fresh: stateless"
    if order.reset == "batch":
        return 'fresh: every batch is, by reset="batch"'
    if order.starts_at(at):
        return f"reset: start of sequence {order.sequence(at)}"
    return "drawn at random: shuffled" if order.shuffled and at < order.training else ""


def _later(order: _Order) -> str:
    if order.epochs == 1 or order.reset == "batch":
        return ""
    if order.reset == "epoch":
        return "Every epoch begins with the same state as the first."
    return "Every later epoch begins with the state that the one before ended with."


def _of_rows(order: _Order) -> list[str]:
    """What is nearly always a mistake where state is carried."""
    rows, count, found = order.rows, order.training, []
    if order.reset == "batch":
        return []
    if order.shuffled:
        found.append(
            "shuffle=True lets samples go on from samples drawn at random; fit refuses it."
        )
    if rows > 1 and count > rows and order.starts is None:
        found.append(
            f"with batch_size={rows} sample {rows} goes on from sample 0, not from sample "
            f"{rows - 1}: right only if x was laid out that way, as legato.Lanes does."
        )
    if count > rows and count % rows:
        found.append(
            f"the last batch has {count % rows} samples for {rows} rows: the other rows keep the "
            "state of the batch before."
        )
    if order.reset == "never" and order.epochs > 1 and not order.starts_at(0):
        found.append('every epoch but the first starts warm, from the end of x: reset="epoch".')
    if count < order.count and not order.starts_at(count):
        found.append(
            f"validation begins at sample {count}, in the middle of a sequence, and starts fresh: "
            'validation_state="continue" goes on from the end of the epoch.'
        )
    return found


def _of_windows(x, order: _Order) -> list[str]:
    """Windows over one series, a step apart, in a model that carries state."""
    if not isinstance(x, np.ndarray) or x.ndim < 3 or x.shape[1] < 2 or len(x) < 3:
        return []
    if order.reset == "batch" or not np.array_equal(x[1:, :-1], x[:-1, 1:]):
        return []
    if (x == x[:1, :1]).all():
        return []
    return [
        f"the samples are windows that overlap: each time step is in {x.shape[1]} of them, and a "
        "stateful model would see it as often. Make the layers stateful=False, or cut x into "
        "samples that follow each other."
    ]


def _of_single_steps(engine: ModelState, x) -> list[str]:
    recurrent = any(
        isinstance(each, StatefulLayer) for each in keras_private.flatten_layers(engine.model)
    )
    if not recurrent or not isinstance(x, np.ndarray) or x.ndim < 3 or x.shape[1] != 1:
        return []
    return [
        "each sample is a single time step and nothing is carried: a recurrent layer has no past "
        "to look at. Make it stateful=True, or give it windows of several steps."
    ]
