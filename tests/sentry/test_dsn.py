"""The addresses behind a DSN, and the test event of `brain-otel doctor`."""

import time

import pytest

from brain_otel.configuration.sections.sentry import Secret, SentrySettings
from brain_otel.delivery import DeliveryError, PartialDelivery
from brain_otel.sentry.dsn import envelope_address, otlp_address, probe_event
from tests.support.ingest import SentryIngest
from tests.support.otlp import refusing
from tests.support.relay import assert_accepted


@pytest.mark.parametrize(
    ("dsn", "base", "project"),
    [
        ("https://key@o1.ingest.sentry.io/42", "https://o1.ingest.sentry.io", "42"),
        ("https://key:secret@sentry.example:9000/42", "https://sentry.example:9000", "42"),
        ("http://key@sentry.example/behind/a/prefix/7", "http://sentry.example/behind/a/prefix", "7"),
    ],
)
def test_the_addresses_of_a_project(dsn: str, base: str, project: str) -> None:
    """As Sentry documents them, for hosted and self-hosted Sentry."""
    assert envelope_address(dsn) == f"{base}/api/{project}/envelope/"
    address, headers = otlp_address(dsn)
    assert address == f"{base}/api/{project}/integration/otlp/v1/traces/"
    (value,) = headers.values()
    assert list(headers) == ["X-Sentry-Auth"]
    assert value.startswith("Sentry sentry_key=key, sentry_version=7, sentry_client=sentry.python/")
    assert ("sentry_secret=secret" in value) is (":secret@" in dsn)
    assert "secret" not in address


def settings_for(dsn: str) -> SentrySettings:
    return SentrySettings(dsn=Secret(dsn), environment="staging", release="shop@1")


def test_a_test_event_is_delivered(ingest: SentryIngest) -> None:
    """An ordinary event of the environment, which Relay accepts, and nothing else."""
    assert probe_event(settings_for(ingest.dsn), 5.0) == "an event delivered"
    (item,) = ingest.items()
    assert item.type == "event"
    event = item.json
    assert_accepted(event)
    assert (event["environment"], event["level"]) == ("staging", "info")
    assert "brain_otel doctor" in event["message"]


@pytest.mark.parametrize("status", [400, 401, 403, 413, 429, 500, 503])
def test_a_rejected_test_event_is_an_error(status: int, ingest: SentryIngest) -> None:
    """The status says why: 401 and 403 the key, 429 the quota."""
    ingest.respond = lambda: (status, {})
    with pytest.raises(DeliveryError, match=f"HTTP {status}"):
        probe_event(settings_for(ingest.dsn), 5.0)


def test_no_answer_is_an_error_in_time(ingest: SentryIngest) -> None:
    """After the given seconds."""
    ingest.delay = 3.0
    started = time.monotonic()
    with pytest.raises(DeliveryError, match=r"no answer within 0\.3 s"):
        probe_event(settings_for(ingest.dsn), 0.3)
    assert time.monotonic() - started < 2.5


def test_no_connection_is_an_error(caplog: pytest.LogCaptureFixture) -> None:
    """On one line, with the reason."""
    with refusing() as address, pytest.raises(DeliveryError, match="refused") as told:
        probe_event(settings_for(address.replace("://", "://key@") + "/42"), 5.0)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize(
    "limit", ["60:error;default:key:quota", "60::organization", "9:transaction:key, 60:error:key"]
)
def test_a_used_up_quota_is_an_error(limit: str, ingest: SentryIngest) -> None:
    """Sentry answers 200 then, and a header names the categories that it discards."""
    ingest.respond = lambda: (200, {"X-Sentry-Rate-Limits": limit})
    with pytest.raises(DeliveryError, match="rate limit 60:"):
        probe_event(settings_for(ingest.dsn), 5.0)


def test_a_used_up_quota_of_another_category_is_no_error(ingest: SentryIngest) -> None:
    """Sentry accepts errors while it discards transactions."""
    ingest.respond = lambda: (200, {"X-Sentry-Rate-Limits": "60:transaction;span:key:quota"})
    assert probe_event(settings_for(ingest.dsn), 5.0) == "an event delivered"


def test_a_server_that_refuses_transactions_is_a_warning(ingest: SentryIngest) -> None:
    """It says so when it gets one; without tracing none is sent, and a short limit is no reason to warn."""
    limits = {"X-Sentry-Rate-Limits": "86400:transaction:organization:unsupported"}
    ingest.respond = lambda: (200, limits if ingest.transactions else {})
    given = settings_for(ingest.dsn)
    with pytest.raises(PartialDelivery, match="an event delivered, but Sentry accepts no transaction for 86400 s"):
        probe_event(given, 5.0, with_transaction=True)
    assert_accepted(ingest.transactions[0])
    ingest.clear()
    assert probe_event(given._replace(traces_sample_rate=0.0), 5.0, with_transaction=True) == "an event delivered"
    assert ingest.transactions == []
    ingest.respond = lambda: (200, {"X-Sentry-Rate-Limits": "60:transaction"})
    assert probe_event(given, 5.0, with_transaction=True) == "an event delivered"
