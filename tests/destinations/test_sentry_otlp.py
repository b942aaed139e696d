"""Sentry by OTLP: spans at the OTLP endpoint as sentry-sdk would send them, errors as events, linked."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON
from opentelemetry.trace import SpanKind, Tracer

from brain_otel import capture
from brain_otel.configuration.error import ConfigurationError
from brain_otel.configuration.options import Options
from brain_otel.configuration.sections.sentry import Secret, SentrySettings
from brain_otel.configuration.settings import Settings
from brain_otel.destinations.sentry_otlp import ExportedTrail, create_destination, describe, probe
from brain_otel.events.listeners import configure_listeners, local_trace_entered
from brain_otel.runtime import guard
from brain_otel.sentry.breadcrumbs import MAX_BREADCRUMBS
from brain_otel.traces.local_trace import LocalTrace
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.otlp import refusing, self_signed
from tests.support.process import SLACK, run_python
from tests.support.relay import assert_accepted


def settings_for(dsn: str | None, **sentry: Any) -> Settings:
    given = {"environment": "test", "release": "shop@1", **sentry}
    return Settings(
        environment="test",
        source="test",
        document={},
        sentry=SentrySettings(dsn=Secret(dsn) if dsn is not None else None, **given),
    )


class Exporting:
    """A tracer whose spans go to Sentry's OTLP endpoint."""

    def __init__(self, dsn: str, *, sampled: bool = True) -> None:
        self.provider = TracerProvider(
            sampler=ALWAYS_ON if sampled else ALWAYS_OFF,
            resource=Resource({"service.name": "shop"}),
            shutdown_on_exit=False,
        )
        destination = create_destination(Options(name="sentry_otlp"), settings_for(dsn))
        assert destination is not None
        assert isinstance(destination.span_processor, ExportedTrail)
        assert destination.listener is not None
        self.destination = destination
        self.trail = destination.span_processor
        self.provider.add_span_processor(self.trail)
        configure_listeners((destination.listener,))

    @property
    def tracer(self) -> Tracer:
        return self.provider.get_tracer("test")

    def fail(self, *, steps: int = 1, others: int = 0) -> tuple[str, str]:
        """Capture an error in a local trace, after so many statements and other spans; its trace and span id."""
        trace = LocalTrace(kind="request")
        with local_trace_entered(trace), self.tracer.start_as_current_span("GET /", kind=SpanKind.SERVER) as root:
            for number in range(steps):
                facts = {"db.system.name": "sqlite", "db.query.text": f"SELECT a FROM t{number}"}
                with self.tracer.start_as_current_span("SELECT", kind=SpanKind.CLIENT, attributes=facts):
                    pass
            for _ in range(others):
                with self.tracer.start_as_current_span("work"):
                    pass
            capture.capture_exception(ValueError("failed"))
            context = root.get_span_context()
        return f"{context.trace_id:032x}", f"{context.span_id:016x}"

    def close(self) -> None:
        configure_listeners(())
        self.destination.shutdown(5.0)


Connect = Callable[..., Exporting]


@pytest.fixture
def connect() -> Iterator[Connect]:
    """Connect to a DSN, once."""
    made: list[Exporting] = []

    def connected(dsn: str, **options: Any) -> Exporting:
        made.append(Exporting(dsn, **options))
        return made[-1]

    guard.reraise_failures(True)
    yield connected
    guard.reraise_failures(False)
    for each in made:
        each.close()


# -- what is sent --------------------------------------------------------------------------------------------


def test_spans_are_sent_by_otlp_and_errors_as_events_linked_to_them(ingest: SentryIngest, connect: Connect) -> None:
    """One trace id at both endpoints; the event names the span, and the statements that led to the error."""
    exporting = connect(ingest.dsn)
    trace_id, span_id = exporting.fail()
    assert exporting.destination.flush(5.0)
    root, statement = sorted(ingest.spans, key=lambda span: span.start_time)
    assert (root.trace_id, root.span_id, root.kind) == (trace_id, span_id, "server")
    assert (statement.trace_id, statement.parent_span_id) == (trace_id, span_id)
    assert root.resource["service.name"] == "shop"
    assert [event.attributes["exception.message"] for event in root.events] == ["failed"]
    (event,) = ingest.events
    assert_accepted(event)
    link = event["contexts"]["trace"]
    assert (link["trace_id"], link["span_id"]) == (trace_id, span_id)
    assert event["transaction"] == "GET /"
    assert [crumb["message"] for crumb in event["breadcrumbs"]["values"]] == ["SELECT a FROM t0"]
    assert ingest.transactions == []


