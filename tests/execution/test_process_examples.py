"""The examples of training on several processes: what they say to schedulers, and the script."""

import runpy
import subprocess
from pathlib import Path

import yaml

import legato

EXAMPLES = Path(__file__).parents[2] / "examples" / "processes"
VARIABLES = [
    f"KERAS_DISTRIBUTION_{each}" for each in ("JOB_ADDRESSES", "NUM_PROCESSES", "PROCESS_ID")
]


def test_the_job_of_kubernetes_gives_each_process_what_it_needs():
    service, job = yaml.safe_load_all((EXAMPLES / "kubernetes.yaml").read_text("utf-8"))
    name, spec = job["metadata"]["name"], job["spec"]
    pod = spec["template"]["spec"]
    assert service["metadata"]["name"] == pod["subdomain"]
    assert service["spec"]["clusterIP"] == "None"
    assert service["spec"]["selector"] == {"job-name": name}
    (container,) = pod["containers"]
    given = {each["name"]: each for each in container["env"]}
    addresses, count, index = (given[each] for each in VARIABLES)
    assert addresses["value"] == f"{name}-0.{pod['subdomain']}:1234"
    assert int(count["value"]) == spec["completions"] == spec["parallelism"]
    assert "job-completion-index" in index["valueFrom"]["fieldRef"]["fieldPath"]
    assert spec["completionMode"] == "Indexed"
    assert pod["restartPolicy"] == "OnFailure"
    (mount,), (volume,) = container["volumeMounts"], pod["volumes"]
    assert mount["name"] == volume["name"]
    assert container["command"][-1].startswith(mount["mountPath"])


def test_the_script_of_slurm_gives_each_process_what_it_needs():
    script = EXAMPLES / "slurm.sh"
    subprocess.run(["bash", "-n", str(script)], check=True)
    text = script.read_text("utf-8")
    assert all(f"{each}=" in text for each in VARIABLES)
    assert "train.py" in text


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
