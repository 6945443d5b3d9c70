"""Options of training, each with type, default, range and one line of help.

A new field of ``TrainConfig`` becomes a keyword of ``legato.train`` and ``legato.plan`` and an
option of ``legato train``. The model's file records it only if it is also added to ``Shape`` (in
``network``), ``TrainConfig.training`` or ``TrainConfig.reading``. Neither Keras nor NumPy is
imported, so that ``legato train --help`` is quick.
"""

# ruff: noqa: RUF009  ``_option`` makes a dataclass field
import math
import os
from dataclasses import dataclass, field, fields, replace
from typing import Any, Literal, TypeVar, get_args

from legato._errors import InputError
from legato._platform.wording import listed
from legato._series.missing_values import MissingPolicy
from legato._series.time_options import DateOrder, EveryRule, FillPolicy

Kind = Literal["forecast", "classify", "generate"]
Framing = Literal["chunks", "window", "features", "prefix", "runs", "ensemble"]
Cell = Literal["lstm", "gru", "simple"]
Split = Literal["time", "group"]
DATA, NETWORK, TRAINING = "The data", "The network", "The training"  # panels of the help
EPOCHS = 200  # of a single network
TEST = 0.2  # the test part
_NETWORK: dict[str, Any] = {"cell": "lstm", "units": 32, "layers": 1}
_REGULAR: dict[str, Any] = {"dropout": 0.0, "recurrent_dropout": 0.0, "bidirectional": False}
_OF_ONE_NETWORK = (
    *("framing", "steps", "rows", "cell", "units", "layers", "stateful", "epochs"),
    *_REGULAR,
)
_TIME_READING = ("missing", "dates", "zone", "fill", "every", "every_by")
T = TypeVar("T")


