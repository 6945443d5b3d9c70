"""Kernels: run the cell of a recurrent layer over the time steps of a batch.

Every stateful and stateless layer of legato computes here, and only here. The one implementation is
Keras's own scan (``keras.layers.RNN.call``, and a subclass's ``call`` where a user overrides it).
Faster implementations, such as one with its own backward pass or a native one, belong in this
module, chosen in ``run_over_time`` by the class of ``layer.cell``. A kernel has the parameters and
the result of ``run_over_time``, and must

* give the numbers of Keras's scan, in outputs, final states and gradients with respect to weights,
  inputs and initial state, within the rounding of the layer's compute dtype;
* start every row from ``initial_state``, or from the cell's ``get_initial_state`` if it is None;
* leave a row's state unchanged at a masked step, and repeat the row's last output there, or give
  zeros where ``layer.zero_output_for_mask`` is true;
* read the steps in reverse where ``layer.go_backwards`` is true;
* return what ``return_sequences`` and ``return_state`` ask for;
* assign the final states to ``layer.states`` of a stateful layer, as Keras does;
* be pure otherwise, since it is traced by ``jit``, ``scan``, ``vmap`` and ``grad``.

A kernel may be chosen only for a layer whose ``call`` and cell are Keras's own and whose options,
such as activations, dropout and ``unroll``, it implements; every other layer needs Keras's scan.
"""

from typing import Any, Protocol


class RecurrentLayer(Protocol):
    """A ``keras.layers.RNN`` whose own ``call`` is ``keras_call``."""

    def keras_call(self, sequences, **options) -> Any: ...


def run_over_time(
    layer: RecurrentLayer, sequences, initial_state: list | None, mask, training: bool
) -> Any:
    """Run a layer's cell over all time steps.

    Args:
        layer: the built layer.
        sequences: inputs, (rows, time steps, …).
        initial_state: the states that the rows start from, arrays (rows, …) in the order of the
            cell's states; None for the cell's own initial state.
        mask: booleans (rows, time steps), False at steps to skip; None if every step counts.
        training: whether dropout is applied.

    Returns:
        The layer's output, or a tuple of it and the final states, as Keras's ``call`` does.
    """
    return layer.keras_call(sequences, initial_state=initial_state, mask=mask, training=training)
