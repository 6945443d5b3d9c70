"""Draw the pictures of the documentation, each from a run: light and dark, as SVG.

``python docs/pictures/draw.py`` draws all of them beside this file; names draw some: ``python
docs/pictures/draw.py lanes trace``. ``--out FOLDER`` draws elsewhere. They take about a minute.
"""

import argparse
import json
import random
import re
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

import legato
from legato import layers, report

HERE = Path(__file__).parent
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
BLUE, ORANGE, GREY, INK = "#3f68b5", "#d2691e", "#d5d5d5", "#000000"
ON_COLOUR = "#010101"  # text on a colour of its own: stays dark
WIDTH = 6.4  # inches: small, so that texts can be read on a phone
DARK = {  # a colour on white → the same on black
    INK: "#d8dae5",
    "#1c1c1c": "#f0f0f5",
    "#3d4f5c": "#a9bccb",
    "#b5482a": "#ec8a68",
    "#1f77b4": "#6fb1e8",
    GREY: "#4a4d59",
    BLUE: "#82a6ee",
    ORANGE: "#f0a060",
}
STYLE: Any = {
    "font.family": "sans-serif",
    "font.size": 10,
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "legato",  # the same run makes the same file
    "savefig.transparent": True,
}


def alphabet_model(stateful: bool = True) -> tuple[legato.Sequential, np.ndarray]:
    """A network that predicts the next letter, trained one letter at a time; and A … Y."""
    model, X = trained_alphabet_model(stateful)
    model.reset_states()
    return model, X


@cache
def trained_alphabet_model(stateful: bool) -> tuple[legato.Sequential, np.ndarray]:
    random.seed(7)  # Keras draws initial weights from Python's generator
    X, y = np.arange(25).reshape(25, 1, 1) / 26, np.eye(26)[1:]
    model = legato.Sequential(
        [
            layers.Input((None, 1)),
            layers.LSTM(50, stateful=stateful, name="lstm"),
            layers.Dense(26, activation="softmax"),
        ]
    )
    model.compile(loss="categorical_crossentropy", optimizer="adam")
    model.fit(X, y, epochs=300, batch_size=1, verbose=0)
    return model, X


def alphabet() -> Figure:
    """What a trained network predicts for each letter, with carried state and without."""
    model, X = alphabet_model()
    carried = model.predict(X, batch_size=1, verbose=0)
    reset = model.predict(X, batch_size=1, starts=[True] * 25, verbose=0)
    fig = Figure(figsize=(WIDTH, 3.7), layout="constrained")
    for axes, values, title in zip(
        fig.subplots(1, 2, sharey=True),
        (carried, reset),
        ("state carried from letter to letter", "reset before every letter"),
        strict=True,
    ):
        axes.imshow(np.ones_like(values), ListedColormap([BLUE]), aspect="auto", alpha=values)
        axes.set_xticks(range(26), LETTERS, fontsize=6)
        axes.set_yticks(range(25), LETTERS[:25], fontsize=6)
        axes.set_title(title, fontsize=10, loc="left")
        axes.set_xlabel("predicted next letter")
    fig.axes[0].set_ylabel("letter fed")
    return fig


def state() -> Figure:
    """The state of one LSTM while it reads the same 24 time steps in three ways."""
    random.seed(3)
    model = legato.Sequential([layers.Input((None, 1)), layers.LSTM(8, name="lstm")])
    steps = np.sin(np.arange(24) / 2.5)[:, None] + 1
    every_sample, once = np.arange(24) % 6 == 0, np.arange(24) == 0
    twice = np.arange(24) % 12 == 0
    ways = (
        ("stateless: every sample starts from the initial state", every_sample, 6),
        ("stateful: carried to the next sample; fit starts each epoch anew", twice, 6),
        ("stream: fed step by step as data arrive, never reset", once, 1),
    )
    fig = Figure(figsize=(WIDTH, 4.8), layout="constrained")
    panels = fig.subplots(3, 1, sharex=True, sharey=True)
    for axes, (title, starts, length) in zip(panels, ways, strict=True):
        trace = model.stream().trace(steps, starts=starts)
        norms = trace.norms["lstm:1"]
        for begin in range(0, 24, length):
            axes.axvspan(begin + 0.06, begin + length - 0.06, color=GREY, alpha=0.35, lw=0)
        for begin in np.flatnonzero(starts):
            end = next((at for at in np.flatnonzero(starts) if at > begin), 24)
            at = np.arange(begin, end + 1)
            axes.plot(at, [0, *norms[begin:end]], color=BLUE, lw=2)
            axes.plot(begin, 0, "o", color=ORANGE, ms=7, clip_on=False, zorder=3)
        if length > 1:
            for number in range(4):
                where = 6 * number + 3
                epoch = f", epoch {1 + number // 2}" if "epoch" in title else ""
                text = f"sample {1 + (number % 2 if epoch else number)}{epoch}"
                axes.text(where, 1.07, text, ha="center", va="center", fontsize=8)
        axes.set_title(title, loc="left", fontsize=10)
        axes.set_ylim(0, 1.2)
        axes.set_yticks([])
        axes.set_ylabel("size of c")
        axes.spines[["top", "right"]].set_visible(False)
    panels[-1].set_xlabel("time step; a dot is the initial state")
    panels[-1].set_xlim(0, 24)
    return fig


