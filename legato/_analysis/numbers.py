"""What of a sample a map tells apart: nothing but the sample, or its time steps."""

from dataclasses import dataclass

import numpy as np

from legato._errors import InputError


@dataclass(frozen=True)
class InfluenceAxes:
    """How many numbers one side of a sample is, and what they are summed up in.

    Attributes:
        parts: columns, or rows, that a sample has in the map: 1, or one a time step.
        part: (numbers,), which of these each is of.
    """

    parts: int
    part: np.ndarray

    def times(self, samples: int) -> "InfluenceAxes":
        """The same for samples side by side."""
        part = np.arange(samples)[:, None] * self.parts + self.part
        return InfluenceAxes(samples * self.parts, part.reshape(-1))

    def summed(self, values: np.ndarray, axis: int, first: int = 0) -> np.ndarray:
        """Sums over those of a part; ``values`` are of consecutive numbers from ``first`` on."""
        if self.parts == 1:
            return values.sum(axis, keepdims=True)
        values = np.moveaxis(values, axis, 0)
        part = self.part[first : first + len(values)]
        begins = np.flatnonzero(np.diff(part, prepend=-1))
        sums = np.zeros((self.parts, *values.shape[1:]))
        if len(part):
            np.add.at(sums, part[begins], np.add.reduceat(values, begins, axis=0))
        return np.moveaxis(sums, 0, axis)


def influence_axes(
    came: list[tuple], made: list[tuple], output: int | None, by_step: bool
) -> tuple[InfluenceAxes, InfluenceAxes]:
    """Both sides of a sample.

    Args:
        came, made: shapes of a sample's inputs and outputs.
        output: index on the last axis of the outputs; None for all of them.
        by_step: whether time steps are told apart; those of the outputs if all of them have as many
            as the inputs.

    Raises:
        InputError: there are no time steps, or no such output.
    """
    steps = _steps(came) if by_step else None
    in_time = steps is not None and all(len(each) > 1 and each[0] == steps for each in made)
    if output is not None:
        made = [_without(output, shape) for shape in made]
    return _numbers(came, steps), _numbers(made, steps if in_time else None)


def _steps(shapes: list[tuple]) -> int:
    """The time steps of inputs of such shapes, all the same."""
    counts = {shape[0] if len(shape) > 1 else None for shape in shapes}
    steps = counts.pop()
    if counts or steps is None:
        raise InputError(
            f"steps=True tells time steps apart, and a sample's inputs have the shapes {shapes}; "
            "(time steps, features) was expected, with as many steps each. Leave steps out."
        )
    return steps


def _without(index: int, shape: tuple) -> tuple:
    """The shape of one of the outputs on the last axis."""
    if not shape or not -shape[-1] <= index < shape[-1]:
        raise InputError(
            f"outputs={index} was asked for, and the last axis of the model's outputs, "
            f"{('samples', *shape)}, has no such place."
        )
    return shape[:-1]


def _numbers(shapes: list[tuple], steps: int | None) -> InfluenceAxes:
    """Numbers of arrays of such shapes, told apart by their first axis if it is of time."""
    sizes = [int(np.prod(shape)) for shape in shapes]
    if steps is None:
        return InfluenceAxes(1, np.zeros(sum(sizes), int))
    return InfluenceAxes(steps, np.concatenate([np.arange(size) * steps // size for size in sizes]))
