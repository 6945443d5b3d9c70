"""``model.explain``: which state each sample starts from, listed before anything runs.

The list follows from the state contract (``docs/contract.md``) and is not measured; ``influence``
measures, and a test compares the two. Arrangements of the data that are nearly always a mistake are
added as warnings.
"""

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from legato._execution.sample_orders import Shuffle, check_shuffle
from legato._models.model_parts import ModelParts
from legato._platform import keras_private
from legato._platform.checks import check_count, check_share
from legato._platform.output_streams import printable_on_stdout
from legato._platform.row_devices import check_rows, mesh_of, rows_of_devices
from legato._recurrent.model_state import ModelState
from legato._recurrent.reset_rules import (
    Reset,
    carries_between_batches,
    check_reset,
    replays_epochs,
)
from legato._recurrent.stateful_layers import StatefulLayer

FIRST_LINES, LAST_LINES = 30, 5  # rows shown when a long table is printed


@dataclass(frozen=True)
class Explanation:
    """The state that each sample starts from.

    Attributes:
        sources: for each sample, the number of the sample whose final state it continues from; None
            if it starts from another state.
        reasons: for each sample, the same in words: ``"carried from sample 6"``, ``"reset: start of
            sequence 2"``, ``"fresh: stateless"``, ….
        later: one sentence on the second and later epochs; "" if there is only one.
        warnings: likely mistakes, one sentence each.
        devices: the rows that each device computes, in words; empty if there is one.

    Examples:
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
    devices: tuple[str, ...] = ()

    @printable_on_stdout
    def __str__(self) -> str:
        count = len(self.reasons)
        width = max(6, len(str(count - 1)))
        lines = [f"{at:>{width}}  {reason}" for at, reason in enumerate(self.reasons)]
        if count > FIRST_LINES + LAST_LINES:
            dots = f"{'…':>{width}}  {count - FIRST_LINES - LAST_LINES} more"
            lines = [*lines[:FIRST_LINES], dots, *lines[-LAST_LINES:]]
        notes = [f"Of each batch {', '.join(self.devices)}."] if self.devices else []
        notes += [self.later] if self.later else []
        notes += [f"Warning: {each}" for each in self.warnings]
        return "\n".join([f"{'sample':>{width}}  its state", *lines, *notes])


class ExplainMethod(ModelParts):
    """``explain``, mixed into Keras's model classes."""

    def explain(
        self,
        x,
        batch_size: int | None = None,
        *,
        shuffle: Shuffle | None = False,
        starts=None,
        epochs: int = 1,
        reset: Reset = "epoch",
        validation_split: float = 0.0,
        devices: int | None = None,
    ) -> Explanation:
        """List the state that each sample would start from in ``fit`` or ``predict``.

        Args:
            x: the inputs, (samples, …).
            batch_size, shuffle, starts, epochs, reset, validation_split, devices: as in ``fit``;
                ``predict`` takes ``batch_size`` and ``starts`` of them.

        Returns:
            An ``Explanation``, which prints as a table, with warnings of likely mistakes. These are
            rows that do not continue the row before, overlapping windows in a stateful model,
            single time steps in a stateless one, a smaller last batch, epochs that start from the
            state of the one before, a validation set that begins in the middle of a sequence.

        Raises:
            InputError: data or arguments that ``fit`` refuses.

        Examples:
            >>> import legato, numpy as np
            >>> model = legato.Sequential([legato.layers.Input((3, 1)), legato.layers.GRU(2)])
            >>> model.explain(np.ones((2, 3, 1))).reasons
            ('fresh: stateless', 'fresh: stateless')
        """
        check_reset(reset)
        check_shuffle(shuffle)
        epochs = check_count("epochs", epochs)
        check_share("validation_split", validation_split)
        data = self._data_adapter.whole_data(x, batch_size, starts)
        count = data.samples.count
        layout = _Layout(
            training=int(count * (1 - validation_split)) if validation_split else count,
            count=count,
            rows=data.rows,
            starts=data.samples.starts,
            shuffled=bool(shuffle),
            reset=reset,
            epochs=epochs,
        )
        mesh = mesh_of(devices)
        check_rows(data.rows, mesh)
        explanation = _explanation(self._model_state, data.samples.x, layout)
        return replace(explanation, devices=rows_of_devices(data.rows, mesh))


class _Layout(NamedTuple):
    """The order of the samples of a run, and when their states are reset.

    Attributes:
        training: samples that are trained on, the first ones; validation has the others.
        count: all samples.
        rows: samples in a full batch.
        starts: booleans (samples,), or None.
        shuffled, reset, epochs: as given to ``explain``.
    """

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


