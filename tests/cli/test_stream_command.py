"""``legato stream``: one answer for each line, as JSON and as CSV, whatever comes or ends it.

The oracle is ``model.stream()``, fed directly. Most tests run the command in this process, where
lines that are available are processed together; pipes and signals are tested in a process of its
own.
"""

import csv
import errno
import io
import itertools
import json
import signal
import subprocess
import sys

import pytest
from cells import set_weights
from forked import COMMAND, ForkedPython
from interrupting import sigint_handled_by
from stream_runs import (
    STEPS,
    answers_to,
    as_csv,
    as_json,
    assert_close,
    load_once,
    random_steps,
    run_stream,
    stream_error,
    stream_outputs,
    to_json,
)

import legato
from legato._streams.log_file import LogFile
from legato._streams.log_store import LogStore
from legato._streams.stream_files import StreamFile
from legato.cli import _line_formats


@pytest.fixture
def one_by_one(monkeypatch):
    """Lines arrive in pieces, hardly ever two together."""
    monkeypatch.setattr(_line_formats, "BLOCK_BYTES", 7)


# One answer for each line.


def check_json(plain):
    output = as_json(answers_to(plain, lines=to_json(random_steps().tolist())))
    assert [each["steps"] for each in output] == list(range(1, STEPS + 1))
    assert [list(each) for each in output] == [["steps", "y"]] * STEPS
    assert_close([each["y"] for each in output], stream_outputs(plain, random_steps()))


def check_csv(plain):
    rows = "".join(",".join(map(repr, each)) + "\n" for each in random_steps().tolist())
    output = as_csv(answers_to(plain, lines="a,b,c\n" + rows))
    assert [each["steps"] for each in output] == [str(at + 1) for at in range(STEPS)]
    assert list(output[0]) == ["steps", "y0", "y1"]
    assert_close(
        [[each["y0"], each["y1"]] for each in output], stream_outputs(plain, random_steps())
    )


@pytest.mark.parametrize("check", [check_json, check_csv])
def test_lines_are_answered_with_the_outputs_of_a_stream(plain, check):
    check(plain)


@pytest.mark.parametrize("check", [check_json, check_csv])
def test_lines_that_arrive_one_by_one_have_the_same_answers(plain, check, one_by_one):
    check(plain)


def test_more_lines_than_are_processed_together(plain):
    xs = random_steps(3000)
    output = as_json(answers_to(plain, lines=to_json(xs.tolist())))
    assert [each["steps"] for each in output] == list(range(1, 3001))
    assert_close([each["y"] for each in output], stream_outputs(plain, xs))


def test_no_input_gives_no_output(plain, tmp_path):
    for lines in ("", "\n", " \n\n"):
        assert (
            answers_to(plain, "--state", tmp_path / "a.state", "--key", "user", lines=lines) == ""
        )
    assert answers_to(plain, lines="a,b,c\n") == "steps,y0,y1\n"


# Many streams in one input.


HOSTILE = ["ada", "a/../b", "a\\b\0c", "ö🎻\u2028", 'say "hi", you', "-1", "x" * 9999, "null"]


@pytest.mark.parametrize("count", [2, 40, 400])
def test_every_key_is_its_own_stream(plain, count, rng):
    """Some keys come often and some once, which are fed by different methods."""
    keys = rng.integers(count, size=700).tolist() + [0] * 40
    rng.shuffle(keys)
    xs = random_steps(len(keys))
    rows = [{"user": key, "x": x.tolist()} for key, x in zip(keys, xs, strict=True)]
    output = as_json(answers_to(plain, "--key", "user", lines=to_json(rows)))
    assert [each["user"] for each in output] == keys
    model = load_once(plain)
    for key in set(keys[:20]):
        own = [at for at, each in enumerate(keys) if each == key]
        assert [output[at]["steps"] for at in own] == list(range(1, len(own) + 1))
        assert_close([output[at]["y"] for at in own], model.stream().feed(xs[own]))


