"""Keys of functions: equal for two functions only if both compile to the same program.

A compiled program holds every value that its function read while it was traced. The key therefore
holds the code and the values that the code can read: globals (those of nested functions too),
closures, default arguments, and the attributes of bound and callable objects. Numbers, text,
containers and NumPy arrays are compared by value, so that a lambda written in a loop is compiled
once; JAX arrays, which never change, by identity. Where a value may change unseen (a random
generator, an open file) there is no key.

Limits: globals of installed packages and attributes of their modules are taken to be constant:
those of Python, of legato, JAX, Keras and NumPy, and whatever lies in a folder ``site-packages`` or
``dist-packages``, of this environment or of another. Attributes of other modules are read where a
function names them, also as text (``getattr``); a module that it finds in a container gives no key.
Names that are put together while it runs, or read by ``eval``, are not found.
"""

import hashlib
import inspect
import os
import sys
import sysconfig
from collections.abc import Callable, Hashable, Iterable
from functools import lru_cache, partial
from pathlib import Path
from types import (
    BuiltinFunctionType,
    CodeType,
    FunctionType,
    GetSetDescriptorType,
    MappingProxyType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodType,
    MethodWrapperType,
    ModuleType,
    WrapperDescriptorType,
)
from typing import Any

import jax
import jax.numpy as jnp
import jaxlib
import keras
import numpy as np

_MAX_VALUES = 10_000  # looked at for one key; beyond that, compiling anew is not slower
_FOLDERS = tuple(f"{os.sep}{name}{os.sep}" for name in ("site-packages", "dist-packages"))
_PACKAGES = tuple(  # wherever they are installed
    f"{folder}{os.sep}"
    for folder in (
        Path(__file__).parents[1],
        *(Path(inspect.getfile(each)).parent for each in (jax, jaxlib, keras, np)),
        *map(sysconfig.get_path, ("stdlib", "platstdlib")),
    )
)
_POINTER_BYTES = np.intp().itemsize
_CONSTANTS = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    np.generic,
    type(...),
    slice,
    range,
)
_FIXED = (
    jax.Array,
    jax.tree_util.PyTreeDef,
    type(jax.jit(lambda: None)),
    type(jnp.add),
    np.ufunc,
    np.dtype,
    CodeType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    ModuleType,
    WrapperDescriptorType,
)


def function_key(function: Callable | None) -> Hashable | None:
    """A key of a function, method, partial or callable object.

    Args:
        function: called inside a compiled program; None is a key's subject too.

    Returns:
        Equal for functions that compile to the same program; None where that cannot be decided.
    """
    try:
        return _KeyBuilder().key_of(function)
    except (_UnknownValueError, RecursionError):
        return None


class _UnknownValueError(Exception):
    """A value that may change without being seen to."""


class _Same:
    """A value that is compared by identity, and kept alive so that its identity stays its own."""

    def __init__(self, value: Any):
        self._value = value

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Same) and self._value is other._value

    def __hash__(self) -> int:
        return id(self._value)


class _KeyBuilder:
    """Builds one key; a value that is met again is referred to by the order of first meetings."""

    def __init__(self):
        self._met: dict[int, tuple[int, Any]] = {}
        self._count = 0

    def key_of(self, value: Any) -> Hashable:
        """The key of any value that a function can read.

        Raises:
            _UnknownValueError: it may change without being seen to.
        """
        self._count += 1
        if self._count > _MAX_VALUES:
            raise _UnknownValueError
        if isinstance(value, _CONSTANTS):
            return type(value), repr(value)  # by repr, 0.0 is not -0.0, and NaN is NaN
        if _is_own_module(value):  # but for those that a function names, whose attributes are read
            raise _UnknownValueError
        if isinstance(value, _FIXED) or type(value) is object or _is_installed_class(value):
            return _Same(value)
        if id(value) in self._met:
            return "met", self._met[id(value)][0]
        self._met[id(value)] = len(self._met), value
        return type(value), self._contents(value)

    def _contents(self, value: Any) -> Hashable:
        if isinstance(value, FunctionType):
            return self._function(value)
        if isinstance(value, type):
            return self._class(value)
        if (parts := _parts_of(value)) is not None:
            return self._items(parts)
        items: Hashable = None
        if isinstance(value, np.ndarray):
            items = value.shape, str(value.dtype), self._array(value)
        elif isinstance(value, (dict, MappingProxyType)):
            items = self._items(each for pair in value.items() for each in pair)
        elif isinstance(value, (list, tuple, set, frozenset)):
            items = self._items(value)
        elif not _has_no_hidden_state(value):
            raise _UnknownValueError
        return items, self._attributes(value), self.key_of(type(value))  # and its methods

    def _array(self, array: np.ndarray) -> Hashable:
        if array.dtype.hasobject:
            return self._items(array.flat)
        return hashlib.blake2b(array.tobytes()).digest()

    def _items(self, values: Iterable) -> tuple:
        return tuple(map(self.key_of, values))

    def _attributes(self, value: Any) -> tuple:
        """Names and values of an instance's own attributes."""
        named = dict(getattr(value, "__dict__", {}))
        named |= {name: getattr(value, name) for name in _slots(value) if hasattr(value, name)}
        return tuple((name, self.key_of(each)) for name, each in named.items())

    def _class(self, kind: type) -> tuple:
        """A class of the user's own: what it and its bases define."""
        return tuple(
            (name, self.key_of(value))
            for base in kind.__mro__
            if not _is_installed_class(base)
            for name, value in vars(base).items()
            if not name.startswith(("__", "_abc_")) or isinstance(value, FunctionType)
        )

    def _function(self, function: FunctionType) -> tuple:
        top = self._count <= 1  # the function itself, wherever it is from
        known = not top and _is_installed_file(function.__code__.co_filename)
        keywords = function.__kwdefaults__ or {}
        read = [_contents_of(cell) for cell in function.__closure__ or ()]
        read += [*(function.__defaults__ or ()), *keywords.values()]
        modules = [each for each in read if _is_own_module(each)]
        key_of = self.key_of if known else self._key_of_named
        return (
            function.__code__,
            tuple(keywords),
            tuple(map(key_of, read)),
            self._attributes(function),
            () if known else self._globals(function, modules),
        )

    def _key_of_named(self, value: Any) -> Hashable:
        """The key of a value that a function names, whose attributes are read if it is a module."""
        return _Same(value) if _is_own_module(value) else self.key_of(value)

    def _globals(self, function: FunctionType, held: list[ModuleType]) -> tuple:
        """Names and values of the globals that code reads, and of its modules' attributes.

        Args:
            function: any.
            held: modules of the user's own in its closure and default arguments.
        """
        names = _names_in(function.__code__)
        modules = dict.fromkeys([*held, *_own_modules_imported(names, function)])
        scopes: list[dict] = [function.__globals__, *map(vars, modules)]
        found: list[Hashable] = [*map(_Same, modules)]
        while scopes:
            scope = scopes.pop()
            for name in names:
                value = scope.get(name, _NOTHING)
                if value is _NOTHING:
                    continue
                found.append((name, self._key_of_named(value)))
                if _is_own_module(value) and value not in modules:
                    modules[value] = None
                    scopes.append(vars(value))
        return tuple(found)


