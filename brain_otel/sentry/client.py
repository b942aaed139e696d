"""Starts and stops sentry-sdk, and knows its options."""

import contextvars
import importlib.util
import time
import warnings
from collections import Counter
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.client import BaseClient
from sentry_sdk.consts import DEFAULT_OPTIONS, INSTRUMENTER
from sentry_sdk.integrations.dedupe import DedupeIntegration
from sentry_sdk.integrations.excepthook import ExcepthookIntegration
from sentry_sdk.integrations.logging import ignore_logger, ignore_logger_for_sentry_logs
from sentry_sdk.integrations.modules import ModulesIntegration
from sentry_sdk.scrubber import EventScrubber

from brain_otel.configuration.identity import find_release
from brain_otel.configuration.options import Options
from brain_otel.configuration.sections.delivery import DeliverySettings
from brain_otel.configuration.sections.sentry import SentrySettings
from brain_otel.configuration.settings import Settings
from brain_otel.delivery.delivery import MAX_ITEMS
from brain_otel.privacy import masked_url, policy
from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.imports import LateModule
from brain_otel.runtime.safe_repr import safe_repr
from brain_otel.runtime.text import word_set
from brain_otel.sentry import serialization
from brain_otel.sentry.callbacks import before_send, before_send_telemetry, before_send_transaction, unless_looking
from brain_otel.sentry.listener import LinkingIntegration
from brain_otel.sentry.log_handlers import LogIntegration
from brain_otel.sentry.propagation_context import report_our_traces, undo_propagation
from brain_otel.sentry.sole_client import keep_client, release_client, warn_of_client
from brain_otel.sentry.transport import DeliveringTransport, delivering
from brain_otel.traces.collector import LocalTraceCollector

if TYPE_CHECKING:
    from brain_otel.sentry import spotlight
else:
    # Only a client that has a Spotlight loads it, at set-up; so it is not among the modules that are loaded later.
    spotlight = LateModule("brain_otel.sentry.spotlight")

_QUIET_LOGGERS = word_set("""
    brain_otel brain_otel.* opentelemetry opentelemetry.* httpx httpcore httpcore.* uvicorn.access
    celery.worker.request multiprocessing
""")
"""Loggers without events, breadcrumbs and log items.

A failing exporter must not feed itself, hence ours and OpenTelemetry's. Others log a line per request, for which
there is a span; HTTPX's line holds the query string. The last two log up to four lines about one task of Celery whose
process has ended, which the instrumentation reports.
"""

_PROFILES = "Transaction-based profiling is deprecated"
_DEPRECATED = {
    # The variable belongs to the service replaced; upstream recommends `data_collection`.
    "send_default_pii": "The send_default_pii option is deprecated",
    # The settings offer transaction profiles; upstream's advice to migrate is not for our users.
    "profiles_sample_rate": _PROFILES,
    "profiles_sampler": _PROFILES,
    "_experiments": _PROFILES,
}
"""Options of sentry-sdk whose deprecation is not logged, and the beginning of the warning."""

_SEPARATORS = str.maketrans("._@+-", "     ")
_HEX = frozenset("0123456789abcdef")


def _is_plain_name(text: Any) -> bool:
    """Whether ``text`` is a release or host that no rule masks; to see that, set-up would compile the rules."""
    if not isinstance(text, str):
        return text is None
    words = text.translate(_SEPARATORS).split(" ")
    if len(text) == 40 and _HEX.issuperset(text):  # a commit
        return True
    is_short = max(map(len, words)) <= 16 and sum(map(str.isdigit, text)) <= 12  # no key, no card
    return text.isascii() and is_short and all(not word or word.isalnum() for word in words)


def reject_unknown_options(options: Options) -> None:
    """Check that ``options`` are options of ``sentry_sdk.init()``.

    Raises:
        ConfigurationError: one is not, or is the DSN, which the rest of the bridge takes from the settings.
    """
    for name in options.values:
        if name == "dsn":
            raise options.error(name, "the DSN in distribution.brain_otel.sentry.dsn")
        if name not in DEFAULT_OPTIONS:
            raise options.error(name, "an option of sentry_sdk.init()")


def ready_line(settings: Settings, more: str = "", *, to_spotlight: str = "errors and transactions") -> str | None:
    """The log line for a started bridge; it names Sentry, or without a DSN Spotlight alone."""
    sentry = settings.sentry
    if sentry is None:
        return None
    spotlight = masked_url(sentry.spotlight) if sentry.spotlight is not None else None
    if sentry.dsn is None:
        return f"Sentry is off: SENTRY_DSN is not set; Spotlight at {spotlight} gets {to_spotlight}"
    line = f"Sentry initialized | environment={settings.environment}, traces_sample_rate={sentry.traces_sample_rate}"
    return line + more + (f", spotlight={spotlight}" if spotlight is not None else "")


