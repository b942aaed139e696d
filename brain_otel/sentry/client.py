"""Starts and stops sentry-sdk as a destination of OpenTelemetry's."""

from __future__ import annotations

import contextvars
import logging
import time
import warnings
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.consts import INSTRUMENTER
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.integrations.logging import (
    DEFAULT_EVENT_LEVEL,
    DEFAULT_LEVEL,
    BreadcrumbHandler,
    EventHandler,
    LoggingIntegration,
    SentryLogsHandler,
    ignore_logger,
)
from sentry_sdk.integrations.modules import ModulesIntegration
from sentry_sdk.integrations.threading import ThreadingIntegration
from sentry_sdk.scrubber import EventScrubber
from sentry_sdk.utils import get_default_release

from brain_otel.configuration.settings import DeliverySettings
from brain_otel.delivery.delivery import MAX_ITEMS
from brain_otel.events.error_rules import error_rules
from brain_otel.events.log_correlation import ids_of_log
from brain_otel.runtime.safe_repr import safe_repr
from brain_otel.sentry import stack_frames
from brain_otel.sentry.before_send import before_send, before_send_transaction
from brain_otel.sentry.events import LinkingIntegration
from brain_otel.sentry.spotlight import close_spotlight, flush_spotlight, queue_spotlight
from brain_otel.sentry.transport import DeliveringTransport, delivering

if TYPE_CHECKING:
    from collections.abc import MutableMapping

    from brain_otel.configuration.settings import SentrySettings
    from brain_otel.traces.collector import LocalTraceCollector

logger = logging.getLogger(__name__)

FALLBACK_RELEASE = "0.3.0"
"""The release where nothing tells a better one; the documented default of the service replaced."""

# Loggers whose lines are no news: ours and OpenTelemetry's (a failing exporter must not feed itself), HTTPX's
# line per request (there is a span, and the line holds the query string) and uvicorn's access log.
_QUIET_LOGGERS = (
    "brain_otel",
    "brain_otel.*",
    "opentelemetry",
    "opentelemetry.*",
    "httpx",
    "httpcore",
    "httpcore.*",
    "uvicorn.access",
)


class _WithoutIds:
    """A handler of sentry-sdk's that leaves out the ids that the logging instrumentation gave a record.

    It takes every attribute that it does not know for the application's; the ids are in the trace context. One that
    the application gave the record itself is kept. ``_extra_from_record`` is the one place; a test pins that.
    """

    def _extra_from_record(self, record: logging.LogRecord) -> MutableMapping[str, object]:
        extra: MutableMapping[str, object] = super()._extra_from_record(record)  # type: ignore[misc]  # the handler's
        for name, ours in ids_of_log(record).items():
            if extra.get(name) == ours:
                del extra[name]
        return extra


class _Events(_WithoutIds, EventHandler):
    pass


class _Breadcrumbs(_WithoutIds, BreadcrumbHandler):
    pass


class _Logs(_WithoutIds, SentryLogsHandler):
    pass


def _is_heard(record: logging.LogRecord) -> bool:
    """Whether the logger of ``record`` is not ignored; sentry-sdk's ``ignore_logger`` cannot be taken back."""
    return not error_rules().ignores_logger(record.name)


class UnidentifiedLogging(LoggingIntegration):
    """sentry-sdk's integration of logging, with our handlers in the place of its own."""

    def __init__(self) -> None:
        super().__init__()
        self._handler = _Events(level=DEFAULT_EVENT_LEVEL)
        self._breadcrumb_handler = _Breadcrumbs(level=DEFAULT_LEVEL)
        self._sentry_logs_handler = _Logs(level=DEFAULT_LEVEL)
        for handler in (self._handler, self._breadcrumb_handler, self._sentry_logs_handler):
            handler.addFilter(_is_heard)


