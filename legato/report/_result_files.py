"""Outcomes as files: every number as JSON, and the pictures; each whole or absent."""

import importlib.metadata
import json
import platform
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import legato
from legato._platform.atomic_files import write_whole
from legato.alphabet import Outcome
from legato.report._network_figures import figure


def write(outcomes: Sequence[Outcome], folder: Path) -> list[Path]:
    """Write ``alphabet.json`` and ``alphabet.png``; returns their paths.

    Raises:
        legato.OutputError: the folder cannot be written.
    """
    text = json.dumps(as_numbers(outcomes), indent=1, ensure_ascii=False)
    drawn = figure(outcomes)
    return [
        write_whole(folder / "alphabet.json", lambda at: at.write_text(text, encoding="utf-8")),
        write_whole(folder / "alphabet.png", lambda at: drawn.savefig(at, dpi=150)),
    ]


def as_numbers(outcomes: Sequence[Outcome]) -> dict:
    """Everything the outcomes hold, as JSON takes it; probabilities that do not exist are null."""
    runs = []
    for outcome in outcomes:
        run = asdict(outcome)
        rows = run.pop("probabilities").astype(float).tolist()
        run["probabilities"] = [[None if p != p else p for p in row] for row in rows]  # noqa: PLR0124
        runs.append(run)
    return {"versions": versions(), "runs": runs}


def versions() -> dict[str, str]:
    """What the numbers were made with."""
    packages = ("keras", "jax", "jaxlib", "numpy")
    return {
        "legato": legato.__version__,
        "python": platform.python_version(),
        "machine": f"{platform.machine()} {platform.system()}",
        **{name: importlib.metadata.version(name) for name in packages},
    }
