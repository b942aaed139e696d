"""Transaction profiles under OpenTelemetry."""

import gc
import sys
import threading
import time
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import pytest
from opentelemetry import context as otel_context
from sentry_sdk.profiler.transaction_profiler import Profile, teardown_profiler

from brain_otel.events.listeners import local_trace_entered
from brain_otel.privacy import Policy
from brain_otel.runtime import guard
from brain_otel.sentry import envelopes
from brain_otel.traces.local_trace import LocalTrace
from tests.sentry.conftest import Connect
from tests.support.ingest import SentryIngest


@pytest.fixture(autouse=True)
def _profiler() -> Iterator[None]:
    yield
    teardown_profiler()


def be_busy(seconds: float = 0.15) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        sum(range(500))


def test_a_slow_transaction_has_a_profile(connect: Connect, ingest: SentryIngest) -> None:
    """It arrives in the transaction's envelope, and the transaction names it."""
    bridge = connect(profiles_sample_rate=1.0)
    with local_trace_entered(LocalTrace(kind="request")), bridge.tracer.start_as_current_span("slow"):
        be_busy()
    transaction = bridge.transaction()
    (profile,) = ingest.profiles
    assert transaction["contexts"]["profile"] == {"profile_id": profile["event_id"]}
    (within,) = profile["transactions"]
    assert within["name"] == "slow"
    assert within["trace_id"] == transaction["contexts"]["trace"]["trace_id"]
    assert within["id"] == transaction["event_id"]
    assert within["active_thread_id"] == str(threading.get_ident())
    assert profile["timestamp"] == transaction["start_timestamp"]
    assert datetime.fromisoformat(profile["timestamp"]).tzinfo is not None
    assert (profile["release"], profile["environment"], profile["version"]) == ("shop@1", "test", "1")
    assert "be_busy" in {frame["function"] for frame in profile["profile"]["frames"]}
    assert "profile" not in transaction
    (envelope,) = [each for each in ingest.envelopes if "transaction" in [item.type for item in each.items]]
    assert {item.type for item in envelope.items} == {"transaction", "profile"}


def test_a_profile_shows_the_thread_that_works(connect: Connect, ingest: SentryIngest) -> None:
    """For a sync endpoint it is the worker's thread, not the event loop's."""
    bridge = connect(profiles_sample_rate=1.0)
    ids: list[int] = []
    with local_trace_entered(LocalTrace(kind="request")), bridge.tracer.start_as_current_span("slow"):
        context = otel_context.get_current()

        def work() -> None:
            ids.append(threading.get_ident())
            with bridge.tracer.start_as_current_span("work", context=context):
                be_busy()

        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    bridge.transaction()
    (profile,) = ingest.profiles
    assert profile["transactions"][0]["active_thread_id"] == str(ids[0])


@pytest.mark.parametrize(("rate", "seconds"), [(0.0, 0.15), (1.0, 0.0)])
def test_a_transaction_that_is_not_chosen_or_too_short_has_no_profile(
    connect: Connect, ingest: SentryIngest, rate: float, seconds: float
) -> None:
    """The transaction names none."""
    bridge = connect(profiles_sample_rate=rate)
    with bridge.tracer.start_as_current_span("root"):
        be_busy(seconds)
    transaction = bridge.transaction()
    assert "profile" not in transaction["contexts"]
    assert ingest.profiles == []


def test_an_unsampled_trace_is_not_profiled(connect: Connect, ingest: SentryIngest) -> None:
    """The rate applies to sampled transactions."""
    bridge = connect(sampled=False, profiles_sample_rate=1.0)
    trace = LocalTrace(kind="request")
    with local_trace_entered(trace), bridge.tracer.start_as_current_span("root"):
        be_busy()
    assert "sentry.profile" not in trace.extras
    bridge.flush()
    assert ingest.profiles == []


def test_names_in_a_profile_are_masked(connect: Connect, ingest: SentryIngest) -> None:
    """Those of the transaction and of the threads."""
    bridge = connect(profiles_sample_rate=1.0)
    ended = threading.Event()
    thread = threading.Thread(target=ended.wait, name="worker password=hunter2")
    thread.start()
    try:
        with (
            local_trace_entered(LocalTrace(kind="request")),
            bridge.tracer.start_as_current_span("job password=hunter2"),
        ):
            be_busy()
        bridge.transaction()
    finally:
        ended.set()
        thread.join()
    (profile,) = ingest.profiles
    assert profile["transactions"][0]["name"] == "job password=[Filtered]"
    names = {each["name"] for each in profile["profile"]["thread_metadata"].values()}
    assert "worker password=[Filtered]" in names
    assert "hunter2" not in str(profile["profile"]["thread_metadata"])


def test_a_profile_that_cannot_be_masked_is_left_out(
    connect: Connect, ingest: SentryIngest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its transaction arrives."""

    class Failing(Policy):
        def text(self, *_: str) -> str:
            raise RuntimeError("mask")

    bridge = connect(profiles_sample_rate=1.0)
    guard.reraise_failures(False)
    with local_trace_entered(LocalTrace(kind="request")), bridge.tracer.start_as_current_span("root"):
        be_busy()
        monkeypatch.setattr(envelopes, "policy", Failing)
    assert bridge.transaction()["transaction"] == "root"
    assert ingest.profiles == []


def test_no_collection_begins_while_frames_are_read(connect: Connect, monkeypatch: pytest.MonkeyPatch) -> None:
    """It would deadlock some versions of Python (https://github.com/python/cpython/issues/106883)."""
    seen: list[bool] = []
    read = sys._current_frames

    def current_frames() -> Any:
        seen.append(gc.isenabled())
        return read()

    monkeypatch.setattr(sys, "_current_frames", current_frames)
    bridge = connect(profiles_sample_rate=1.0)
    for _ in range(2):
        with local_trace_entered(LocalTrace(kind="request")), bridge.tracer.start_as_current_span("slow"):
            be_busy()
    bridge.flush()
    assert len(seen) > 2
    assert not any(seen)
    assert gc.isenabled()


@pytest.mark.parametrize("method", ["stop", "valid"])
def test_a_transaction_arrives_without_a_profile_that_fails(
    connect: Connect, ingest: SentryIngest, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    """Whatever sentry-sdk's profile raises."""

    def fail(profile: Profile) -> Any:
        raise RuntimeError("profile")

    bridge = connect(profiles_sample_rate=1.0)
    guard.reraise_failures(False)
    with monkeypatch.context() as patched:
        with local_trace_entered(LocalTrace(kind="request")), bridge.tracer.start_as_current_span("root"):
            be_busy()
            patched.setattr(Profile, method, fail)
        assert bridge.transaction()["transaction"] == "root"
