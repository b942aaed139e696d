"""Spotlight, the local viewer, gets what Sentry gets, with or without a DSN, and delays nothing."""

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Self

import pytest
from sentry_sdk.spotlight import DEFAULT_SPOTLIGHT_URL

from brain_otel import capture
from brain_otel.configuration.error import ConfigurationError
from brain_otel.configuration.loading import read_settings
from brain_otel.configuration.sections.sentry import DEFAULT_SPOTLIGHT
from brain_otel.events.listeners import local_trace_entered
from brain_otel.traces.local_trace import LocalTrace
from tests.sentry.conftest import Bridge, Connect
from tests.support import ROOT
from tests.support.ingest import Envelope, SentryIngest, parse_envelope
from tests.support.otlp import refusing
from tests.support.process import PROGRAMS, SLACK, run_python
from tests.support.tiers import quick_first


class Spotlight(ThreadingHTTPServer):
    """A Spotlight that keeps its envelopes, and does not answer while it is `hanging`."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.envelopes: list[Envelope] = []
        self.arrived = threading.Semaphore(0)
        self.answering = threading.Event()
        self.answering.set()
        self.delay = 0.0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/stream"

    def payloads(self, kind: str) -> list[dict[str, Any]]:
        return [item.json for envelope in self.envelopes for item in envelope.items if item.type == kind]

    @property
    def kinds(self) -> dict[str, int]:
        """Count the errors and transactions; a viewer ignores the rest, such as sessions."""
        counted = Counter(item.type for envelope in self.envelopes for item in envelope.items)
        return {kind: counted[kind] for kind in ("event", "transaction") if counted[kind]}

    def __enter__(self) -> Self:
        threading.Thread(target=self.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self.answering.set()
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Spotlight

    def do_POST(self) -> None:
        assert self.path == "/stream", self.path
        assert self.headers["Content-Type"] == "application/x-sentry-envelope"
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.envelopes.append(parse_envelope(body, {}))
        self.server.arrived.release()
        self.server.answering.wait(1_000)
        time.sleep(self.server.delay)
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Stay silent."""


@pytest.fixture
def spotlight() -> Iterator[Spotlight]:
    with Spotlight() as running:
        yield running


# -- through the packaged files ------------------------------------------------------------------------------

SCRIPT = """
import brain_otel, logging, os
if os.environ.get("SETUP"):
    logging.basicConfig(level=logging.INFO)
    brain_otel.setup()
with brain_otel.start_transaction("job"):
    try:
        raise ValueError("broken")
    except ValueError as error:
        print(brain_otel.capture_exception(error))
"""

LAUNCHER = """
import os, sys
command = ["opentelemetry-instrument", sys.executable, "-c", sys.argv[2]]
os.execv(sys.argv[1], command)
"""


def run(value: str | None, *, door: str = "setup", **env: str) -> tuple[str, str]:
    """Run the script with this `SENTRY_SPOTLIGHT`, and return its event id and its log."""
    given = {"SENTRY_ENVIRONMENT": "development", **env}
    given |= {"SENTRY_SPOTLIGHT": value} if value is not None else {}
    if door == "setup":
        done = run_python(SCRIPT, {**given, "SETUP": "1"}, pythonpath=[ROOT])
    else:
        done = run_python(
            LAUNCHER, given, pythonpath=[ROOT], arguments=[str(PROGRAMS / "opentelemetry-instrument"), SCRIPT]
        )
    assert done.returncode == 0, done.stderr
    assert "brain_otel failed" not in done.stderr
    assert "Traceback" not in done.stderr
    return done.stdout.strip(), done.stderr


@pytest.mark.parametrize("door", ["setup", "launcher"])
def test_without_a_dsn_spotlight_alone_gets_errors_and_transactions(door: str, spotlight: Spotlight) -> None:
    """They are sent before the process ends, without a call to `flush()`."""
    event_id, _ = run(spotlight.url, door=door)
    assert spotlight.kinds == {"event": 1, "transaction": 1}
    (event,), (transaction,) = spotlight.payloads("event"), spotlight.payloads("transaction")
    assert event["event_id"] == event_id
    assert event["contexts"]["trace"]["trace_id"] == transaction["contexts"]["trace"]["trace_id"]


