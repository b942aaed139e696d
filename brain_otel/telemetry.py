"""``setup()``, ``flush()`` and ``shutdown()``, and the state between them.

Importing this module is cheap: only ``setup()`` imports the OpenTelemetry SDK and ``sentry_sdk``.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

from brain_otel import instrumentation
from brain_otel.configuration.hooks import Filter, Hooks, configure_hooks, hooks
from brain_otel.configuration.sections.errors import ErrorSettings
from brain_otel.configuration.settings import Settings
from brain_otel.events.deduplication import ended_traces
from brain_otel.events.error_rules import configure_error_rules
from brain_otel.events.listeners import configure_listeners
from brain_otel.privacy import Policy, configure_privacy
from brain_otel.runtime.announcements import announce, forget_announcements
from brain_otel.runtime.exit import configure_exit, forget_exit
from brain_otel.runtime.fast_paths import configure_fast_paths
from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.garbage import garbage, paused_gc
from brain_otel.runtime.imports import want_late_modules
from brain_otel.runtime.thread_pool import prepare_exit, side_by_side

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

    from brain_otel.destinations.isolation import IsolatedDestination

logger = logging.getLogger(__name__)

EXIT_TIMEOUT = 2.0
"""Seconds by which flushing delays the end of the process, at most."""

END_TIMEOUT, MIN_END_TIMEOUT = 0.3, 0.08
"""Seconds of :data:`EXIT_TIMEOUT` to await answers and save the rest, also after a server's end that took longer."""


class _State:
    """What is set up in this process."""

    def __init__(self) -> None:
        self.settings: Settings | None = None
        self.destinations: tuple[IsolatedDestination, ...] = ()
        self.destination_factory: Callable[[Settings], tuple[IsolatedDestination, ...]] | None = None
        """Replaces ``sdk.pipeline.create_destinations``, if given."""
        self.by_launcher = False
        self.flushed_at = 0.0
        """When the latest flush at exit ended, by the monotonic clock."""
        self.exit_spent = 0.0
        """Seconds that flushes at this exit took."""
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        """Replace the lock: another thread of the parent may have held it."""
        self.lock = threading.RLock()


_state = _State()


def setup(
    app: object = None,
    *,
    environment: str | None = None,
    config_file: str | os.PathLike[str] | None = None,
    mask: Callable[[str, Any], Any] | None = None,
    before_send: Filter | None = None,
    before_send_transaction: Filter | None = None,
) -> None:
    """Set up tracing and error reporting for this process, once; a second call warns and changes nothing.

    Call it before or after you import libraries and create apps and engines, but before an app serves its first
    request. ``opentelemetry-instrument`` has called it already; your own call then changes nothing and does not warn.

    Args:
        app: Not needed, because every FastAPI app of the process is traced. Accepted for existing calls.
        environment: The name of the environment; default ``SENTRY_ENVIRONMENT``, ``ENVIRONMENT`` or ``development``.
        config_file: A configuration file; default ``OTEL_CONFIG_FILE`` or the file of the environment.
        mask: Your privacy rule. It is called after the built-in rules with the name of a value, empty for a free
            text, and the value. It returns the value to send. If it raises, the value is masked.
        before_send: Called with each masked error or message for Sentry and sentry-sdk's hint. It returns the event
            to send, or None to drop it. If it raises, the event is sent unchanged.
        before_send_transaction: The same for transactions.

    Raises:
        ConfigurationError: A variable or the file is wrong; the message names the place, value and allowed values.
    """
    del app
    with _state.lock:
        given = Hooks(mask=mask, before_send=before_send, before_send_transaction=before_send_transaction)
        if is_set_up():
            _log_second_setup(environment, config_file)
            if given.any() and not hooks().any() and _state.settings is not None:
                _use(given, _state.settings)  # the launcher cannot be given functions
            return
        configure_hooks(given)
        with paused_gc():
            from brain_otel.configuration.loading import read_settings

            start(read_settings(environment=environment, config_file=config_file))


def setup_by_launcher() -> None:
    """Call ``setup()`` for ``opentelemetry-instrument``; the application's own call then does not warn."""
    setup()
    _state.by_launcher = True
    if _state.settings is not None and _state.settings.script and not _state.settings.disabled:
        from brain_otel.jobs.scripts import start_script

        start_script()


def start(settings: Settings, provider: TracerProvider | None = None) -> tuple[IsolatedDestination, ...]:
    """Set up everything that ``settings`` say, on ``provider`` if OpenTelemetry is configured already.

    Returns the destinations in use.
    """
    for notice in settings.notices:
        logger.warning("%s", notice)
    if settings.disabled:
        _state.settings = settings
        logger.info("Telemetry is disabled (OTEL_SDK_DISABLED)")
        return ()
    from brain_otel.sdk.pipeline import connect_destinations, create_destinations, discard_destinations
    from brain_otel.sdk.setup import configure_opentelemetry

    configure_fast_paths(settings.fast_paths)
    garbage.configure(settings.freeze_gc)
    _use(hooks(), settings)
    destinations = (_state.destination_factory or create_destinations)(settings)
    try:
        provider = provider or configure_opentelemetry(settings, destinations)
    except Exception:
        discard_destinations(destinations)
        raise
    attached = connect_destinations(destinations, provider, settings.sampling, settings.instrumentation.slow_call)
    _state.settings, _state.destinations = settings, destinations + attached
    prepare_exit(len(_state.destinations))
    # The tail comes first: it releases buffered spans before a destination asks for the breadcrumbs of an error.
    listeners = tuple(each.destination.listener for each in (*attached, *destinations))
    configure_listeners(tuple(listener for listener in listeners if listener is not None))
    instrumentation.instrument(settings.instrumentation)
    want_late_modules()
    configure_exit(_flush_at_exit, _pause_at_shutdown, _end_at_exit)
    _log_ready(settings)
    return _state.destinations


