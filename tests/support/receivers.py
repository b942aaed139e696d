"""Runs receivers that other projects have written, from what tests/receivers/build and the system have installed."""

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from tests.support import ROOT
from tests.support.collector import CollectorMissingError, find_collector
from tests.support.process import Server, free_port
from tests.support.waiting import PATIENCE, until

BUILD = ROOT / "tests" / "receivers" / "build"

SYSTEM = {"promtool": "promtool", "alertmanager": "prometheus-alertmanager"}
"""Debian's programs: `apt-get install prometheus prometheus-alertmanager`."""

NAMES = ("bugsink", "prometheus", "jaeger", "victorialogs", "compose", "javascript", "collector", *SYSTEM)


class ReceiverMissingError(Exception):
    """There is no such receiver on this machine. The message says how to get it."""


def find_receiver(name: str) -> Path:
    """Return the path of a receiver; builds and installs nothing."""
    if name in SYSTEM:
        found = shutil.which(SYSTEM[name]) or shutil.which(name)
        if found is None:
            raise ReceiverMissingError(f"no {name}; install Debian's prometheus and prometheus-alertmanager")
        return Path(found)
    if name == "collector":
        try:
            return find_collector()
        except CollectorMissingError as error:
            raise ReceiverMissingError(str(error)) from None
    path = _cache() / f"{name}-{_version(name)}"
    if not path.exists():
        raise ReceiverMissingError(f"no {name} at {path}; get it with tests/receivers/build {name}")
    return path


def missing() -> dict[str, str]:
    """The receivers that are not there, and how to get them."""
    found = {}
    for name in NAMES:
        try:
            find_receiver(name)
        except ReceiverMissingError as error:
            found[name] = str(error)
    return found


def _cache() -> Path:
    if cache := os.environ.get("BRAIN_OTEL_RECEIVERS_CACHE"):
        return Path(cache)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "brain-otel" / "receivers"


def _version(name: str) -> str:
    line = re.search(rf"^  {name}\) version=(\S+)", BUILD.read_text(), re.MULTILINE)
    assert line is not None, name
    return line[1]


@dataclass(frozen=True, kw_only=True)
class Receiver:
    """A running receiver, and how to ask its API."""

    url: str
    headers: dict[str, str]

    def get(self, path: str, **params: Any) -> httpx.Response:
        return httpx.get(
            f"{self.url}{path}", params=params, headers=self.headers, timeout=PATIENCE, trust_env=False
        ).raise_for_status()


@contextmanager
def _running(command: list[str], port: int, **how: Any) -> Iterator[Receiver]:
    with Server(command, port, **how):
        yield Receiver(url=f"http://127.0.0.1:{port}", headers={})


@contextmanager
def start_prometheus(rules: Path | None = None) -> Iterator[Receiver]:
    """A Prometheus that takes OTLP at /api/v1/otlp/v1/metrics, and evaluates ``rules``."""
    with tempfile.TemporaryDirectory(prefix="prometheus-") as directory:
        port = free_port()
        config = Path(directory, "prometheus.yml")
        lines = [
            "global: {evaluation_interval: 1s}",
            "otlp: {promote_resource_attributes: [service.name, service.version]}",
        ]
        lines += [f"rule_files: ['{rules}']"] if rules is not None else []
        config.write_text("\n".join([*lines, "storage: {tsdb: {out_of_order_time_window: 10m}}", ""]))
        command = [
            str(find_receiver("prometheus")),
            f"--config.file={config}",
            f"--storage.tsdb.path={directory}/data",
        ]
        command += [f"--web.listen-address=127.0.0.1:{port}", "--web.enable-otlp-receiver"]
        with _running(command, port, ready_path="/-/ready") as running:
            until(lambda: httpx.get(f"{running.url}/-/ready", trust_env=False).status_code == 200)
            yield running


@contextmanager
def start_jaeger() -> Iterator[tuple[Receiver, str]]:
    """A Jaeger in memory, and the address to which OTLP over HTTP is sent."""
    query, otlp, *others = (free_port() for _ in range(10))
    options = ["collector.otlp.grpc.host-port", "collector.grpc-server.host-port", "collector.http-server.host-port"]
    options += ["query.grpc-server.host-port", "admin.http.host-port"]
    command = [str(find_receiver("jaeger")), f"--query.http-server.host-port=127.0.0.1:{query}"]
    command += [f"--collector.otlp.http.host-port=127.0.0.1:{otlp}", "--collector.otlp.enabled=true"]
    command += [f"--{name}=127.0.0.1:{port}" for name, port in zip(options, others, strict=False)]
    with _running(command, query) as running:
        yield running, f"http://127.0.0.1:{otlp}"


@contextmanager
def start_victorialogs() -> Iterator[Receiver]:
    """A VictoriaLogs that takes OTLP at /insert/opentelemetry/v1/logs."""
    with tempfile.TemporaryDirectory(prefix="victorialogs-") as directory:
        port = free_port()
        command = [str(find_receiver("victorialogs")), f"-storageDataPath={directory}"]
        with _running([*command, f"-httpListenAddr=127.0.0.1:{port}"], port, ready_path="/health") as running:
            yield running


_PROJECT = """
from bsmain.models import AuthToken
from projects.models import Project
from teams.models import Team
project = Project.objects.create(name="shop", team=Team.objects.create(name="shop"))
print(project.dsn, AuthToken.create_full_access().token)
"""


@contextmanager
def start_bugsink() -> Iterator[tuple[Receiver, str]]:
    """A Bugsink with one project, and its DSN."""
    programs = find_receiver("bugsink").resolve() / "bin"
    with tempfile.TemporaryDirectory(prefix="bugsink-") as directory:
        port = free_port()
        how: dict[str, Any] = {"cwd": directory, "check": True, "capture_output": True, "text": True}
        how["env"] = {"PATH": os.environ.get("PATH", os.defpath), "HOME": directory}
        make = [str(programs / "bugsink-create-conf"), "--template=local", "--host=127.0.0.1", f"--port={port}"]
        manage = str(programs / "bugsink-manage")
        subprocess.run(make, **how)
        subprocess.run([manage, "migrate", "-v0"], **how)
        made = subprocess.run([manage, "shell", "-v0", "-c", _PROJECT], **how)
        dsn, token = made.stdout.split()[-2:]
        command = [str(programs / "gunicorn"), "bugsink.wsgi", "--bind", f"127.0.0.1:{port}", "--no-control-socket"]
        env = {"PYTHONPATH": directory, "DJANGO_SETTINGS_MODULE": "bugsink_conf"}
        with Server(command, port, env=env, cwd=Path(directory)) as server:
            yield Receiver(url=server.url, headers={"Authorization": f"Bearer {token}"}), dsn
