"""config/prometheus: recording rules and alerts, judged by promtool and by a real Prometheus and Alertmanager."""

import re
import shutil
import subprocess
from pathlib import Path

import httpx
import pytest

from tests.support import ROOT
from tests.support.process import Server, free_port, run_python
from tests.support.receivers import find_receiver
from tests.support.waiting import until
from tests.viewer.alerts.receiver import AlertReceiver

pytestmark = pytest.mark.thorough

RULES = ROOT / "config" / "prometheus"


@pytest.mark.receivers("promtool")
def test_promtool_computes_what_was_computed_by_hand(tmp_path: Path) -> None:
    """Percentiles, throughput, failures and Apdex; each alert fires and ends."""
    for path in (*RULES.glob("*.yaml"), ROOT / "tests" / "receivers" / "prometheus_rules.yaml"):
        shutil.copy(path, tmp_path)
    command = [str(find_receiver("promtool")), "test", "rules", str(tmp_path / "prometheus_rules.yaml")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


SENDER = """
import time
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
reader = PeriodicExportingMetricReader(OTLPMetricExporter(), export_interval_millis=200)
provider = MeterProvider([reader])
meter = provider.get_meter("t")
bounds = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10]
durations = meter.create_histogram("http.server.request.duration", "s", explicit_bucket_boundaries_advisory=bounds)
errors = meter.create_counter("brain_otel.errors", "{error}")
for _ in range(25):
    for status in (200, 500):
        durations.record(0.3, {"http.request.method": "GET", "http.route": "/a", "http.response.status_code": status})
    errors.add(1, {"error.type": "shop.E", "handled": False, "http.route": "/a"})
    time.sleep(0.1)
provider.shutdown()
"""


@pytest.mark.receivers("prometheus", "alertmanager")
def test_an_alert_reaches_a_webhook_from_metrics_by_otlp(tmp_path: Path) -> None:
    """Over Prometheus and Alertmanager, without the minutes that the rules wait; figures are recorded."""
    for path in RULES.glob("*.yaml"):
        text = re.sub(r"^ +(for: \S+|interval: \S+)\n", "", path.read_text(), flags=re.MULTILINE)
        (tmp_path / path.name).write_text(text)
    port, manager_port = free_port(), free_port()
    (tmp_path / "prometheus.yml").write_text(
        "global: {evaluation_interval: 1s}\n"
        "otlp: {promote_resource_attributes: [service.name, service.version]}\n"
        "storage: {tsdb: {out_of_order_time_window: 10m}}\n"
        "rule_files: [recording.yaml, alerts.yaml]\n"
        f"alerting: {{alertmanagers: [{{static_configs: [{{targets: ['127.0.0.1:{manager_port}']}}]}}]}}\n"
    )
    with AlertReceiver(free_port()) as hook:
        (tmp_path / "alertmanager.yml").write_text(
            "route: {receiver: hook, group_by: ['...'], group_wait: 0s}\n"
            f"receivers: [{{name: hook, webhook_configs: [{{url: '{hook.url}/'}}]}}]\n"
        )
        prometheus = [str(find_receiver("prometheus")), f"--config.file={tmp_path}/prometheus.yml"]
        prometheus += [f"--storage.tsdb.path={tmp_path}/data", f"--web.listen-address=127.0.0.1:{port}"]
        manager = [str(find_receiver("alertmanager")), f"--config.file={tmp_path}/alertmanager.yml"]
        manager += [f"--storage.path={tmp_path}/am", f"--web.listen-address=127.0.0.1:{manager_port}"]
        with (
            Server([*manager, "--cluster.listen-address="], manager_port, ready_path="/-/ready"),
            Server([*prometheus, "--web.enable-otlp-receiver"], port, ready_path="/-/ready") as server,
        ):
            until(lambda: server.get("/-/ready").status_code == 200)
            endpoint = f"{server.url}/api/v1/otlp/v1/metrics"
            env = {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": endpoint, "OTEL_SERVICE_NAME": "shop"}
            done = run_python(SENDER, {**env, "OTEL_RESOURCE_ATTRIBUTES": "service.version=shop@1"})
            assert done.returncode == 0, done.stderr
            until(lambda: {"HighErrorRate", "NewErrorType"} <= _alerts(hook))
            ratio = _value(server.url, "route:http_request_failures:ratio5m")
            p95 = _value(server.url, "route:http_request_duration_seconds:p95_5m")
            apdex = _value(server.url, "route:http_request_apdex:ratio5m")
    assert ratio == pytest.approx(0.5, abs=0.05)
    assert 0.25 < p95 <= 0.5
    assert apdex == pytest.approx(0.5, abs=0.05)


def _alerts(hook: AlertReceiver) -> set[str]:
    return {alert["labels"]["alertname"] for each in hook.got for alert in each.body["alerts"]}


def _value(url: str, expression: str) -> float:
    chosen = f'{expression}{{service_name="shop",service_version="shop@1",http_route="/a"}}'
    found = httpx.get(f"{url}/api/v1/query", params={"query": chosen}, trust_env=False).json()
    return float(found["data"]["result"][0]["value"][1])