_NOTHING = object()


@lru_cache(maxsize=1024)
def _names_in(code: CodeType) -> tuple[str, ...]:
    """Names of globals, attributes and modules that code, or code nested in it, refers to; those in
    its texts too, as ``getattr`` takes them. Sorted."""
    nested = [each for each in code.co_consts if isinstance(each, CodeType)]
    texts = [each for each in code.co_consts if isinstance(each, str)]
    named = [each for each in texts if all(map(str.isidentifier, each.split(".")))]
    return tuple(sorted({*code.co_names, *named}.union(*map(_names_in, nested))))


def _own_modules_imported(names: Iterable[str], function: FunctionType) -> list[ModuleType]:
    """The user's own modules that a function may import by these names, itself or from a package
    that it is in."""
    found = [sys.modules.get(name) for name in names]
    package = function.__globals__.get("__package__")
    while package:
        found += [sys.modules.get(f"{package}.{name}") for name in names]
        package = package.rpartition(".")[0]
    return [each for each in found if each is not None and _is_own_module(each)]


def _parts_of(value: Any) -> tuple | None:
    """The parts that a wrapped or bound function consists of; None for any other value."""
    if isinstance(value, partial):
        return value.func, value.args, value.keywords
    if isinstance(value, MethodType):
        return value.__func__, value.__self__
    if isinstance(value, (BuiltinFunctionType, MethodWrapperType)):
        return value.__name__, value.__self__
    if isinstance(value, property):
        return (value.fget,)
    return (value.__func__,) if isinstance(value, (staticmethod, classmethod)) else None


def _contents_of(cell) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not assigned yet
        return None


def _slots(value: Any) -> list[str]:
    slots = [getattr(base, "__slots__", ()) for base in type(value).__mro__]
    return [name for each in slots for name in ([each] if isinstance(each, str) else each)]


def _has_no_hidden_state(value: Any) -> bool:
    """Whether attributes are all that an object has: none of it lies in a C structure."""
    slots = _slots(value)
    pointers = 2 + len(slots)  # to attributes, to weak references, and to each slot's value
    private = any(name.startswith("__") and not name.endswith("__") for name in slots)
    if private or not (slots or hasattr(value, "__dict__")):
        return False
    return type(value).__basicsize__ <= object.__basicsize__ + pointers * _POINTER_BYTES


def _is_installed(module: ModuleType | None) -> bool:
    """Whether a module is part of Python or of an installed package, and not the user's own."""
    if module is None or module.__name__ == "__main__":
        return False
    file = getattr(module, "__file__", None)
    if file is None:
        return module.__name__.partition(".")[0] in sys.stdlib_module_names
    return _is_installed_file(file)


def _is_own_module(value: Any) -> bool:
    return isinstance(value, ModuleType) and not _is_installed(value)


def _is_installed_file(path: str) -> bool:
    return path.startswith(_PACKAGES) or any(each in path for each in _FOLDERS)


def _is_installed_class(value: Any) -> bool:
    return isinstance(value, type) and _is_installed(sys.modules.get(value.__module__))