def _use(given: Hooks, settings: Settings) -> None:
    configure_hooks(given)
    configure_error_rules(settings.errors)
    configure_privacy(Policy(settings.privacy, send_default_pii=settings.send_default_pii, mask=given.mask))


def use_destination_factory(factory: Callable[[Settings], tuple[IsolatedDestination, ...]]) -> None:
    """Make ``setup()`` get its destinations from ``factory``; ``brain-otel doctor`` passes one that sends nothing."""
    _state.destination_factory = factory


def current_settings() -> Settings | None:
    """The settings that ``setup()`` uses in this process; None before it."""
    return _state.settings


def is_set_up() -> bool:
    """Whether ``setup()`` was called in this process."""
    return _state.settings is not None


def is_disabled() -> bool:
    """Whether ``setup()`` was called and ``OTEL_SDK_DISABLED`` or the file turned everything off."""
    return _state.settings is not None and _state.settings.disabled


def flush(timeout: float = 2.0) -> bool:
    """Send everything that is queued.

    Args:
        timeout: Seconds for all destinations together.

    Returns:
        Whether every destination sent everything; true if nothing is set up. What is on disk for a shipper process
        counts as sent.
    """
    return side_by_side([(f"flushing {each.name}", each.flush) for each in _state.destinations], timeout)


def shutdown(timeout: float = 2.0) -> bool:
    """Send everything that is queued, then stop: instrumentations are removed, and helpers have no effect.

    Call it at the end of a process. ``setup()`` does not work again, because OpenTelemetry's globals are set once.

    Args:
        timeout: Seconds for all destinations together.

    Returns:
        Whether every destination sent everything, as :func:`flush` counts it.
    """
    deadline = time.monotonic() + timeout
    with _state.lock:
        instrumentation.uninstrument()
        complete = flush(timeout)
        configure_listeners(())
        # The meter provider shuts down the destinations of metrics, after its readers have read for the last time.
        own = [each for each in _state.destinations if each.metric_exporter is None]
        calls = [(f"shutting {each.name} down", each.shutdown) for each in own]
        side_by_side(calls, max(0.0, deadline - time.monotonic()), grace=0.05)
        _state.destinations = ()
        garbage.configure(False)
        forget_exit()
        ended_traces.forget_latest()
    return complete


def forget() -> None:
    """Return to the state before ``setup()``; :mod:`brain_otel.testing` also resets OpenTelemetry's globals."""
    _state.settings = None
    _state.by_launcher = False
    configure_hooks(Hooks())
    configure_error_rules(ErrorSettings())
    configure_privacy(None)
    configure_fast_paths(True)
    garbage.configure(False)
    forget_announcements()


def _flush_at_exit() -> bool:
    """Flush within the rest of the exit's time, which the server's shutdown, SIGTERM and ``atexit`` share.

    What the server's shutdown has just counted as lost stays lost.
    """
    started = time.monotonic()
    if is_first := started - _state.flushed_at > EXIT_TIMEOUT:
        _state.exit_spent = 0.0
    calls = [(f"flushing {each.name}", each.flush if is_first else each.flush_rest) for each in _state.destinations]
    is_complete = side_by_side(calls, max(0.0, EXIT_TIMEOUT - END_TIMEOUT - _state.exit_spent))
    _state.flushed_at = time.monotonic()
    _state.exit_spent += _state.flushed_at - started
    return is_complete


def _pause_at_shutdown() -> Counter[str]:
    """Wait for the answers in flight; returns what is still in memory, by category."""
    started = time.monotonic()
    pauses = [(each.name, each.destination.pause, Counter[str]()) for each in _state.destinations]
    calls = [(f"pausing {name}", partial(pause, left)) for name, pause, left in pauses if pause is not None]
    side_by_side(calls, END_TIMEOUT, grace=0.05)
    _state.exit_spent += time.monotonic() - started
    return sum((left for _, _, left in pauses), Counter())


def _end_at_exit() -> None:
    ends = [(each.name, each.destination.end) for each in _state.destinations]
    timeout = min(END_TIMEOUT, max(MIN_END_TIMEOUT, EXIT_TIMEOUT - _state.exit_spent))
    side_by_side([(f"ending {name}", partial(_end, end)) for name, end in ends if end is not None], timeout)


def _end(end: Callable[[], None], timeout: float) -> None:  # noqa: ARG001 - ending takes no time
    end()


def _log_ready(settings: Settings) -> None:
    for each in _state.destinations:
        if each.destination.ready:
            announce(logger, "%s", each.destination.ready)
    bridges = [each for each in settings.destinations if each.name.startswith("sentry") and each.signal == "traces"]
    if settings.sentry is None and any(not each.chosen_by for each in bridges):
        announce(logger, "Sentry is off: SENTRY_DSN is not set")


def _log_second_setup(environment: str | None, config_file: object) -> None:
    is_expected = _state.by_launcher and environment is None and config_file is None
    _state.by_launcher = False
    if not is_expected:
        logger.warning("brain_otel is set up already; this setup() changes nothing")
