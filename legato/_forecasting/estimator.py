"""What ``Forecaster`` and ``Classifier`` share: scikit-learn's protocol, without scikit-learn.

``get_params``, ``set_params``, ``__sklearn_tags__`` and ``__sklearn_is_fitted__`` are what its
``clone``, searches and pipelines ask for; scikit-learn is imported only where it asks itself. The
parameters are options of ``TrainConfig``, checked when ``fit`` is called.
"""

from dataclasses import fields
from inspect import Parameter, Signature
from typing import Any, Self

from legato._errors import InputError, StateError
from legato._forecasting.train_config import TrainConfig
from legato._forecasting.trained import Trained


class Estimator:
    """Parameters, and what scikit-learn asks of an estimator.

    A subclass has the options of ``TrainConfig`` as its parameters, but for those in ``without``,
    and with other defaults where they are given: ``class Forecaster(Estimator, verbose=0)``.

    Attributes:
        trained_: the ``Trained`` that ``fit`` made.
    """

    _options: dict[str, Any]  # the default of each parameter
    trained_: Trained

    def __init__(self, **options: Any):
        if unknown := options.keys() - self._options.keys():
            raise TypeError(f"{type(self).__name__} has no parameter {min(unknown)!r}")
        for name, default in self._options.items():
            setattr(self, name, options.get(name, default))

    def __init_subclass__(cls, without: tuple[str, ...] = (), **defaults: Any):
        """Settle the parameters of a subclass, whose ``__init__`` shows them as its signature."""
        cls._options = {
            each.name: defaults.get(each.name, each.default)
            for each in fields(TrainConfig)
            if each.name not in without
        }

        def initialize(self, **options: Any):
            Estimator.__init__(self, **options)

        parameters = [
            Parameter(name, Parameter.KEYWORD_ONLY, default=default)
            for name, default in cls._options.items()
        ]
        initialize.__qualname__ = f"{cls.__qualname__}.__init__"
        first = Parameter("self", Parameter.POSITIONAL_OR_KEYWORD)
        initialize.__signature__ = Signature([first, *parameters])  # pyrefly: ignore[missing-attribute]
        cls.__init__ = initialize

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """The parameters by name; ``deep`` changes nothing, as none of them has parameters."""
        return {name: getattr(self, name) for name in self._options}

    def set_params(self, **params: Any) -> Self:
        """Change parameters.

        Raises:
            InputError: there is no such parameter.
        """
        for name, value in params.items():
            if name not in self._options:
                raise InputError(
                    f"Invalid parameter {name!r} for {type(self).__name__}, whose parameters are "
                    f"{', '.join(self._options)}."
                )
            setattr(self, name, value)
        return self

    def __repr__(self) -> str:
        changed = [
            f"{name}={getattr(self, name)!r}"
            for name, default in self._options.items()
            if repr(getattr(self, name)) != repr(default)
        ]
        return f"{type(self).__name__}({', '.join(changed)})"

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "trained_")

    def __sklearn_clone__(self) -> Self:
        return type(self)(**self.get_params())

    @property
    def scores_(self) -> dict[str, Any]:
        """The scores of the model on the test part; see ``Trained.scores``."""
        return self._fitted().scores

    def _fitted(self) -> Trained:
        """What ``fit`` made.

        Raises:
            StateError: it was not called; also scikit-learn's ``NotFittedError`` where that is
                installed.
        """
        if not hasattr(self, "trained_"):
            name = type(self).__name__
            raise _not_fitted_error(f"This {name} is not fitted yet: call fit first.")
        return self.trained_


def _not_fitted_error(message: str) -> StateError:
    try:
        from sklearn.exceptions import NotFittedError
    except ImportError:
        return StateError(message)
    return type("NotFittedError", (StateError, NotFittedError), {})(message)
