"""Turns a model's output into a choice (class or value), and the choice into the next input.

All of it runs inside a compiled loop. Random draws depend on the seed and on the number of steps
that the stream was fed, so that generating ten steps equals generating five and then five.
"""

from collections.abc import Callable
from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np

from legato._errors import InputError
from legato._execution.samples import check_range
from legato._platform.checks import check_seed
from legato._platform.jax_arrays import to_jax
from legato._streams.function_key import function_key
from legato._streams.step_inputs import Input


def argmax(answer):
    """The index of the largest number of an answer: the likeliest class.

    Args:
        answer: (…, classes).

    Returns:
        (…), whole numbers.

    Examples:
        >>> import legato, numpy as np
        >>> int(legato.argmax(np.array([0.1, 0.7, 0.2])))
        1
    """
    return jnp.argmax(answer, axis=-1)


@dataclass(frozen=True)
class sample:  # noqa: N801  it reads as the verb it is: choose=legato.sample(0.7)
    """Draw a class at random with the probabilities of an answer.

    Attributes:
        temperature: at least 0; below 1 favours likely classes, above 1 unlikely ones; 0 always
            takes the likeliest.
        seed: random seed of the draws, 0 to 2**32 - 1. Default: another one in every ``generate``.
        logits: whether the answer is logits, of a model that does not end in softmax.

    Raises:
        InputError: a temperature below 0, or a seed outside 0 … 2**32 - 1.

    Examples:
        >>> import legato
        >>> legato.sample(0.7, seed=1)
        sample(temperature=0.7, seed=1, logits=False)
    """

    temperature: float = 1.0
    seed: int | None = None
    logits: bool = False

    def __post_init__(self):
        if not (isinstance(self.temperature, (int, float)) and 0 <= self.temperature < np.inf):
            raise InputError(
                f"temperature is {self.temperature!r}; a number of at least 0 was expected."
            )
        if self.seed is not None:
            check_seed(self.seed)

    def check(self, answer) -> None:
        """Check that an answer is probabilities, unless it is declared to be logits.

        Raises:
            InputError: it is not.
        """
        sums = np.sum(answer, axis=-1, dtype="float64") if np.ndim(answer) == 1 else np.nan
        if not self.logits and not (abs(sums - 1) < 0.02 and np.min(answer) >= 0):
            raise InputError(
                "The stream's answer is not the probabilities of classes (numbers from 0 that sum "
                "to 1), so nothing can be drawn from it. If they are logits, say "
                "legato.sample(..., logits=True)."
            )

    def __call__(self, answer, temperature_and_seed, step):
        """Draw a class from probabilities or logits (classes,)."""
        temperature, seed = temperature_and_seed
        key = jax.random.fold_in(jax.random.key(seed), step)
        logits = answer.astype(jnp.float32)
        if not self.logits:
            logits = jnp.log(jnp.maximum(logits, 1e-37))
        drawn = jax.random.categorical(key, logits / jnp.maximum(temperature, 1e-6))
        return jnp.where(temperature > 0, drawn, jnp.argmax(answer))


class Sampler:
    """``choose`` and ``encode`` for one model.

    Args:
        choose: answer → choice. ``argmax``, ``sample(...)``, a pure function, or None: ``argmax``
            where the answer is probabilities, else the answer itself.
        encode: choice → the next input, a pure function; None: the choice itself where its shape
            fits, or one-hot.
        input_spec: shape and dtype of one input step.
        probabilities: whether the model's answer is known to be probabilities.
    """

    def __init__(
        self,
        choose: Callable | None,
        encode: Callable | None,
        input_spec: Input,
        probabilities: bool,
    ):
        for name, function in (("choose", choose), ("encode", encode)):
            if function is not None and not callable(function):
                raise InputError(
                    f"{name} is {function!r}; legato.argmax, legato.sample(temperature) or a "
                    "function was expected."
                )
        self._choose = choose or (argmax if probabilities else _same)
        self._encode = encode
        self._input = input_spec
        self._shape = tuple(each or 1 for each in input_spec.shape)
        self._dtype = input_spec.dtype

    @property
    def key(self) -> tuple | None:
        """Cache key: equal keys share a compiled program; None: never share."""
        if type(self._choose) is sample:
            choose = sample, self._choose.logits
        else:
            choose = self._choose if self._choose is argmax else function_key(self._choose)
        encode = function_key(self._encode)
        return None if choose is None or encode is None else (choose, encode)

    @property
    def takes_likeliest(self) -> bool:
        """Whether the choice is ``argmax`` of the answer."""
        return self._choose is argmax

    @property
    def feeds_answer(self) -> bool:
        """Whether the choice, and the next input, is the answer itself."""
        return self._choose is _same and self._encode is None

    def check(self, answer) -> None:
        """Check that ``choose`` can take an answer.

        Raises:
            InputError: it cannot.
        """
        if isinstance(self._choose, sample):
            self._choose.check(answer)

    def arguments(self) -> tuple:
        """Arguments of the program: temperature and seed, or none."""
        if not isinstance(self._choose, sample):
            return ()
        seed = self._choose.seed
        if seed is None:
            seed = np.random.SeedSequence().generate_state(1)[0]
        return np.float32(self._choose.temperature), np.uint32(seed)

    def choose(self, answer, temperature_and_seed: tuple, step):
        """The choice, as an array."""
        if isinstance(self._choose, sample):
            return self._choose(answer, temperature_and_seed, step)
        return to_jax("The choice", self._choose(answer))

    def encode(self, choice):
        """The next input, of the shape and dtype of a step.

        Raises:
            InputError: the choice, or the output of ``encode``, has another shape.
        """
        given = choice if self._encode is None else self._encode(choice)
        x = to_jax("What encode gives", given)
        if not isinstance(given, jax.Array):  # known before the program runs
            check_range(np.asarray(given), self._input)
        is_integer = jnp.issubdtype(x.dtype, jnp.integer)
        if self._encode is None and is_integer and jnp.dtype(self._dtype).kind == "f":
            if x.shape == () and len(self._shape) == 1 and self._shape[0] > 1:
                return jax.nn.one_hot(x, self._shape[0], dtype=self._dtype)
            raise InputError(
                f"The choice is a whole number, and a step of the model's input has shape "
                f"{self._shape}: how a choice becomes an input is not known. Give "
                "encode=, such as encode=lambda letter: letter / 26."
            )
        if x.size != np.prod(self._shape, dtype=int):
            of = "The answer" if self._encode is None else "What encode gives"
            raise InputError(
                f"{of} has shape {x.shape}, and a step of the model's input {self._shape}: give "
                "encode=, a function that makes an input of a choice."
            )
        return x.reshape(self._shape).astype(self._dtype)


def _same(answer):
    return answer
