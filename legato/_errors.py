"""Every exception legato raises, as one small tree.

    LegatoError
    ├── BackendError      (RuntimeError)         Keras runs on something other than JAX
    ├── InputError        (ValueError)           invalid data or arguments
    ├── StateError        (ValueError)           a recurrent state that does not fit
    ├── UnsupportedError  (NotImplementedError)  a feature that legato does not have yet
    ├── MissingError      (ImportError)          an optional package that is not installed
    └── OutputError       (OSError)              a file or folder that cannot be written

Each also is the built-in exception a Keras user would expect, so ``except ValueError`` keeps
working. Every message says what came, what was expected and what to do.
"""


class LegatoError(Exception):
    """The root of everything legato raises on purpose.

    Examples:
        >>> import legato
        >>> try:
        ...     legato.frame(range(3), window=5)
        ... except legato.LegatoError as error:
        ...     print(type(error).__name__, isinstance(error, ValueError))
        InputError True
    """


class BackendError(LegatoError, RuntimeError):
    """Keras is already running on another backend than JAX."""


class InputError(LegatoError, ValueError):
    """Data or arguments that do not fit: shapes, lengths, NaN, contradictory options."""


class StateError(LegatoError, ValueError):
    """A recurrent state that does not fit: another model's, another row count, another dtype."""


class UnsupportedError(LegatoError, NotImplementedError):
    """A feature that legato does not have yet; it is refused and never done without its state."""


class MissingError(LegatoError, ImportError):
    """A package that only this part of legato needs, and that is not installed."""


class OutputError(LegatoError, OSError):
    """A file or folder that cannot be read or written."""
