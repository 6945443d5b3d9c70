"""A trained network led along sequences: an answer at every time step, then on its own answers.

Many sequences lie side by side, each the rows of a stream. A network that carries state carries it
on; one that does not sees, at every step, the last few steps before it and that step, as it did in
training.
"""

from collections.abc import Callable, Iterator

import numpy as np

from legato._streams.compiled_steps import CompiledSteps

ROWS, STEPS = 256, 64  # sequences side by side, and time steps in a call, at most


class Follower:
    """Several sequences that are being read side by side, from their beginnings.

    Args:
        stepper: of the network.
        rows: how many sequences.
    """

    def __init__(self, stepper: CompiledSteps, rows: int):
        self._stepper = stepper
        self._rows = np.repeat(stepper.one.blank, rows, axis=0)

    def feed(self, x: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Read on.

        Args:
            x: (rows, time steps, inputs) what comes next in each row.
            counts: (rows,) how many of those steps there are; the others are padding.

        Returns:
            (rows, time steps, outputs); NaN where the network has no answer.
        """
        self._rows, emitted = self._stepper.walk(self._rows, (x,), counts)
        answers = self._stepper.one.answers(emitted)
        outputs = np.full((*x.shape[:2], answers.shape[-1]), np.nan, answers.dtype)
        outputs[:, : len(answers)] = answers.swapaxes(0, 1)
        outputs[np.arange(x.shape[1]) >= counts[:, None]] = np.nan
        return outputs


class Rollout:
    """Leads a network along sequences; what it remembers itself has no part in it.

    Args:
        stepper: of the network's streams.
    """

    def __init__(self, stepper: CompiledSteps):
        self._stepper = stepper

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
        for members in blocks(lengths):
            follower = Follower(self._stepper, len(members))
            for _, positions, outputs in self._read(follower, values, lengths, members):
                there = positions >= 0
                yield positions[there], outputs[there]

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
        found: np.ndarray | None = None
        for members in blocks(lengths):
            follower = Follower(self._stepper, len(members))
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