@pytest.mark.parametrize("door", ["setup", "launcher"])
def test_with_a_dsn_both_get_the_same(door: str, spotlight: Spotlight, ingest: SentryIngest) -> None:
    """The same event and the same transaction."""
    run(spotlight.url, door=door, SENTRY_DSN=ingest.dsn)
    assert spotlight.payloads("event") == ingest.events
    assert spotlight.payloads("transaction") == ingest.transactions
    assert spotlight.kinds == {"event": 1, "transaction": 1}


@pytest.mark.parametrize("word", ["true", "1"])
def test_true_means_the_default_address(word: str) -> None:
    """That of sentry-sdk."""
    read = read_settings({"SENTRY_SPOTLIGHT": word}, environment="development").sentry
    assert read is not None
    assert read.spotlight == DEFAULT_SPOTLIGHT == DEFAULT_SPOTLIGHT_URL == "http://localhost:8969/stream"


@pytest.mark.parametrize("value", quick_first(["false", None, "0", ""], 2))
def test_false_or_nothing_is_off(value: str | None) -> None:
    """Without a DSN, Sentry is off altogether."""
    _, log = run(value)
    assert "INFO:brain_otel.telemetry:Sentry is off: SENTRY_DSN is not set\n" in log
    assert "potlight" not in log


def test_production_ignores_the_variable(spotlight: Spotlight, ingest: SentryIngest) -> None:
    """A variable left behind there sends nothing."""
    _, log = run(spotlight.url, SENTRY_ENVIRONMENT="production", SENTRY_DSN=ingest.dsn)
    assert spotlight.envelopes == []
    assert "potlight" not in log
    assert len(ingest.events) == 1
    _, log = run(spotlight.url, SENTRY_ENVIRONMENT="production")
    assert spotlight.envelopes == []
    assert "Sentry is off: SENTRY_DSN is not set\n" in log


@pytest.mark.parametrize("value", ["maybe", "localhost:8969", "ftp://localhost/stream", "http://"])
def test_a_value_that_is_no_boolean_or_address_is_an_error(value: str) -> None:
    """It names the place, the value and what is allowed."""
    with pytest.raises(ConfigurationError, match=r"SENTRY_SPOTLIGHT.*allowed: an address such as"):
        read_settings({"SENTRY_SPOTLIGHT": value})


def test_the_log_says_what_spotlight_gets(spotlight: Spotlight, ingest: SentryIngest) -> None:
    """In one line, with and without a DSN."""
    _, alone = run(spotlight.url)
    url = spotlight.url
    line = f"Sentry is off: SENTRY_DSN is not set; Spotlight at {url} gets errors and transactions"
    assert f"INFO:brain_otel.telemetry:{line}\n" in alone
    assert "initialized" not in alone
    _, beside = run(spotlight.url, SENTRY_DSN=ingest.dsn)
    line = f"Sentry initialized | environment=development, traces_sample_rate=1.0, spotlight={url}"
    assert f"INFO:brain_otel.telemetry:{line}\n" in beside
    assert "Sentry is off" not in beside


def test_beside_sentry_by_otlp_it_gets_the_errors(spotlight: Spotlight, ingest: SentryIngest) -> None:
    """Spans use another protocol there; without a DSN they are not sent."""
    _, log = run(spotlight.url, OTEL_TRACES_EXPORTER="sentry_otlp", SENTRY_DSN=ingest.dsn)
    assert spotlight.kinds == {"event": 1}
    assert "traces_sample_rate=1.0, spans by OTLP, spotlight=" in log
    assert [span.name for span in ingest.spans] == ["job"]
    _, log = run(spotlight.url, OTEL_TRACES_EXPORTER="sentry_otlp")
    assert spotlight.kinds == {"event": 2}
    assert f"Sentry is off: SENTRY_DSN is not set; Spotlight at {spotlight.url} gets errors\n" in log


def test_a_dsn_that_the_file_does_not_read_is_not_used(
    spotlight: Spotlight, ingest: SentryIngest, tmp_path: Path
) -> None:
    """sentry-sdk alone would read `SENTRY_DSN`."""
    file = tmp_path / "local.yaml"
    processors = "tracer_provider: {processors: [{sentry: {}}]}"
    ours = f"distribution: {{brain_otel: {{sentry: {{spotlight: '{spotlight.url}'}}}}}}"
    file.write_text(f'file_format: "1.1"\n{processors}\n{ours}\n')
    run(None, SENTRY_DSN=ingest.dsn, OTEL_CONFIG_FILE=str(file))
    assert spotlight.kinds == {"event": 1, "transaction": 1}
    assert ingest.envelopes == []


