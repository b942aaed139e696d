"""Clients of others send to the viewer: Sentry's and OpenTelemetry's SDKs for JavaScript, and a collector."""

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.collector import Collector
from tests.support.receivers import find_receiver
from tests.support.viewer import RunningViewer, new_id, otlp_span, otlp_traces
from tests.support.waiting import until

pytestmark = pytest.mark.thorough

SCRIPTS = ROOT / "tests" / "receivers" / "javascript"
TITLE = "TypeError: Cannot read properties of null (reading 'work')"


@pytest.fixture(scope="module")
def viewer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningViewer]:
    with RunningViewer(tmp_path_factory.mktemp("viewer")) as running:
        yield running


def run_script(name: str, folder: Path, **env: str) -> None:
    """Run a script beside the packages; Node looks for them from the script's own place."""
    shutil.copy(SCRIPTS / f"{name}.mjs", folder)
    (folder / "node_modules").symlink_to(find_receiver("javascript") / "node_modules")
    command = ["node", f"{name}.mjs"]
    given = {"PATH": os.environ["PATH"], **env}
    done = subprocess.run(command, cwd=folder, env=given, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def shown(viewer: RunningViewer, route: str, service: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The root and the trace, once its error and its log line are there."""
    until(lambda: viewer.json("/traces", route=route, service=service)["roots"], what="the root")
    (root,) = viewer.json("/traces", route=route, service=service)["roots"]
    path = f"/traces/{root['trace']}"
    until(lambda: viewer.json(path)["errors"] and viewer.json(path)["logs"], what="the error and the line")
    return root, viewer.json(path)


@pytest.mark.receivers("javascript")
@pytest.mark.parametrize("lifecycle", ["stream", "static"])
@pytest.mark.parametrize("way", ["dsn", "spotlight"])
def test_sentrys_sdk_for_javascript_is_shown(viewer: RunningViewer, tmp_path: Path, way: str, lifecycle: str) -> None:
    """With its spans, which it sends one by one by default; its user, source and log line."""
    to = {"DSN": f"http://key@127.0.0.1:{viewer.port}/1"} if way == "dsn" else {"SPOTLIGHT": f"{viewer.url}/stream"}
    name = f"{way} {lifecycle}"
    run_script("sentry", tmp_path, NAME=name, LIFECYCLE=lifecycle, **to)
    root, trace = shown(viewer, f"task {name}", "node")
    assert (root["release"], root["environment"], root["user"]) == ("web@3", "abroad", "ada")
    spans = [(each["depth"], each["name"], each["kind"]) for each in trace["spans"] if each["kind"] != "http"]
    assert spans == [(0, f"task {name}", ""), (1, "SELECT 1", "db")]
    assert [(each["level"], each["message"], each["service"]) for each in trace["logs"]] == [
        ("warn", "a line", "node")
    ]
    (error,) = trace["errors"]
    assert error["title"] == TITLE
    details = viewer.json(f"/issues/{error['issue']}", event=error["event_id"])["event"]["details"]
    source = details["exceptions"][0]["frames"][0]["source"]
    assert [each["text"] for each in source if each["is_current"]] == ["    null.work();"]


@pytest.mark.receivers("javascript")
@pytest.mark.parametrize("encoding", ["http", "proto"])
def test_opentelemetrys_sdk_for_javascript_is_shown(viewer: RunningViewer, tmp_path: Path, encoding: str) -> None:
    """By JSON and by protobuf; the frames of its stack trace are read."""
    run_script("opentelemetry", tmp_path, NAME=encoding, ENCODING=encoding, OTEL_EXPORTER_OTLP_ENDPOINT=viewer.url)
    root, trace = shown(viewer, "GET /js", f"js {encoding}")
    assert (root["release"], root["environment"], root["user"], root["failed"]) == ("web@3", "abroad", "ada", 1)
    assert [(each["depth"], each["kind"]) for each in trace["spans"]] == [(0, ""), (1, "db")]
    assert [each["message"] for each in trace["logs"]] == ["a line"]
    (error,) = trace["errors"]
    assert error["title"] == TITLE
    details = viewer.json(f"/issues/{error['issue']}", event=error["event_id"])["event"]["details"]
    frames = details["exceptions"][0]["frames"]
    assert frames[0]["file"].endswith("opentelemetry.mjs")
    of_others = [each["file"].startswith("node:") or "node_modules" in each["file"] for each in frames]
    assert any(of_others)
    assert [each["in_app"] for each in frames] == [not each for each in of_others]


COLLECTOR = """
receivers:
  otlp:
    protocols: {{grpc: {{endpoint: "${{env:COLLECTOR_GRPC}}"}}, http: {{endpoint: "${{env:COLLECTOR_HTTP}}"}}}}
processors: {{batch: {{timeout: 100ms}}}}
exporters: {{otlp_http: {{endpoint: "{url}", encoding: {encoding}, compression: {compression}}}}}
service:
  pipelines:
    traces: {{receivers: [otlp], processors: [batch], exporters: [otlp_http]}}
    logs: {{receivers: [otlp], processors: [batch], exporters: [otlp_http]}}
    metrics: {{receivers: [otlp], processors: [batch], exporters: [otlp_http]}}
"""


@pytest.mark.receivers("collector")
@pytest.mark.parametrize(("encoding", "compression"), [("proto", "gzip"), ("json", "none")])
def test_a_collectors_exporter_is_shown(
    viewer: RunningViewer, tmp_path: Path, encoding: str, compression: str
) -> None:
    """Its batches of spans, log records and metrics; nothing is sent again."""
    config = tmp_path / "collector.yaml"
    config.write_text(COLLECTOR.format(url=viewer.url, encoding=encoding, compression=compression))
    trace, service = new_id(), f"collected {encoding}"
    start = time.time()
    spans = [
        otlp_span(
            "GET /c", trace=trace, span=f"{number:016x}", kind=2 if number == 1 else 3, start=start, seconds=0.1
        )
        for number in range(1, 51)
    ]
    line = {"timeUnixNano": str(int(start * 1e9)), "body": {"stringValue": "a line"}, "traceId": trace}
    with Collector(config) as collector:
        body = otlp_traces(spans, service__name=service)
        collector.request("POST", "/v1/traces", json=body).raise_for_status()
        resource = body["resourceSpans"][0]["resource"]
        logs = {"resourceLogs": [{"resource": resource, "scopeLogs": [{"logRecords": [line]}]}]}
        collector.request("POST", "/v1/logs", json=logs).raise_for_status()
        until(lambda: viewer.json("/traces", service=service)["roots"], what="the root")
        until(lambda: viewer.json("/logs", trace=trace)["lines"], what="the line")
        assert len(viewer.json(f"/traces/{trace}")["spans"]) == 50
        assert "rror" not in collector.output
