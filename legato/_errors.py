"""Every exception legato raises, as one small tree.

    LegatoError
    ├── BackendError      (RuntimeError)         Keras runs on something other than JAX
    ├── InputError        (ValueError)           invalid data or arguments
    ├── StateError        (ValueError)           a recurrent state that does not fit
    ├── UnsupportedError  (NotImplementedError)  a feature that legato does not have yet
    ├── MissingError      (ImportError)          an optional package that is not installed
    ├── OutputError       (OSError)              a file or folder that cannot be written
    └── ProcessError      (RuntimeError)         a process that trains with this one has gone

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
    """Data or arguments that do not fit: shapes, lengths, NaN, contradictory options.

    Examples:
        >>> import legato
        >>> try:
        ...     legato.Lanes([7, 3], rows=0, steps=3)
        ... except legato.InputError as error:
        ...     print(error)
        rows is 0; a whole number of at least 1 was expected. None has legato choose it.
    """


class StateError(LegatoError, ValueError):
    """A recurrent state that does not fit: another model's, another row count, another dtype.

    Examples:
        >>> import legato
        >>> from legato import layers
        >>> lstm = layers.LSTM(2, stateful=True)
        >>> model = legato.Sequential([layers.Input((None, 1)), lstm])
        >>> gru = layers.GRU(2, stateful=True)
        >>> other = legato.Sequential([layers.Input((None, 1)), gru])
        >>> try:
        ...     model.states = other.states
        ... except legato.StateError as error:
        ...     print(error)
        This state is another model's: it has layers ['gru'], and this model has ['lstm'].
    """


class UnsupportedError(LegatoError, NotImplementedError):
    """A feature that legato does not have yet; it is refused and never done without its state.

    Examples:
        >>> import legato
        >>> from legato import layers
        >>> backwards = layers.GRU(2, go_backwards=True)
        >>> model = legato.Sequential([layers.Input((None, 1)), backwards])
        >>> try:
        ...     model.stream()
        ... except legato.UnsupportedError as error:
        ...     print(error)  # doctest: +ELLIPSIS
        Model 'sequential' cannot be streamed: its layer 'gru' reads a sequence from its end...
    """


class MissingError(LegatoError, ImportError):
    """A package that only this part of legato needs, and that is not installed."""


class OutputError(LegatoError, OSError):
    """A file or folder that cannot be read or written.

    Examples:
        >>> import legato
        >>> try:
        ...     legato.load_model("nowhere.keras")
        ... except legato.OutputError as error:
        ...     print(error)  # doctest: +ELLIPSIS
        nowhere.keras cannot be read (No such file or directory)...
    """


class ProcessError(LegatoError, RuntimeError):
    """A process that trains together with this one did not come, was lost, or failed."""
