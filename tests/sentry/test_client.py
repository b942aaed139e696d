"""sentry-sdk as brain_otel starts it: release, traffic, sessions and events."""

import json
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
import urllib3
from opentelemetry.context import Context
from opentelemetry.instrumentation.utils import is_instrumentation_enabled
from opentelemetry.trace import SpanKind

import brain_otel
from brain_otel import capture
from brain_otel.events.listeners import local_trace_entered
from brain_otel.events.report import report_exception
from brain_otel.privacy import policy
from brain_otel.sentry.client import _is_plain_name, flush_sentry
from brain_otel.sentry.transport import DeliveringTransport
from brain_otel.traces.local_trace import LocalTrace
from tests.sentry.conftest import Bridge, Connect
from tests.support.hidden import hidden
from tests.support.ingest import Json, SentryIngest
from tests.support.process import run_python
from tests.support.relay import assert_accepted


class TestTraffic:
    @pytest.fixture
    def requests(self, bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
        """Trace urllib3 where and when contrib's instrumentation would, and record each request."""
        seen: list[tuple[str, bool]] = []
        original = urllib3.connectionpool.HTTPConnectionPool.urlopen

        def urlopen(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
            enabled = is_instrumentation_enabled()
            seen.append((url, enabled))
            if not enabled:
                return original(self, method, url, *args, **kwargs)
            with bridge.tracer.start_as_current_span("POST", context=Context()):
                return original(self, method, url, *args, **kwargs)

        monkeypatch.setattr(urllib3.connectionpool.HTTPConnectionPool, "urlopen", urlopen)
        return seen

    def test_our_own_requests_are_not_traced(
        self, bridge: Bridge, requests: list[tuple[str, bool]], ingest: SentryIngest
    ) -> None:
        """A POST to Sentry passes no library that is instrumented, or with instrumentation suppressed."""
        client = sentry_sdk.get_client()
        assert isinstance(client.transport, DeliveringTransport)
        with local_trace_entered(LocalTrace(kind="request")), bridge.tracer.start_as_current_span("root"):
            capture.capture_message("hello")
        bridge.flush()
        ingest.wait_for(lambda it: len(it.transactions) == 1 and len(it.events) == 1)
        bridge.flush()
        assert not any(enabled for _, enabled in requests)
        ingest.settle(0.2)
        assert [each["transaction"] for each in ingest.transactions] == ["root"]

    def test_requests_to_others_are_traced(
        self, bridge: Bridge, requests: list[tuple[str, bool]], ingest: SentryIngest
    ) -> None:
        """The suppression ends with our request. This shows that the test above patches the right place."""
        bridge.flush()
        with urllib3.PoolManager() as pool:
            pool.request("POST", f"http://127.0.0.1:{ingest.port}/elsewhere").close()
        assert ("/elsewhere", True) in requests
        bridge.flush()
        ingest.wait_for(lambda it: [each["transaction"] for each in it.transactions] == ["POST"])

    @pytest.mark.parametrize("attribute", ["url.full", "http.url"])
    def test_a_span_of_a_request_to_sentry_is_not_collected(
        self, bridge: Bridge, ingest: SentryIngest, attribute: str
    ) -> None:
        """Even if an instrumentation ignores the suppression."""
        with bridge.tracer.start_as_current_span("work", context=Context()):
            for url in (f"http://127.0.0.1:{ingest.port}/api/42/envelope/", "http://shop.test/"):
                bridge.tracer.start_span(url, kind=SpanKind.CLIENT, attributes={attribute: url}).end()
        assert [span["data"][attribute] for span in bridge.transaction()["spans"]] == ["http://shop.test/"]


class TestSessions:
    def aggregates(self, ingest: SentryIngest) -> dict[str, int]:
        ingest.wait_for(lambda it: bool(it.sessions))
        sums: dict[str, int] = {}
        for session in ingest.sessions:
            assert session["attrs"] == {"release": "shop@1", "environment": "test"}
            for bucket in session["aggregates"]:
                for name in bucket.keys() - {"started"}:
                    sums[name] = sums.get(name, 0) + bucket[name]
        return sums

    def test_requests_are_counted_by_how_they_ended(self, bridge: Bridge, ingest: SentryIngest) -> None:
        """Successful, with a handled error, with an unhandled one, by release and environment."""
        for number in range(6):
            with local_trace_entered(LocalTrace(kind="request")):
                if number in (1, 2):
                    capture.capture_exception(ValueError(number))
                if number == 3:
                    report_exception(ValueError(number), handled=False, mechanism="fastapi")
                if number == 4:
                    capture.capture_message("no error", level="info")
        bridge.flush()
        assert self.aggregates(ingest) == {"exited": 3, "errored": 2, "crashed": 1}

    def test_only_requests_are_sessions(self, bridge: Bridge, ingest: SentryIngest) -> None:
        """A transaction is no session, inside of a request or not."""
        with local_trace_entered(LocalTrace(kind="transaction")):
            pass
        with local_trace_entered(LocalTrace(kind="request")), local_trace_entered(LocalTrace(kind="transaction")):
            pass
        bridge.flush()
        assert self.aggregates(ingest) == {"exited": 1}


READY = """
import logging, sys
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s %(message)s", stream=sys.stdout)
import brain_otel
brain_otel.setup()
"""


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ("production", "Sentry initialized | environment=production, traces_sample_rate=0.1"),
        ("development", "Sentry initialized | environment=development, traces_sample_rate=1.0"),
    ],
)
def test_one_line_says_that_sentry_is_ready(ingest: SentryIngest, environment: str, expected: str) -> None:
    """At INFO, as the service replaced does; nothing is written to stderr."""
    done = run_python(READY, {"SENTRY_DSN": ingest.dsn, "SENTRY_ENVIRONMENT": environment})
    assert (done.returncode, done.stderr) == (0, "")
    lines = [line for line in done.stdout.splitlines() if "Sentry" in line]
    assert [line.split(" ", 2)[0::2] for line in lines] == [["INFO", expected]]