def _option(default: T, panel: str, description: str, least: int | None = None) -> T:
    """A field with its panel in ``legato train --help``, its help and its smallest value."""
    return field(default=default, metadata={"panel": panel, "help": description, "least": least})


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Options of ``legato.train`` and ``legato.plan``, which take the fields as keywords.

    By default, quantities are forecast by an ensemble of linear forecasters and recurrent networks,
    weighed by a backtest (``framing="ensemble"``), and sequences with one label each are labelled
    by an ensemble of random convolutions, summaries and recurrent networks, weighed and scored by
    cross-validation. Naming ``framing``, ``steps``, ``rows``, ``cell``, ``units``, ``layers``,
    ``bidirectional``, ``dropout``, ``recurrent_dropout``, ``stateful``, ``epochs`` or
    ``early_stop`` asks for a single network. A label of each step, or the next label, is always
    learnt by a single network, from chunks by default.

    Framings of a single network: ``"chunks"`` cuts long sequences in consecutive chunks, with an
    output at every step; ``"window"`` takes windows of a fixed number of steps, with one output;
    ``"features"`` takes the same windows flattened to one step; ``"prefix"`` takes the history of
    each step, cut to the last ``steps``; ``"runs"`` takes random runs of up to ``steps``.

    With more ``rows`` than sequences, each sequence is read at several places at once, which is
    faster, and every place begins in the initial state.

    Early stopping trains on a part of the training data until the loss on the rest has not improved
    for ``early_stop`` epochs, then trains a new network on all of it for the best number of epochs.

    With ``refit``, the returned network learnt from all the data, the test part included, with the
    same options; its scores and intervals are those of a network that did not see the test part.

    Raises:
        InputError: an option is out of its range; the message names it.

    Examples:
        >>> import legato
        >>> legato.TrainConfig(horizon=12, units=64).units
        64
        >>> try:
        ...     legato.TrainConfig(horizon=0)
        ... except legato.InputError as error:
        ...     print(error)
        horizon is 0; a whole number of at least 1 was expected.
    """

    target: str | list[str] | None = _option(
        None, DATA, "Column to predict, or several to forecast; default: the last."
    )
    task: Kind | None = _option(
        None,
        DATA,
        "Forecast quantities, classify labels from the other columns, or generate the next label; "
        "default: by the target's kind.",
    )
    horizon: int | None = _option(
        None,
        DATA,
        "Time steps ahead of a forecast; default: a season, or 12, of an ensemble (at most an "
        "eighth of the data), 1 of a single network.",
        1,
    )
    group: str | None = _option(
        None,
        DATA,
        "Column that identifies the sequence of a row; default: all rows are one sequence.",
    )
    time: str | None = _option(
        None, DATA, "Column of times, by which rows are sorted; default: the order of the rows."
    )
    columns: list[str] | None = _option(None, DATA, "Columns of values; default: all others.")
    categorical: str | tuple[str, ...] | list[str] = _option(
        (), DATA, "Numeric columns that hold labels; columns of text always do."
    )
    known: str | list[str] | None = _option(
        None,
        DATA,
        "Columns whose values are known for the steps ahead, such as a price or a promotion; "
        "default: those of quantities that are filled in rows at the end without a target.",
    )
    static: str | list[str] | None = _option(
        None,
        DATA,
        "Columns with one value for each sequence; default: those that never change in any.",
    )
    calendar: str | list[str] | None = _option(
        None,
        DATA,
        "Features of the times, known ahead: hour, weekday, day, week, month, quarter, or auto for "
        "those that suit the times.",
    )
    holidays: str | None = _option(
        None,
        DATA,
        "Country whose holidays are a feature, known ahead, such as US, DE or US-CA "
        '(pip install "legato[holidays]").',
    )
    missing: MissingPolicy = _option(
        "error", DATA, "How to handle missing values: fail, drop the row, or forward-fill."
    )
    dates: DateOrder | None = _option(
        None,
        DATA,
        "Whether days or months come first in dates such as 01/02/2020, if no row tells.",
    )
    zone: str | None = _option(
        None,
        DATA,
        "Time zone of times without one, such as Europe/Berlin, for the hours at which summer time "
        "begins and ends.",
    )
    fill: FillPolicy | None = _option(
        None,
        DATA,
        "Put in the rows that equal steps of times leave out, and fill all missing values with the "
        "last known value, what is between two known ones, or 0.",
    )
    every: str | None = _option(
        None, DATA, "Resample to steps of this length, such as 15min, 1h, 1d, 1w or 1mo."
    )
    every_by: EveryRule = _option(
        "mean", DATA, "What a step of resampled data is given of its values; of labels, the last."
    )
    wide: bool = _option(
        False, DATA, "Each row is a sequence: its label, then its values; names of columns or none."
    )
    shortest: int = _option(1, DATA, "Minimum length: shorter sequences are left out.", 1)
    framing: Framing | None = _option(
        None,
        NETWORK,
        "An ensemble, or how the samples of a single network are cut: consecutive chunks, windows "
        "of time steps or of features, prefixes, or random runs; default: an ensemble to forecast "
        "or to label whole sequences, if no other option of the network is given; else chunks.",
    )
    steps: int | None = _option(
        None,
        NETWORK,
        "Time steps of a chunk, which is the truncation length of gradients, or of a window; "
        "default: chunks with little padding, windows of a season or 12.",
        1,
    )
    rows: int | None = _option(
        None,
        NETWORK,
        "Rows of a batch, each of which reads one sequence at a time; default: up to 32.",
        1,
    )
    cell: Cell | None = _option(None, NETWORK, "Type of the recurrent layers; default: lstm.")
    units: int | None = _option(None, NETWORK, "Units of each recurrent layer; default: 32.", 1)
    layers: int | None = _option(None, NETWORK, "Number of recurrent layers; default: 1.", 1)
    bidirectional: bool | None = _option(
        None,
        NETWORK,
        "Whether each sample is also read backwards; for windows, features, prefixes and runs, "
        "whose output is asked where they end.",
    )
    dropout: float | None = _option(
        None,
        NETWORK,
        "Share of the outputs of each recurrent layer that training leaves out at random; default: "
        "0.",
    )
    recurrent_dropout: float | None = _option(
        None,
        NETWORK,
        "Share of the state that training leaves out at random between steps; default: 0. Such "
        "layers are trained in JAX, not natively.",
    )
    stateful: bool | None = _option(
        None, NETWORK, "Whether state is carried from chunk to chunk; default: for chunks, yes."
    )
    epochs: int | None = _option(
        None,
        TRAINING,
        "Number of epochs of a single network; with early stopping, the maximum; default: 200.",
        1,
    )
    early_stop: int = _option(
        0,
        TRAINING,
        "Choose the number of epochs by early stopping with this patience, in epochs; 0: no.",
        0,
    )
    learning_rate: float = _option(0.003, TRAINING, "Learning rate of the Adam optimizer.")
    split: Split | None = _option(
        None,
        TRAINING,
        "Test on the last steps of every sequence (time) or on whole sequences (group); default: "
        "group if every sequence has one label, else time.",
    )
    test: float | None = _option(
        None,
        TRAINING,
        "Size of the test part: a share, or a whole number of steps or of sequences; 0: none; "
        "default: 0.2, and none for an ensemble that labels sequences, which is scored by "
        "cross-validation.",
    )
    validation: float = _option(
        0.15,
        TRAINING,
        "Size of the validation part, on which early stopping decides: as for the test part.",
    )
    origins: int | None = _option(
        None,
        TRAINING,
        "Number of origins from which forecasts are scored, evenly spread over the test part; "
        "default: every step that leaves a horizon.",
        1,
    )
    refit: bool = _option(
        True,
        TRAINING,
        "Whether a network learns from all the data after the score, and is the one that is kept; "
        "otherwise the network that was scored is kept.",
    )
    season: int | None = _option(
        None,
        TRAINING,
        "Time steps of a season, for the seasonal baseline; 0: none; default: by the times.",
        0,
    )
    search: int | None = _option(
        None,
        TRAINING,
        "Number of settings of a network to try, those given among them; the one that is best on "
        "the validation part is trained. Options that are given stay as they are.",
        1,
    )
    study: str | None = _option(
        None,
        TRAINING,
        "File that keeps a search, so that the same command goes on with it.",
    )
    seed: int = _option(7, TRAINING, "Random seed of initial weights, sample order and split.", 0)
    verbose: int | str = _option("auto", "", "Progress output, as for ``Model.fit``.")

    def __post_init__(self):
        from legato._platform.checks import check_choice, check_count, check_seed  # loads NumPy

        if self.study is not None:
            object.__setattr__(self, "study", os.fspath(self.study))
        check_seed(self.seed)
        choices = {
            "task": Kind,
            "missing": MissingPolicy,
            "dates": DateOrder,
            "fill": FillPolicy,
            "every_by": EveryRule,
            "framing": Framing,
            "cell": Cell,
            "split": Split,
        }
        for each in fields(self):
            value = getattr(self, each.name)
            if value is None and each.default is None:
                continue
            if each.name in choices:
                check_choice(each.name, value, get_args(choices[each.name]))
            if each.metadata["least"] is not None:
                check_count(each.name, value, each.metadata["least"])
        self._check_shares()
        self._check_together()

    def _check_shares(self) -> None:
        """Check the numbers that are no counts."""
        for name in ("test", "validation"):
            share = getattr(self, name)
            if share is not None and (not share >= 0 or (share > 1 and share % 1)):
                raise InputError(
                    f"{name} is {share}; a share below 1 or a whole number was expected."
                )
        for name in ("dropout", "recurrent_dropout"):
            if not 0 <= (share := getattr(self, name) or 0.0) < 1:
                raise InputError(f"{name} is {share}; a share from 0 to below 1 was expected.")
        if not 0 < self.learning_rate < math.inf:
            raise InputError(
                f"learning_rate is {self.learning_rate}; a number above 0 was expected, such as "
                "0.003."
            )

    def _check_together(self) -> None:
        """Check that options fit each other."""
        if self.early_stop and not self.validation:
            raise InputError(
                f"early_stop is {self.early_stop}, and validation 0 leaves nothing to decide by "
                "when to stop. Give a share for validation, or leave early_stop out."
            )
        if self.study is not None and self.search is None:
            raise InputError(
                f"study is {str(self.study)!r}, the file of a search, and no search is asked for: "
                "give search=20 (--search 20) too, or leave study out."
            )
        if self.search and not self.validation:
            raise InputError(
                f"search is {self.search}, and validation 0 leaves nothing to choose by. Give a "
                "share for validation, or leave search out."
            )
        if self.framing == "ensemble":
            several = ("steps", "rows", "stateful", "epochs", *_REGULAR)
            alone = [name for name in several if getattr(self, name)]
            alone += ["early_stop"] if self.early_stop else []
            if alone:
                raise InputError(
                    f"An ensemble chooses its windows and the length of training itself, and "
                    f"{listed(alone)} came with it. Leave that out, or take another framing."
                )
        if self.bidirectional and self.framing == "chunks":
            raise InputError(
                "A bidirectional network reads each sample backwards too, and chunks ask for an "
                "output at every step, before the steps after it are known. Take the framing "
                "'window' or 'prefix', or leave bidirectional out."
            )
        if self.bidirectional and self.stateful:
            raise InputError(
                "A bidirectional network reads each sample from its end, so it cannot carry state "
                "from one to the next: leave stateful out, or bidirectional."
            )
        if self.stateful and self.framing not in (None, "chunks"):
            raise InputError(
                f"The framing {self.framing!r} makes independent samples, so there is nothing to "
                "carry: stateful=False (--stateless), or the framing 'chunks'."
            )

    @property
    def asks_for_one_network(self) -> bool:
        """Whether an option is given that only a single network has."""
        named = [getattr(self, name) is not None for name in _OF_ONE_NETWORK]
        return self.framing != "ensemble" and (any(named) or bool(self.early_stop))

    def for_one_network(self) -> "TrainConfig":
        """The options with the framing and the epochs of a single network where none are given."""
        usual: Framing = "window" if self.bidirectional else "chunks"
        return replace(self, framing=self.framing or usual, epochs=self.epochs or EPOCHS)

    @property
    def network(self) -> dict[str, Any]:
        """The recurrent layers: ``cell``, ``units`` and ``layers``, with their defaults."""
        return {name: getattr(self, name) or each for name, each in _NETWORK.items()}

    @property
    def single_network(self) -> dict[str, Any]:
        """What only the recurrent layers of a single network have, with the defaults."""
        return {name: getattr(self, name) or each for name, each in _REGULAR.items()}

    @property
    def reading(self) -> dict[str, Any]:
        """The arguments of ``legato.read``, as JSON takes them."""
        labels = [self.categorical] if isinstance(self.categorical, str) else self.categorical
        return {
            **{name: getattr(self, name) for name in ("group", "time", "columns", "wide")},
            "categorical": list(labels),
            **{name: getattr(self, name) for name in _TIME_READING},
        }

    @property
    def given(self) -> dict[str, Any]:
        """The options that differ from their defaults, as JSON takes them."""
        values = {each.name: (getattr(self, each.name), each.default) for each in fields(self)}
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, (value, default) in values.items()
            if value != default and name != "verbose"
        }

    @property
    def training(self) -> dict[str, Any]:
        """The options of the optimization, as JSON takes them."""
        names = ("epochs", "early_stop", "learning_rate", "seed", "verbose")
        return {name: getattr(self, name) for name in names}


TrainConfig.__doc__ = f"{TrainConfig.__doc__}\n    Attributes:\n" + "\n".join(
    f"        {each.name}: {each.metadata['help']}" for each in fields(TrainConfig)
)
