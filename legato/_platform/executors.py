"""Runs tasks on an executor of the user's: other processes, or other machines.

Any executor with the interface of ``concurrent.futures`` will do: a ``ProcessPoolExecutor``, Dask's
``Client.get_executor()``. Limits: functions and arguments must be picklable, by whatever the
executor pickles with; a task that an executor has begun cannot be stopped.
"""

import pickle
import threading
import uuid
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, BrokenExecutor, Future, wait
from typing import Any, Generic, TypeVar

from legato._errors import InputError
from legato._platform.wording import counted

_POLL_S = 0.1  # how often the main thread can be interrupted
T = TypeVar("T")


class SentOnce(Generic[T]):
    """An argument that many tasks share: pickled once, and unpickled once in each process.

    So what a process has compiled for a task's model serves for the next one. A process keeps the
    last that it was sent.

    Attributes:
        value: what is shared.
    """

    def __init__(self, value: T):
        self.value = value
        self._key, self._pickled = uuid.uuid4().hex, b""

    def __reduce__(self):
        self._pickled = self._pickled or pickle.dumps(self.value)
        return _received, (self._key, self._pickled)


_last_sent: dict[str, SentOnce] = {}
_receiving = threading.Lock()


def _received(key: str, pickled: bytes) -> SentOnce:
    """What was sent to this process, by its key."""
    with _receiving:
        if key not in _last_sent:
            _last_sent.clear()
            _last_sent[key] = SentOnce(pickle.loads(pickled))
        return _last_sent[key]


def check_executor(executor) -> None:
    """Refuse what is no executor, and one whose processes are forks of this one.

    Raises:
        InputError: it is one of these.
    """
    if not callable(getattr(executor, "submit", None)):
        raise InputError(
            f"executor is a {type(executor).__name__}; something with the interface of "
            "concurrent.futures.Executor was expected, such as a ProcessPoolExecutor or Dask's "
            "client.get_executor()."
        )
    context = getattr(executor, "_mp_context", None)  # the only place that has it
    if context is not None and context.get_start_method() == "fork":
        raise InputError(
            "The executor forks this process, and JAX's threads do not survive that: make it with "
            'ProcessPoolExecutor(mp_context=multiprocessing.get_context("spawn")).'
        )


def run_tasks(
    executor, function: Callable, tasks: Sequence[tuple], what: str
) -> Iterator[tuple[int, Any]]:
    """Each task's number and result, in the order in which they are done.

    If the executor breaks, because a process of its was killed, the tasks that are left run here.

    Args:
        executor: as ``check_executor`` lets pass.
        function: called with each task's arguments; at the top level of a module.
        tasks: arguments.
        what: a word for what is sent, in messages.

    Raises:
        InputError: something cannot be sent to another process.
        Exception: what ``function`` raised; tasks that have not begun are cancelled.

    Warns:
        UserWarning: the executor broke.
    """
    left = dict(enumerate(tasks))
    running: dict[Future, int] = {}
    try:
        running = {executor.submit(function, *task): at for at, task in left.items()}
        while running:
            for future in wait(running, timeout=_POLL_S, return_when=FIRST_COMPLETED).done:
                at = running.pop(future)
                result = future.result()
                del left[at]
                yield at, result
    except BrokenExecutor:
        warnings.warn(
            f"A process of the executor ended, and with it the executor: the last "
            f"{counted(len(left), 'task')} of {len(tasks)} run in this process.",
            stacklevel=2,
        )
        running = {}
        for at, task in left.items():
            yield at, function(*task)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        if "pickle" not in str(error):
            raise
        raise InputError(
            f"{what} cannot be sent to another process ({error}): define functions at the top "
            "level of a module, without lambda."
        ) from error
    finally:
        for future in running:
            future.cancel()
