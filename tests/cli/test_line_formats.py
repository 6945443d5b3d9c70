"""JSON and CSV lines of ``legato stream``: dialects, and errors that name the line."""

import numpy as np
import pytest
from stream_runs import (
    answers_to,
    as_csv,
    as_json,
    assert_close,
    load_once,
    run_stream,
    stream_error,
    stream_outputs,
)

from legato.cli import _line_formats

BAD_JSON = {
    "not JSON": ("[1,2", "this is not JSON (Expecting ',' delimiter). Each line is a value by"),
    "a header": ("a,b,c", "this is not JSON (Expecting value)"),
    "too few": ("[1, 2]", "x has shape (2,); one step is (3,), and several are (steps, 3)."),
    "too many": ("[1, 2, 3, 4]", "x has shape (4,); one step is"),
    "NaN": ("[1, NaN, 3]", "x[1] for the input 'input"),
    "a gap": ("[1, null, 3]", "a number is missing (null): fill it in, or leave the line out."),
    "null": ("null", "a number is missing (null)"),
    "huge": ("[1, 1e999, 3]", "every number must be finite."),
    "words": ('["a", "b", "c"]', "numbers or booleans were expected."),
    "a word": ('"abc"', "numbers were expected."),
    "ragged": ("[[1, 2, 3], [1]]", "cannot be made into one array"),
    "no x": ('{"y": 1}', 'there is no "x" in the object: put the step there.'),
    "deep": ("[" * 99_999, "this is not JSON (maximum recursion depth"),
    "less deep": ("[" * 900 + "]" * 900, "x cannot be made into one array"),
    "long": ("9" * 5000, "this is not JSON (Exceeds the limit"),
    "not UTF-8": (b"[1, 2, 3] \xe4", "the byte 0xe4 is not UTF-8 text; send UTF-8."),
}  # fmt: skip


BAD_CSV = {
    "too few": ("1,2", "2 fields came, and the header has 3. Put a field that holds ',' in quot"),
    "too many": ("1,2,3,4", "4 fields came, and the header has 3."),
    "a word": ("1,x,3", "the column 'b' holds 'x'; a number up to 3.4e+38 was expected."),
    "NaN": ("1,nan,3", "the column 'b' holds 'nan': the value is missing."),
    "a gap": ("1,,3", "the column 'b' holds nothing: the value is missing. Fill it in, or leave"),
    "huge": ("1,1e99,3", "the column 'b' holds '1e99'; a number up to"),
    "a mark": ('1,"2"2,3', "this is no record of CSV (',' expected after '\"'). Write a quotation"),
    "not UTF-8": (b"1,2,\xe4", "the byte 0xe4 is not UTF-8 text; send UTF-8."),
}  # fmt: skip


BAD = [
    *[(b"", b"[1, 2, 3]", *each) for each in BAD_JSON.values()],
    *[(b"a,b,c\n", b"1,2,3", *each) for each in BAD_CSV.values()],
]


def encoded(header: bytes, *lines) -> bytes:
    return header + b"".join(
        (each if isinstance(each, bytes) else each.encode()) + b"\n" for each in lines
    )


@pytest.mark.parametrize(("header", "good", "bad", "message"), BAD)
def test_an_invalid_line_ends_the_command(plain, tmp_path, header, good, bad, message):
    state = tmp_path / "a.state"
    lines = encoded(header, good, good, b"", bad, good, bad)
    number = header.count(b"\n") + 4
    answered = header.count(b"\n") + 2
    result = run_stream(plain, "--state", state, lines=lines)
    assert result.exit_code == 2
    assert result.stderr.startswith(f"legato: Line {number}: ")
    assert message in result.stderr
    assert len(result.stderr) < 600
    assert len(result.stdout.splitlines()) == answered
    assert load_once(plain).stream().load(state).steps == 2  # the state before it


@pytest.mark.parametrize(("header", "good", "bad", "message"), BAD)
def test_with_keep_going_invalid_lines_are_reported_and_skipped(plain, header, good, bad, message):
    result = run_stream(plain, "--keep-going", lines=encoded(header, good, bad, good, good, bad))
    assert result.exit_code == 0
    first = header.count(b"\n") + 2
    marks = [line.split(": ")[:2] for line in result.stderr.splitlines()]
    assert marks == [["legato", f"Line {first}"], ["legato", f"Line {first + 3}"]]
    assert message in result.stderr
    if header:
        answers = as_csv(result.stdout)
        assert [each["steps"] for each in answers] == ["1", "", "2", "3", ""]
        assert {each["y0"] for each in (answers[1], answers[4])} == {""}
    else:
        answers = as_json(result.stdout)
        assert [each.get("steps") for each in answers] == [1, None, 2, 3, None]
        assert list(answers[1]) == ["error"]
        assert f"Line {first}: {answers[1]['error']}\n" in result.stderr


