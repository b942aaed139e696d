"""Every private name of another package that `brain_otel/sdk` and `brain_otel/sampling` use, and life without it.

Not in the table: the package `opentelemetry._logs`, the documented API for logs.
"""

import json
import re
from collections import Counter
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest

from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.otlp import OtlpReceiver
from tests.support.private_names import PrivateName, run_renamed
from tests.support.private_uses import private_uses
from tests.support.process import run_python
from tests.support.tiers import quick_first, thorough

PINS = "tests/sdk/test_pins.py"
SECRET = "hunter2-4Zq"

PRIVATE_NAMES = (
    PrivateName(
        name="opentelemetry.sdk.trace.ReadableSpan._context",
        used_in=("brain_otel/sdk/span_router.py",),
        purpose="gives a copy of a span a flag, also for code that reads the private name",
        pinned_by="tests/sdk/test_span_router.py::test_a_sent_span_is_the_span_with_a_flag",
    ),
    PrivateName(
        name="opentelemetry.sdk.trace.ReadableSpan._attributes",
        used_in=("brain_otel/traces/plain_span.py",),
        purpose="gives a copy of a span more attributes, also for code that reads the private name",
        pinned_by="tests/sdk/test_span_router.py::test_a_sent_span_tells_why_it_was_kept",
    ),
    PrivateName(
        name="opentelemetry.sdk.trace.SpanProcessor._on_ending",
        used_in=("brain_otel/sdk/span_router.py",),
        purpose="passes the specification's OnEnding on to the destinations of a trace",
        pinned_by="tests/destinations/test_otel_components.py::test_on_ending_reaches_processors",
    ),
    *(
        PrivateName(
            name=f"opentelemetry.configuration.file._loader{identifier}",
            used_in=("brain_otel/sdk/setup.py",),
            purpose="converts a file that has been read; the public loader reads the file and the environment again",
            pinned_by=f"{PINS}::test_dict_to_model_is_what_the_public_loader_does",
        )
        for identifier in ("", "._dict_to_model")
    ),
    PrivateName(
        name="opentelemetry.configuration._propagator",
        used_in=("brain_otel/sdk/setup.py",),
        purpose="rejects a wrong propagator before upstream sets the providers for good",
        pinned_by=f"{PINS}::test_an_unknown_propagator_is_rejected",
    ),
    *(
        PrivateName(
            name=f"opentelemetry.instrumentation._semconv{identifier}",
            used_in=("brain_otel/sdk/setup.py",),
            purpose="warns that the old semantic conventions were chosen before set-up",
            pinned_by="tests/test_launcher.py::test_a_warning_names_an_instrumentation_used_before_setup",
        )
        for identifier in (
            "",
            "._OpenTelemetrySemanticConventionStability",
            "._OpenTelemetrySemanticConventionStability._initialized",
            "._OpenTelemetryStabilitySignalType",
            "._get_semconv_opt_in_modes",
            "._report_old",
        )
    ),
    PrivateName(
        name="opentelemetry.sdk.trace.TracerProvider._update_resource",
        used_in=("brain_otel/sdk/resource.py",),
        purpose="keeps an instance id that the user gives in a forked child, which the SDK gives another one",
        pinned_by="tests/runtime/test_fork.py::test_a_configured_instance_id_is_kept_in_a_child",
    ),
)

FILE = """
file_format: "1.1"
resource: {attributes: [{name: service.instance.id, value: given}]}
tracer_provider:
  limits: {attribute_count_limit: 120} # not the simple form
  sampler: {parent_based: {root: {trace_id_ratio_based: {ratio: 0.0}}}}
  processors:
    - sentry:
    - otlp: {endpoint: "${OTLP}"}
logger_provider: {processors: [{otlp: {endpoint: "${OTLP}"}}]}
meter_provider:
  readers: [{periodic: {interval: 86400000, exporter: {otlp: {endpoint: "${OTLP}"}}}}]
  views: [{selector: {instrument_name: http.server.active_requests}, stream: {name: "renamed $$ view"}}]
propagator: {composite: [{tracecontext: }, {baggage: }, {sentry: }]}
distribution:
  brain_otel:
    sentry: {dsn: "${SENTRY_DSN}", profiles_sample_rate: 0}
    sampling: {tail: {errors: true}}
"""