def test_any_value_is_a_key(plain, tmp_path):
    names = [*HOSTILE, 7, 2**70]
    state = tmp_path / "users.state"
    rows = to_json([{"user": name, "x": [1, 2, 3]} for name in names])
    for time in (1, 2):
        output = as_json(answers_to(plain, "--key", "user", "--state", state, lines=rows))
        assert [each["user"] for each in output] == names
        assert {each["steps"] for each in output} == {time}
    line = io.StringIO()
    csv.writer(line).writerows([["a", "user", "b", "c"], *[[1, name, 2, 3] for name in names]])
    output = as_csv(answers_to(plain, "--key", "user", "--state", state, lines=line.getvalue()))
    assert [each["user"] for each in output] == [str(name) for name in names]
    assert {each["steps"] for each in output} == {"3"}  # the same streams, whatever the form
    assert list(tmp_path.iterdir()) == [state]


def test_a_lone_surrogate_is_a_key(plain):
    output = answers_to(plain, "--key", "user", lines='{"user": "\\ud800", "x": [1, 2, 3]}\n')
    assert as_json(output)[0]["user"] == "\ud800"


# State kept between runs.


@pytest.mark.parametrize("cut", [1, 5, 11])
def test_two_runs_with_a_state_file_equal_one(plain, tmp_path, cut):
    rows = [{"user": "ab"[at % 3 // 2], "x": x} for at, x in enumerate(random_steps().tolist())]
    words = [plain, "--key", "user"]
    state = ["--state", tmp_path / "users.state"]
    output = answers_to(*words, *state, lines=to_json(rows[:cut]))
    output += answers_to(*words, *state, lines=to_json(rows[cut:]))
    whole = as_json(answers_to(*words, lines=to_json(rows)))
    for one, other in zip(as_json(output), whole, strict=True):
        assert_close(one.pop("y"), other.pop("y"))
        assert one == other


def test_the_state_file_opens_in_a_stream(plain, tmp_path):
    answers_to(plain, "--state", tmp_path / "a.state", lines=to_json(random_steps().tolist()))
    stream = load_once(plain).stream().load(tmp_path / "a.state")
    assert stream.steps == STEPS
    assert_close(
        stream.feed(random_steps(1, 9)[0]),
        stream_outputs(plain, [*random_steps(), *random_steps(1, 9)])[-1],
    )


def test_states_of_other_weights_are_refused_or_taken(plain, tmp_path):
    state = tmp_path / "a.state"
    answers_to(plain, "--state", state, lines="[1,2,3]\n")
    model = legato.load_model(plain)
    set_weights(model, 8)
    model.save(tmp_path / "other.keras")
    words = [tmp_path / "other.keras", "--state", state]
    message = stream_error(*words, lines="[1,2,3]\n")
    assert "take it all the same with --other-weights." in message
    assert as_json(answers_to(*words, "--other-weights", lines="[1,2,3]\n"))[0]["steps"] == 2
    assert "is a model by its name" in stream_error(plain, "--state", plain, lines="")


@pytest.mark.parametrize(("sync", "times"), [([], 1), (["--sync", "feed"], 3 + 1)])  # 1: at the end
def test_states_are_forced_onto_the_disk_as_chosen(plain, tmp_path, monkeypatch, sync, times):
    monkeypatch.setattr(_line_formats, "BATCH_LINES", 1)
    forced, sync_log = [], LogStore._sync_log

    def count(self):
        forced.append(self)
        sync_log(self)

    monkeypatch.setattr(LogStore, "_sync_log", count)
    lines = to_json(random_steps(3).tolist())
    answers_to(plain, "--state", tmp_path / "a.state", *sync, lines=lines)
    assert len(forced) == times


def test_when_states_are_forced_onto_the_disk_is_checked(plain, tmp_path):
    message = stream_error(plain, "--sync", "feed", lines="")
    assert message == "--sync is about the file of --state, and none is given: name one.\n"
    result = run_stream(plain, "--state", tmp_path / "a.state", "--sync", "always", lines="")
    assert result.exit_code == 2
    assert "--sync" in result.stderr


def lines_of(users) -> list[dict]:
    steps = random_steps(len(users)).tolist()
    return [{"user": user, "x": step} for user, step in zip(users, steps, strict=True)]


FORTY = lines_of(2 * [f"u{at}" for at in range(40)])


@pytest.mark.parametrize(
    ("rows", "kept", "lines"),
    [
        (FORTY, range(40), "lines 41–80 (40 in all)"),
        (lines_of("aab"), [0, 2], "line 2 (1 in all)"),
        (FORTY[:40], [], "lines 1–40 (40 in all)"),
        (lines_of("aaaaa"), [], "lines 1–5"),
    ],
)
@pytest.mark.parametrize("keep_going", [[], ["--keep-going"]])
def test_on_a_full_disk_the_lines_that_were_kept_are_answered(
    plain, tmp_path, monkeypatch, rows, kept, lines, keep_going
):
    expected = as_json(answers_to(plain, "--key", "user", lines=to_json(rows)))
    write, writes = LogFile.write, itertools.count()
    records = 2 if len(kept) else 1  # the header of the log, and the record of the first turn

    def write_until_full(self, content):
        if next(writes) >= records:
            raise OSError(errno.ENOSPC, "No space left on device")
        write(self, content)

    def fail(self, path, records):
        raise legato.OutputError(f"{path} cannot be rewritten.")

    words = [plain, "--key", "user", "--state", tmp_path / "a.state", *keep_going]
    answers_to(*words[:5], lines="")  # makes the file
    with monkeypatch.context() as patch:
        patch.setattr(LogFile, "write", write_until_full)
        patch.setattr(StreamFile, "write", fail)
        result = run_stream(*words, lines=to_json(rows))
    assert result.exit_code == 2
    assert as_json(result.stdout) == [expected[at] for at in kept]
    assert "a.state.log cannot be written (No space left on device)" in result.stderr
    assert f"Not answered, and not in any stream's state: {lines}" in result.stderr
    assert "rewritten" not in result.stderr
    again = [row for at, row in enumerate(rows) if at not in kept]
    rest = as_json(answers_to(*words, lines=to_json(again)))
    assert_close_answers(rest, [each for at, each in enumerate(expected) if at not in kept])


def assert_close_answers(answers, expected):
    assert [each["steps"] for each in answers] == [each["steps"] for each in expected]
    assert_close([each["y"] for each in answers], [each["y"] for each in expected])


def test_the_number_of_streams_is_limited(plain, tmp_path):
    words = [plain, "--key", "user", "--limit", "2", "--state", tmp_path / "a.state"]
    rows = to_json([{"user": name, "x": [1, 2, 3]} for name in "abacb"])
    result = run_stream(*words, "--keep-going", lines=rows)
    assert [each.get("steps") for each in as_json(result.stdout)] == [1, 1, 2, None, 2]
    message = "'c' would be one stream more than the limit of 2: allow more with --limit.\n"
    assert result.stderr == f"legato: Line 4: {message}"
    assert message in stream_error(*words, lines=rows, answered=3)


# In a process of its own.


def started(*words) -> subprocess.Popen:
    """``legato stream`` as a process that begins as a user's does."""
    command = [sys.executable, "-m", "legato", "stream", *map(str, words)]
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    return subprocess.Popen(command, text=True, **pipes)


class Process:
    """``legato stream`` on pipes."""

    def __init__(self, *words, start=lambda *words: ForkedPython(COMMAND, ["stream", *words])):
        self.process = start(*words)

    def ask(self, line) -> dict:
        """Send one line, and return its answer."""
        self.process.stdin.write(json.dumps(line) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def end(self, how: int | None = None) -> tuple[int | None, str, str]:
        """Status and remaining output and errors, after a signal or the end of the input."""
        if how is not None:
            self.process.send_signal(how)
        output, errors = self.process.communicate(timeout=60)
        return self.process.returncode, output, errors


@pytest.mark.usefixtures("interruptible")
def test_a_line_is_answered_at_once_and_its_state_is_kept(plain, tmp_path):
    state, xs = tmp_path / "a.state", random_steps()
    first = Process(plain, "--state", state)
    output = [first.ask(x.tolist()) for x in xs[:5]]
    assert first.end(signal.SIGKILL)[0] == -signal.SIGKILL
    second = Process(plain, "--state", state)
    output += [second.ask(x.tolist()) for x in xs[5:]]
    status, rest, errors = second.end(signal.SIGINT)
    assert (status, rest) == (130, "")
    assert errors.strip().splitlines()[-1] == "Interrupted: files are whole or as they were."
    assert [each["steps"] for each in output] == list(range(1, STEPS + 1))
    assert_close([each["y"] for each in output], stream_outputs(plain, xs))
    assert list(tmp_path.iterdir()) == [state]
    assert load_once(plain).stream().load(state).steps == STEPS


def test_a_command_that_starts_with_sigint_ignored_ignores_ctrl_c(plain):
    """As in the background of a shell script, where Ctrl-C is meant for the foreground."""
    with sigint_handled_by(signal.SIG_IGN):
        stream = Process(plain, start=started)
    first = stream.ask([1, 2, 3])
    stream.process.send_signal(signal.SIGINT)
    assert [first["steps"], stream.ask([1, 2, 3])["steps"]] == [1, 2]
    assert stream.end() == (0, "", "")


def test_a_killed_command_has_kept_the_state_of_every_answer(plain, tmp_path, rng):
    state, lines = tmp_path / "a.state", tmp_path / "steps.jsonl"
    keys, xs = [f"u{key}" for key in rng.integers(30, size=40_000)], random_steps(40_000)
    rows = [{"user": key, "x": x.tolist()} for key, x in zip(keys, xs, strict=True)]
    lines.write_text(to_json(rows))
    with lines.open("rb") as source:
        words = ["stream", plain, "--key", "user", "--state", state]
        process = ForkedPython(COMMAND, words, stdin=source)
    output = [process.stdout.readline() for _ in range(rng.integers(1, 3000))]
    process.send_signal(signal.SIGKILL)
    output += process.communicate()[0].splitlines(keepends=True)
    answered = {}
    for line in output:
        if line.endswith("\n"):
            answer = json.loads(line)
            answered[answer["user"]] = answer["steps"]
    model = load_once(plain)
    with model.streams(file=state) as pool:
        seen = {key: pool.steps(key) for key in pool}
        count = sum(seen.values())
        assert sum(answered.values()) <= count < len(rows)
        assert seen == {key: keys[:count].count(key) for key in set(keys[:count])}
        assert all(seen[key] >= steps for key, steps in answered.items())
        streams = {key: model.stream() for key in seen}
        for key, x in zip(keys[:count], xs[:count], strict=True):
            streams[key].feed(x)
        for key, stream in streams.items():
            assert pool.state(key).allclose(stream.state)


def test_a_closed_output_pipe_ends_the_stream_quietly(plain, tmp_path):
    (tmp_path / "steps.jsonl").write_text(
        to_json(random_steps(9000).tolist())
    )  # more than a pipe holds
    command = f"{sys.executable} -m legato stream {plain} --state {tmp_path}/a.state"
    piped = f"{command} < {tmp_path}/steps.jsonl | head -1; echo ${{PIPESTATUS[0]}}"
    process = subprocess.run(["bash", "-c", piped], capture_output=True, text=True, check=True)
    assert json.loads(process.stdout.splitlines()[0])["steps"] == 1
    assert process.stdout.splitlines()[1:] == ["0"]
    assert "legato:" not in process.stderr
    assert "BrokenPipe" not in process.stderr
    with load_once(plain).streams(file=tmp_path / "a.state") as pool:
        assert pool.steps("") >= 1
