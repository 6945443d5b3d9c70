"""Lines of many steps in ``legato stream``: in pieces, between which other streams are answered.

The oracle is ``model.stream()``, fed the whole line. Pieces are of three steps here.
"""

import io
import os
import threading

import keras
import numpy as np
import pytest
from cells import set_weights
from stream_runs import (
    answers_to,
    as_json,
    assert_close,
    load_once,
    random_steps,
    run_stream,
    stream_error,
    to_json,
)

import legato
from legato._streams.streams import Streams
from legato.cli import _line_formats, _long_lines


@pytest.fixture(autouse=True)
def _pieces_of_three_steps(monkeypatch):
    monkeypatch.setattr(_long_lines, "PIECE_STEPS", 3)


def lines_of(*users_and_steps) -> list[dict]:
    """A line for each user and number of steps; None: one step without a time axis."""
    rows = []
    for seed, (user, steps) in enumerate(users_and_steps):
        xs = random_steps(steps or 1, seed).tolist()
        rows.append({"user": user, "x": xs[0] if steps is None else xs})
    return rows


def order(output: list[dict]) -> list[str]:
    return [f"{each['user']}{each['steps']}" for each in output]


def test_lines_of_other_streams_are_answered_before_a_long_one(plain, monkeypatch):
    monkeypatch.setattr(_line_formats, "BATCH_LINES", 1)  # as if they arrived one by one
    rows = lines_of(("a", 8), ("b", 2), ("a", None), ("b", None), ("c", None), ("a", None))
    output = as_json(answers_to(plain, "--key", "user", lines=to_json(rows)))
    assert order(output) == ["b2", "a8", "a9", "b3", "c1", "a10"]
    assert order(as_json(answers_to(plain, "--key", "user", lines=to_json(rows[:2])))) == [
        "b2",
        "a8",
    ]


@pytest.mark.parametrize("batch", [1, 2, 5, 1024])
def test_a_streams_answers_are_in_order_and_those_of_the_whole_line(
    plain, tmp_path, monkeypatch, batch, rng
):
    monkeypatch.setattr(_line_formats, "BATCH_LINES", batch)
    counts = [None, 1, 3, 4, 7, 20]
    rows = lines_of(*[("abc"[rng.integers(3)], counts[rng.integers(6)]) for _ in range(40)])
    words = ["--key", "user", "--state", tmp_path / "a.state"]
    output = as_json(answers_to(plain, *words, lines=to_json(rows)))
    assert len(output) == len(rows)
    model = load_once(plain)
    with model.streams(file=tmp_path / "a.state") as pool:
        for user in "abc":
            stream = model.stream()
            own = [row["x"] for row in rows if row["user"] == user]
            for x, each in zip(own, [each for each in output if each["user"] == user], strict=True):
                assert_close(each["y"], stream.feed(x))
                assert each["steps"] == stream.steps
            assert pool.state(user).allclose(stream.state)
            assert pool.steps(user) == stream.steps


def test_without_a_key_answers_are_in_the_order_of_the_lines(plain):
    rows = [random_steps(count, count).tolist() for count in (5, 1, 9)]
    output = as_json(answers_to(plain, lines=to_json(rows)))
    assert [each["steps"] for each in output] == [5, 6, 15]


def test_inputs_without_a_time_axis_are_fed_with_every_piece(tmp_path):
    signal, place = keras.Input((None, 2), name="signal"), keras.Input((1,), name="place")
    joined = keras.layers.Concatenate()([keras.layers.GRU(3)(signal), place])
    model = legato.Model([signal, place], keras.layers.Dense(2)(joined))
    set_weights(model)
    model.save(tmp_path / "two.keras")
    xs = np.random.default_rng(3).normal(size=(8, 2))
    row = {"user": "a", "signal": xs.tolist(), "place": [0.5]}
    output = as_json(answers_to(tmp_path / "two.keras", "--key", "user", lines=to_json([row])))
    expected = load_once(tmp_path / "two.keras").stream().feed([xs, np.array([0.5])])
    assert_close(output[0]["y"], expected)


def test_a_bad_line_ends_the_command_after_the_long_ones_before_it(plain):
    rows = [*lines_of(("a", 8), ("b", None)), {"user": "c", "x": [1]}, *lines_of(("d", None))]
    message = stream_error(plain, "--key", "user", lines=to_json(rows), answered=2)
    assert message.startswith("Line 3: x has shape (1,)")
    result = run_stream(plain, "--key", "user", "--keep-going", lines=to_json(rows))
    assert [each.get("user") for each in as_json(result.stdout)] == ["b", None, "d", "a"]


def test_a_stream_that_waits_counts_for_the_limit(plain):
    rows = to_json(lines_of(("a", 8), ("b", None)))
    message = stream_error(plain, "--key", "user", "--limit", "1", lines=rows, answered=1)
    assert message.startswith("Line 2: 'b' would be one stream more than the limit of 1")


def test_a_state_that_cannot_be_kept_names_all_lines_that_wait(plain, tmp_path, monkeypatch):
    def fail(self, name, stream):
        raise legato.OutputError("The disk is full.")

    rows = lines_of(("a", 8), ("b", None), ("c", 7), ("a", None))
    words = [plain, "--key", "user", "--state", tmp_path / "a.state"]
    with monkeypatch.context() as patch:
        patch.setattr(Streams, "put", fail)
        message = stream_error(*words[:3], lines=to_json(rows), answered=1)
        run_stream(*words, lines=to_json(rows))
    assert "Not answered, and not in any stream's state: lines 1 and 3–4 (3 in all)" in message
    with load_once(plain).streams(file=tmp_path / "a.state") as pool:
        assert list(pool) == ["b"]


def test_too_many_waiting_lines_are_answered_before_more_are_read(plain, monkeypatch):
    monkeypatch.setattr(_line_formats, "BATCH_LINES", 1)
    monkeypatch.setattr(_long_lines, "_MAX_WAITING", 0)
    rows = lines_of(("a", 8), ("b", None))
    output = as_json(answers_to(plain, "--key", "user", lines=to_json(rows)))
    assert order(output) == ["a8", "b1"]


def test_whether_input_has_arrived():
    read, write = os.pipe()
    with open(read, "rb") as source, open(write, "wb", buffering=0) as sink:
        assert not _line_formats.has_input(source)
        sink.write(b"1\n")
        assert _line_formats.has_input(source)
        batches = _line_formats.read_line_batches(source)
        assert next(batches) == [(1, b"1")]
        assert not _line_formats.has_input(source)  # nothing is left in a buffer
        threading.Thread(target=sink.close).start()
        assert list(batches) == []
        assert _line_formats.has_input(source)
    assert _line_formats.has_input(io.BytesIO())