FORK = """
import os
from opentelemetry import trace
def instance():
    return trace.get_tracer_provider().resource.attributes["service.instance.id"]
first = instance()
if (child := os.fork()) == 0:
    os._exit(0 if instance() else 1)
assert first == "given", first
assert os.waitpid(child, 0)[1] == 0
"""


CONTRIBS_NAMES = {"SET GET": "MULTI", "redis.search": "FT.SEARCH"}
"""Contrib's names of a pipeline and a search -> ours: without a name of contrib's conventions it makes the span."""


@cache
def outcome(names: tuple[PrivateName, ...] = ()) -> tuple[str, list[Any], str]:
    """What the application saw, counts of what arrived, and the log."""
    app = ROOT / "tests" / "apps" / "instrumented.py"
    code = run_renamed(names, f"import runpy; runpy.run_path({str(app)!r}, run_name='__main__')\n{FORK}")
    with SentryIngest() as ingest, OtlpReceiver() as receiver, TemporaryDirectory() as folder:
        path = Path(folder) / "telemetry.yaml"
        path.write_text(FILE)
        env = {
            "SENTRY_DSN": ingest.dsn,
            "OTLP": receiver.endpoint,
            "OTEL_CONFIG_FILE": str(path),
            "SECRET": SECRET,
        }
        done = run_python(code, env, 60, pythonpath=[ROOT])
        assert done.returncode == 0, done.stderr
        kept = Counter((each["transaction"], each["contexts"]["trace"]["op"]) for each in ingest.transactions)
        errors = Counter(each["transaction"] for each in ingest.events)
        names_seen = [re.sub(r" localhost:\d+$", "", each.name) for each in receiver.spans]
        spans = Counter(CONTRIBS_NAMES.get(name, name) for name in names_seen)
        logs = Counter(each.body for each in receiver.log_records)
        metrics = {each.name for each in receiver.metrics}
        requests = "\n".join(str(each.message) for each in receiver.requests)
        assert SECRET not in json.dumps([ingest.transactions, ingest.events]) + requests
    return done.stdout, [kept, errors, spans, logs, metrics], done.stderr


def test_the_file_uses_everything() -> None:
    """The tail keeps failures for Sentry and OTLP; logs and metrics arrive, and a view renames a metric."""
    _, (kept, errors, spans, logs, metrics), log = outcome()
    assert kept["GET /fails/{number}", "http.server"] == 3
    assert errors["GET /fails/{number}"] == 3
    assert spans["GET /fails/{number}"] == 3
    assert logs["password=[Filtered]"] == 3
    assert {"http.server.request.duration", "db.client.operation.duration", "renamed $ view"} <= metrics
    assert "brain_otel failed" not in log


@pytest.mark.parametrize("module", quick_first(["span_router", "setup", "resource"]))
def test_nothing_is_lost_without_the_names_of_a_module(module: str) -> None:
    """The application sees the same, all signals arrive, nothing leaves unmasked."""
    check(tuple(each for each in PRIVATE_NAMES if each.used_in == (f"brain_otel/sdk/{module}.py",)))


@thorough
@pytest.mark.parametrize("each", PRIVATE_NAMES, ids=lambda each: each.name)
def test_nothing_is_lost_without_a_name(each: PrivateName) -> None:
    """The same for each name alone."""
    check((each,))


def check(names: tuple[PrivateName, ...]) -> None:
    """Compare a run without `names` with one that has them."""
    assert names
    expected, found = outcome(), outcome(names)
    assert found[0] == expected[0]
    for one, other in zip(found[1], expected[1], strict=True):
        assert one == other


def test_the_table_has_every_name() -> None:
    """Found in the source: attributes, imports and texts that begin with an underscore and are not our own."""
    found = private_uses((ROOT / "brain_otel" / "sdk").rglob("*.py")).keys() - {"_logs"}
    assert found <= {each.identifier for each in PRIVATE_NAMES}