REQUEST = """
import brain_otel
brain_otel.setup()
from fastapi import FastAPI
from httpx import ASGITransport, AsyncClient
import asyncio
app = FastAPI()

@app.get("/")
async def fail():
    raise ValueError("broken")

async def main():
    transport = ASGITransport(app, raise_app_exceptions=False, client=("192.0.2.7", 1))
    async with AsyncClient(transport=transport, base_url="http://shop") as client:
        await client.get("/?token=s3cret", headers={"Authorization": "s3cret", "X-Real-IP": "192.0.2.7"})

asyncio.run(main())
"""


def test_spotlight_gets_masked_data(spotlight: Spotlight, ingest: SentryIngest) -> None:
    """The same policy holds with and without a DSN, also for the variables of frames."""
    env = {"SENTRY_ENVIRONMENT": "development", "SENTRY_SPOTLIGHT": spotlight.url}
    allowed = {**env, "SENTRY_SEND_DEFAULT_PII": "true"}
    assert run_python(REQUEST, allowed, pythonpath=[ROOT]).returncode == 0
    (personal,) = spotlight.payloads("event")
    assert personal["request"]["env"] == {"REMOTE_ADDR": "192.0.2.7"}
    assert run_python(REQUEST, env, pythonpath=[ROOT]).returncode == 0
    _, alone = spotlight.payloads("event")
    assert run_python(REQUEST, {**env, "SENTRY_DSN": ingest.dsn}, pythonpath=[ROOT]).returncode == 0
    *_, beside = spotlight.payloads("event")
    sent = [*ingest.events, alone, beside, *ingest.transactions]
    assert len(sent) == 4
    frames = [_without_own_source(each) for each in sent]
    assert "192.0.2.7" not in json.dumps(frames)
    assert "s3cret" not in json.dumps([*frames, _without_own_source(personal), *spotlight.payloads("transaction")])


def _without_own_source(event: dict[str, Any]) -> dict[str, Any]:
    """Return the event without the lines of the script, which contain the secrets."""
    for failure in event.get("exception", {}).get("values", ()):
        for frame in failure["stacktrace"]["frames"]:
            for name in ("pre_context", "context_line", "post_context"):
                frame.pop(name, None)
    return event


# -- a Spotlight in trouble ----------------------------------------------------------------------------------


def fail(bridge: Bridge) -> float:
    """Capture an error in a request, and return the seconds it took."""
    started = time.monotonic()
    trace = LocalTrace(kind="request")
    with local_trace_entered(trace), bridge.tracer.start_as_current_span("GET /"):
        capture.capture_exception(ValueError("broken"))
    return time.monotonic() - started


def test_flushing_waits_for_spotlight(spotlight: Spotlight, connect: Connect) -> None:
    """Everything has arrived when `flush()` returns true."""
    spotlight.delay = 0.2
    bridge = connect(spotlight=spotlight.url)
    fail(bridge)
    assert bridge.destination.flush(5.0)
    assert spotlight.kinds == {"event": 1, "transaction": 1}


def test_shutting_down_waits_for_spotlight(spotlight: Spotlight, connect: Connect) -> None:
    """Without a flush before."""
    spotlight.delay = 0.2
    bridge = connect(spotlight=spotlight.url)
    fail(bridge)
    bridge.destination.shutdown(5.0)
    assert spotlight.kinds == {"event": 1, "transaction": 1}


def test_a_hanging_spotlight_delays_nothing(spotlight: Spotlight, connect: Connect, ingest: SentryIngest) -> None:
    """Requests continue, Sentry gets everything, and flushing and shutting down end in time."""
    spotlight.answering.clear()
    bridge = connect(spotlight=spotlight.url)
    for _ in range(20):
        assert fail(bridge) < 0.5 + SLACK
    assert spotlight.arrived.acquire(timeout=5)
    ingest.wait_for(lambda it: len(it.events) == len(it.transactions) == 20)
    started = time.monotonic()
    assert bridge.destination.flush(0.5) is False
    assert time.monotonic() - started < 1.5 + SLACK
    started = time.monotonic()
    bridge.destination.shutdown(0.5)
    assert time.monotonic() - started < 2.0 + SLACK


def test_a_missing_spotlight_delays_nothing(connect: Connect, ingest: SentryIngest) -> None:
    """It usually does not run."""
    with refusing() as address:
        bridge = connect(spotlight=f"{address}/stream")
        assert max(fail(bridge) for _ in range(5)) < 0.5 + SLACK
        assert bridge.destination.flush(5.0)
    assert len(ingest.events) == 5
