"""Predictions along sequences: with the true inputs (teacher forcing), then recursively.

Many sequences are read side by side, each as a row of a stream. A stateful network carries its
state; a stateless one sees, at every step, the lookback window that it saw in training.
"""

from collections.abc import Callable, Iterable, Iterator

import numpy as np

from legato._streams.compiled_steps import CompiledSteps

ROWS, STEPS = 256, 64  # sequences side by side, and time steps in a call, at most


class SequenceReader:
    """Reads several sequences side by side, from their beginnings.

    Args:
        compiled: the compiled steps of the network.
        rows: number of sequences.
    """

    def __init__(self, compiled: CompiledSteps, rows: int):
        self._compiled = compiled
        self._rows = np.repeat(compiled.model_step.blank, rows, axis=0)
        self._most_steps = 0  # of a feed

    def feed(self, x: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """Read on.

        Args:
            x: (rows, time steps, inputs), the next inputs of each row.
            counts: (rows,), the number of valid steps; the others are padding.

        Returns:
            (rows, time steps, outputs); NaN where the network has no output.
        """
        self._rows, emitted = self._compiled.advance(
            self._rows, (x,), counts, steps_before=self._most_steps
        )
        self._most_steps = max(self._most_steps, x.shape[1])
        answers = self._compiled.model_step.answers(emitted)
        outputs = np.full((*x.shape[:2], answers.shape[-1]), np.nan, answers.dtype)
        outputs[:, : len(answers)] = answers.swapaxes(0, 1)
        outputs[np.arange(x.shape[1]) >= counts[:, None]] = np.nan
        return outputs


class Rollout:
    """Runs a network along sequences; the state of the model itself is neither used nor changed.

    Args:
        compiled: the compiled steps of the network's streams.
    """

    def __init__(self, compiled: CompiledSteps):
        self._compiled = compiled

    def predict_steps(
        self,
        values: np.ndarray,
        lengths: np.ndarray,
        together: Iterable[np.ndarray] | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """The outputs at every time step, with the true inputs (teacher forcing).

        Args:
            values: (time steps of all sequences, inputs).
            lengths: (sequences,).
            together: some of the ``blocks`` of sequences; None: all.

        Yields:
            Indices of some time steps (n,) in the values, and the outputs there (n, outputs).
        """
        for members in blocks(lengths) if together is None else together:
            reader = SequenceReader(self._compiled, len(members))
            for _, positions, outputs in self._read(reader, values, lengths, members):
                there = positions >= 0
                yield positions[there], outputs[there]

    def predict_ahead(
        self,
        values: np.ndarray,
        lengths: np.ndarray,
        leads: int,
        feedback: Callable[[np.ndarray], np.ndarray],
        horizon: int,
    ) -> np.ndarray:
        """Recursive predictions after the end of each sequence: outputs are fed back as inputs.

        Args:
            values, lengths: the sequences, as for ``predict_steps``.
            leads: number of steps after the end.
            feedback: function from outputs (rows, outputs) to the inputs (rows, horizon, inputs)
                of the steps they predict.
            horizon: number of steps that one output predicts.

        Returns:
            (sequences, leads, inputs), as ``feedback`` gives them; NaN where there is no output.
        """
        found: np.ndarray | None = None
        for members in blocks(lengths):
            reader = SequenceReader(self._compiled, len(members))
            last: np.ndarray | None = None
            for counts, _, outputs in self._read(reader, values, lengths, members):
                ends = outputs[np.arange(len(counts)), np.maximum(counts - 1, 0)]
                last = ends if last is None else np.where((counts > 0)[:, None], ends, last)
            parts = [feedback(last if last is not None else np.empty(0))]
            while len(parts) * horizon < leads:
                answered = ~np.isnan(parts[-1]).any((1, 2))  # the others have nothing to feed back
                counts = np.where(answered, horizon, 0)
                parts.append(feedback(reader.feed(parts[-1], counts)[:, -1]))
            block = np.concatenate(parts, axis=1)[:, :leads]
            if found is None:
                found = np.full((len(lengths), *block.shape[1:]), np.nan, block.dtype)
            found[members[members >= 0]] = block[members >= 0]
        assert found is not None
        return found

    @staticmethod
    def _read(
        reader: SequenceReader, values: np.ndarray, lengths: np.ndarray, members: np.ndarray
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
            yield counts, positions, reader.feed(values[positions].astype("float32"), counts)


def blocks(lengths: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of sequences of similar lengths, in blocks of one size; -1 fills the last."""
    count = len(lengths)
    size = -(-count // -(-count // ROWS))
    order = np.argsort(-lengths, kind="stable")
    filled = np.concatenate([order, np.full(-count % size, -1)])
    yield from filled.reshape(-1, size)
