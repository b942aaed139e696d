"""Every private name of another package that `brain_otel/destinations` uses, and what happens without it.

Not in the table: the packages `opentelemetry._logs` and `opentelemetry.sdk._logs`. They are the documented API for
logs, and every library that logs through OpenTelemetry imports them.
"""

from pathlib import Path

import pytest

from tests.privacy.test_private_names import PRIVATE_NAMES as PRIVACY
from tests.support import ROOT
from tests.support.private_names import PrivateName, run_renamed, used_private_names
from tests.support.process import run_python
from tests.support.secretive import run_secretive
from tests.support.tiers import quick_one_in

OURS, THEIRS, CONSOLE = "otlp", "otlp_http of OpenTelemetry", "console of OpenTelemetry"
TESTS = "tests/destinations/test_otel_components.py"


def _factory(name: str, test: str) -> PrivateName:
    return PrivateName(
        name=f"opentelemetry.configuration.{name}",
        used_in=("brain_otel/destinations/otel_components.py",),
        purpose="creates one exporter; the public function creates whole providers and makes them global",
        pinned_by=f"{TESTS}::{test}",
    )


def _preference(name: str) -> PrivateName:
    return PrivateName(
        name=f"opentelemetry.sdk.metrics._internal.export.MetricExporter.{name}",
        used_in=("brain_otel/destinations/isolation.py",),
        purpose="passes on what an exporter prefers; the constructor takes it, and nothing public gives it back",
        pinned_by=f"{TESTS}::test_a_reader_asks_an_exporter_for_its_preferences",
    )


SPAN_FACTORY = "test_an_exporter_can_be_created_without_its_processor"
METRIC_FACTORY = "test_a_metric_exporter_can_be_created_without_its_reader"

WITHOUT: dict[PrivateName, set[tuple[str, str]]] = {
    _factory("_tracer_provider", SPAN_FACTORY): {(THEIRS, "traces"), (CONSOLE, "traces")},
    _factory("_tracer_provider._create_span_exporter", SPAN_FACTORY): {(THEIRS, "traces"), (CONSOLE, "traces")},
    _factory("_logger_provider", SPAN_FACTORY): {(THEIRS, "logs")},
    _factory("_logger_provider._create_log_record_exporter", SPAN_FACTORY): {(THEIRS, "logs")},
    _factory("_meter_provider", METRIC_FACTORY): {(THEIRS, "metrics")},
    _factory("_meter_provider._create_push_metric_exporter", METRIC_FACTORY): {(THEIRS, "metrics")},
    PrivateName(
        name="opentelemetry.sdk.trace.export.BatchSpanProcessor._batch_processor",
        used_in=("brain_otel/destinations/batching.py",),
        purpose="shuts down within a time bound, which the public method does not take",
        pinned_by=f"{TESTS}::test_a_batch_processor_has_a_shutdown_with_a_time_bound",
    ): set(),
    _preference("_preferred_temporality"): set(),
    _preference("_preferred_aggregation"): set(),
    PrivateName(
        name="opentelemetry.exporter.otlp.proto.http._log_exporter",
        used_in=("brain_otel/destinations/otlp/destination.py",),
        purpose="sends log records; upstream has no other module for it yet",
        pinned_by="tests/destinations/otlp/test_destination.py::test_a_service_sends_traces_logs_and_metrics",
    ): {(OURS, "logs")},
    PrivateName(
        name="opentelemetry.exporter.otlp.json.common._log_encoder",
        used_in=("brain_otel/destinations/file/destination.py",),
        purpose="encodes log records; upstream has no other module for it yet",
        pinned_by="tests/destinations/file/test_destination.py::test_a_service_writes_traces_logs_and_metrics",
    ): {("file", "logs")},
}
"""Name -> the destinations and signals that need it. They are off or fail without it, and one log line says so."""

LOADER = (
    _factory("file._loader", SPAN_FACTORY),
    _factory("file._loader._dict_to_model", SPAN_FACTORY),
)
"""Turn an exporter's options into the object that the functions above take. `sdk/setup.py` needs both as well."""

ANSWERS = tuple(
    PrivateName(
        name=f"opentelemetry.exporter.otlp.proto.grpc.exporter.OTLPExporterMixin.{name}",
        used_in=("brain_otel/destinations/otlp/grpc_answers.py",),
        purpose="reads what a collector has rejected; the exporter ignores the answer",
        pinned_by="tests/destinations/otlp/test_grpc_answers.py::test_rejected_spans_are_seen_after_a_reconnection",
    )
    for name in ("_stub", "_client")
) + tuple(
    PrivateName(
        name=f"opentelemetry.exporter.{name}",
        used_in=("brain_otel/destinations/otel_components.py",),
        purpose="reads what a collector answers to OpenTelemetry's own exporter, which takes redirects for success",
        pinned_by=f"{TESTS}::test_success_is_what_was_accepted",
    )
    for name in (
        "otlp.proto.http.trace_exporter.OTLPSpanExporter._client",
        "otlp.common.http._OTLPHTTPClient._transport",
        "http.transport._requests.RequestsHTTPTransport._session",
    )
)

PRIVATE_NAMES = (*WITHOUT, *LOADER, *ANSWERS)


@pytest.mark.parametrize("each", quick_one_in(6, WITHOUT), ids=lambda each: each.name.split(".", 1)[1])
def test_only_a_destination_that_needs_the_name_loses_anything(each: PrivateName, tmp_path: Path) -> None:
    """Nothing leaves unmasked, and each loss is one line in the log."""
    assert each.exists()
    sent = run_secretive(tmp_path, [each])
    assert sent.leaks() == []
    assert sent.missing() == WITHOUT[each]
    lines = [line for line in sent.printed.splitlines() if " is off, and its " in line or "do not arrive" in line]
    assert len(lines) == len(WITHOUT[each]), sent.printed
    assert "\nTraceback" not in sent.printed


CREATE = """
from brain_otel.destinations.destination import create_destination
from tests.destinations.service import options, settings

for given in (options("batch", exporter={"console": {}}), options("console", "metrics")):
    print(create_destination(given, settings()))
"""


@pytest.mark.parametrize("each", LOADER, ids=lambda each: each.identifier)
def test_a_component_is_off_without_the_loader(each: PrivateName) -> None:
    """One line each says so, and nothing is raised."""
    assert each.exists()
    done = run_python(run_renamed([each], CREATE), pythonpath=[ROOT])
    assert done.stdout.split() == ["None", "None"], done.stderr
    first, second = done.stderr.splitlines()
    assert "options is off, and its traces are lost" in first
    assert "options is off, and its metrics are lost" in second


def test_every_private_name_that_destinations_use_is_in_a_table() -> None:
    """Each with the file that uses it; names that privacy uses too are in its table."""
    listed = {(str(ROOT / file), each.identifier) for each in (*PRIVATE_NAMES, *PRIVACY) for file in each.used_in}
    assert used_private_names(ROOT / "brain_otel" / "destinations") - listed == set()
