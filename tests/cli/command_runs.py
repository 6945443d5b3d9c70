"""Runs of commands in this process: their output, or their error."""

from pathlib import Path

from typer.testing import CliRunner

from legato.cli import app

SMALL = ("--units", "4", "--epochs", "2", "--no-refit")


def run_legato(*words, **options):
    return CliRunner().invoke(app, [str(word) for word in words], **options)


def output_of(*words, **options):
    """The output of a command that succeeds."""
    result = run_legato(*words, **options)
    assert result.exit_code == 0, result.output
    assert result.stderr == ""
    return result.stdout


def error_of(*words):
    """The error, one line."""
    result = run_legato(*words)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    assert result.stderr.count("\n") == 1
    assert result.stderr.startswith("legato: ")
    assert run_legato(*words, "--debug").exit_code == 1  # a traceback
    return result.stderr[len("legato: ") :]


def write_file(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path
