"""Outcomes as files: all numbers as JSON, and the plots; each written whole or not at all."""

import importlib.metadata
import json
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import legato
from legato._platform.atomic_files import write_whole
from legato.alphabet import Outcome
from legato.report._network_figures import figure


def write(outcomes: Sequence[Outcome], folder: str | os.PathLike) -> list[Path]:
    """Write ``alphabet.json`` and ``alphabet.png``; returns their paths.

    Raises:
        legato.OutputError: the folder cannot be written.

    Examples:
        >>> from dataclasses import replace
        >>> from legato import alphabet, report
        >>> network = replace(alphabet.NETWORKS[3], epochs=2)  # of 5,000
        >>> model, outcome = alphabet.train(network)
        >>> [path.name for path in report.write([outcome], ".")]
        ['alphabet.json', 'alphabet.png']
    """
    folder = Path(folder)
    text = json.dumps(outcomes_as_json(outcomes), indent=1, ensure_ascii=False)
    fig = figure(outcomes)
    return [
        write_whole(folder / "alphabet.json", lambda at: at.write_text(text, encoding="utf-8")),
        write_whole(folder / "alphabet.png", lambda at: fig.savefig(at, dpi=150)),
    ]


def outcomes_as_json(outcomes: Sequence[Outcome]) -> dict:
    """All values of the outcomes as JSON values; missing probabilities are null."""
    runs = []
    for outcome in outcomes:
        run: dict[str, Any] = asdict(outcome)
        rows = run.pop("probabilities").astype(float).tolist()
        run["probabilities"] = [[None if p != p else p for p in row] for row in rows]  # noqa: PLR0124
        runs.append(run)
    return {"versions": package_versions(), "runs": runs}


def package_versions() -> dict[str, str]:
    """Versions of the packages, of Python and of the machine that made the numbers."""
    packages = ("keras", "jax", "jaxlib", "numpy")
    return {
        "legato": legato.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()} {platform.system()}",
        **{name: importlib.metadata.version(name) for name in packages},
    }