def lanes() -> Figure:
    """Twelve sequences of 5 to 60 steps in the four rows of a batch."""
    lengths = np.random.default_rng(2).integers(5, 60, 12)
    fig = report.lanes_figure(legato.Lanes(lengths, rows=4, steps=8))
    fig.set_size_inches(WIDTH, 2.4)
    for text in fig.axes[0].texts:
        text.set_color(ON_COLOUR)
    return fig


def influence() -> Figure:
    """How much each prediction of the alphabet depends on each letter before it."""
    model, X = alphabet_model()
    found = legato.influence(model, X, batch_size=1, names=[*LETTERS[:25]], verbose=0)
    fig = report.influence_figure(found)
    fig.set_size_inches(WIDTH, 4.6)
    return fig


def trace() -> Figure:
    """The state of the alphabet's network through A … Y, a reset, and A … J again."""
    model, X = alphabet_model()
    letters = np.concatenate([X[:, 0], X[:10, 0]])
    found = model.stream().trace(letters, starts=np.arange(35) == 25)
    fig = report.trace_figure(found)
    fig.set_size_inches(WIDTH, 6)
    return fig


def forecast() -> Figure:
    """The passengers of the year after the file, with their intervals."""
    file = HERE.parents[1] / "examples" / "passengers.csv"
    trained = legato.train(file, time="month", verbose=0)
    fig = report.forecast_figure(trained.forecast(file))
    fig.set_size_inches(WIDTH, 3)
    return fig


def start_server(model: Path) -> tuple[subprocess.Popen, str]:
    """``legato serve`` on a free port, and its address."""
    command = [sys.executable, "-m", "legato", "serve", str(model), "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    line = next(line for line in server.stderr if "Serving" in line)
    return server, json.loads(line)["message"].split()[-1]


def served() -> Figure:
    """Three streams on a server that is killed halfway, beside streams that were not."""
    random.seed(5)
    model = legato.Sequential([layers.Input((None, 1), name="x"), layers.LSTM(8), layers.Dense(1)])
    rng = np.random.default_rng(0)
    fed = {f"pump-{n}": np.sin(np.arange(60) / (3 + n)) + rng.normal(0, 0.1, 60) for n in (1, 2, 3)}
    answers = {name: [] for name in fed}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "pumps.keras"
        model.save(path)
        for steps in (range(30), range(30, 60)):
            server, address = start_server(path)
            try:
                with legato.connect(address) as remote:
                    for step in steps:
                        for name, values in fed.items():
                            answers[name].append(float(remote.stream(name).feed(values[[step]])[0]))
            finally:
                server.kill()  # as kill -9 does: nothing can be written afterwards
                server.communicate()
    fig = Figure(figsize=(WIDTH, 3.2), layout="constrained")
    axes = fig.subplots()
    for colour, (name, values) in zip((BLUE, ORANGE, "#3d4f5c"), fed.items(), strict=True):
        alone = model.stream().feed(values[:, None])[:, 0]
        axes.plot(alone, color=colour, lw=5, alpha=0.3)
        axes.plot(answers[name], color=colour, lw=1.3, label=name)
    axes.axvline(29.5, color=INK, lw=1)
    axes.set_ylim(-0.34, 0.3)
    axes.text(30, 0.29, "kill -9, and started again", va="top", fontsize=9)
    axes.set(xlabel="step", ylabel="answer")
    axes.set_title(
        "thin: on the server; broad: in memory, never interrupted",
        loc="left",
        fontsize=10,
    )
    axes.legend(frameon=False, ncols=3, fontsize=9, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    return fig


PICTURES: dict[str, Callable[[], Figure]] = {
    draw.__name__: draw for draw in (alphabet, state, lanes, influence, trace, forecast, served)
}


def write(figure: Figure, folder: Path, name: str) -> None:
    """Write a figure in light and dark colours."""
    light = folder / f"{name}-light.svg"
    figure.savefig(light, metadata={"Date": None})
    text = light.read_text("utf-8")
    text = "\n".join(line.rstrip() for line in text.splitlines()) + "\n"
    light.write_text(text, "utf-8")
    dark = re.sub("#[0-9a-f]{6}", lambda found: DARK.get(found[0], found[0]), text)
    # What has no colour of its own is black: texts, and the lines of axes.
    dark = dark.replace("<defs>", f"<style>text{{fill:{DARK[INK]}}}</style>\n <defs>", 1)
    (folder / f"{name}-dark.svg").write_text(dark, "utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description="Draw the pictures of the documentation.")
    parser.add_argument("names", nargs="*", help=f"which: {', '.join(PICTURES)}; default: all")
    parser.add_argument("--out", type=Path, default=HERE, help="folder for the files")
    options = parser.parse_args()
    for name in options.names or PICTURES:
        with mpl.rc_context(STYLE):
            write(PICTURES[name](), options.out, name)


if __name__ == "__main__":
    main()