def test_spans_are_sent_with_the_names_that_sentry_reads(ingest: SentryIngest, connect: Connect) -> None:
    """The op, and what the view of caches shows; a span without names of ours stays as it is."""
    exporting = connect(ingest.dsn)
    cached: dict[str, Any] = {"brain_otel.cache.operation": "get", "brain_otel.cache.key": ("cart:1",)}
    cached["brain_otel.cache.hit"] = True
    given: list[dict[str, Any]] = [
        {"brain_otel.op": "task.run"},
        {"db.system.name": "redis", **cached},
        {"shop": "a"},
    ]
    for attributes in given:
        with exporting.tracer.start_as_current_span("work", kind=SpanKind.CLIENT, attributes=attributes):
            pass
    assert exporting.destination.flush(5.0)
    job, call, plain = (span.attributes for span in sorted(ingest.spans, key=lambda span: span.start_time))
    assert job == {"brain_otel.op": "task.run", "sentry.op": "task.run"}
    assert (call["sentry.op"], list(call["cache.key"]), call["cache.hit"]) == ("cache.get", ["cart:1"], True)
    assert plain == {"shop": "a"}


def test_an_unsampled_trace_is_an_error_without_spans(ingest: SentryIngest, connect: Connect) -> None:
    """The error carries the ids, which exist all the same."""
    exporting = connect(ingest.dsn, sampled=False)
    trace_id, span_id = exporting.fail()
    assert exporting.destination.flush(5.0)
    (event,) = ingest.events
    link = event["contexts"]["trace"]
    assert (link["trace_id"], link["span_id"]) == (trace_id, span_id)
    assert ingest.otlp == []


SDK = """
import sentry_sdk
from opentelemetry import trace
from sentry_sdk.integrations.otlp import OTLPIntegration
import os
sentry_sdk.init(dsn=os.environ["DSN"], integrations=[OTLPIntegration()], auto_enabling_integrations=False)
with trace.get_tracer("test").start_as_current_span("work"):
    pass
trace.get_tracer_provider().force_flush()
"""


def test_the_request_is_the_one_that_sentry_sdk_makes(ingest: SentryIngest, connect: Connect) -> None:
    """Same address and authentication as of sentry-sdk's own integration; ours is compressed."""
    dsn = ingest.dsn.replace("public@", "public:secret@")
    done = run_python(SDK, {"DSN": dsn})
    assert done.returncode == 0, done.stderr
    exporting = connect(dsn)
    with exporting.tracer.start_as_current_span("work"):
        pass
    assert exporting.destination.flush(5.0)
    (theirs, _), (ours, _) = ingest.otlp  # the ingest knows one address only
    assert ingest.rejected == []
    assert ours["x-sentry-auth"] == theirs["x-sentry-auth"]
    assert "sentry_key=public" in ours["x-sentry-auth"]
    assert ours["content-type"] == theirs["content-type"] == "application/x-protobuf"
    assert ours["content-encoding"] == "gzip"
    assert [span.name for span in ingest.spans] == ["work", "work"]


