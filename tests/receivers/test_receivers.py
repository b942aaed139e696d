"""What receivers that other projects have written show of a small fleet, by their own APIs."""

import json
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from tests.support.fleet import BACK_RELEASE, JOB_RELEASE, RELEASES, start_fleet
from tests.support.otlp import OtlpReceiver
from tests.support.process import Server, free_port
from tests.support.receivers import (
    Receiver,
    find_receiver,
    missing,
    start_bugsink,
    start_jaeger,
    start_prometheus,
    start_victorialogs,
)
from tests.support.waiting import PATIENCE, until

pytestmark = pytest.mark.thorough

RULES = """
groups:
  - name: errors
    interval: 1s
    rules:
      - alert: UnhandledErrors
        expr: sum by (service_name, error_type, http_route) (brain_otel_errors_total{handled="false"}) > 0
      - alert: NewError
        expr: brain_otel_errors_total unless brain_otel_errors_total offset 1d
"""

RULES_TEST = """
rule_files: [rules.yml]
evaluation_interval: 1m
tests:
  - interval: 1m
    input_series:
      - series: brain_otel_errors_total{service_name="shop", error_type="E", http_route="/a", handled="false"}
        values: '_ _ 1 1 1'
      - series: brain_otel_errors_total{service_name="shop", error_type="F", http_route="/a", handled="true"}
        values: '1 1 1 1 1'
    alert_rule_test:
      - {alertname: UnhandledErrors, eval_time: 1m, exp_alerts: []}
      - alertname: UnhandledErrors
        eval_time: 3m
        exp_alerts: [{exp_labels: {service_name: shop, error_type: E, http_route: /a}}]
"""

IDENTITIES = {*(("front", release) for release in RELEASES), ("back", BACK_RELEASE), ("job", JOB_RELEASE)}


@dataclass(frozen=True, kw_only=True)
class Receivers:
    """Those that are on this machine, after the fleet has sent everything to them."""

    running: dict[str, Receiver] = field(default_factory=dict)


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("rules") / "rules.yml"
    path.write_text(RULES)
    return path


@pytest.fixture(scope="module")
def receivers(rules: Path) -> Iterator[Receivers]:
    """Run the fleet once, with each destination at its receiver."""
    absent, made = missing(), Receivers()
    with ExitStack() as running:
        sink = running.enter_context(OtlpReceiver())
        env = {
            "SENTRY_ENVIRONMENT": "production",
            "SENTRY_TRACES_SAMPLE_RATE": "1",
            "OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint,
        }
        if "bugsink" not in absent:
            made.running["bugsink"], env["SENTRY_DSN"] = running.enter_context(start_bugsink())
        if "prometheus" not in absent:
            prometheus = made.running["prometheus"] = running.enter_context(start_prometheus(rules))
            env["OTEL_EXPORTER_OTLP_METRICS_ENDPOINT"] = f"{prometheus.url}/api/v1/otlp/v1/metrics"
        if "jaeger" not in absent:
            made.running["jaeger"], url = running.enter_context(start_jaeger())
            env["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"] = f"{url}/v1/traces"
        if "victorialogs" not in absent:
            logs = made.running["victorialogs"] = running.enter_context(start_victorialogs())
            env["OTEL_EXPORTER_OTLP_LOGS_ENDPOINT"] = f"{logs.url}/insert/opentelemetry/v1/logs"
        with start_fleet(env) as fleet:
            for server in (*fleet.front.values(), fleet.back):
                assert server.get("/boom/1").status_code == 500
                assert server.get("/boom/2").status_code == 500
                assert server.get("/captured/1").status_code == 200
                assert server.get("/unavailable/1").status_code == 503
            for number in range(10):
                fleet.front["2.0"].get(f"/slow/{number}")
            fleet.run_job()
            fleet.terminate()
        yield made


