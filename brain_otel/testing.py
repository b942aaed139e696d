"""The pytest fixture ``telemetry``: captures everything in memory for one test, and restores the process.

The package registers it as a pytest plugin, which does nothing until a test uses it. Spans, Sentry's events and
transactions, breadcrumbs and logs are plain dicts. Events and transactions are as they would have been sent; spans
are not masked.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

_DSN = "http://public@127.0.0.1:9/1"


class Telemetry:
    """Everything captured since the test started, oldest first."""

    def __init__(self, session: Any) -> None:
        self._session = session

    @property
    def spans(self) -> list[dict[str, Any]]:
        """The spans that have ended: ``name``, ids, ``kind``, ``status``, ``attributes``, ``events``, times."""
        return [_span(span) for span in self._session.spans.spans]

    @property
    def events(self) -> list[dict[str, Any]]:
        """The errors and messages as Sentry would receive them."""
        return self._captured("event")

    @property
    def transactions(self) -> list[dict[str, Any]]:
        """The transactions as Sentry would receive them."""
        return self._captured("transaction")

    @property
    def breadcrumbs(self) -> list[dict[str, Any]]:
        """The breadcrumbs of the helper and of log records."""
        return [dict(crumb) for crumb in self._session.breadcrumbs]

    @property
    def logs(self) -> list[dict[str, Any]]:
        """The log records of errors, messages and the application's loggers."""
        return [_log(record.log_record) for record in self._session.logs.get_finished_logs()]

    def assert_private(self, *values: str) -> None:
        """Fail if one of ``values`` would have left, and say where.

        Everything captured is searched: events, transactions, spans, logs and breadcrumbs. Spans and logs are masked
        first, as for a destination. Each value is searched for regardless of case, and as a ``repr``, JSON, HTML,
        percent-encoded once and twice, hexadecimal, base64 and reversed.

        Raises:
            AssertionError: a value was found; the message has the places.
            ValueError: a value is shorter than 4 characters.
        """
        from brain_otel.privacy import policy
        from brain_otel.privacy.attributes import masked_attributes
        from brain_otel.privacy.canary import places_of
        from brain_otel.privacy.spans import MaskedSpan

        by = policy()
        sent = {
            "events": self.events,
            "transactions": self.transactions,
            "spans": [_span(MaskedSpan(span)) for span in self._session.spans.spans],
            "logs": [
                {**log, "body": by.value(log["body"]), "attributes": masked_attributes(by, log["attributes"])}
                for log in self.logs
            ],
            "breadcrumbs": [by.value(crumb) for crumb in self.breadcrumbs],
        }
        found = {value: places for value in values if (places := list(places_of(value, sent)))}
        if found:
            raise AssertionError(f"values that must stay private would leave: {found}")

    def clear(self) -> None:
        """Discard what was captured so far."""
        self._session.clear()

    def use_sequential_ids(self) -> None:
        """Number trace and span ids from 1 on, so that every run has the same ids."""
        self._session.ids.sequential()

    def use_clock(self, start: float = 1_767_225_600.0, step: float = 0.001) -> None:
        """Start the clock of spans at ``start``, seconds since 1970, and advance it ``step`` seconds per reading."""
        self._session.use_clock(start, step)

    def _captured(self, item_type: str) -> list[dict[str, Any]]:
        from brain_otel.sentry.memory_transport import captured
        from brain_otel.telemetry import flush

        flush()
        return captured(item_type)


@pytest.fixture
def telemetry() -> Iterator[Telemetry]:
    """Set brain_otel up in memory for one test; the next test starts clean."""
    with captured_telemetry() as captured:
        yield captured


@contextlib.contextmanager
def captured_telemetry(environ: dict[str, str] | None = None) -> Iterator[Telemetry]:
    """The fixture as a context manager.

    Args:
        environ: Variables as for ``setup()``, such as ``SENTRY_TRACES_SAMPLE_RATE``; the process's are not read.

    Raises:
        RuntimeError: brain_otel is set up already, so it could not capture everything; or the process has
            ``OTEL_SDK_DISABLED=true``, which OpenTelemetry's SDK reads too.
    """
    from brain_otel.testing_session import Session

    variables = {"SENTRY_DSN": _DSN, "SENTRY_ENVIRONMENT": "test", "SENTRY_RELEASE": "test", **(environ or {})}
    with Session(variables) as session:
        yield Telemetry(session)


def _span(span: ReadableSpan) -> dict[str, Any]:
    context = span.get_span_context()
    return {
        "name": span.name,
        "trace_id": f"{context.trace_id:032x}" if context else None,
        "span_id": f"{context.span_id:016x}" if context else None,
        "parent_span_id": f"{span.parent.span_id:016x}" if span.parent else None,
        "kind": span.kind.name.lower(),
        "status": span.status.status_code.name.lower(),
        "status_description": span.status.description,
        "attributes": dict(span.attributes or {}),
        "events": [{"name": each.name, "attributes": dict(each.attributes or {})} for each in span.events],
        "links": [f"{each.context.trace_id:032x}-{each.context.span_id:016x}" for each in span.links],
        "start_time": (span.start_time or 0) / 1e9,
        "end_time": (span.end_time or 0) / 1e9,
    }


def _log(record: Any) -> dict[str, Any]:
    return {
        "body": record.body,
        "severity": record.severity_text,
        "trace_id": f"{record.trace_id:032x}" if record.trace_id else None,
        "span_id": f"{record.span_id:016x}" if record.span_id else None,
        "attributes": dict(record.attributes or {}),
    }