def test_setup_raises_no_warning(ingest: SentryIngest) -> None:
    """An application with warnings as errors can set up and send, with every variable set."""
    code = "import warnings; warnings.simplefilter('error')\n" + READY + "brain_otel.capture_message('hello')\n"
    every = {
        "SENTRY_DSN": ingest.dsn,
        "SENTRY_SEND_DEFAULT_PII": "true",
        "SENTRY_PROFILES_SAMPLE_RATE": "1.0",
        "SENTRY_TRACES_SAMPLE_RATE": "1.0",
    }
    done = run_python(code, every)
    assert done.returncode == 0, done.stderr
    assert len(ingest.events) == 1


FAIL = """
import sys
def fail(amount):
    raise ValueError(f"bad {amount}")
sys.argv = ["shop"]
fail(3)
"""

# From Python 3.13 on, a frame shows the lines of a `-c` script: its own, which are the same, and five before it.
NATIVE = "import sentry_sdk, os\nsentry_sdk.init(os.environ['SENTRY_DSN'])\n" + "\n" * 5 + FAIL
OURS = "import brain_otel\nbrain_otel.setup()\n" + "\n" * 5 + FAIL


def test_an_error_event_has_the_values_of_sentry_sdks_own(ingest: SentryIngest, tmp_path: Path) -> None:
    """Runtime, server, modules, release, environment, stack and mechanism are the same."""
    environ = {"SENTRY_DSN": ingest.dsn, "SENTRY_ENVIRONMENT": "staging", "SENTRY_RELEASE": "shop@1"}
    path = hidden(tmp_path)
    events: list[Json] = []
    for code in (NATIVE, OURS):
        ingest.clear()
        done = run_python(code, environ, pythonpath=[path])
        assert done.returncode == 1
        assert "ValueError: bad 3" in done.stderr
        ingest.wait_for(lambda it: len(it.events) == 1)
        events += ingest.events
    native, ours = events
    assert_accepted(ours)
    same = ("platform", "level", "server_name", "modules", "release", "environment")
    assert {key: ours.get(key) for key in same} == {key: native[key] for key in same}
    assert ours["contexts"]["runtime"] == native["contexts"]["runtime"]
    assert ours["sdk"]["name"].startswith("sentry.python")
    assert ours["sdk"]["version"] == native["sdk"]["version"]
    for event in events:
        for value in event["exception"]["values"]:
            for frame in value["stacktrace"]["frames"]:
                frame.pop("lineno")
                if frame["function"] == "<module>":
                    del frame["vars"]  # the modules that each script imported
    assert json.dumps(ours["exception"], sort_keys=True) == json.dumps(native["exception"], sort_keys=True)


