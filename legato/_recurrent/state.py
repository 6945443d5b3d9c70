"""``State``: the state of a model's recurrent layers as an immutable value.

It is a mapping and a pytree: layer path → arrays of shape (rows, …), one row for each position in a
batch. It can be read from a model, assigned to one, sliced, stacked, repeated, compared, saved to a
safetensors file and loaded; it passes through ``jit``, ``scan`` and ``vmap``. Each layer has one
boolean a row, *fresh*: the row had no input since its last reset, and starts from the layer's
initial state. A state of zero rows is that of a model before its first input, and fits any number
of rows.
"""

import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

import jax
import jax.numpy as jnp
import numpy as np

from legato._errors import StateError
from legato._platform.array_files import read_arrays, write_arrays
from legato._platform.checks import is_count
from legato._platform.jax_arrays import to_jax
from legato._platform.output_streams import printable_on_stdout
from legato._platform.plain_arrays import check_keeps_meaning

_FORMAT = "legato.state"


@jax.tree_util.register_pytree_node_class
class State(Mapping[str, tuple]):
    """The recurrent state of a model: layer path → arrays of shape (rows, …).

    Args:
        values: for each layer path, the layer's state arrays, each of shape (rows, …), in the order
            in which its cell returns them: (h, c) for an LSTM, (h,) for a GRU; those of stacked
            cells follow one another.
        fresh: for each layer path, a boolean array of shape (rows,): True for rows that start from
            the layer's initial state, whatever their arrays hold. Default: False for all.

    Raises:
        StateError: the arrays do not agree on the number of rows.

    Examples:
        >>> import numpy as np
        >>> from legato import State
        >>> state = State({"lstm": (np.ones((2, 3)), np.zeros((2, 3)))})
        >>> state.rows, state.nbytes
        (2, 48)
        >>> state.select([1]).repeat(4).rows
        4
    """

    __slots__ = ("_fresh", "_values")

    def __init__(self, values: Mapping[str, Sequence], fresh: Mapping | None = None):
        arrays = {
            path: tuple(to_jax(f"State[{path!r}]", part) for part in parts)
            for path, parts in values.items()
        }
        rows = {
            path: sorted({_row_count(part) for part in parts}) for path, parts in arrays.items()
        }
        counts = {count for each in rows.values() for count in each}
        if len(counts) > 1:
            raise StateError(
                f"A state has one number of rows, but these arrays have several: {rows}. "
                "Axis 0 of every array is the row."
            )
        count = counts.pop() if counts else 0
        given = fresh or {}
        flags = {
            path: to_jax(f"fresh[{path!r}]", given.get(path, np.zeros(count, bool)))
            for path in arrays
        }
        for path, flag in flags.items():
            if flag.shape != (count,):
                raise StateError(
                    f"Layer {path!r} has {count} rows of state, but flags of shape {flag.shape}: "
                    "fresh is one boolean a row."
                )
        object.__setattr__(self, "_values", MappingProxyType(arrays))
        object.__setattr__(self, "_fresh", MappingProxyType(flags))

    # An immutable mapping.

    def __setattr__(self, name, value):
        raise AttributeError(f"A State is immutable: {name!r} was assigned.")

    def __getitem__(self, path: str) -> tuple:
        try:
            return self._values[path]
        except KeyError:
            raise KeyError(f"{path!r}; this state has {', '.join(self) or 'no layers'}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._values)

    def __len__(self) -> int:
        return len(self._values)

    @printable_on_stdout
    def __repr__(self) -> str:
        shapes = ", ".join(
            f"{path}: {' '.join(str(part.shape) for part in parts)}" for path, parts in self.items()
        )
        return f"State(rows={self.rows}, {shapes})"

    def __eq__(self, other) -> bool:
        """Whether both have equal arrays of equal dtypes under the same paths."""
        if not isinstance(other, State):
            return NotImplemented
        mine, theirs = self._flat(), other._flat()
        return list(mine) == list(theirs) and all(
            mine[name].dtype == theirs[name].dtype and np.array_equal(mine[name], theirs[name])
            for name in mine
        )

    __hash__ = None  # arrays are compared, not hashed

    def __reduce__(self):
        raise TypeError("A State is never pickled: use state.save(path) and State.load(path).")

    def __copy__(self) -> "State":
        return self  # it is immutable

    def __deepcopy__(self, _) -> "State":
        return self

    # Its size and flags.

    @property
    def rows(self) -> int:
        """Number of rows; 0 before the first input."""
        return next((part.shape[0] for parts in self.values() for part in parts), 0)

    @property
    def fresh(self) -> Mapping:
        """Layer path → booleans (rows,): True where the row had no input since its last reset."""
        return self._fresh

    @property
    def nbytes(self) -> int:
        """Size of the state arrays in bytes."""
        return sum(part.nbytes for parts in self.values() for part in parts)

    # Operations that return new states.

    def select(self, rows) -> "State":
        """The state of some rows.

        Args:
            rows: row indices, a boolean mask of shape (rows,), or a slice.

        Raises:
            StateError: an index is outside the state.
        """
        if not isinstance(rows, slice):
            check_keeps_meaning("rows", rows)
            rows = np.atleast_1d(np.asarray(rows))
            rows = rows.astype(int) if rows.size == 0 else rows
            if rows.dtype == bool:
                fits = rows.shape == (self.rows,)
            else:
                fits = rows.dtype.kind in "iu" and all(-self.rows <= rows) and all(rows < self.rows)
            if not fits:
                raise StateError(
                    f"Rows {rows.tolist()} cannot be selected: the state has {self.rows} rows. "
                    f"Give indices from 0 to {self.rows - 1}, or a mask of {self.rows} booleans."
                )
        return jax.tree.map(lambda part: part[rows], self)

    def repeat(self, times: int) -> "State":
        """Each row ``times`` times, the copies next to each other, to continue it in several ways.

        Raises:
            StateError: ``times`` is no whole number from 1 up.
        """
        if not is_count(times):
            raise StateError(f"times is {times!r}; a whole number of at least 1 was expected.")
        return jax.tree.map(lambda part: jnp.repeat(part, times, axis=0), self)

    @staticmethod
    def stack(states: Sequence["State"]) -> "State":
        """The rows of several states of one model, one after the other.

        Raises:
            StateError: there are no states, or they have different layers.
        """
        if isinstance(states, State) or not states:
            raise StateError("There is nothing to stack: give a list of states, at least one.")
        states = list(states)
        if len({tuple(map(without_number, state)) for state in states}) > 1:
            raise StateError(
                "Only states of one model can be stacked; these have different layers: "
                f"{[list(state) for state in states]}."
            )
        flat, structure = zip(*map(jax.tree.flatten, states), strict=True)
        joined = [jnp.concatenate(parts) for parts in zip(*flat, strict=True)]
        return jax.tree.unflatten(structure[0], joined)

    def allclose(self, other: "State", rtol: float = 1e-5, atol: float = 1e-6) -> bool:
        """Whether both have the same layers and shapes, and values within the tolerances."""
        mine, theirs = self._flat(), other._flat()
        return list(mine) == list(theirs) and all(
            mine[name].shape == theirs[name].shape
            and np.allclose(mine[name], theirs[name], rtol=rtol, atol=atol)
            for name in mine
        )

    # Files.

    def save(self, path: str | os.PathLike) -> None:
        """Write the state to a safetensors file, whole or not at all.

        Raises:
            OutputError: the folder is missing or cannot be written.
        """
        write_arrays(path, _FORMAT, self._flat(), paths=json.dumps(list(self)))

    @staticmethod
    def load(path: str | os.PathLike) -> "State":
        """Read a state that ``save`` wrote, equal to the bit.

        Raises:
            StateError: there is no such file, it is not a state, or it is damaged.
        """
        return read_arrays(path, _FORMAT, "state", State._decode)

    @staticmethod
    def _decode(parts: dict[str, np.ndarray], about: dict[str, str]) -> "State":
        """The state of the arrays and metadata of a file.

        Raises:
            ValueError, LookupError, TypeError: they do not fit together.
        """
        paths = json.loads(about["paths"])
        values = {each: [] for each in paths}
        for name in sorted(parts, key=_numbered):
            layer, _, part = name.rpartition(":")
            if part != "fresh":
                values[layer].append(parts[name])
        state = State(values, {each: parts[f"{each}:fresh"] for each in paths})
        if len(paths) != len(state) or state._flat().keys() != parts.keys():
            raise ValueError("its list of layers does not fit its arrays")
        return state

    def _flat(self) -> dict[str, np.ndarray]:
        """A dictionary from the arrays' names in a file to NumPy arrays."""
        flat = {}
        for path, parts in self.items():
            flat |= {f"{path}:{index}": np.asarray(part) for index, part in enumerate(parts)}
            flat[f"{path}:fresh"] = np.asarray(self._fresh[path])
        return flat

    # A pytree. It is made without __init__, since JAX puts tracers and other objects in its leaves.

    def tree_flatten(self):
        """The arrays and the marks of fresh rows, and the paths of the layers: for JAX."""
        return (tuple(self._values.values()), tuple(self._fresh.values())), tuple(self._values)

    @classmethod
    def tree_unflatten(cls, paths, children):
        """A state of the parts that ``tree_flatten`` gave; shapes are not checked: for JAX."""
        self = object.__new__(cls)
        values, fresh = children
        object.__setattr__(self, "_values", MappingProxyType(dict(zip(paths, values, strict=True))))
        object.__setattr__(self, "_fresh", MappingProxyType(dict(zip(paths, fresh, strict=True))))
        return self


def _row_count(array: jax.Array) -> int:
    if not array.ndim:
        raise StateError(f"A state has arrays of shape (rows, …), and {array} is a single number.")
    return len(array)


def without_number(path: str) -> str:
    """A layer path without the counters that Keras appends to names in a process."""
    return "/".join(re.sub(r"_\d+$", "", part) for part in path.split("/"))


def _numbered(name: str) -> tuple[str, int]:
    """A sort key that puts ``lstm:10`` after ``lstm:9``."""
    layer, _, part = name.rpartition(":")
    return layer, int(part) if part.isdigit() else -1