def _explanation(model_state: ModelState, x, layout: _Layout) -> Explanation:
    carries = bool(model_state.memories)
    warm = carries and model_state.agreed_rows() > 0
    warm = warm and not all(memory.is_fresh for memory in model_state.memories)
    samples = range(layout.count)
    sources, reasons = zip(*[_source(at, layout, carries, warm) for at in samples], strict=True)
    if carries:
        later = _later_epochs(layout)
        warnings = [*_row_warnings(layout), *_overlap_warnings(x, layout)]
    else:
        later, warnings = "", _single_step_warnings(model_state, x)
    return Explanation(sources, reasons, later, tuple(warnings))


def _source(at: int, layout: _Layout, carries: bool, warm: bool) -> tuple[int | None, str]:
    """The sample whose final state a sample continues from, or None; and the reason in words.

    Args:
        at: the sample's number.
        layout: the order of all samples.
        carries: whether the model has stateful layers.
        warm: whether the model remembers a state now.
    """
    if reason := _reason_not_carried(at, layout, carries):
        return None, reason
    validates = at >= layout.training
    if at - validates * layout.training >= layout.rows:
        return at - layout.rows, f"carried from sample {at - layout.rows}"
    if validates:
        return None, "fresh: first of the validation"
    return None, "carried: what the model remembers now" if warm else "fresh: first of the run"


def _reason_not_carried(at: int, layout: _Layout, carries: bool) -> str:
    """The reason why a sample at any place continues from no other sample; "" if it may."""
    if not carries:
        return "fresh: stateless"
    if not carries_between_batches(layout.reset):
        return 'fresh: every batch is, by reset="batch"'
    if layout.starts_at(at):
        return f"reset: start of sequence {layout.sequence(at)}"
    return "drawn at random: shuffled" if layout.shuffled and at < layout.training else ""


def _later_epochs(layout: _Layout) -> str:
    if layout.epochs == 1 or not carries_between_batches(layout.reset):
        return ""
    if replays_epochs(layout.reset):
        return "Every epoch begins with the same state as the first."
    return "Every later epoch begins with the state that the one before ended with."


def _row_warnings(layout: _Layout) -> list[str]:
    """Likely mistakes in the order of the samples of a model that carries state."""
    rows, count, found = layout.rows, layout.training, []
    if not carries_between_batches(layout.reset):
        return []
    if layout.shuffled:
        found.append(
            "shuffle=True lets samples go on from samples drawn at random; fit refuses it."
        )
    if rows > 1 and count > rows and layout.starts is None:
        found.append(
            f"with batch_size={rows} sample {rows} goes on from sample 0, not from sample "
            f"{rows - 1}: right only if x was laid out that way, as legato.Lanes does."
        )
    if count > rows and count % rows:
        found.append(
            f"the last batch has {count % rows} samples for {rows} rows: the other rows keep the "
            "state of the batch before."
        )
    if not replays_epochs(layout.reset) and layout.epochs > 1 and not layout.starts_at(0):
        found.append('every epoch but the first starts warm, from the end of x: reset="epoch".')
    if count < layout.count and not layout.starts_at(count):
        found.append(
            f"validation begins at sample {count}, in the middle of a sequence, and starts fresh: "
            'validation_state="continue" goes on from the end of the epoch.'
        )
    return found


def _overlap_warnings(x, layout: _Layout) -> list[str]:
    """A warning of windows over one series, one step apart, in a model that carries state."""
    if not isinstance(x, np.ndarray) or x.ndim < 3 or x.shape[1] < 2 or len(x) < 3:
        return []
    if not carries_between_batches(layout.reset) or not np.array_equal(x[1:, :-1], x[:-1, 1:]):
        return []
    if (x == x[:1, :1]).all():
        return []
    return [
        f"the samples are windows that overlap: each time step is in {x.shape[1]} of them, and a "
        "stateful model would process it as often. Make the layers stateful=False, or cut x into "
        "samples that follow each other."
    ]


def _single_step_warnings(model_state: ModelState, x) -> list[str]:
    recurrent = any(
        isinstance(each, StatefulLayer) for each in keras_private.flatten_layers(model_state.model)
    )
    if not recurrent or not isinstance(x, np.ndarray) or x.ndim < 3 or x.shape[1] != 1:
        return []
    return [
        "each sample is a single time step and nothing is carried: a recurrent layer gets no "
        "earlier step. Make it stateful=True, or give it windows of several steps."
    ]