@pytest.mark.receivers("bugsink")
def test_bugsink_shows_one_issue_for_each_failure(receivers: Receivers) -> None:
    """With its title, its number of events, and each release."""
    bugsink = receivers.running["bugsink"]

    def issues() -> dict[str, int]:
        found = bugsink.get("/api/canonical/0/issues/", project=1).json()["results"]
        return {
            f"{each['calculated_type']}: {each['calculated_value']}": each["digested_event_count"] for each in found
        }

    expected = {"StockError: unhandled": 8, "ValueError: captured": 4, "HTTPException: unavailable": 4}
    until(lambda: sum(issues().values()) >= 17, what=str(issues()))
    found = issues()
    assert {title: found.get(title) for title in expected} == expected
    assert len(found) == 4
    versions = {each["version"] for each in bugsink.get("/api/canonical/0/releases/", project=1).json()["results"]}
    assert versions - {""} == {release for _, release in IDENTITIES}
    (issue,) = [
        each["id"]
        for each in bugsink.get("/api/canonical/0/issues/", project=1).json()["results"]
        if each["calculated_type"] == "StockError"
    ]
    events = bugsink.get("/api/canonical/0/events/", issue=issue).json()["results"]
    details = [bugsink.get(f"/api/canonical/0/events/{each['id']}/").json()["data"] for each in events]
    counted = Counter((each["contexts"]["otel"]["resource"]["service.name"], each["release"]) for each in details)
    assert counted == {identity: 2 for identity in IDENTITIES if identity[0] != "job"}
    assert {each["environment"] for each in details} == {"production"}


def query(prometheus: Receiver, expression: str) -> list[Any]:
    found = prometheus.get("/api/v1/query", query=expression).json()
    result: list[Any] = found["data"]["result"]
    return result


@pytest.mark.receivers("prometheus")
def test_prometheus_shows_the_errors_of_each_service_and_release(receivers: Receivers) -> None:
    """By type, route and whether they were handled."""
    prometheus = receivers.running["prometheus"]
    until(lambda: len(query(prometheus, "brain_otel_errors_total")) >= 13)
    names = ("service_name", "service_version", "error_type", "handled", "http_route")
    found = {
        tuple(map(each["metric"].get, names)): int(float(each["value"][1]))
        for each in query(prometheus, "brain_otel_errors_total")
    }
    expected: dict[Any, int] = {("job", JOB_RELEASE, "KeyError", "true", None): 1}
    for service, release in IDENTITIES - {("job", JOB_RELEASE)}:
        expected |= {
            (service, release, "tests.apps.fleet.StockError", "false", "/boom/{number}"): 2,
            (service, release, "ValueError", "true", "/captured/{number}"): 1,
            (service, release, "fastapi.exceptions.HTTPException", "true", "/unavailable/{number}"): 1,
        }
    assert found == expected


@pytest.mark.receivers("prometheus")
def test_prometheus_shows_percentiles_by_route(receivers: Receivers) -> None:
    """Of the stable conventions' durations."""
    prometheus = receivers.running["prometheus"]
    histogram = "sum by (le, http_route) (http_server_request_duration_seconds_bucket{service_name='front'})"
    expression = f"histogram_quantile(0.95, {histogram})"
    until(lambda: any(each["metric"].get("http_route") == "/slow/{number}" for each in query(prometheus, expression)))
    found = {each["metric"].get("http_route"): float(each["value"][1]) for each in query(prometheus, expression)}
    assert 0.1 < found["/slow/{number}"] < 5
    failed = "sum by (http_route) (http_server_request_duration_seconds_count{http_response_status_code=~'5..'})"
    assert {each["metric"]["http_route"] for each in query(prometheus, failed)} == {
        "/boom/{number}",
        "/unavailable/{number}",
    }


@pytest.mark.receivers("prometheus")
def test_prometheus_alerts_on_unhandled_errors(receivers: Receivers) -> None:
    prometheus = receivers.running["prometheus"]

    def firing() -> set[tuple[str, str]]:
        alerts = prometheus.get("/api/v1/alerts").json()["data"]["alerts"]
        return {
            (each["labels"]["service_name"], each["labels"]["http_route"])
            for each in alerts
            if each["labels"]["alertname"] == "UnhandledErrors" and each["state"] == "firing"
        }

    until(lambda: firing() == {("front", "/boom/{number}"), ("back", "/boom/{number}")}, what=str(firing()))


