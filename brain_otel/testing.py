"""The pytest fixture ``telemetry``: captures everything in memory for one test, and restores the process.

The package registers it as a pytest plugin, which does nothing until a test uses it. Spans, Sentry's events and
transactions, breadcrumbs and logs are plain dicts. Events and transactions are as they would have been sent. Spans
are raw; :meth:`Telemetry.assert_private` checks them as a destination would receive them.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

_DSN = "http://public@127.0.0.1:9/1"


class Telemetry:
    """Everything captured since the test started, oldest first."""

    def __init__(self, session: Any) -> None:
        self._session = session

    @property
    def spans(self) -> list[dict[str, Any]]:
        """The spans that have ended: ``name``, ids, ``kind``, ``status``, ``attributes``, ``events``, times."""
        from brain_otel.testing_session import span_data

        return [span_data(span) for span in self._session.spans.spans]

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
        from brain_otel.testing_session import log_data

        return [log_data(record.log_record) for record in self._session.logs.get_finished_logs()]

    @property
    def log_items(self) -> list[dict[str, Any]]:
        """The log records from INFO on as Sentry would receive them, with ``SENTRY_ENABLE_LOGS`` or without it."""
        return [item for batch in self._captured("log") for item in batch["items"]]

    @property
    def feedback(self) -> list[dict[str, Any]]:
        """The users' feedback as Sentry would receive it; its words are in ``["contexts"]["feedback"]``."""
        return self._captured("feedback")

    @property
    def measurements(self) -> dict[str, dict[str, Any]]:
        """The measurements of all transactions by name, each with ``value`` and ``unit``; the latest of a name."""
        found = [each.get("measurements") or {} for each in self.transactions]
        return {name: each for measurements in found for name, each in measurements.items()}

    def assert_private(self, *values: str) -> None:
        """Fail if one of ``values`` would have left, and say where.

        Everything captured is searched: what Sentry would receive, spans, logs and breadcrumbs, masked as for a
        destination, with their scopes, resources and links. Case does not matter. A value is found even if it is
        encoded up to three times over, by percent-encoding, HTML, the escapes of JSON or a ``repr``, base64 or
        hexadecimal digits, and also in UTF-16 and reversed.

        Raises:
            AssertionError: a value was found; the message has the places.
            ValueError: a value is shorter than 4 characters.
        """
        from brain_otel.privacy.canary import places_of

        sent = self._session.sent()
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
