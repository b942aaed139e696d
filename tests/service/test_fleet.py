"""Several services and releases send to the same place: they are told apart, or joined, at every destination."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.support.fleet import BACK_RELEASE, JOB_RELEASE, RELEASES, start_fleet
from tests.support.ingest import Json, SentryIngest
from tests.support.otlp import OtlpReceiver
from tests.support.otlp_data import LogRecord, Metric, Span, log_records_of, read_lines, spans_of

pytestmark = pytest.mark.thorough

FILE = """
file_format: "1.1"
resource: {attributes: [{name: service.name, value: "${OTEL_SERVICE_NAME}"}]}
tracer_provider:
  processors: [{sentry: {}}, {otlp: &otlp {endpoint: "${OTLP}"}}, {file: {path: "${FOLDER}/traces.jsonl"}}]
logger_provider: {processors: [{otlp: *otlp}, {file: {path: "${FOLDER}/logs.jsonl"}}]}
meter_provider: {readers: [{periodic: {interval: 3600000, exporter: {otlp: *otlp}}}]}
propagator: {composite: [tracecontext:, baggage:, sentry:]}
distribution: {brain_otel: {sentry: {dsn: "${SENTRY_DSN}", release: "${SENTRY_RELEASE}"}}}
"""

BY_OTLP = """
file_format: "1.1"
resource: {attributes: [{name: service.name, value: "${OTEL_SERVICE_NAME}"}]}
tracer_provider: {processors: [{sentry_otlp: {}}, {console: {}}]}
propagator: {composite: [tracecontext:, baggage:, sentry:]}
distribution: {brain_otel: {sentry: {dsn: "${SENTRY_DSN}", release: "${SENTRY_RELEASE}"}}}
"""

IDENTITIES = {*(("front", release) for release in RELEASES), ("back", BACK_RELEASE), ("job", JOB_RELEASE)}


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What arrived at each destination."""

    events: list[Json]
    transactions: list[Json]
    spans: list[Span]
    log_records: list[LogRecord]
    metrics: list[Metric]
    written_spans: list[Span]
    written_records: list[LogRecord]


@pytest.fixture(scope="module")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "own.yaml").write_text(FILE)
    with SentryIngest() as ingest, OtlpReceiver() as receiver:
        env = {
            "OTEL_CONFIG_FILE": str(folder / "own.yaml"),
            "SENTRY_DSN": ingest.dsn,
            "OTLP": receiver.endpoint,
            "FOLDER": str(folder),
        }
        with start_fleet(env) as fleet:
            for server in (*fleet.front.values(), fleet.back):
                assert server.get("/boom/1").status_code == 500
            fleet.run_job()
            fleet.terminate()
        yield Seen(
            events=ingest.events,
            transactions=ingest.transactions,
            spans=receiver.spans,
            log_records=receiver.log_records,
            metrics=receiver.metrics,
            written_spans=[each for lines in read_lines(folder / "traces.jsonl") for each in spans_of(lines)],
            written_records=[each for lines in read_lines(folder / "logs.jsonl") for each in log_records_of(lines)],
        )


def identity(resource: Any) -> tuple[str, str]:
    return resource["service.name"], resource["service.version"]


def of_event(event: Json) -> tuple[str, str]:
    found = identity(event["contexts"]["otel"]["resource"])
    assert event["release"] == found[1]
    return found


def test_each_error_names_its_service_and_release(seen: Seen) -> None:
    """In Sentry, and in the log records of the others."""
    expected = Counter(IDENTITIES)
    assert Counter(map(of_event, seen.events)) == expected
    records = [each for each in seen.log_records if "exception.type" in each.attributes]
    assert Counter(identity(each.resource) for each in records) == expected
    written = [each for each in seen.written_records if "exception.type" in each.attributes]
    assert Counter(identity(each.resource) for each in written) == expected


def test_an_error_has_the_resource_of_its_transaction(seen: Seen) -> None:
    """Of the same process."""
    resources = {json.dumps(each["contexts"]["otel"], sort_keys=True) for each in seen.transactions}
    assert {json.dumps(each["contexts"]["otel"], sort_keys=True) for each in seen.events} == resources


def test_each_trace_names_its_services_and_releases(seen: Seen) -> None:
    assert set(map(of_event, seen.transactions)) == IDENTITIES
    assert {identity(each.resource) for each in seen.spans} == IDENTITIES
    assert {identity(each.resource) for each in seen.written_spans} == IDENTITIES


def test_each_counter_names_its_service_and_release(seen: Seen) -> None:
    counters = [each for each in seen.metrics if each.name == "brain_otel.errors"]
    assert {identity(each.resource) for each in counters} == IDENTITIES


def test_a_job_and_the_requests_that_it_causes_share_a_trace(seen: Seen) -> None:
    """Each is a transaction of its own service, below the one that called it."""
    (job,) = [each for each in seen.transactions if each["transaction"] == "nightly"]
    trace_id = job["contexts"]["trace"]["trace_id"]
    found = [each for each in seen.transactions if each["contexts"]["trace"]["trace_id"] == trace_id]
    assert {(of_event(each), each["transaction"]) for each in found} == {
        (("job", JOB_RELEASE), "nightly"),
        (("front", "1.0"), "GET /orders/{number}"),
        (("back", BACK_RELEASE), "GET /stock/{number}"),
    }
    for spans in (seen.spans, seen.written_spans):
        joined = [each for each in spans if each.trace_id == trace_id]
        assert {identity(each.resource)[0] for each in joined} == {"job", "front", "back"}
        ids = {each.span_id for each in joined}
        assert [each.name for each in joined if each.parent_span_id not in ids] == ["nightly"]
    (error,) = [each for each in seen.events if of_event(each)[0] == "job"]
    assert error["contexts"]["trace"]["trace_id"] == trace_id
    (line,) = [each for each in seen.log_records if each.body == "stock of 7"]
    assert line.trace_id == trace_id


def test_by_otlp_and_on_the_console_they_are_told_apart_too(tmp_path: Path) -> None:
    """Sentry's OTLP endpoint gets each span with its resource; a process prints its own traces alone."""
    (tmp_path / "own.yaml").write_text(BY_OTLP)
    with SentryIngest() as ingest:
        with start_fleet({"OTEL_CONFIG_FILE": str(tmp_path / "own.yaml"), "SENTRY_DSN": ingest.dsn}) as fleet:
            for server in (*fleet.front.values(), fleet.back):
                assert server.get("/boom/1").status_code == 500
            fleet.run_job()
            fleet.terminate()
            printed = {name: server.output for name, server in {**fleet.front, "back": fleet.back}.items()}
        spans, events = ingest.spans, ingest.events
    assert Counter(map(of_event, events)) == Counter(IDENTITIES)
    assert {identity(each.resource) for each in spans} == IDENTITIES
    (job,) = [each for each in spans if each.name == "nightly"]
    assert {identity(each.resource)[0] for each in spans if each.trace_id == job.trace_id} == {"job", "front", "back"}
    for name, output in printed.items():
        assert "GET /boom/{number}" in output
        assert ("GET /orders/{number}" in output) == (name == "1.0")
        assert ("GET /stock/{number}" in output) == (name == "back")
