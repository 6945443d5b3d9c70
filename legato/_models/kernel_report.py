"""``show_kernels``: which kernel computes each recurrent layer of a model, and why."""

from dataclasses import dataclass
from typing import NamedTuple

import jax
import keras

from legato._errors import InputError
from legato._platform import keras_private
from legato._platform.checks import check_count
from legato._platform.output_streams import printable_on_stdout
from legato._recurrent import native_kernel
from legato._recurrent.kernels import choose_kernel
from legato._recurrent.stateful_layers import StatefulLayer


class LayerKernel(NamedTuple):
    """The kernel of a layer.

    Attributes:
        layer: name of the layer.
        kernel: ``"native"``, ``"jax"``, or ``"keras"`` (Keras's own scan).
        reason: why, a clause.
    """

    layer: str
    kernel: str
    reason: str


@dataclass(frozen=True)
class Kernels:
    """What computes recurrent layers on this machine; ``print`` shows it.

    Attributes:
        native: the instruction set of the native kernel, or why there is none.
        layers: the kernel of each recurrent layer of the model.

    Examples:
        >>> import legato
        >>> model = legato.Sequential([legato.layers.Input((None, 2)),
        ...                            legato.layers.GRU(64, name="gru")])
        >>> found = legato.show_kernels(model)
        >>> [(each.layer, each.kernel in ("native", "jax")) for each in found.layers]
        [('gru', True)]
    """

    native: str
    layers: tuple[LayerKernel, ...]

    @printable_on_stdout
    def __str__(self) -> str:
        lines = [f"native kernel: {self.native}"]
        for name, kernel, reason in self.layers:
            lines.append(f"{name}: {kernel}, since {reason}")
        return "\n".join(lines)


def show_kernels(
    model: keras.Model | None = None, *, batch_size: int = 32, steps: int = 100
) -> Kernels:
    """Show which kernel computes each recurrent layer of a model, and why.

    Args:
        model: a built model; without one, only what this machine has is shown.
        batch_size: rows of a batch, 1 or more.
        steps: time steps of a sample, 1 or more.

    Raises:
        InputError: it is not a built Keras model, or a number is not at least 1.

    Examples:
        >>> import legato
        >>> model = legato.Sequential([legato.layers.Input((None, 2)),
        ...                            legato.layers.GRU(64, unroll=True, name="gru")])
        >>> print(legato.show_kernels(model).layers[0].reason)
        the layer is unrolled
    """
    native = native_kernel.unavailable() or native_kernel.instruction_set()
    check_count("batch_size", batch_size)
    check_count("steps", steps)
    if model is None:
        return Kernels(native, ())
    if not isinstance(model, keras.Model) or not model.built:
        came = "one that is not built" if isinstance(model, keras.Model) else f"{model!r}"
        raise InputError(
            f"A built model was expected, and {came} came. Run a model once to build it."
        )
    layers = keras_private.flatten_layers(model)
    recurrent = [each for each in layers if isinstance(each, keras.layers.RNN)]
    return Kernels(native, tuple(_kernel_of(each, batch_size, steps) for each in recurrent))


def _kernel_of(layer, rows: int, steps: int) -> LayerKernel:
    if not isinstance(layer, StatefulLayer):
        return LayerKernel(layer.name, "keras", "the model is not one of legato's")
    features = getattr(layer.cell, "kernel", None)
    shape = (rows, steps, 1 if features is None else features.shape[0])
    inputs = jax.ShapeDtypeStruct(shape, layer.compute_dtype)
    return LayerKernel(layer.name, *choose_kernel(layer, inputs, None))
