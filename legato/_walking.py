"""A trained network led along sequences: an answer at every time step, then on its own answers.

A network that carries state is fed chunk after chunk, many sequences side by side, padded at their
ends where a mask holds the state. One that does not carry sees, at every step, the last few steps
before it and that step, as it did in training.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

import numpy as np

from legato._model import Model
from legato._network import Shape

ROWS, STEPS = 256, 64  # sequences side by side, and time steps in a call, at most
WINDOWS = 4096  # windows in a call, at most


class Follower(Protocol):
    """Several sequences that are being read side by side."""

    def feed(self, x: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Read on.

        Args:
            x: (rows, time steps, inputs) what comes next in each row.
            counts: (rows,) how many of those steps there are; the others are padding.

        Returns:
            (rows, time steps, outputs); NaN where the network has no answer.
        """
        ...


class Carrying:
    """Rows whose state the model carries."""

    def __init__(self, model: Model, pad: float):
        self._model, self._pad = model, pad
        model.reset_states()

    def feed(self, x: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Read on; see ``Follower``."""
        padding = np.arange(x.shape[1]) >= counts[:, None]
        return self._model.predict_on_batch(np.where(padding[..., None], np.float32(self._pad), x))


class Windowing:
    """Rows of which the last steps are kept, to be seen again at every step."""

    def __init__(self, model: Model, pad: float, shape: Shape, rows: int, inputs: int):
        self._model, self._shape = model, shape
        self._seen = np.zeros(rows, int)
        self._kept = np.full((rows, shape.steps - 1, inputs), pad, "float32")

    def feed(self, x: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Read on; see ``Follower``."""
        window, (rows, steps, _) = self._shape.steps, x.shape
        known = np.concatenate([self._kept, x], axis=1)
        ahead = np.arange(steps) < counts[:, None]
        if self._shape.framing in ("window", "features"):  # which were never padded in training
            ahead &= self._seen[:, None] + np.arange(1, steps + 1) >= window
        row, at = np.nonzero(ahead)
        outputs = np.full((rows, steps, self._model.output_shape[-1]), np.nan, "float32")
        for begin in range(0, len(row), WINDOWS):
            which = slice(begin, begin + WINDOWS)
            index = at[which, None] + np.arange(window)
            outputs[row[which], at[which]] = self._answers(known[row[which, None], index])
        self._seen += counts
        last = counts[:, None] + np.arange(window - 1)
        self._kept = np.take_along_axis(known, last[..., None], axis=1)
        return outputs

    def _answers(self, windows: np.ndarray) -> np.ndarray:
        """The answer at the end of each window; few sizes, so that few programs are compiled."""
        count = len(windows)
        size = 1 << (count - 1).bit_length()
        padded = np.concatenate([windows, np.repeat(windows[:1], size - count, axis=0)])
        answers = self._model.predict_on_batch(padded)[:count]
        return answers[:, -1] if self._shape.at_every_step else answers


class Walker:
    """Leads a network along sequences.

    Args:
        model: the network; what it remembers meanwhile is forgotten, and put back afterwards.
        shape: what it is made of.
        pad: the number that marks padding.
    """

    def __init__(self, model: Model, shape: Shape, pad: float):
        self._model, self._shape, self._pad = model, shape, pad

    def begin(self, rows: int, inputs: int) -> Follower:
        """Rows that have seen nothing."""
        if self._shape.stateful:
            return Carrying(self._model, self._pad)
        return Windowing(self._model, self._pad, self._shape, rows, inputs)

    def answers(
        self, values: np.ndarray, lengths: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """What it answers at every time step, the truth fed in as it arrives.

        Args:
            values: (time steps of all sequences, inputs).
            lengths: (sequences,).

        Yields:
            Some time steps (n,), as indices into the values, and the answers (n, outputs).
        """
        kept = self._model.states
        try:
            for members in blocks(lengths):
                follower = self.begin(len(members), values.shape[1])
                for _, positions, outputs in self._read(follower, values, lengths, members):
                    there = positions >= 0
                    yield positions[there], outputs[there]
        finally:
            self._model.states = kept

    def ahead(
        self,
        values: np.ndarray,
        lengths: np.ndarray,
        leads: int,
        feedback: Callable[[np.ndarray], np.ndarray],
        horizon: int,
    ) -> np.ndarray:
        """What it answers after the end of each sequence, its own answers fed in as they come.

        Args:
            values, lengths: the sequences, as for ``answers``.
            leads: how many steps after the end.
            feedback: answers (rows, outputs) → the inputs (rows, horizon, inputs) of the steps
                they foretell.
            horizon: how many steps one answer foretells.

        Returns:
            (sequences, leads, inputs), as ``feedback`` gives them; NaN where there is no answer.
        """
        kept, found = self._model.states, None
        try:
            for members in blocks(lengths):
                follower = self.begin(len(members), values.shape[1])
                last: np.ndarray | None = None
                for counts, _, outputs in self._read(follower, values, lengths, members):
                    ends = outputs[np.arange(len(counts)), np.maximum(counts - 1, 0)]
                    last = ends if last is None else np.where((counts > 0)[:, None], ends, last)
                parts = [feedback(last if last is not None else np.empty(0))]
                while len(parts) * horizon < leads:
                    answered = ~np.isnan(parts[-1]).any((1, 2))  # else there is nothing to feed in
                    counts = np.where(answered, horizon, 0)
                    parts.append(feedback(follower.feed(parts[-1], counts)[:, -1]))
                block = np.concatenate(parts, axis=1)[:, :leads]
                if found is None:
                    found = np.full((len(lengths), *block.shape[1:]), np.nan, block.dtype)
                found[members[members >= 0]] = block[members >= 0]
        finally:
            self._model.states = kept
        assert found is not None
        return found

    @staticmethod
    def _read(
        follower: Follower, values: np.ndarray, lengths: np.ndarray, members: np.ndarray
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
        """Feed whole sequences; yields counts, positions (rows, steps) or -1, and outputs."""
        begins = (np.cumsum(lengths) - lengths)[members]
        left = np.where(members >= 0, lengths[members], 0)
        longest = int(left.max())
        calls = -(-longest // STEPS)
        steps = -(-longest // calls)  # chunks of one size, padded as little as can be
        for begin in range(0, longest, steps):
            counts = np.clip(left - begin, 0, steps)
            at = np.arange(steps)
            positions = np.where(at < counts[:, None], (begins + begin)[:, None] + at, -1)
            yield counts, positions, follower.feed(values[positions].astype("float32"), counts)


def blocks(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of sequences of similar lengths, in blocks of one size; -1 fills the last."""
    count = len(lengths)
    size = -(-count // -(-count // ROWS))
    order = np.argsort(-lengths, kind="stable")
    filled = np.concatenate([order, np.full(-count % size, -1)])
    yield from filled.reshape(-1, size)
