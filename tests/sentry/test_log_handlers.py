"""sentry-sdk's handlers of log records get them without the trace ids, and not from ignored loggers."""

import logging
from collections.abc import Iterator
from typing import Any

import pytest
from sentry_sdk.integrations.logging import BreadcrumbHandler, EventHandler, LoggingIntegration, SentryLogsHandler

from brain_otel.configuration.sections.errors import ErrorSettings
from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.events.error_rules import configure_error_rules
from brain_otel.events.listeners import local_trace_entered
from brain_otel.instrumentation.logging import LoggingInstrumentation
from brain_otel.runtime import guard
from brain_otel.sentry import log_records
from brain_otel.sentry.log_handlers import LogIntegration
from brain_otel.traces.local_trace import LocalTrace
from tests.sentry.conftest import Bridge
from tests.support.ingest import Json

logger = logging.getLogger("shop")


@pytest.fixture(autouse=True)
def _ids_on_records() -> Iterator[None]:
    instrumentation = LoggingInstrumentation()
    instrumentation.instrument(InstrumentationSettings())
    yield
    instrumentation.uninstrument()


class KeepingHandler(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


def event_of(bridge: Bridge) -> Json:
    bridge.flush()
    bridge.ingest.wait_for(lambda it: len(it.events) == 1)
    (event,) = bridge.ingest.events
    return event


def test_the_ids_of_the_trace_are_no_extra(bridge: Bridge) -> None:
    """The trace context has them; the application's attributes stay, in events and breadcrumbs."""
    with local_trace_entered(LocalTrace(kind="request")), bridge.tracer.start_as_current_span("GET /") as span:
        logger.warning("before", extra={"order": 6})
        logger.error("failed", extra={"order": 7})
    event = event_of(bridge)
    assert event["extra"].keys() - {"sys.argv"} == {"order"}
    assert event["contexts"]["trace"]["trace_id"] == f"{span.get_span_context().trace_id:032x}"
    (crumb,) = event["breadcrumbs"]["values"]
    assert crumb["data"] == {"order": 6}


def test_an_id_of_the_application_stays(bridge: Bridge) -> None:
    """It may call something else by that name."""
    logger.error("failed", extra={"trace_id": "mine", "span_id": ""})
    assert event_of(bridge)["extra"].keys() - {"sys.argv"} == {"trace_id"}


def test_the_applications_handlers_get_the_record_unchanged(bridge: Bridge) -> None:
    """sentry-sdk's get a copy."""
    handler = KeepingHandler()
    logger.addHandler(handler)
    try:
        with local_trace_entered(LocalTrace(kind="request")), bridge.tracer.start_as_current_span("GET /"):
            logger.error("failed")
    finally:
        logger.removeHandler(handler)
    event_of(bridge)
    (record,) = handler.records
    assert len(vars(record)["trace_id"]) == 32


def test_ignored_loggers_make_neither_events_nor_breadcrumbs(bridge: Bridge) -> None:
    """The current rules hold, also after they change."""
    quiet = logging.getLogger("shop.quiet")
    configure_error_rules(ErrorSettings(ignored_loggers=("shop.quiet",)))
    try:
        with local_trace_entered(LocalTrace(kind="request")):
            quiet.error("one")
            quiet.warning("two")
            configure_error_rules(ErrorSettings())
            quiet.error("three")
    finally:
        configure_error_rules(ErrorSettings())
    event = event_of(bridge)
    assert event["logentry"]["message"] == "three"
    assert "breadcrumbs" not in event


def test_a_record_whose_ids_cannot_be_removed_is_sent(bridge: Bridge, monkeypatch: pytest.MonkeyPatch) -> None:
    """With its ids as extra data."""

    def fail(record: logging.LogRecord) -> Any:
        raise RuntimeError("no ids")

    guard.reraise_failures(False)
    monkeypatch.setattr(log_records, "ids_of_log", fail)
    logger.error("failed")
    assert event_of(bridge)["logentry"]["message"] == "failed"


def test_every_handler_of_the_integration_is_ours() -> None:
    """With the levels of sentry-sdk's; the integration takes its place in the list of integrations."""

    def levels(integration: LoggingIntegration) -> dict[str, int]:
        handlers = {name: each for name, each in vars(integration).items() if isinstance(each, logging.Handler)}
        return {name: each.level for name, each in handlers.items()}

    assert levels(LogIntegration()) == levels(LoggingIntegration())
    assert len(levels(LogIntegration())) == 3
    kinds = {type(each) for each in vars(LogIntegration()).values() if isinstance(each, logging.Handler)}
    assert kinds.isdisjoint({EventHandler, BreadcrumbHandler, SentryLogsHandler})
    assert LogIntegration.identifier == LoggingIntegration.identifier
