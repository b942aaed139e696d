"""The doctor sends a test item to each destination, and says why one did not arrive."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from brain_otel.configuration.options import Options
from brain_otel.doctor.checks.destinations import check_destinations, unused_files_removed
from brain_otel.doctor.effective_configuration import Target, read_effective_configuration
from tests.doctor.command import KEY, PLANTED, TOKEN, Findings, diagnosed, doctor
from tests.doctor.conftest import dsn_of, write_file
from tests.support.otlp import OtlpReceiver, refusing

if TYPE_CHECKING:
    from tests.support.ingest import SentryIngest

OTLP = "otlp: {endpoint: '${OTEL_EXPORTER_OTLP_ENDPOINT}', headers: '${OTEL_EXPORTER_OTLP_HEADERS}'}"


def probed(env: dict[str, str], file: str | Path | None = None, *, timeout: float = 5.0) -> Findings:
    """Check the destinations alone, in this process."""
    effective = read_effective_configuration({**PLANTED, **env}, config_file=file)
    return Findings(check_destinations(effective, timeout=timeout, offline=False))


def test_each_destination_gets_a_test_item(
    healthy: dict[str, str], ingest: SentryIngest, receiver: OtlpReceiver
) -> None:
    """An event, a span, a log record and a metric arrive, with the configured headers."""
    findings = probed(healthy)
    assert [each.level for each in findings] == ["ok"] * 4
    assert [event["message"] for event in ingest.events] == ["brain_otel doctor: a test event"]
    assert len(receiver.spans) == len(receiver.log_records) == len(receiver.metrics) == 1
    assert {request.headers["api-key"] for request in receiver.requests} == {TOKEN}


def test_what_a_receiver_does_not_accept_is_said(
    healthy: dict[str, str], ingest: SentryIngest, receiver: OtlpReceiver
) -> None:
    """A category that Sentry refuses is a warning, as a collector's; rejected items are a fault."""
    ingest.respond = lambda: (200, {"X-Sentry-Rate-Limits": "86400:transaction"})
    receiver.answer = b"\x0a\x0b\x12\x09old names"
    findings = probed(healthy)
    assert [each.level for each in findings] == ["warning"] * 4
    assert "Sentry accepts no transaction for 86400 s" in findings[0].title
    assert "with a warning (old names)" in findings[1].title
    receiver.answer = b"\x0a\x0d\x08\x01\x12\x09old names"
    assert [each.level for each in probed(healthy)] == ["warning", *["fault"] * 3]


def test_offline_and_disabled_set_ups_send_nothing(
    healthy: dict[str, str], ingest: SentryIngest, receiver: OtlpReceiver
) -> None:
    """Each destination is a note."""
    offline = diagnosed(healthy, offline=True)
    disabled = diagnosed({**healthy, "OTEL_SDK_DISABLED": "true"})
    for findings, why in ((offline, "--offline"), (disabled, "telemetry is disabled")):
        notes = findings.of("note")
        assert [each.title.partition(": ")[2] for each in notes] == [f"not tried ({why})"] * 4
        assert findings.of("fault") == []
    assert (ingest.envelopes, receiver.requests) == ([], [])


@pytest.mark.parametrize("signal", ["traces", "logs", "metrics"])
def test_opentelemetrys_own_exporters_are_probed(signal: str, tmp_path: Path, receiver: OtlpReceiver) -> None:
    """A good endpoint is ok, a bad one is a fault."""
    exporter = "{otlp_http: {endpoint: '%s/v1/" + signal + "'}}"
    places = {
        "traces": "tracer_provider: {processors: [{batch: {exporter: %s}}]}",
        "logs": "logger_provider: {processors: [{simple: {exporter: %s}}]}",
        "metrics": "meter_provider: {readers: [{periodic: {exporter: %s}}]}",
    }
    file = tmp_path / "plain.yaml"
    file.write_text('file_format: "1.1"\n' + places[signal] % (exporter % receiver.endpoint))
    assert probed({}, file).of("fault", "note") == []
    assert len(receiver.requests) == 1
    with refusing() as nobody:
        file.write_text('file_format: "1.1"\n' + places[signal] % (exporter % nobody))
        probed({}, file, timeout=2.0).fault("refused")


def test_the_test_event_goes_through_sentrys_proxy(tmp_path: Path, ingest: SentryIngest) -> None:
    """The test's Sentry server answers 404 to what a proxy would forward."""
    file = write_file(tmp_path, f"sentry: {{http_proxy: 'http://127.0.0.1:{ingest.port}'}}")
    probed({"SENTRY_DSN": f"http://{KEY}@sentry.example/42"}, file).fault("HTTP 404")


def test_spotlight_alone_gets_no_test_event(tmp_path: Path) -> None:
    """Spotlight is a viewer on the developer's machine."""
    file = Path(write_file(tmp_path, "sentry: {}"))
    file.write_text(file.read_text().replace('"${SENTRY_DSN}"', '"", spotlight: true'))
    (finding,) = probed({}, file)
    assert (finding.level, finding.title) == ("ok", "sentry, traces: nothing to try")


def test_a_set_up_without_any_address_is_a_warning() -> None:
    """Production without DSN and endpoint sends nothing anywhere."""
    probed({"SENTRY_ENVIRONMENT": "production"}).warning("goes nowhere")


def test_a_pull_reader_counts_as_an_address(tmp_path: Path) -> None:
    """Prometheus fetches the metrics, so telemetry goes somewhere."""
    file = tmp_path / "telemetry.yaml"
    file.write_text(
        'file_format: "1.1"\nmeter_provider: {readers: [{pull: {exporter: {prometheus/development: {}}}}]}\n'
    )
    assert probed({}, file) == ()


