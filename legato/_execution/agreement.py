"""What the processes of one training agree on before they compute together.

A compiled program waits for the devices of all processes. So all must call the same programs, with
data of the same shapes, over the same steps, or they would wait for ever. Before each call they
compare what they are about to do; the call ends where the first of them needs it to end, and a
process whose callback stops the run stops it for all.
"""

import json
import zlib
from contextlib import nullcontext
from typing import Any

import numpy as np
from jax.experimental import multihost_utils

from legato._errors import InputError, StateError
from legato._execution.batches import Block
from legato._execution.compiled_loop import Verb
from legato._execution.process_sums import share_sums
from legato._platform.process_group import ProcessGroup
from legato._platform.processes import check_agreed
from legato._platform.row_devices import own_part
from legato._recurrent import native_kernel

_NEXT = "the next step"


class Agreement:
    """The agreement of the processes of a run; a single process agrees with itself.

    Args:
        group: the processes; None for a single one.
        verb: what is run.

    Attributes:
        was_stopped: whether a callback of any process has stopped the run.
    """

    def __init__(self, group: ProcessGroup | None, verb: Verb):
        self._group, self._verb = group, verb
        self.was_stopped = False

    def share_sums(self) -> None:
        """Prepare sums over the processes, before the first program that needs them.

        Raises:
            ProcessError: a process has gone.
        """
        if self._group is not None:
            share_sums(self._group)

    def check(self, **facts) -> None:
        """Refuse processes that differ.

        Args:
            **facts: what must be the same in all, by its name in words, with underscores for
                blanks; values for JSON.

        Raises:
            InputError: something differs; the message has what two of them have.
            ProcessError: a process has gone, or failed.
        """
        if self._group is not None:
            named = {name.replace("_", " "): value for name, value in facts.items()}
            check_agreed(self._group, named)

    def check_block(self, block: Block) -> None:
        """Refuse processes whose data have other shapes.

        Raises:
            InputError, ProcessError: as for ``check``.
        """
        self.check(
            what_they_run=f"{self._verb!r} from step {block.begin} on",
            the_samples_of_a_batch=f"{block.batch}, and {block.last} in the last one",
            the_batches_of_an_epoch=block.steps,
            the_data=described(block.samples.shapes),
        )

    def check_model(self, model, variables: list) -> None:
        """Refuse processes whose models differ.

        Args:
            model: the model.
            variables: of it, of its optimizer and of its metrics, but for those of states.

        Raises:
            InputError, ProcessError: as for ``check``.
        """
        if self._group is None:
            return
        values = [np.asarray(own_part(each.value)) for each in variables]
        configurations = {
            "the model's layers": _configuration(model, "get_config"),
            "what the model is compiled with": _configuration(model, "get_compile_config"),
        }
        facts = {
            "the shapes of the model's variables": shortened(
                ", ".join(f"{each.dtype} {each.shape}" for each in values)
            ),
            **{name: shortened(each) for name, each in configurations.items()},
            "the kernel of recurrent layers (LEGATO_NATIVE, or where legato was built)": (
                "JAX" if native_kernel.unavailable() else "native"
            ),
            "the values of the model's variables, digested (set the same random seed in all before "
            "the model is made, or load the same file)": _digest(
                *map(np.ascontiguousarray, values)
            ),
        }
        check_agreed(self._group, facts)

    def orders(self, block: Block) -> str:
        """What stands for the sample orders of a block."""
        return "" if self._group is None else _digest(np.asarray(block.order))

    def end(self, begin: int, end: int, orders: str = "") -> int:
        """The step before which a call ends in all processes.

        Args:
            begin: its first step.
            end: where it would end in this process; the first one counts.
            orders: what stands for the sample orders.

        Returns:
            The step; ``begin`` if a callback of another process has stopped the run.

        Raises:
            InputError: the processes are at different steps, or have different sample orders.
            ProcessError: one has gone, or failed.
        """
        if self._group is None:
            return end
        found = self._group.gather(_NEXT, [self._verb, begin, orders, end])
        if None in found:
            self.was_stopped = True
            return begin
        first = found[0]
        for at, each in enumerate(found):
            if each[:2] != first[:2]:
                raise self._differ(f"process 0 {_at(first)}, {self._group.named(at)} {_at(each)}")
            if each[2] != first[2]:
                raise self._differ(
                    f"process 0 and {self._group.named(at)} draw other sample orders. Call "
                    "keras.utils.set_random_seed in each; callbacks must draw as many numbers"
                )
        return min(each[3] for each in found)

    def _differ(self, how: str) -> BaseException:
        assert self._group is not None
        return self._group.as_shared(
            InputError(
                f"The processes differ in what they do: {how}. Give each as many batches, and "
                "make the same calls."
            )
        )

    def tell_stop(self) -> None:
        """Tell the others, who are about to make the next call, that this process has stopped."""
        if self._group is not None and not self.was_stopped:
            self.was_stopped = True
            self._group.gather(_NEXT, None)

    def tell_end(self) -> None:
        """Wait until all have made their last call.

        Raises:
            InputError: a process has more batches.
            ProcessError: one has gone, or failed.
        """
        if self._group is not None and not self.was_stopped:
            self.end(-1, -1)

    def most(self, what: str, *numbers: int) -> list[int]:
        """The largest of each number, of all processes.

        Args:
            what: what they are, for messages.
            *numbers: those of this process.
        """
        if self._group is None:
            return list(numbers)
        return [max(each) for each in zip(*self._group.gather(what, numbers), strict=True)]

    def rows_of_all(self, arrays: list) -> list:
        """Arrays (rows, …) of all processes, joined: those of process 0 first."""
        if self._group is None or not arrays:
            return arrays
        with self._group.program():
            return multihost_utils.process_allgather(own_part(arrays), tiled=True)

    def own_rows(self, arrays: list) -> list:
        """This process's rows of what ``rows_of_all`` gave, perhaps to another number of processes.

        Raises:
            StateError: the processes cannot share the rows equally.
        """
        if self._group is None:
            return arrays
        index, count = self._group.index, self._group.count
        for rows in map(len, arrays):
            if rows % count:
                raise StateError(
                    f"The backup has the states of {rows} rows, which {count} processes cannot "
                    "share equally. Train on with a number that divides them."
                )
        return [each[len(each) // count * index :][: len(each) // count] for each in arrays]

    @property
    def writes(self) -> bool:
        """Whether this process writes the files, which are the same in all."""
        return self._group is None or self._group.index == 0

    def program(self):
        """A context for a program, whose failure is explained if another process was lost."""
        return nullcontext() if self._group is None else self._group.program()


def _at(found: list) -> str:
    """Where a process is, from what it gave in ``Agreement.end``."""
    verb, begin, *_ = found
    return f"has ended {verb!r}" if begin < 0 else f"is at step {begin} of {verb!r}"


def described(shapes: tuple) -> str:
    """The shapes and types of samples in words, from ``SampleArrays.shapes``."""
    structure, *arrays = shapes
    return shortened(f"{', '.join(f'{dtype} {shape}' for shape, dtype in arrays)}, {structure}")


def _configuration(model, method: str) -> str:
    """A configuration of the model as text, without names, which count the models of a process."""
    try:
        return json.dumps(_without_names(getattr(model, method)()), default=_type_name)
    except Exception:  # a subclass that has none, or that needs arguments
        return "none"


def _type_name(value: Any) -> str:
    return type(value).__name__


def _without_names(value: Any) -> Any:
    if isinstance(value, dict):
        left_out = ("name", "inbound_nodes", "input_layers", "output_layers", "keras_history")
        return {key: _without_names(each) for key, each in value.items() if key not in left_out}
    return [_without_names(each) for each in value] if isinstance(value, (list, tuple)) else value


def shortened(text: str, most: int = 200) -> str:
    """A text whose end is replaced by a digest where it is long."""
    if len(text) <= most:
        return text
    return f"{text[:most]}… (digest {_digest(text.encode())})"


def _digest(*contents) -> str:
    checksum = 0
    for each in contents:
        checksum = zlib.crc32(each if isinstance(each, bytes) else each.tobytes(), checksum)
    return f"{checksum:08x}"
