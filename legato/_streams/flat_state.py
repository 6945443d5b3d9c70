"""Several arrays of a row as one vector, so that a state is one argument of a program and one slot.

Handing a program one array instead of several halves what a call of a small network costs, and
many states side by side are one table. Every array keeps its bits: floats and small integers become
the table's words exactly, and integers as wide as a word are laid down as their bits.
"""

from collections.abc import Sequence
from math import prod
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Spec = tuple[tuple[int, ...], str]  # shape without the row, and dtype


class Part(NamedTuple):
    """One of the arrays.

    Attributes:
        shape: without the row.
        dtype: its own.
        at: where its words stand in the vector.
        as_bits: whether its bits stand there, instead of its numbers.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    at: slice
    as_bits: bool


def word(specs: Sequence[Spec]) -> np.dtype:
    """The words that hold such arrays: float32, or float64 if one of them takes 64 bits."""
    wide = any(jnp.dtype(dtype).itemsize == 8 for _, dtype in specs)
    return np.dtype("float64" if wide else "float32")


class FlatLayout:
    """How arrays (rows, …) stand side by side in one array (rows, words).

    Args:
        specs: shape without the row, and dtype, of each array.
        dtype: of the words, as ``word`` gives it for all arrays that shall go together.

    Attributes:
        parts: where each array stands.
        words: the length of a vector.
        dtype: as given.

    Example:
        >>> import numpy as np
        >>> packing = Packing([((2,), "float32"), ((), "int32")], np.dtype("float32"))
        >>> rows = packing.join_host([np.ones((4, 2), "float32"), np.arange(4, dtype="int32")])
        >>> rows.shape, packing.split_host(rows)[1]
        ((4, 3), array([0, 1, 2, 3], dtype=int32))
    """

    def __init__(self, specs: Sequence[Spec], dtype: np.dtype):
        self.dtype = dtype
        dtypes = [jnp.dtype(each) for _, each in specs]
        ends = np.cumsum([prod(shape) for shape, _ in specs], dtype=int).tolist()
        self.parts = [
            Part(tuple(shape), kind, slice(end - prod(shape), end), self._as_bits(kind))
            for (shape, _), kind, end in zip(specs, dtypes, ends, strict=True)
        ]
        self.words: int = ends[-1] if ends else 0
        self._is_plain = [(len(part.shape), part.dtype) for part in self.parts] == [(1, dtype)]

    def _as_bits(self, dtype: np.dtype) -> bool:
        return dtype.kind in "iu" and dtype.itemsize == self.dtype.itemsize

    def join(self, arrays: Sequence):
        """Arrays (rows, …) → (rows, words), inside a program."""
        columns = []
        for part, array in zip(self.parts, arrays, strict=True):
            flat = array.reshape(len(array), prod(part.shape))
            if part.as_bits:
                columns.append(jax.lax.bitcast_convert_type(flat, self.dtype))
            else:
                columns.append(flat.astype(self.dtype))
        return jnp.concatenate(columns, axis=1)

    def split(self, rows) -> list:
        """(rows, words or more) → the arrays, inside a program."""
        arrays = []
        for part in self.parts:
            flat = rows[:, part.at]
            if part.as_bits:
                flat = jax.lax.bitcast_convert_type(flat, part.dtype)
            arrays.append(flat.astype(part.dtype).reshape(len(rows), *part.shape))
        return arrays

    def join_host(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """The same as ``join``, on the host."""
        rows = np.empty((len(arrays[0]) if arrays else 1, self.words), self.dtype)
        for part, array in zip(self.parts, arrays, strict=True):
            flat = np.ascontiguousarray(array, part.dtype).reshape(len(rows), prod(part.shape))
            rows[:, part.at] = flat.view(self.dtype) if part.as_bits and flat.size else flat
        return rows

    def split_host(self, rows: np.ndarray) -> list[np.ndarray]:
        """(…, words or more) → the arrays (…, their shapes), copied, on the host."""
        return [self._part(rows, part) for part in self.parts]

    def only_host(self, rows: np.ndarray) -> np.ndarray:
        """The array that stands alone, as ``split_host`` gives it, sooner."""
        return rows.copy() if self._is_plain else self._part(rows, self.parts[0])

    @staticmethod
    def _part(rows: np.ndarray, part: Part) -> np.ndarray:
        flat = rows[..., part.at].copy()
        if part.as_bits:
            flat = flat.view(part.dtype) if flat.size else flat.astype(part.dtype)
        elif flat.dtype != part.dtype:
            flat = flat.astype(part.dtype)
        return flat if len(part.shape) == 1 else flat.reshape(*rows.shape[:-1], *part.shape)