def test_an_unreachable_sentry_is_a_fault(tmp_path: Path) -> None:
    """The finding shows the address without the key."""
    with refusing() as endpoint:
        port = int(endpoint.rpartition(":")[2])
        file = write_file(tmp_path, "sentry: {}")
        fault = doctor("--config-file", file, "--timeout", "3", env={"SENTRY_DSN": dsn_of(port)}).fault(
            "not delivered"
        )
    assert f"127.0.0.1:{port}" in fault.detail
    assert "SENTRY_DSN" in fault.remedy


@pytest.mark.parametrize(("status", "remedy"), [(403, "rejects the key"), (500, "look into its log")])
def test_an_error_response_of_sentry_is_a_fault(
    tmp_path: Path, ingest: SentryIngest, status: int, remedy: str
) -> None:
    """The finding shows the status, the remedy fits it."""
    ingest.respond = lambda: (status, {})
    findings = probed({"SENTRY_DSN": dsn_of(ingest.port)}, write_file(tmp_path, "sentry: {}"))
    assert remedy in findings.fault(f"HTTP {status}").remedy


def test_a_sentry_that_does_not_answer_is_a_fault_in_bounded_time(tmp_path: Path, ingest: SentryIngest) -> None:
    """The doctor waits for little more than --timeout."""
    ingest.delay = 60.0
    findings = timed("--config-file", write_file(tmp_path, "sentry: {}"), env={"SENTRY_DSN": dsn_of(ingest.port)})
    assert "--timeout" in findings.fault("no answer within 1 s").remedy


def test_an_unreachable_collector_is_a_fault(tmp_path: Path) -> None:
    """The finding shows the operating system's reason and the address."""
    with refusing() as endpoint:
        file = write_file(tmp_path, OTLP)
        env = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        fault = doctor("--config-file", file, "--timeout", "2", env=env).fault("Connection refused")
    assert f"{endpoint}/v1/traces" in fault.detail


def test_a_collector_that_rejects_the_key_is_a_fault(tmp_path: Path, receiver: OtlpReceiver) -> None:
    """The remedy is about the key, not about the address."""
    receiver.status = 401
    findings = probed({"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}, write_file(tmp_path, OTLP))
    assert "OTEL_EXPORTER_OTLP_HEADERS" in findings.fault("401").remedy


def test_a_collector_that_does_not_answer_is_a_fault_in_bounded_time(tmp_path: Path, receiver: OtlpReceiver) -> None:
    """As for Sentry."""
    receiver.hanging = True
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
    timed("--config-file", write_file(tmp_path, OTLP), env=env).fault("not delivered")


def timed(*arguments: str, **how: Any) -> Findings:
    """Run the doctor with a timeout of one second, where a server does not answer for a minute."""
    started = time.monotonic()
    findings = doctor(*arguments, "--timeout", "1", **how)
    assert time.monotonic() - started < 20  # a busy machine needs most of it to start two processes
    return findings


def test_a_file_that_cannot_be_written_is_a_fault(tmp_path: Path) -> None:
    """A regular file stands where a folder is needed; setup() rejects it too."""
    (tmp_path / "taken").write_text("")
    faults = diagnosed(config_file=write_file(tmp_path, f"file: {{path: {tmp_path}/taken/traces.jsonl}}")).of("fault")
    assert [each.check for each in faults] == ["configuration", "destinations"]
    assert "file.path is" in faults[0].detail
    assert "/taken/traces.jsonl cannot be written (" in faults[1].title
    assert all(each.remedy for each in faults)


def test_a_failing_destination_does_not_stop_the_other_probes(
    healthy: dict[str, str], receiver: OtlpReceiver
) -> None:
    """Sentry is unreachable, the collector gets everything."""
    with refusing() as endpoint:
        findings = probed({**healthy, "SENTRY_DSN": dsn_of(int(endpoint.rpartition(":")[2]))}, timeout=2.0)
    findings.fault("sentry")
    assert len(findings.of("ok")) == 3
    assert len(receiver.spans) == 1


def test_no_file_or_folder_remains(tmp_path: Path) -> None:
    """The doctor removes what a file destination creates, and temporary files."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    file = write_file(tmp_path, f"file: {{path: {tmp_path}/new/deep/traces.jsonl}}")
    before = sorted(tmp_path.rglob("*"))
    assert doctor("--config-file", file, env={"TMPDIR": str(temporary)}).problems == []
    assert sorted(tmp_path.rglob("*")) == before


def test_existing_files_stay_as_they_are(tmp_path: Path) -> None:
    """A file with traces, and an empty lock beside it."""
    path, lock = tmp_path / "kept.jsonl", tmp_path / "kept.jsonl.lock"
    path.write_text("{}\n")
    lock.write_text("")
    assert diagnosed(config_file=write_file(tmp_path, f"file: {{path: {path}}}")).problems == []
    assert (path.read_text(), lock.read_text()) == ("{}\n", "")


def test_a_new_file_that_a_service_has_written_to_is_kept(tmp_path: Path) -> None:
    """A service may begin to use the file while the doctor probes it."""
    path = tmp_path / "new" / "traces.jsonl"
    target = Target(options=Options({"path": str(path)}, name="file"), address="")
    with unused_files_removed(target):
        path.parent.mkdir()
        path.write_text("{}\n")
        (path.parent / "traces.jsonl.lock").write_text("")
    assert [each.name for each in path.parent.iterdir()] == ["traces.jsonl"]