@pytest.mark.receivers("jaeger")
def test_jaeger_shows_a_trace_over_three_services(receivers: Receivers) -> None:
    """With the release of each, and the failed requests as errors."""
    jaeger = receivers.running["jaeger"]
    until(lambda: {"front", "back", "job"} <= set(jaeger.get("/api/services").json()["data"]))
    (trace,) = jaeger.get("/api/traces", service="job").json()["data"]
    processes = {
        (each["serviceName"], tag["value"])
        for each in trace["processes"].values()
        for tag in each["tags"]
        if tag["key"] == "service.version"
    }
    assert processes == {("job", JOB_RELEASE), ("front", "1.0"), ("back", BACK_RELEASE)}
    failed = jaeger.get("/api/traces", service="front", tags=json.dumps({"error": "true"}), limit=100).json()["data"]
    names = Counter(span["operationName"] for each in failed for span in each["spans"])
    assert names == {"GET /boom/{number}": 6, "GET /unavailable/{number}": 3}


@pytest.mark.receivers("victorialogs")
def test_victorialogs_shows_each_error_with_its_service_and_release(receivers: Receivers) -> None:
    logs = receivers.running["victorialogs"]

    def records(text: str) -> list[Any]:
        lines = logs.get("/select/logsql/query", query=text, limit=1000).text.splitlines()
        return [json.loads(line) for line in lines]

    until(lambda: len(records('"exception.type":*')) >= 17)
    found = records('"exception.type":*')
    counted = Counter((each["service.name"], each["service.version"]) for each in found)
    assert counted == {**dict.fromkeys(IDENTITIES, 4), ("job", JOB_RELEASE): 1}
    (job,) = [each for each in found if each["service.name"] == "job"]
    (line,) = records('"stock of 7"')
    assert line["trace_id"] == job["trace_id"]
    assert all(each["brain_otel.event_id"] for each in found)


@pytest.mark.receivers("promtool")
def test_promtool_accepts_the_rules_of_the_page(rules: Path) -> None:
    """And an unhandled error fires."""
    test = rules.with_name("test.yml")
    test.write_text(RULES_TEST)
    for arguments in (["check", "rules", str(rules)], ["test", "rules", str(test)]):
        done = subprocess.run(
            [str(find_receiver("promtool")), *arguments], capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stdout + done.stderr


class _Webhook(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append(json.loads(body))  # type: ignore[attr-defined]
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's
        """Log nothing."""


@pytest.mark.receivers("alertmanager")
def test_alertmanager_passes_the_alert_on(tmp_path: Path) -> None:
    """With the labels of the counter."""
    with HTTPServer(("127.0.0.1", 0), _Webhook) as webhook:
        received: list[Any] = []
        webhook.received = received  # type: ignore[attr-defined]
        Thread(target=webhook.serve_forever, daemon=True).start()
        config = tmp_path / "alertmanager.yml"
        address = f"http://127.0.0.1:{webhook.server_port}/"
        config.write_text(
            "route: {receiver: hook, group_by: ['...'], group_wait: 0s}\n"
            f"receivers: [{{name: hook, webhook_configs: [{{url: '{address}'}}]}}]\n"
        )
        port = free_port()
        command = [str(find_receiver("alertmanager")), f"--config.file={config}", f"--storage.path={tmp_path}/data"]
        command += [f"--web.listen-address=127.0.0.1:{port}", "--cluster.listen-address="]
        labels = {"alertname": "UnhandledErrors", "error_type": "shop.E", "http_route": "/a"}
        with Server(command, port, ready_path="/-/ready") as server:
            server.request("POST", "/api/v2/alerts", json=[{"labels": labels}]).raise_for_status()
            until(lambda: received, PATIENCE)
        webhook.shutdown()
    assert received[0]["alerts"][0]["labels"] == labels
