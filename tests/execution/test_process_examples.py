"""The examples of training on several processes: what they say to schedulers, and the script."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner

import legato
from legato.cli import _run_command, app

EXAMPLES = Path(__file__).parents[2] / "examples" / "processes"
VARIABLES = [
    f"KERAS_DISTRIBUTION_{each}" for each in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")
]


@pytest.fixture
def joined(monkeypatch):
    """A function: words of ``legato run`` → the script's words, and how it finds the others."""
    found = []
    monkeypatch.chdir(EXAMPLES)

    def become(command, variables):
        found.append((command[1:], [variables[each] for each in VARIABLES]))
        raise SystemExit

    monkeypatch.setattr(_run_command, "_become", become)

    def join(words: list[str]) -> tuple[list[str], list[str]]:
        result = CliRunner().invoke(app, words)
        assert result.exit_code == 0, result.output
        return found.pop()

    return join


def test_the_job_of_kubernetes_gives_each_process_what_it_needs(joined, monkeypatch):
    service, job = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text("utf-8"))
    name, spec = job["metadata"]["name"], job["spec"]
    pod = spec["template"]["spec"]
    assert service["metadata"]["name"] == pod["subdomain"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": name}
    assert spec["completionMode"] == "Indexed"  # Kubernetes then sets JOB_COMPLETION_INDEX
    assert spec["parallelism"] == spec["completions"]
    assert pod["restartPolicy"] == "OnFailure"
    (container,) = pod["containers"]
    monkeypatch.setenv("JOB_COMPLETION_INDEX", "1")
    command, variables = joined(container["command"][1:])
    address = f"{name}-0.{pod['subdomain']}:1234"
    assert variables == [address, str(spec["completions"]), "1"]
    (mount,), (volume,) = container["volumeMounts"], pod["volumes"]
    assert mount["name"] == volume["name"]
    assert command == ["train.py", f"{mount['mountPath']}/run"]


def test_the_script_of_slurm_gives_each_process_what_it_needs(joined, monkeypatch, tmp_path):
    commands = {  # in place of Slurm's: the second writes the words of a task
        "scontrol": '[ "$3" = "node[1-2]" ] && printf "node1\\nnode2\\n"',
        "srun": 'printf "%s\\n" "$@"',
    }
    for name, does in commands.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{does}\n")
        (tmp_path / name).chmod(0o755)
    variables = {"SLURM_JOB_NODELIST": "node[1-2]", "SLURM_NTASKS": "2", "SLURM_SUBMIT_DIR": "/job"}
    variables |= {"PATH": f"{tmp_path}{os.pathsep}{os.environ['PATH']}", "SLURM_JOB_ID": "1"}
    script = ["bash", str(EXAMPLES / "slurm.sh")]
    done = subprocess.run(script, env=variables, capture_output=True, text=True, check=True)
    option, program, *words = done.stdout.splitlines()
    assert (option, program) == ("--kill-on-bad-exit=1", "legato")
    monkeypatch.setenv("SLURM_PROCID", "1")
    assert joined(words) == (["train.py", "/job/run"], ["node1:1234", "2", "1"])


@pytest.mark.slow
def test_the_script_trains_with_two_processes(tmp_path):
    command = [sys.executable, "-m", "legato", "run", "-n", "2", "train.py", str(tmp_path)]
    options = {"cwd": EXAMPLES, "capture_output": True, "text": True, "timeout": 300}
    done = subprocess.run(command, check=False, **options)
    assert done.returncode == 0, done.stderr
    assert "Epoch 5/5" in done.stdout
    assert legato.load_model(tmp_path / "model.keras").stateful


def test_the_script_trains_with_one_process_and_saves(tmp_path, monkeypatch, capsys):
    for name, value in zip(VARIABLES, ("127.0.0.1:1", "1", "0"), strict=True):
        monkeypatch.setenv(name, value)
    script = runpy.run_path(str(EXAMPLES / "train.py"))
    script["main"](tmp_path)
    assert "Epoch 5/5" in capsys.readouterr().out
    assert legato.load_model(tmp_path / "model.keras").stateful
    first, second = (script["rows_of_process"](at, 2) for at in range(2))
    whole = script["rows_of_process"](0, 1)[0].reshape(48, 2, 8, 60, 1)
    for at, (X, _) in enumerate((first, second)):
        assert (X.reshape(48, 8, 60, 1) == whole[:, at]).all()