def test_what_variables_say_for_other_backends_is_not_sent_to_sentry(
    ingest: SentryIngest, connect: Connect, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Neither another vendor's key nor a collector's certificates."""
    certificate, key = self_signed(tmp_path)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=of-another-vendor,x-sentry-auth=wrong")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "authorization=Basic of-another-vendor")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", str(certificate))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", str(certificate))
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_CLIENT_KEY", str(key))
    sent: list[dict[str, Any]] = []
    original = urllib3.connectionpool.HTTPConnectionPool.urlopen

    def urlopen(self: Any, *args: Any, **kwargs: Any) -> Any:
        sent.append({name: getattr(self, name, None) for name in ("ca_certs", "cert_file", "key_file")})
        return original(self, *args, **kwargs)

    monkeypatch.setattr(urllib3.connectionpool.HTTPConnectionPool, "urlopen", urlopen)
    exporting = connect(ingest.dsn)
    with exporting.tracer.start_as_current_span("work"):
        pass
    assert exporting.destination.flush(5.0)
    ((headers, _),) = ingest.otlp
    assert "of-another-vendor" not in str(headers)
    assert headers["x-sentry-auth"].startswith("Sentry sentry_key=public")
    assert str(tmp_path) not in str(sent)
    session = exporting.trail._exported._inner.span_exporter._client._transport._session  # type: ignore[union-attr]
    assert (session.verify, session.cert) == (True, None)


def test_its_own_requests_are_not_traced(
    ingest: SentryIngest, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the rule that contrib's instrumentations of urllib3 and requests follow; envelopes pass neither."""
    seen: list[tuple[str, bool]] = []
    original = urllib3.connectionpool.HTTPConnectionPool.urlopen

    def urlopen(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        seen.append((url, is_instrumentation_enabled()))
        return original(self, method, url, *args, **kwargs)

    monkeypatch.setattr(urllib3.connectionpool.HTTPConnectionPool, "urlopen", urlopen)
    exporting = connect(ingest.dsn)
    exporting.fail()
    assert exporting.destination.flush(5.0)
    assert {url.rstrip("/").rpartition("/")[2] for url, _ in seen} == {"traces"}
    assert not any(traced for _, traced in seen)


# -- the trail -----------------------------------------------------------------------------------------------


def test_the_trail_is_the_latest_steps_and_bounded(ingest: SentryIngest, connect: Connect) -> None:
    """As many steps are kept as an event has breadcrumbs, no other spans, and nothing once the trace is over."""
    exporting = connect(ingest.dsn)
    kept: list[int] = []
    listener = exporting.destination.listener
    assert listener is not None
    original = listener.on_exception

    def exception(failure: Any) -> None:
        (collected,) = exporting.trail._by_trace.values()
        kept.append(len(collected.spans))
        assert exporting.trail._buffered == len(collected.spans)
        original(failure)

    listener.on_exception = exception  # type: ignore[method-assign]
    exporting.fail(steps=3 * MAX_BREADCRUMBS, others=3 * MAX_BREADCRUMBS)
    assert kept == [MAX_BREADCRUMBS]
    assert (exporting.trail._by_trace, exporting.trail._by_span, exporting.trail._buffered) == ({}, {}, 0)
    assert exporting.destination.flush(5.0)
    (event,) = ingest.events
    trail = [crumb["message"] for crumb in event["breadcrumbs"]["values"]]
    assert trail == [f"SELECT a FROM t{number}" for number in range(2 * MAX_BREADCRUMBS, 3 * MAX_BREADCRUMBS)]
    assert len(ingest.spans) == 6 * MAX_BREADCRUMBS + 1


# -- trouble -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 403, 413, 429, 500, 503])
def test_a_refusal_delays_nothing_and_errors_still_arrive(
    status: int, ingest: SentryIngest, connect: Connect
) -> None:
    """Whatever the OTLP endpoint answers, a request takes no longer, and the other endpoint gets the error."""
    ingest.respond_otlp = lambda: (status, {"Retry-After": "60"})
    exporting = connect(ingest.dsn)
    started = time.monotonic()
    exporting.fail()
    assert time.monotonic() - started < 0.5 + SLACK
    exporting.destination.flush(3.0)
    assert time.monotonic() - started < 4.0 + SLACK
    ingest.wait_for(lambda it: len(it.events) == 1)


def test_an_endpoint_that_hangs_costs_the_time_given_and_no_errors(ingest: SentryIngest, connect: Connect) -> None:
    """Flushing and shutting down end in time, say that not all was sent, and errors go all the same."""
    released = threading.Event()
    ingest.respond_otlp = lambda: (200 if released.wait(20) else 500, {})
    try:
        exporting = connect(ingest.dsn)
        exporting.fail()
        started = time.monotonic()
        assert exporting.destination.flush(0.5) is False
        assert time.monotonic() - started < 1.5 + SLACK
        assert len(ingest.events) == 1
        started = time.monotonic()
        exporting.destination.shutdown(0.5)
        assert time.monotonic() - started < 1.5 + SLACK
    finally:
        released.set()


@pytest.mark.parametrize("ending", ["flush", "shutdown"])
def test_errors_that_hang_do_not_keep_spans(ending: str, ingest: SentryIngest, connect: Connect) -> None:
    """The other way round: spans are sent while the envelope endpoint does not answer."""
    ingest.delay = 3.0
    exporting = connect(ingest.dsn)
    exporting.fail()
    started = time.monotonic()
    getattr(exporting.destination, ending)(0.5)  # less than the second between two batches
    assert time.monotonic() - started < 2.5  # the endpoint takes three seconds
    assert len(ingest.spans) == 2


def test_a_sentry_that_is_down_costs_the_time_given(connect: Connect) -> None:
    """Nothing raises, and everything ends in time."""
    with refusing() as address:
        exporting = connect(address.replace("://", "://public@") + "/42")
        started = time.monotonic()
        exporting.fail()
        assert time.monotonic() - started < 0.5 + SLACK
        started = time.monotonic()
        exporting.destination.flush(0.5)
        exporting.destination.shutdown(0.5)
        assert time.monotonic() - started < 2.5 + SLACK


def test_what_waits_is_sent_at_shutdown(ingest: SentryIngest, connect: Connect) -> None:
    """Without a flush before it."""
    exporting = connect(ingest.dsn)
    exporting.fail()
    exporting.destination.shutdown(5.0)
    assert len(ingest.spans) == 2
    assert len(ingest.events) == 1


# -- as a whole ----------------------------------------------------------------------------------------------

HEADERS = """
import brain_otel, json, sys
from opentelemetry import context, propagate, trace
brain_otel.setup()

def told(carrier):
    found = {}
    with brain_otel.start_transaction("job"):
        propagate.inject(found)
    print(json.dumps(found))

told({})
incoming = json.loads(sys.argv[1])
context.attach(propagate.extract(incoming))
told(incoming)
"""

TRACE_ID, SPAN_ID = "771a43a4192642f0b136d5159a501700", "ab1d2c3e4f5a6b7c"
INCOMING = (
    f'{{"sentry-trace": "{TRACE_ID}-{SPAN_ID}-1", '
    f'"baggage": "tenant=acme,sentry-trace_id={TRACE_ID},sentry-public_key=other,sentry-sample_rate=1.0"}}'
)


@pytest.mark.parametrize("rate", ["0", "1"])
def test_the_headers_are_the_bridges(rate: str, ingest: SentryIngest) -> None:
    """`sentry-trace`, `baggage` and `traceparent` of a new and of a continued trace, as the bridge writes them."""
    written = {}
    for name in ("sentry", "sentry_otlp"):
        env = {"SENTRY_DSN": ingest.dsn, "SENTRY_ENVIRONMENT": "production", "SENTRY_RELEASE": "shop@1"}
        env |= {"OTEL_TRACES_EXPORTER": name, "SENTRY_TRACES_SAMPLE_RATE": rate}
        done = run_python(HEADERS, env, pythonpath=[ROOT], arguments=[INCOMING])
        assert (done.returncode, done.stderr) == (0, "")
        written[name] = [_without_ids(line) for line in done.stdout.splitlines()]
    assert written["sentry_otlp"] == written["sentry"]
    new, continued = written["sentry"]
    for header in ("sentry-trace", "baggage", "traceparent"):
        assert f'"{header}"' in new
    assert "sentry-environment=production" in new
    assert "sentry-public_key=other" not in continued  # another project's sampling context is not taken
    assert "tenant=acme" in continued
    assert len(ingest.spans) == (2 if rate == "1" else 1)  # the caller had decided for the second


def _without_ids(line: str) -> str:
    line = re.sub(r"sentry-sample_rand=[\d.]+", "sentry-sample_rand=R", line.replace(TRACE_ID, "T"))
    return re.sub(r"\b[0-9a-f]{16}\b", "S", re.sub(r"\b[0-9a-f]{32}\b", "N", line))


def test_it_is_off_without_a_dsn() -> None:
    """And says so."""
    off = Settings(environment="test", source="test", document={}, sentry=None)
    assert create_destination(Options(name="sentry_otlp"), off) is None
    assert describe(Options(name="sentry_otlp"), off) == "off: no DSN (SENTRY_DSN)"


def test_it_says_where_spans_go(ingest: SentryIngest) -> None:
    """The address, without the key."""
    words = describe(Options(name="sentry_otlp"), settings_for(ingest.dsn))
    assert words == f"http/protobuf to http://127.0.0.1:{ingest.port}/api/42/integration/otlp/v1/traces/"


def test_a_probe_tries_both_endpoints(ingest: SentryIngest) -> None:
    """A span and an event, each of which must arrive."""
    told = probe(Options(name="sentry_otlp"), settings_for(ingest.dsn), 5.0)
    assert told is not None
    assert "a span" in told
    assert "an event delivered" in told
    assert len(ingest.spans) == len(ingest.events) == 1


def test_an_unknown_option_is_an_error(ingest: SentryIngest) -> None:
    """By name."""
    with pytest.raises(ConfigurationError, match="sample_rate"):
        create_destination(Options({"sample_rate": 1}, name="sentry_otlp"), settings_for(ingest.dsn))
