"""Converts the arrays of one stream's state to one vector and back.

Passing one array instead of several halves the cost of a call of a small network, and the states of
many streams are one table. Conversion is exact: floats and small integers become elements of the
vector, and integers as wide as an element are stored as their bits.
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
        at: its elements in the vector.
        as_bits: whether its bits are stored instead of its numbers.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    at: slice
    as_bits: bool


def vector_dtype(specs: Sequence[Spec]) -> np.dtype:
    """The dtype of a vector of such arrays: float32, or float64 if one of them takes 64 bits."""
    wide = any(jnp.dtype(dtype).itemsize == 8 for _, dtype in specs)
    return np.dtype("float64" if wide else "float32")


class FlatLayout:
    """The layout of arrays (rows, …) side by side in one array (rows, width).

    Args:
        specs: shape without the row, and dtype, of each array.
        dtype: of the vector, as ``vector_dtype`` gives it for all arrays that share one.

    Attributes:
        parts: the place of each array.
        width: the length of a vector.
        dtype: as given.

    Examples:
        >>> import numpy as np
        >>> layout = FlatLayout([((2,), "float32"), ((), "int32")], np.dtype("float32"))
        >>> rows = layout.join_host([np.ones((4, 2), "float32"), np.arange(4, dtype="int32")])
        >>> rows.shape, layout.split_host(rows)[1]
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
        self.width: int = ends[-1] if ends else 0
        self._is_plain = [(len(part.shape), part.dtype) for part in self.parts] == [(1, dtype)]

    def _as_bits(self, dtype: np.dtype) -> bool:
        return dtype.kind in "iu" and dtype.itemsize == self.dtype.itemsize

    def join(self, arrays: Sequence):
        """Arrays (rows, …) → (rows, width); traceable."""
        columns = []
        for part, array in zip(self.parts, arrays, strict=True):
            flat = array.reshape(len(array), prod(part.shape))
            if part.as_bits:
                columns.append(jax.lax.bitcast_convert_type(flat, self.dtype))
            else:
                columns.append(flat.astype(self.dtype))
        return jnp.concatenate(columns, axis=1)

    def split(self, rows) -> list:
        """(rows, width or more) → the arrays; traceable."""
        arrays = []
        for part in self.parts:
            flat = rows[:, part.at]
            if part.as_bits:
                flat = jax.lax.bitcast_convert_type(flat, part.dtype)
            arrays.append(flat.astype(part.dtype).reshape(len(rows), *part.shape))
        return arrays

    def join_host(self, arrays: Sequence[np.ndarray]) -> np.ndarray:
        """As ``join``, in NumPy."""
        rows = np.empty((len(arrays[0]) if arrays else 1, self.width), self.dtype)
        for part, array in zip(self.parts, arrays, strict=True):
            flat = np.ascontiguousarray(array, part.dtype).reshape(len(rows), prod(part.shape))
            rows[:, part.at] = flat.view(self.dtype) if part.as_bits and flat.size else flat
        return rows

    def split_host(self, rows: np.ndarray) -> list[np.ndarray]:
        """(…, width or more) → the arrays (…, their shapes), copied, in NumPy."""
        return [self._part(rows, part) for part in self.parts]

    def single_host(self, rows: np.ndarray) -> np.ndarray:
        """The array of a layout that has one, as ``split_host`` gives it; a faster path."""
        return rows.copy() if self._is_plain else self._part(rows, self.parts[0])

    @staticmethod
    def _part(rows: np.ndarray, part: Part) -> np.ndarray:
        flat = rows[..., part.at].copy()
        if part.as_bits:
            flat = flat.view(part.dtype) if flat.size else flat.astype(part.dtype)
        elif flat.dtype != part.dtype:
            flat = flat.astype(part.dtype)
        return flat if len(part.shape) == 1 else flat.reshape(*rows.shape[:-1], *part.shape)
