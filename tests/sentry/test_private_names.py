"""Every private name of another package that the Sentry bridge, traces, events and the fixture depend on.

A program runs as if upstream had renamed each of them: nothing may be lost, leave unmasked or reach the application.
"""

import json
from collections import Counter
from collections.abc import Sequence

import pytest

from tests.support import ROOT
from tests.support.ingest import Json, SentryIngest
from tests.support.private_names import PrivateName, private_names, run_renamed
from tests.support.process import run_python

PINS = "tests/sentry/test_pins.py"
SECRET = "hunter2-4Zq"
APP = ROOT / "tests" / "apps" / "renamed.py"


_FIELDS = "_attachments _level _fingerprint _n_breadcrumbs_truncated _gen_ai_original_message_count _should_capture"
LOOKED_AT = (*_FIELDS.split(), "_event_processors")
TAKEN = ("_user", "_tags", "_contexts", "_extras")
NAMING = ("_transaction", "_transaction_info")

_UNUSED = "tells whether a transaction needs sentry-sdk's pipeline"
_EMPTY = f"{PINS}::test_the_fields_that_need_the_pipeline_are_empty_until_they_are_used"

OF_THE_SERVICE = (
    *private_names(
        "sentry_sdk.scope.Scope",
        _FIELDS,
        "sentry/fast_transactions.py",
        _UNUSED,
        _EMPTY,
    ),
    *private_names(
        "sentry_sdk.scope.Scope",
        "_event_processors",
        "sentry/fast_transactions.py sentry/scopes.py",
        _UNUSED,
        _EMPTY,
    ),
    *private_names(
        "sentry_sdk.scope.Scope",
        " ".join(TAKEN),
        "sentry/fast_transactions.py",
        "reads the data of a request without copying its scope",
        f"{PINS}::test_a_scope_puts_its_fields_on_a_transaction",
    ),
    *private_names(
        "sentry_sdk.scope.Scope",
        "_capture_log",
        "sentry/logs.py",
        "sends a log item with the time and the ids of its record, which the public functions do not take",
        "tests/sentry/test_logs.py::test_a_line_belongs_to_its_span",
    ),
    *private_names(
        "sentry_sdk.scope.Scope",
        " ".join(NAMING),
        "sentry/scopes.py",
        "names a transaction as the scope says, which sentry-sdk does on its own transactions alone",
        f"{PINS}::test_a_scope_keeps_the_name_of_its_transaction",
    ),
    *private_names(
        "sentry_sdk.scope",
        "_isolation_scope _current_scope",
        "sentry/scopes.py",
        "reads and sets the scopes of a request without the calls of the public functions",
        f"{PINS}::test_the_scopes_are_two_variables",
    ),
    *private_names(
        "sentry_sdk.monitor.Monitor",
        "_downsample_factor",
        "sentry/client.py",
        "reads how often the rate is halved, without looking for the monitor's thread at each request",
        f"{PINS}::test_a_monitors_factor_is_a_field",
    ),
    *private_names(
        "sentry_sdk.sessions.SessionFlusher",
        "_aggregate_lock",
        "sentry/sessions.py",
        "counts a request that went well where sentry-sdk has counted the one before",
        "tests/sentry/test_sessions.py::test_a_request_is_counted_where_the_one_before_was",
    ),
    *private_names(
        "redis.asyncio.connection.AbstractConnection",
        "_send_packed_command",
        "traces/code_location.py",
        "tells that a task writes a command, and makes no call of its own",
        "tests/traces/test_code_location.py::test_the_stack_is_not_walked_for_a_task_that_only_waits",
    ),
    *private_names(
        "opentelemetry.sdk.trace.ReadableSpan",
        "_events _links",
        "traces/conventions.py",
        "tells whether a span has any, which the public property copies",
        "tests/traces/test_conventions.py::test_events_and_links_are_seen_without_a_copy",
    ),
)

OF_THE_FIXTURE = private_names(
    "opentelemetry",
    "trace._TRACER_PROVIDER trace._TRACER_PROVIDER_SET_ONCE _logs._internal._LOGGER_PROVIDER",
    "testing_session.py",
    "sets a global for one test; the API can set it once per process",
    "tests/test_testing.py::test_the_fixture_leaves_the_process_as_it_was",
)

_FLAT = "keeps an ended span as a tuple, without a call for each field"
_SAME = "tests/sentry/test_flat_spans.py::test_a_flat_span_is_the_same_from_fields_and_from_properties"

OF_FLAT_SPANS = (
    *private_names("opentelemetry.attributes.BoundedAttributes", "_dict", "sentry/flat_spans.py", _FLAT, _SAME),
    *private_names(
        "opentelemetry.sdk.trace.ReadableSpan",
        "_attributes _context _end_time _events _instrumentation_scope _kind _links _name _parent _start_time "
        "_status",
        "sentry/flat_spans.py",
        _FLAT,
        _SAME,
    ),
)

PRIVATE_NAMES = (*OF_THE_SERVICE, *OF_THE_FIXTURE, *OF_FLAT_SPANS)

UNDOCUMENTED = tuple(
    PrivateName(name=name, used_in=(), purpose="", pinned_by="")
    for name in (
        "sentry_sdk.utils.serialize_frame",
        "sentry_sdk.utils.get_lines_from_file",
        "sentry_sdk.scope.global_event_processors",
        "sentry_sdk.client.SDK_INFO",
        "sentry_sdk.utils.get_sdk_name",
        "sentry_sdk.scope.get_active_propagation_context",
    )
)
"""Names without an underscore that the fast paths use and sentry-sdk does not document."""


