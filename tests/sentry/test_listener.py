"""What is loaded with its first use: an application without a lifespan, whose first event comes at a bad moment."""

import json
from collections import Counter
from typing import Any

import pytest
import sentry_sdk

from brain_otel.events.listeners import kept_apart
from brain_otel.runtime import guard
from brain_otel.sentry import records
from brain_otel.sentry.listener import SentryListener
from tests.sentry.conftest import Bridge
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import run_python

SCRIPT = """
import logging, os, resource, sys
import brain_otel, sentry_sdk
brain_otel.setup()
logging.getLogger("brain_otel").addHandler(logging.StreamHandler(sys.stdout))

def capture(kind):
    try:
        raise ValueError(kind)
    except ValueError as error:
        if kind == "exception":
            brain_otel.capture_exception(error)
        elif kind == "message":
            brain_otel.capture_message(kind)
        elif kind == "log":
            logging.getLogger("shop").exception(kind)
        elif kind == "sentry-sdk":
            sentry_sdk.capture_exception(error)
        elif kind == "transaction":
            with brain_otel.start_transaction(kind):
                pass
            brain_otel.flush()

before = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (3 + max(map(int, os.listdir("/dev/fd"))), before[1]))
held = []
try:
    while True:
        held.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
capture(sys.argv[1])
for each in held:
    os.close(each)
resource.setrlimit(resource.RLIMIT_NOFILE, before)
capture(sys.argv[1])
print(brain_otel.flush(10))
"""

CATEGORIES = {"transaction": Counter(transaction=1, span=1)}


@pytest.mark.parametrize("kind", ["exception", "message", "log", "sentry-sdk", "transaction"])
def test_what_cannot_be_loaded_costs_one_event_which_is_counted(kind: str, ingest: SentryIngest) -> None:
    """There is no descriptor to import with. The application goes on, and the next event is sent."""
    variables = {"SENTRY_DSN": ingest.dsn, "SENTRY_ENVIRONMENT": "production", "SENTRY_TRACES_SAMPLE_RATE": "1.0"}
    variables["SENTRY_PROFILES_SAMPLE_RATE"] = "0"
    done = run_python(SCRIPT, variables, pythonpath=[ROOT], arguments=[kind], fresh=True)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ["True"]), done.stderr
    ingest.wait_for(lambda it: bool(it.client_reports))
    lost: Counter[str] = Counter()
    for report in ingest.client_reports:
        for each in report["discarded_events"]:
            lost[each["category"]] += each["quantity"]
    assert lost == CATEGORIES.get(kind, Counter(error=1)), json.dumps(ingest.client_reports)
    assert len(ingest.events) + len(ingest.transactions) == 1
    lines = [line.partition(";")[0] for line in done.stdout.splitlines() if line.startswith("brain_otel failed")]
    assert lines
    assert len(lines) == len(set(lines))


def fail(*_: Any, **__: Any) -> None:
    raise ImportError("injected")


def test_a_request_is_kept_apart_also_where_the_scopes_cannot_be_loaded(
    bridge: Bridge, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A health check has no local trace; what it puts on its scope stays on it."""
    guard.reraise_failures(False)
    monkeypatch.setattr(SentryListener, "_created_base", fail)
    before = sentry_sdk.get_isolation_scope()
    with kept_apart(cheaply=True):
        assert sentry_sdk.get_isolation_scope() is not before
        sentry_sdk.set_tag("check", "health")
    assert sentry_sdk.get_isolation_scope() is before
    assert "check" not in before._tags


def test_an_envelope_that_becomes_no_record_is_counted(
    bridge: Bridge, ingest: SentryIngest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sentry-sdk's own functions do not raise either."""
    guard.reraise_failures(False)
    with monkeypatch.context() as broken:
        broken.setattr(records, "records_of", fail)
        sentry_sdk.capture_message("lost")
    sentry_sdk.capture_message("sent")
    bridge.flush()
    ingest.wait_for(lambda it: bool(it.client_reports))
    assert [each["message"] for each in ingest.events] == ["sent"]
    (report,) = ingest.client_reports
    lost = {"reason": "internal_sdk_error", "category": "error", "quantity": 1}
    assert report["discarded_events"] == [lost]