def configure_sentry(
    settings: SentrySettings, processor: LocalTraceCollector, delivery: DeliverySettings | None = None, **options: Any
) -> BaseClient:
    """Start sentry-sdk with its own tracing off (``instrumenter="otel"``) and its error capturing on.

    ``options`` are sentry-sdk's and override ours. Tests pass a transport in them.
    """
    for name in _QUIET_LOGGERS:
        ignore_logger(name)
        ignore_logger_for_sentry_logs(name)
    warn_of_client()
    given = {**_create_options(settings, processor, delivery or DeliverySettings()), **options}
    given["in_app_exclude"] = [*(given.get("in_app_exclude") or ()), "brain_otel"]
    given["before_breadcrumb"] = unless_looking(given.get("before_breadcrumb"))
    with warnings.catch_warnings():
        for name, message in _DEPRECATED.items():
            if given.get(name) is not None:  # a filter compiles an expression
                warnings.filterwarnings("ignore", message, DeprecationWarning)
        sentry_sdk.init(**given)
    client = sentry_sdk.get_client()
    for name in ("release", "dist", "environment", "server_name"):  # sessions and sampling contexts have them too
        if not _is_plain_name(client.options[name]):
            client.options[name] = policy().value(client.options[name])
    _name_framework()
    report_our_traces()
    if not serialization.patch_serialization():
        client.options["include_local_variables"] = False  # sentry-sdk's serializer would load what is lazy
    serialization.patch_frame_serialization()
    if client.spotlight is not None:
        spotlight.queue_spotlight(client)
    keep_client()
    return client


def _create_options(
    settings: SentrySettings, processor: LocalTraceCollector, delivery: DeliverySettings
) -> dict[str, Any]:
    return {
        "dsn": str(settings.dsn or ""),  # for None sentry-sdk would read SENTRY_DSN
        "environment": settings.environment,
        "release": settings.release or find_release(settings.identity).value,
        "traces_sample_rate": settings.traces_sample_rate,
        "profiles_sample_rate": settings.profiles_sample_rate or None,
        "send_default_pii": settings.send_default_pii or None,
        "debug": settings.debug,
        "spotlight": settings.spotlight or False,  # the configuration has read SENTRY_SPOTLIGHT
        "instrumenter": INSTRUMENTER.OTEL,
        "before_send": before_send,
        "before_send_transaction": before_send_transaction,
        "before_send_log": before_send_telemetry,
        "before_send_metric": before_send_telemetry,
        "custom_repr": safe_repr,
        "event_scrubber": EventScrubber(denylist=[], pii_denylist=[]),  # brain_otel's policy masks
        "transport": delivering(delivery),
        "transport_queue_size": MAX_ITEMS,  # envelopes in memory
        "default_integrations": False,
        "auto_enabling_integrations": False,
        "integrations": [
            DedupeIntegration(),
            ExcepthookIntegration(),
            LogIntegration(),
            ModulesIntegration(),
            LinkingIntegration(processor),
        ],
    }


def _name_framework() -> None:
    """Name the SDK as sentry-sdk does where FastAPI is installed; its own integration is off."""
    with guarded("naming the framework"):
        from sentry_sdk.client import SDK_INFO
        from sentry_sdk.utils import get_sdk_name

        if importlib.util.find_spec("fastapi") is not None:
            SDK_INFO["name"] = get_sdk_name(["fastapi"])
            sentry_sdk.get_global_scope().set_global_attributes()


def flush_sentry(client: Any, timeout: float) -> bool:
    """Send what waits for Sentry and for Spotlight within ``timeout`` seconds; whether everything was sent."""
    deadline = time.monotonic() + timeout
    _send_batches(client)  # without a DSN sentry-sdk would not
    client.flush(timeout=timeout)
    transport = client.transport
    complete = not isinstance(transport, DeliveringTransport) or transport.delivery.flush(0.0)
    left = max(0.0, deadline - time.monotonic())
    return (client.spotlight is None or spotlight.flush_spotlight(client, left)) and complete


def pause_sentry(client: Any, left: Counter[str], timeout: float) -> None:
    """Add to ``left`` what waits, report all of it and wait for answers, since the process may end now."""
    transport = client.transport
    if isinstance(transport, DeliveringTransport):
        _send_batches(client)
        transport.pause(left, timeout)


def resume_sentry(client: Any) -> None:
    """Send what is held since :func:`pause_sentry`, since the process goes on."""
    if isinstance(client.transport, DeliveringTransport):
        client.transport.resume()


def end_sentry(client: Any) -> None:
    """Hand what is not sent yet to the spool or count it as discarded, because the process ends."""
    transport = client.transport
    if isinstance(transport, DeliveringTransport):
        _send_batches(client)
        transport.delivery.end()


def _send_batches(client: Any) -> None:
    """Hand the logs and metrics that sentry-sdk gathers to the transport; they wait for up to 5 seconds."""
    for name in ("log_batcher", "metrics_batcher"):
        batcher = getattr(client, name, None)
        if batcher is not None:
            with guarded("sending gathered logs and metrics"):
                batcher.flush()


class Pressure:
    """How many times sentry-sdk's health monitor halves the rate: Sentry answers 429, or many envelopes wait.

    The monitor starts its thread when it is asked. It is asked once, in an empty context, since sentry-sdk would give
    the thread the scopes of the current request; each later request reads the monitor's number.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        self._is_watched = False

    def __call__(self) -> int:
        """The number of halvings at the moment."""
        monitor = self._client.monitor
        if monitor is None:
            return 0
        factor: int
        if self._is_watched:
            factor = monitor._downsample_factor
        else:
            factor = contextvars.Context().run(getattr, monitor, "downsample_factor")
            self._is_watched = hasattr(monitor, "_downsample_factor")
        return factor


def close_sentry(timeout: float) -> None:
    """Send what waits within ``timeout`` seconds, then stop the client."""
    deadline = time.monotonic() + timeout
    client = sentry_sdk.get_client()
    _send_batches(client)
    client.close(timeout=timeout)
    if client.spotlight is not None:
        spotlight.close_spotlight(client, max(0.0, deadline - time.monotonic()))
    release_client()
    sentry_sdk.get_global_scope().set_client(None)
    serialization.undo()
    undo_propagation()
