"""Locks for threads that use one model, one stream or one pool.

A call that changes the variables of a model reads them, computes, and writes the results back. Two
such calls of one model at a time would each start from the same values, and the second to end would
drop the changes of the first. ``ModelLock`` lets them run one after the other, and refuses those
that would have to wait for a whole ``fit``. ``TRACING`` is held while Keras's Python code is built
or traced, which changes attributes of layers and variables; compiled programs run without it.

Order, so that no two threads wait for each other: the lock of a stream or pool, or of a model;
``TRACING``; ``ModelLock.values``. A thread that has one of them takes only later ones.

Limits: models that share layers have a lock each. A thread that holds a model's lock must not wait
for another thread that needs it, such as a callback of ``evaluate`` that starts a thread, calls
``evaluate`` of the same model there, and joins it.
"""

import threading
from collections.abc import Callable
from functools import partial, wraps
from typing import TypeVar, cast

from legato._errors import UnsupportedError

Method = TypeVar("Method", bound=Callable)


class Lock(type(threading.RLock())):  # pyrefly: ignore[invalid-inheritance]
    """A lock that its holder may enter again. A copy of its owner (``deepcopy``) has a new one."""

    def __reduce__(self):
        return type(self), ()


TRACING = Lock()  # one for all models: tracing holds Python's own lock anyway


class _Caller(threading.local):
    """What a thread is to the locks of models.

    Attributes:
        token: stands for the thread.
        served: tokens of the threads that wait for what this one reads for them.
    """

    def __init__(self):
        self.token: object = object()
        self.served: tuple[object, ...] = ()


_CALLER = _Caller()


def acting_for_this_thread() -> Callable[[], None]:
    """A function for another thread to call first, which then may enter the locks of this one.

    A generator of training data, which is read on a thread of its own, may run the model that is
    trained.
    """
    served = (_CALLER.token, *_CALLER.served)

    def act() -> None:
        _CALLER.served = served

    return act


class ModelLock:
    """The lock of one model: one thread at a time runs a call that changes the model.

    ``fit`` does not hold it, but waits for it once, and has all others refused until it ends.

    Attributes:
        values: a lock that is held while several variables are read or set together, so that nobody
            sees a half of them; never while a program runs.
    """

    def __init__(self):
        self.values = Lock()
        self._lock = Lock()
        self._holder: object | None = None  # token of the thread that holds the lock
        self._fit: tuple[object, str] | None = None  # token and name of the thread that runs fit

    def __reduce__(self):
        return type(self), ()  # as ``Lock``

    def run(self, verb: str, call: Callable, *arguments, beside_fit: bool = False):
        """Call a function while the lock is held, and return its result.

        Args:
            verb: the method that was called, for the message.
            call: the function.
            arguments: of the function.
            beside_fit: whether it is called also while ``fit`` runs in another thread.

        Raises:
            UnsupportedError: ``fit`` runs in another thread.
        """
        caller = _CALLER
        if caller.served and self._holder in caller.served:
            return call(*arguments)
        with self._lock:
            if self._fit is not None and not beside_fit:
                self.refuse_beside_fit(verb)
            outer, self._holder = self._holder, caller.token
            try:
                return call(*arguments)
            finally:
                self._holder = outer

    def run_fit(self, call: Callable):
        """Call a function that trains, when no other call holds the lock; return its result.

        Raises:
            UnsupportedError: ``fit`` runs in another thread.
        """
        outer, mine = self._fit, (_CALLER.token, threading.current_thread().name)
        try:
            with self._lock:
                self.refuse_beside_fit("fit")
                self._fit = mine
            return call()
        finally:  # also if an interrupt came before the call
            if self._fit is mine:
                self._fit = outer  # of the same thread: a callback of fit may call fit

    def refuse_beside_fit(self, verb: str) -> None:
        """Refuse a call that changes variables while ``fit`` in another thread changes them.

        Raises:
            UnsupportedError: ``fit`` runs in another thread.
        """
        if (fit := self._fit) is None:
            return
        token, thread = fit
        if token is _CALLER.token or token in _CALLER.served:
            return
        raise UnsupportedError(
            f"{verb} was called while fit of the same model runs in thread {thread!r}. Both change "
            "the model's variables, and the changes of one would be lost. Call it when fit has "
            "ended, or in a callback of fit; train a model of its own in each thread; for answers "
            "during training use model.stream(), which has a state of its own."
        )


def with_model_lock(method: Method) -> Method:
    """Decorate a method of models that changes variables: see ``ModelLock.run``."""

    @wraps(method)
    def run(self, *args, **kwargs):
        call = partial(method, self, *args, **kwargs)
        return self._model_lock.run(method.__name__, call)

    return cast("Method", run)


def with_fit_lock(method: Method) -> Method:
    """Decorate the method of models that trains for long: see ``ModelLock.run_fit``."""

    @wraps(method)
    def run(self, *args, **kwargs):
        return self._model_lock.run_fit(partial(method, self, *args, **kwargs))

    return cast("Method", run)


def with_lock(method: Method) -> Method:
    """Decorate a method of a class so that it holds the object's ``_lock``."""

    @wraps(method)
    def run(self, *args, **kwargs):
        with self._lock:
            return method(self, *args, **kwargs)

    return cast("Method", run)
