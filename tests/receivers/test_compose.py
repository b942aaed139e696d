"""config/compose.yaml: read as docker compose reads it, and its files and commands run as processes."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.support import ROOT
from tests.support.collector import Collector
from tests.support.dockerfile import build
from tests.support.process import Server, free_port
from tests.support.receivers import BUILD, find_receiver, start_bugsink, start_jaeger
from tests.support.waiting import until
from tests.viewer.alerts.receiver import AlertReceiver

CONFIG = ROOT / "config"
COMPOSE = (CONFIG / "compose.yaml").read_text()
EXAMPLE = (CONFIG / ".env.example").read_text()


def test_the_example_has_the_variables_of_the_compose_file() -> None:
    """All of them, and no other; images are of the versions that the tests run."""
    assert set(re.findall(r"\$\{([A-Z_]+)", COMPOSE)) == set(re.findall(r"^([A-Z_]+)=", EXAMPLE, re.MULTILINE))
    services = yaml.safe_load(COMPOSE)["services"]
    versions = {name: each.get("image", "").rpartition(":")[2] for name, each in services.items()}
    built = BUILD.read_text()
    collector = (ROOT / "tests" / "collector" / "builder.yaml").read_text()
    assert f"bugsink) version={versions['bugsink']} " in built
    assert f"jaeger) version=v{versions['jaeger']} " in built
    assert f"prometheus) version={versions['prometheus'].replace('v3.', 'v0.3')} " in built
    assert f"  version: {versions['collector']}\n" in collector
    assert versions["alertmanager"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of config/, as a user has it who has copied ``.env.example`` too."""
    copied = tmp_path / "config"
    shutil.copytree(CONFIG, copied)
    shutil.copy(copied / ".env.example", copied / ".env")
    return copied