def test_options_of_the_file_override_ours(connect: Connect) -> None:
    """The keys under `sentry:` in the file are sentry-sdk's options."""
    connect(options={"max_breadcrumbs": 7, "server_name": "web"})
    options = sentry_sdk.get_client().options
    assert (options["max_breadcrumbs"], options["server_name"]) == (7, "web")


def test_closing_leaves_no_client_behind(connect: Connect) -> None:
    """After `shutdown()` nothing is captured."""
    bridge = connect()
    bridge.destination.shutdown(2.0)
    assert not sentry_sdk.get_client().is_active()
    assert sentry_sdk.capture_message("late") is None


def test_a_flush_says_whether_sentry_has_accepted_everything(connect: Connect, ingest: SentryIngest) -> None:
    """sentry-sdk's own returns nothing."""
    connect()
    client = sentry_sdk.get_client()
    sentry_sdk.capture_message("one")
    assert flush_sentry(client, 5.0)
    ingest.delay = 2.0
    sentry_sdk.capture_message("two")
    assert not flush_sentry(client, 0.2)
    ingest.delay = 0.0
    assert flush_sentry(client, 5.0)
    assert [event["message"] for event in ingest.events] == ["one", "two"]


class TestNames:
    def test_the_sdk_is_called_as_sentry_sdk_calls_itself_with_fastapi(self, bridge: Bridge) -> None:
        """On errors and transactions."""
        with bridge.tracer.start_as_current_span("job", context=Context()):
            capture.capture_message("hello")
        transaction = bridge.transaction()
        bridge.ingest.wait_for(lambda it: len(it.events) == 1)
        (event,) = bridge.ingest.events
        assert transaction["sdk"]["name"] == event["sdk"]["name"] == "sentry.python.fastapi"

    @pytest.mark.parametrize("option", [{}, {"in_app_exclude": ["other"]}, {"in_app_include": ["other"]}])
    def test_frames_of_ours_are_not_the_applications(self, connect: Connect, option: Json) -> None:
        """In a checkout too, whose files are below the working directory; those of the application are."""
        bridge = connect(options=option)

        @brain_otel.start_span(op="step")
        def fail() -> None:
            raise ValueError("a")

        try:
            fail()
        except ValueError as error:
            capture.capture_exception(error)
        bridge.flush()
        (event,) = bridge.ingest.events
        frames = event["exception"]["values"][0]["stacktrace"]["frames"]
        found = {str(frame["module"]).partition(".")[0]: frame["in_app"] for frame in frames}
        assert found == {"tests": True, "brain_otel": False}


@pytest.mark.parametrize(
    ("name", "is_plain"),
    [
        ("shop@1.2.3+build.7", True),
        ("missions-7d9f8b6c5d-x2x9z", True),
        ("da39a3ee5e6b4b0d3255bfef95601890afd80709", True),
        (None, True),
        ("AKIAIOSFODNN7EXAMPLE", False),
        ("app:hunter22@db", False),
        ("4539-1488-0343-6467", False),
        ("password=x", False),
        (7, False),
    ],
)
def test_a_plain_name_needs_no_rules(name: object, is_plain: bool) -> None:
    """What is not plain is masked; a plain name would be left as it is."""
    assert _is_plain_name(name) is is_plain
    if is_plain:
        assert policy().value(name) == name