def test_the_answer_to_an_invalid_line_has_its_key(plain):
    lines = "user,a,b,c\nada,1,2,3\nbob,1,2,x\nada,1,2,3\n"
    result = run_stream(plain, "--keep-going", "--key", "user", lines=lines)
    output = as_csv(result.stdout)
    assert [(each["user"], each["steps"]) for each in output] == [
        ("ada", "1"),
        ("bob", ""),
        ("ada", "2"),
    ]


@pytest.mark.parametrize("keep_going", [[], ["--keep-going"]])
@pytest.mark.parametrize(
    ("words", "lines", "message"),
    [
        ([], "a,b\n1,2\n", "has 2 columns for a step, a, b, and a step of 'input"),
        (["--key", "a"], "a,b,c\n1,2,3\n", "has 2 columns for a step, b, c, and a step of"),
        ([], "hello\n", "The first line, read as the header of a CSV, has 1 column for a step, he"),
        (["--key", "A"], "a,b,c,d\n", "The header has no column 'A', which --key names. Did you m"),
        ([], "a,b,a\n", "Line 1 begins a CSV with the names of its columns, and 'a' comes twice."),
        ([], "\na,,b\n", "Line 2 begins a CSV with the names of its columns, and one is empty."),
        ([], b"a,\xe4\n1,2\n", "Line 1: the byte 0xe4 is not UTF-8"),
        ([], '"a"b,c\n1,2\n', "Line 1: this is no record of CSV"),
        ([], '\na,"b,c\n1,2,3\n', "Line 2: a quotation mark in the record that begins here is"),
        ([], "a,b,c".encode("utf-16"), "Standard input is UTF-16 text, and UTF-8 was expected."),
        (["--key", "steps"], "[1]\n", "--key names 'steps', which is what a part of the answers"),
        (["--key", "y0"], "a,b,c,y0\n", "--key names 'y0', which is what a part of the answers"),
        (["--pad", "1"], "[1]\n", "--pad 1.0 fills a window before its first step, and the st"),
    ],
)  # fmt: skip
def test_some_errors_end_the_command_even_with_keep_going(plain, words, lines, message, keep_going):
    assert message in stream_error(plain, *words, *keep_going, lines=lines)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("[1, 2, 3]", "there is no 'user', the key of the stream: give it in every line."),
        ('{"x": [1, 2, 3]}', "there is no 'user'"),
        ('{"x": [1, 2, 3], "user": null}', "there is no 'user'"),
        ('{"x": [1, 2, 3], "user": " "}', "there is no 'user'"),
        ('{"x": [1, 2, 3], "user": true}', "the key 'user' is True; a text or a whole number was"),
        ('{"x": [1, 2, 3], "user": [1]}', "the key 'user' is [1]; a text or a whole number was"),
        ('{"x": [1, 2, 3], "user": 1.5}', "the key 'user' is 1.5; a text or a whole number was"),
    ],
)
def test_a_line_without_a_key_is_an_error(plain, line, message):
    good = '{"user": "ada", "x": [1, 2, 3]}'
    assert f"Line 2: {message}" in stream_error(
        plain, "--key", "user", lines=f"{good}\n{line}\n", answered=1
    )


def test_a_quotation_mark_that_is_never_closed_is_an_error(plain):
    lines = 'a,b,c\n1,2,3\n1,"2,3\n1,2,3\n'
    message = "Line 3: a quotation mark in the record that begins here is never closed."
    assert message in stream_error(plain, lines=lines, answered=2)
    result = run_stream(plain, "--keep-going", lines=lines)
    assert result.stdout.splitlines()[2:] == [",,"]
    assert message in result.stderr


def test_fields_that_are_all_empty_are_a_row(plain):
    message = "the column 'a' holds nothing: the value is missing."
    assert f"Line 2: {message}" in stream_error(plain, lines="a\tb\tc\n\t\t\n", answered=1)


def test_an_endless_line_is_refused(plain, monkeypatch):
    monkeypatch.setattr(_line_formats, "LINE_BYTES", 2**17)
    message = stream_error(plain, lines=b"[1, 2, 3]\n" + b"[" + b" " * 2**18, answered=1)
    assert "Line 2 has no end within 131,072 bytes" in message


@pytest.mark.parametrize("separator", ",;\t|")
def test_csv_of_several_dialects(plain, separator):
    rows = [("key", " a ", '"b\n"', "c"), *[(f'"{at};,\t|\n"', at, f" {at}", 1) for at in range(3)]]
    lines = "\ufeff\r\n" + "\r\n\r\n".join(separator.join(map(str, row)) for row in rows)
    output = as_csv(answers_to(plain, "--key", "key", lines=lines), separator)
    assert [each["key"] for each in output] == [f"{at};,\t|\n" for at in range(3)]
    xs = np.array([[[at, at, 1]] for at in range(3)], "float32")
    expected = [stream_outputs(plain, x)[0] for x in xs]
    assert_close([[each["y0"], each["y1"]] for each in output], expected)