class Run:
    """What the clients, Sentry and the log saw of the program."""

    def __init__(self, names: Sequence[PrivateName]) -> None:
        code = f"import runpy, sys; sys.argv = ['', {SECRET!r}]; runpy.run_path({str(APP)!r})"
        with SentryIngest() as ingest:
            env = {"SENTRY_DSN": ingest.dsn, "SENTRY_ENVIRONMENT": "test", "SENTRY_PROFILES_SAMPLE_RATE": "0"}
            done = run_python(run_renamed(names, code), env, 60, pythonpath=[ROOT])
            assert done.returncode == 0, done.stderr[-3000:]
            assert ingest.rejected == []
            self.bodies = "".join(
                str(envelope.headers) + "".join(item.payload.decode() for item in envelope.items)
                for envelope in ingest.envelopes
            )
            self.transactions, self.events, self.sessions = ingest.transactions, ingest.events, ingest.sessions
        self.answers = json.loads(done.stdout.splitlines()[-1])
        self.failures = [line for line in done.stderr.splitlines() if "brain_otel failed while" in line]


def summary(transaction: Json) -> Json:
    """What must not change: names, spans, and the data of the request."""
    return {
        "name": transaction["transaction"],
        "spans": [(span["op"], span["description"]) for span in transaction["spans"]],
        "breadcrumbs": [crumb["message"] for crumb in transaction.get("breadcrumbs", {}).get("values", ())],
        "user": transaction.get("user"),
        "tags": transaction.get("tags"),
        "card": transaction["contexts"].get("card"),
    }


def assert_nothing_is_lost(run: Run) -> None:
    assert run.answers == [
        *([200, str(number)] for number in range(3) for _ in range(2)),
        [500, "Internal Server Error"],
        [200, "null"],
    ]
    names = Counter(each["transaction"] for each in run.transactions)
    assert names == {"GET /orders/{number}": 3, "GET /marked/{number}": 3, "GET /fails": 1, "GET /logs": 1}
    marked = [summary(each) for each in run.transactions if each["transaction"] == "GET /marked/{number}"]
    assert sorted(each.pop("user")["id"] for each in marked) == ["user-0", "user-1", "user-2"]
    assert marked == [marked[0]] * 3
    assert marked[0]["spans"] == [("cache.get", "get password=[Filtered]")]
    assert marked[0]["tags"] == {"http.status_code": "200", "password": "[Filtered]"}
    assert marked[0]["card"] == {"api_key": "[Filtered]"}
    orders = [summary(each) for each in run.transactions if each["transaction"] == "GET /orders/{number}"]
    assert orders[0]["spans"] == [*[("db", "SELECT ?")] * 3, ("http.client", "GET http://stock.test/")]
    assert orders == [orders[0]] * 3
    (failed,) = [each for each in run.events if "exception" in each]
    (logged,) = [each for each in run.events if "logentry" in each]
    assert failed["exception"]["values"][0]["value"] == "no password=[Filtered]"
    assert (failed["transaction"], logged["transaction"]) == ("GET /fails", "GET /logs")
    totals: Counter[str] = Counter()
    for session in run.sessions:
        for aggregate in session["aggregates"]:
            totals.update({name: aggregate[name] for name in ("exited", "errored", "crashed") if name in aggregate})
    assert totals == {"exited": 7, "crashed": 1}


def assert_nothing_private_leaves(run: Run) -> None:
    at = run.bodies.find(SECRET)
    assert at < 0, run.bodies[max(0, at - 300) : at + 20]


def test_the_program_reports_everything_as_it_is() -> None:
    """Without a rename there is no failure of ours."""
    run = Run([])
    assert_nothing_is_lost(run)
    assert_nothing_private_leaves(run)
    assert run.failures == []


def test_a_program_does_not_notice_that_all_names_are_renamed() -> None:
    """Nothing is lost or leaves unmasked. Each fast path says once that it falls back."""
    run = Run([*OF_THE_SERVICE, *UNDOCUMENTED])
    assert_nothing_is_lost(run)
    assert_nothing_private_leaves(run)
    assert len(run.failures) == len(set(run.failures)) <= 7, run.failures


@pytest.mark.thorough
@pytest.mark.parametrize("name", [*OF_THE_SERVICE, *UNDOCUMENTED], ids=lambda name: name.name)
def test_a_program_does_not_notice_that_a_name_is_renamed(name: PrivateName) -> None:
    """The same for each name alone; one line for each of at most two places says so."""
    run = Run([name])
    assert_nothing_is_lost(run)
    assert_nothing_private_leaves(run)
    assert len(run.failures) == len(set(run.failures)) <= 2, run.failures


FIXTURE = """
from brain_otel.testing import captured_telemetry
with captured_telemetry() as telemetry:
    pass
"""


@pytest.mark.thorough
@pytest.mark.parametrize("name", OF_THE_FIXTURE, ids=lambda name: name.name)
def test_the_fixture_names_what_it_lacks(name: PrivateName) -> None:
    """A test suite fails with the name instead of capturing nothing."""
    done = run_python(run_renamed([name], FIXTURE), pythonpath=[ROOT])
    assert done.returncode != 0
    assert f"AttributeError: module 'opentelemetry.{name.name.split('.')[1]}" in done.stderr
    assert name.identifier in done.stderr.splitlines()[-1]