def load(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [str(find_receiver("compose")), "compose.yaml"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.thorough
@pytest.mark.receivers("compose")
def test_docker_compose_takes_the_file(folder: Path) -> None:
    """By the compose specification's schema; what is mounted exists. A wrong key and a missing file are rejected."""
    loaded = load(folder)
    assert (loaded.returncode, loaded.stderr) == (0, "")
    services = json.loads(loaded.stdout)["services"]
    assert set(services) == {"service", "collector", "prometheus", "alertmanager", "jaeger", "bugsink"}
    mounts = [each for service in services.values() for each in service.get("volumes", ()) if each["type"] == "bind"]
    assert len(mounts) == 2
    assert all(Path(each["source"]).exists() for each in mounts)
    assert all(port["host_ip"] == "127.0.0.1" for each in services.values() for port in each.get("ports", ()))
    (folder / "compose.yaml").write_text(COMPOSE.replace("restart:", "restarts:", 1))
    assert "restarts" in load(folder).stderr
    (folder / "compose.yaml").write_text(COMPOSE)
    (folder / ".env").unlink()
    assert "copy .env.example to .env" in load(folder).stderr


@pytest.mark.thorough
@pytest.mark.receivers("bugsink")
def test_bugsinks_image_reads_the_variables_that_it_is_given() -> None:
    """Those names are in its Docker settings or in what its image runs at start."""
    packages = next(find_receiver("bugsink").resolve().glob("lib/python*/site-packages"))
    read = (packages / "bugsink/conf_templates/docker.py.template").read_text()
    read += (packages / "bsmain/management/commands/prestart.py").read_text()
    names = yaml.safe_load(COMPOSE)["services"]["bugsink"]["environment"]
    assert [name for name in names if f'getenv("{name}"' not in read] == []


@pytest.fixture
def stack(folder: Path, tmp_path: Path) -> Iterator[dict[str, Any]]:
    """The services as processes, with the commands and files of the compose file; names are addresses of loopback."""
    with ExitStack() as running:
        hook = running.enter_context(AlertReceiver(free_port()))
        jaeger, jaeger_otlp = running.enter_context(start_jaeger())
        bugsink, dsn = running.enter_context(start_bugsink())
        ports = {name: free_port() for name in ("service", "prometheus", "alertmanager")}
        text = re.sub("^ALERTS_WEBHOOK_URL=.*", f"ALERTS_WEBHOOK_URL={hook.url}/", EXAMPLE, flags=re.MULTILINE)
        (folder / ".env").write_text(text.replace("\nSENTRY_DSN=\n", f"\nSENTRY_DSN={dsn}\n"))
        for path in folder.glob("*/*.yaml"):
            text = path.read_text().replace("http://jaeger:4318", jaeger_otlp)
            for name, port in ports.items():
                text = re.sub(rf"\b{name}:\d+", f"127.0.0.1:{port}", text)
            path.write_text(re.sub(r"^ +(for|interval): \S+\n", "", text, flags=re.M).replace(": 15s", ": 1s"))
        loaded = json.loads(load(folder).stdout)
        services = loaded["services"]
        manager = folder / "alertmanager.yaml"
        manager.write_text(loaded["configs"]["alertmanager"]["content"].replace("group_wait: 5s", "group_wait: 0s"))
        places = {"/etc/alertmanager/alertmanager.yaml": manager, "/etc/prometheus": folder / "prometheus"}
        places |= {f"/{name}": tmp_path / name for name in ("prometheus", "alertmanager")}
        for name, more in (("alertmanager", ["--cluster.listen-address="]), ("prometheus", [])):
            command = [str(find_receiver(name)), f"--web.listen-address=127.0.0.1:{ports[name]}", *more]
            for each in services[name]["command"]:
                option, _, value = each.partition("=")
                inside = next((place for place in places if value.startswith(place)), "")
                command.append(f"{option}={places[inside]}{value[len(inside) :]}" if inside else each)
            running.enter_context(Server(command, ports[name], ready_path="/-/ready"))
        collector = running.enter_context(Collector(folder / "collector" / "compose.yaml"))
        image = build(CONFIG / "Dockerfile", ROOT, tmp_path / "image")
        program, *arguments = image.command
        command = [
            str(image.programs / program),
            *(each.replace("8000", str(ports["service"])) for each in arguments),
        ]
        env = {**services["service"]["environment"], "OTEL_METRIC_EXPORT_INTERVAL": "300"}
        assert env["OTEL_EXPORTER_OTLP_ENDPOINT"] == "http://collector:4318"
        env["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector.url
        server = Server(command, ports["service"], env=env, cwd=image.directory, fresh=True)
        yield {"service": running.enter_context(server), "jaeger": jaeger, "bugsink": bugsink, "hook": hook}


@pytest.mark.thorough
@pytest.mark.receivers("compose", "collector", "prometheus", "alertmanager", "jaeger", "bugsink")
def test_the_services_show_an_error(stack: dict[str, Any]) -> None:
    """Its trace in Jaeger, its alert by a webhook, its issue in Bugsink; all of the image's service."""
    service: Server = stack["service"]
    assert service.get("/api/missions/info").json() == {"missions": 6}
    assert service.get("/api/test-error").status_code == 500

    def operations() -> set[str]:
        found = stack["jaeger"].get("/api/traces", service="brain").json()["data"]
        return {span["operationName"] for trace in found for span in trace["spans"]}

    until(lambda: "GET /api/test-error" in operations(), what="the trace")

    def alerts() -> set[tuple[str, str]]:
        labels = [alert["labels"] for each in stack["hook"].got for alert in each.body["alerts"]]
        return {(each["alertname"], each["service_name"]) for each in labels}

    until(lambda: ("NewErrorType", "brain") in alerts(), what="the alert")

    def issues() -> list[str]:
        found = stack["bugsink"].get("/api/canonical/0/issues/", project=1).json()["results"]
        return [f"{each['calculated_type']}: {each['calculated_value']}" for each in found]

    until(lambda: issues() == ["RuntimeError: This is a test error"], what="the issue")
    service.terminate(15)
