"""``monitor``: a context manager and a decorator that tells Sentry when a job starts and how it ends."""

import time
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Self

from brain_otel.events import check_ins
from brain_otel.events.check_ins import CheckIn
from brain_otel.events.listeners import notify
from brain_otel.runtime.context_decorator import ContextDecorator
from brain_otel.runtime.guard import guarded
from brain_otel.traces import local_trace
from brain_otel.tracing import Span, start_span, start_transaction

SLUG = "brain_otel.monitor.slug"
"""The attribute with the monitor's name."""

OP = "cron"


def send_check_in(check_in: CheckIn) -> None:
    """Send ``check_in`` to each destination that takes check-ins."""
    notify("sending a check-in", lambda listener: listener.on_check_in(check_in))


class monitor(ContextDecorator[Span]):  # noqa: N801 - a decorator and context manager, as in sentry-sdk
    """Monitor a job: check-ins tell Sentry when it starts, how it ends and how long it takes.

    Use it as a context manager (``with`` or ``async with``), which yields the :class:`Span`, or as a decorator. The
    job is a transaction with the op ``cron``, or a span of the current one; the check-ins carry its trace. Other
    destinations get the span alone.

    Args:
        slug: The monitor's name in Sentry: up to 50 letters, digits, ``-`` and ``_``.
        schedule: When the job runs, so that Sentry creates the monitor: the five fields of a crontab, a ``timedelta``
            of whole minutes, or ``{"value": 10, "unit": "minute"}``. None: the monitor exists in Sentry.
        timezone: The time zone of the schedule; Sentry's default is UTC.
        checkin_margin: Minutes that the job may be late.
        max_runtime: Minutes that it may take.
        failure_issue_threshold: How many failures in a row make an issue.
        recovery_threshold: How many successes in a row resolve it.

    Raises:
        ConfigurationError: An argument is wrong; the message names it, its value and what is allowed.
    """

    def __init__(
        self,
        slug: str,
        schedule: str | timedelta | Mapping[str, Any] | None = None,
        *,
        timezone: str | None = None,
        checkin_margin: int | None = None,
        max_runtime: int | None = None,
        failure_issue_threshold: int | None = None,
        recovery_threshold: int | None = None,
    ) -> None:
        self._slug = check_ins.check_slug(slug)
        options = {
            "timezone": timezone,
            "checkin_margin": checkin_margin,
            "max_runtime": max_runtime,
            "failure_issue_threshold": failure_issue_threshold,
            "recovery_threshold": recovery_threshold,
        }
        self._config = check_ins.monitor_config(slug, schedule, options)
        self._running: list[_Run] = []

    def __enter__(self) -> Span:
        run = _Run(self._slug, self._config)
        self._running.append(run)
        return run.span

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        if self._running:
            self._running.pop().end(error)

    def _fresh(self) -> Self:
        made = object.__new__(type(self))
        made._slug, made._config, made._running = self._slug, self._config, []
        return made


class _Run:
    """One run of a monitored job."""

    def __init__(self, slug: str, config: Mapping[str, Any] | None) -> None:
        start = start_transaction if local_trace.current() is None else _start_span
        self._entered = start(slug, OP, **{SLUG: slug})
        self.span = self._entered.__enter__()
        self._check_in = CheckIn(check_ins.new_id(), slug, check_ins.IN_PROGRESS, config=config)
        self._started = time.monotonic()
        with guarded("sending a check-in"):
            send_check_in(self._check_in)

    def end(self, error: BaseException | None) -> None:
        with guarded("sending a check-in"):
            status = check_ins.OK if is_success(error) else check_ins.ERROR
            duration = check_ins.whole(time.monotonic() - self._started)
            send_check_in(self._check_in._replace(status=status, duration=duration))
        self._entered.__exit__(type(error) if error is not None else None, error, None)


def _start_span(name: str, op: str, **attributes: Any) -> Any:
    return start_span(op, name, **attributes)


def is_success(error: BaseException | None) -> bool:
    """Whether a job that ended with ``error`` succeeded; ``sys.exit()`` without a code, or with 0, is a success."""
    return error is None or (isinstance(error, SystemExit) and error.code in (None, 0))
