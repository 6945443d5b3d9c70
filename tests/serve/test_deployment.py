"""The examples of deployment fit the server: options, addresses, volumes and metrics exist."""

import json
import re
import socket
from pathlib import Path

import pytest
import typer.main
import yaml
from serve.serving import config_of

from legato._errors import OutputError
from legato._serve.server import run
from legato.cli import app

EXAMPLES = Path(__file__).parents[2] / "examples" / "serve"
MANIFESTS = ["kubernetes.yaml", "kubernetes-one-server.yaml"]


def documents(name):
    return list(yaml.safe_load_all((EXAMPLES / name).read_text("utf-8")))


def from_dockerfile(word):
    """The arguments of the last line of the Dockerfile that begins so."""
    lines = (EXAMPLES / "Dockerfile").read_text("utf-8").splitlines()
    (line,) = [each for each in lines if each.startswith(f"{word} ")]
    return json.loads(line.partition(" ")[2])


def settings_of(arguments):
    """What the command line makes of a container's arguments."""
    program, command, *fixed = from_dockerfile("ENTRYPOINT")
    assert (program, command) == ("legato", "serve")
    serve = typer.main.get_command(app).commands["serve"]
    return serve.make_context("serve", [*fixed, *arguments]).params


def seconds(text):
    return float(re.fullmatch(r"(\d+)s", text)[1])


def test_the_image_serves_from_a_folder_of_its_own():
    settings = settings_of(from_dockerfile("CMD"))
    assert settings["host"] == "0.0.0.0"
    assert settings["port"] == 8000
    assert settings["store"].startswith("/streams/")
    text = (EXAMPLES / "Dockerfile").read_text("utf-8")
    assert "\nUSER legato\n" in text
    assert "\nEXPOSE 8000\n" in text


def test_compose():
    (composed,) = documents("compose.yaml")
    services = composed["services"]
    server = services["legato"]
    settings = settings_of(server["command"])
    assert settings["store"] == "redis://redis:6379/0"
    assert seconds(server["stop_grace_period"]) > settings["grace"]
    assert str(settings["api_key_file"]) == "/run/secrets/api-keys"
    assert (EXAMPLES / server["build"]["context"] / server["build"]["dockerfile"]).is_file()
    assert set(server["depends_on"]) <= set(services)
    for each in services.values():
        assert set(each.get("secrets", ())) <= set(composed["secrets"])
        assert {name.split(":")[0] for name in each.get("volumes", ())} <= set(composed["volumes"])
        assert {given["source"] for given in each.get("configs", ())} <= set(composed["configs"])
    scraped = yaml.safe_load(composed["configs"]["prometheus"]["content"])
    (found,) = scraped["scrape_configs"][0]["dns_sd_configs"]
    assert (found["names"], found["port"]) == (["legato"], settings["port"])
    assert "noeviction" in services["redis"]["command"]  # a cache would drop streams


@pytest.mark.parametrize("name", MANIFESTS)
def test_kubernetes(name, client):
    kinds = {(each["kind"], each["metadata"]["name"]): each for each in documents(name)}
    workloads = [each for (kind, _), each in kinds.items() if kind in ("Deployment", "StatefulSet")]
    for each in workloads:
        spec, labels = each["spec"], each["spec"]["template"]["metadata"]["labels"]
        assert spec["selector"]["matchLabels"] == labels
        own = each["metadata"]["name"]
        assert kinds["Service", own]["spec"]["selector"] == labels
        pod = spec["template"]["spec"]
        (container,) = pod["containers"]
        named = {given["name"] for given in container["ports"]}
        assert {given["targetPort"] for given in kinds["Service", own]["spec"]["ports"]} <= named
        claims = [claim["metadata"]["name"] for claim in spec.get("volumeClaimTemplates", ())]
        volumes = claims + [volume["name"] for volume in pod.get("volumes", ())]
        assert sorted(given["name"] for given in container["volumeMounts"]) == sorted(volumes)
    (server,) = [each for each in workloads if each["metadata"]["name"] == "legato"]
    pod = server["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    settings = settings_of(container["args"])
    assert settings["port"] == container["ports"][0]["containerPort"]
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        request = container[probe]["httpGet"]
        assert client.get(request["path"]).status_code == 200
        assert request["port"] == container["ports"][0]["name"]
    waits = container.get("lifecycle", {}).get("preStop", {}).get("exec", {}).get("command", [0])
    assert pod["terminationGracePeriodSeconds"] > settings["grace"] + float(waits[-1])
    mounts = [given["mountPath"] for given in container["volumeMounts"]]
    assert str(settings["api_key_file"].parent) in mounts
    if "://" in settings["store"]:
        assert ("Service", re.split("[/:]+", settings["store"])[1]) in kinds
    else:
        assert server["spec"]["replicas"] == 1
        assert str(Path(settings["store"]).parent) in mounts


@pytest.mark.parametrize("workers", [1, 2])
def test_a_port_in_use_is_one_sentence_before_models_are_loaded(workers, tmp_path, capfd):
    config = config_of(tmp_path / "no model", "redis://127.0.0.1:1/0")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(OutputError, match=f"127.0.0.1:{port} cannot be listened at"):
            run(config, port=port, workers=workers)
    with pytest.raises(OutputError, match="no address of this machine"):
        run(config, host="192.0.2.1", port=port, workers=workers)
    assert capfd.readouterr() == ("", "")


def test_the_board_shows_metrics_that_there_are(client):
    assert client.get("/nowhere").status_code == 404
    assert client.post("/v1/feed", content=b"0" * 2**24 + b"0").status_code == 413
    given = set(re.findall(r"^(legato_\w+)", client.get("/metrics").text, re.MULTILINE))
    board = json.loads((EXAMPLES / "grafana.json").read_text("utf-8"))
    expressions = [each["expr"] for panel in board["panels"] for each in panel["targets"]]
    shown = set(re.findall(r"legato_\w+", " ".join(expressions)))
    assert shown <= given
    families = {re.sub(r"_(total|created|bucket|count|sum)$", "", name) for name in given}
    assert {re.sub(r"_(total|bucket|count|sum)$", "", name) for name in shown} == families
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
    variables = {each["name"] for each in board["templating"]["list"]} | {"__rate_interval"}
    assert set(re.findall(r"\$\{?(\w+)", json.dumps(board["panels"]))) <= variables