def create_release(settings: SentrySettings) -> str:
    """The release to report: as set, else the git commit's, the CI platform's, the service's version."""
    return settings.release or get_default_release() or settings.service_version or FALLBACK_RELEASE


def configure_sentry(
    settings: SentrySettings,
    processor: LocalTraceCollector,
    delivery: DeliverySettings | None = None,
    **options: Any,
) -> sentry_sdk.client.BaseClient:
    """Start sentry-sdk; its own tracing is off (``instrumenter="otel"``), its error capturing is on.

    ``options`` are sentry-sdk's and override ours; tests give a transport in them.
    """
    for name in _QUIET_LOGGERS:
        ignore_logger(name)
    given = {
        "dsn": str(settings.dsn or ""),  # for None sentry-sdk would look at SENTRY_DSN
        "environment": settings.environment,
        "release": create_release(settings),
        "traces_sample_rate": settings.traces_sample_rate,
        "profiles_sample_rate": settings.profiles_sample_rate or None,
        "send_default_pii": settings.send_default_pii or None,
        "debug": settings.debug,
        "spotlight": settings.spotlight or False,  # SENTRY_SPOTLIGHT has been read
        "instrumenter": INSTRUMENTER.OTEL,
        "before_send": before_send,
        "before_send_transaction": before_send_transaction,
        "custom_repr": safe_repr,
        "event_scrubber": EventScrubber(denylist=[], pii_denylist=[]),  # ours is the one policy
        "transport": delivering(delivery or DeliverySettings()),
        "transport_queue_size": MAX_ITEMS,  # envelopes in memory; sentry-sdk's default is a tenth
        "default_integrations": False,
        "auto_enabling_integrations": False,
        "integrations": [
            DedupeIntegration(),
            ExcepthookIntegration(),
            UnidentifiedLogging(),
            ModulesIntegration(),
            ThreadingIntegration(),
            LinkingIntegration(processor),
        ],
        **options,
    }
    with warnings.catch_warnings():
        # The variable is the documented one of the service replaced; upstream would like `data_collection` better.
        warnings.filterwarnings("ignore", "The send_default_pii option is deprecated", DeprecationWarning)
        # Transaction profiles are what the settings offer; the advice to change over is not for our users.
        warnings.filterwarnings("ignore", "Transaction-based profiling is deprecated", DeprecationWarning)
        sentry_sdk.init(**given)
    stack_frames.patch_frame_serialization()
    queue_spotlight(sentry_sdk.get_client())
    return sentry_sdk.get_client()


def flush_sentry(client: Any, timeout: float) -> bool:
    """Send what waits for Sentry and for Spotlight within ``timeout`` seconds; whether all of it was."""
    deadline = time.monotonic() + timeout
    client.flush(timeout=timeout)  # both send on threads of their own; here they are waited for
    transport = client.transport
    complete = not isinstance(transport, DeliveringTransport) or transport.delivery.flush(0.0)
    return flush_spotlight(client, max(0.0, deadline - time.monotonic())) and complete


def end_sentry(client: Any) -> None:
    """The process ends: leave in good order what has not been sent."""
    transport = client.transport
    if isinstance(transport, DeliveringTransport):
        transport.delivery.end()


def pressure_on(client: Any) -> int:
    """How many times sentry-sdk's health monitor wants the rate to be halved: Sentry answers 429, or much waits."""
    monitor = client.monitor
    if monitor is None:
        return 0
    # It starts its thread when it is asked, to which sentry-sdk would hand the scopes of the request at hand.
    factor: int = contextvars.Context().run(getattr, monitor, "downsample_factor")
    return factor


def close_sentry(timeout: float) -> None:
    """Send what waits, within ``timeout`` seconds, and stop the client."""
    deadline = time.monotonic() + timeout
    client = sentry_sdk.get_client()
    client.close(timeout=timeout)
    close_spotlight(client, max(0.0, deadline - time.monotonic()))
    sentry_sdk.get_global_scope().set_client(None)
    stack_frames.undo()
