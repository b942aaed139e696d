"""``setup()``, ``flush()``, ``shutdown()``: what is set up in this process, and for how long.

Nothing heavy is imported before ``setup()`` needs it: neither the OpenTelemetry SDK nor ``sentry_sdk``.
"""

from __future__ import annotations

import gc
import logging
import threading
import time
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from brain_otel import instrumentation
from brain_otel.configuration.hooks import Hooks, configure_hooks, hooks
from brain_otel.configuration.settings import ErrorSettings
from brain_otel.events.error_rules import configure_error_rules
from brain_otel.events.failures import ended_traces
from brain_otel.events.listeners import configure_listeners
from brain_otel.privacy import Policy, configure_privacy
from brain_otel.runtime.exit import configure_exit, forget_exit
from brain_otel.runtime.fast_paths import configure_fast_paths
from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.thread_pool import prepare_exit, side_by_side

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Iterator

    from opentelemetry.sdk.trace import TracerProvider

    from brain_otel.configuration.hooks import Filter
    from brain_otel.configuration.settings import Settings
    from brain_otel.destinations.isolation import IsolatedDestination

logger = logging.getLogger(__name__)

EXIT_TIMEOUT = 2.0
"""Seconds that the end of the process may be held up."""

END_TIMEOUT = 0.08
"""Seconds of it that are kept for leaving in good order what has not been sent."""


class _State:
    """What is set up in this process."""

    def __init__(self) -> None:
        self.settings: Settings | None = None
        self.destinations: tuple[IsolatedDestination, ...] = ()
        self.destination_factory: Callable[[Settings], tuple[IsolatedDestination, ...]] | None = None
        """Replaces ``sdk.pipeline.create_destinations``, if given."""
        self.by_launcher = False
        self.exit_flushed = 0.0
        """When an end of the process was last announced, by the monotonic clock."""
        self.exit_spent = 0.0
        """Seconds that flushing took then."""
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

    Call it before or after the libraries are imported and the app and engines are made; only an app that has
    served requests already is too late. Under ``opentelemetry-instrument`` it has been done and this is quiet.

    Args:
        app: Not needed: every FastAPI app of the process is traced. Taken for the sake of existing calls.
        environment: The environment's name, else ``SENTRY_ENVIRONMENT``, ``ENVIRONMENT``, ``development``.
        config_file: A configuration file, else ``OTEL_CONFIG_FILE``, else the environment's own.
        mask: The application's own rule of privacy, after the built-in ones: called with the name a value goes under
            and the value, it returns what is sent. If it raises, the value is masked.
        before_send: Called with each error and message for Sentry, masked already, and sentry-sdk's hint; returns
            what is sent, None for nothing. If it raises, the event is sent as it was.
        before_send_transaction: The same for transactions.

    Raises:
        ConfigurationError: a variable or the file is wrong; the message names the place, the value (masked if
            it is secret) and what is allowed.
    """
    del app
    with _state.lock:
        given = Hooks(mask=mask, before_send=before_send, before_send_transaction=before_send_transaction)
        if is_set_up():
            _tell_second_setup(environment, config_file)
            if given.any() and not hooks().any() and _state.settings is not None:
                _use(given, _state.settings)  # the launcher cannot be given functions
            return
        configure_hooks(given)
        with _collector_at_rest():
            from brain_otel.configuration.loading import read_settings

            start(read_settings(environment=environment, config_file=config_file))


@contextmanager
def _collector_at_rest() -> Iterator[None]:
    """What set-up imports stays: to look for garbage among it, and all that the application has, is lost time.

    Nor is it looked through at the end: it joins what is old. Not where the application has frozen what it has, which
    would thaw.
    """
    if not gc.isenabled():
        yield
        return
    gc.disable()
    try:
        yield
    finally:
        if gc.get_freeze_count() == 0:
            gc.freeze()
            gc.unfreeze()
        gc.enable()


def setup_by_launcher() -> None:
    """``setup()`` under ``opentelemetry-instrument``: the application's own call finds it done."""
    setup()
    _state.by_launcher = True


def start(settings: Settings, provider: TracerProvider | None = None) -> tuple[IsolatedDestination, ...]:
    """Set everything up as ``settings`` say, on ``provider`` if OpenTelemetry is configured already.

    Returns the destinations in use.
    """
    for notice in settings.notices:
        logger.warning("%s", notice)
    if settings.disabled:
        _state.settings = settings
        logger.info("Telemetry is disabled (OTEL_SDK_DISABLED)")
        return ()
    from brain_otel.sdk.pipeline import attach, create_destinations, give_up
    from brain_otel.sdk.setup import configure_opentelemetry

    configure_fast_paths(settings.fast_paths)
    _use(hooks(), settings)
    destinations = (_state.destination_factory or create_destinations)(settings)
    try:
        provider = provider or configure_opentelemetry(settings, destinations)
    except Exception:
        give_up(destinations)
        raise
    attached = attach(destinations, provider, settings.sampling)
    _state.settings, _state.destinations = settings, destinations + attached
    prepare_exit(len(_state.destinations))
    # The tail hears of an error first: what it held back is then there when a destination asks for what led to it.
    listeners = tuple(each.destination.listener for each in (*attached, *destinations))
    configure_listeners(tuple(listener for listener in listeners if listener is not None))
    instrumentation.instrument(settings.instrumentation)
    configure_exit(_flush_at_exit, _end_at_exit)
    _tell_ready(settings)
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
    """Whether ``setup()`` was done in this process."""
    return _state.settings is not None


def is_disabled() -> bool:
    """Whether it was, and the environment or the file said that nothing is to be done (``OTEL_SDK_DISABLED``)."""
    return _state.settings is not None and _state.settings.disabled


def flush(timeout: float = 2.0) -> bool:
    """Send what waits.

    Args:
        timeout: Seconds it may take over all destinations.

    Returns:
        Whether everything was handed on; true if nothing is set up.
    """
    return side_by_side([(f"flushing {each.name}", each.flush) for each in _state.destinations], timeout)


def shutdown(timeout: float = 2.0) -> bool:
    """Send what waits and stop: the instrumentations are taken out, the helpers go on without effect.

    It is for the end of a process. OpenTelemetry's globals can be set once, so ``setup()`` stays done.

    Args:
        timeout: Seconds it may take over all destinations.

    Returns:
        Whether everything was handed on.
    """
    deadline = time.monotonic() + timeout
    with _state.lock:
        instrumentation.uninstrument()
        complete = flush(timeout)
        configure_listeners(())
        _shut_down(_state.destinations, max(0.0, deadline - time.monotonic()))
        _state.destinations = ()
        forget_exit()
        ended_traces.forget_latest()
    return complete


def forget() -> None:
    """Be as before ``setup()``; for :mod:`brain_otel.testing`, which also resets OpenTelemetry's globals."""
    _state.settings = None
    _state.by_launcher = False
    configure_hooks(Hooks())
    configure_error_rules(ErrorSettings())
    configure_privacy(None)
    configure_fast_paths(True)


def _flush_at_exit() -> None:
    """Flush with what is left of the time: the server's end, the signal's and the interpreter's are one end."""
    started = time.monotonic()
    if started - _state.exit_flushed > EXIT_TIMEOUT:
        _state.exit_spent = 0.0
    flush(max(0.0, EXIT_TIMEOUT - END_TIMEOUT - _state.exit_spent))
    _state.exit_flushed = time.monotonic()
    _state.exit_spent += _state.exit_flushed - started


def _end_at_exit() -> None:
    calls = [(f"ending {each.name}", partial(_end, each)) for each in _state.destinations if each.destination.end]
    side_by_side(calls, END_TIMEOUT)


def _end(destination: IsolatedDestination, timeout: float) -> None:  # noqa: ARG001 - ending takes no time
    if destination.destination.end is not None:
        destination.destination.end()


def _shut_down(destinations: tuple[IsolatedDestination, ...], timeout: float) -> None:
    # The meter provider shuts down the destinations of metrics, after its readers have read for the last time.
    own = [each for each in destinations if each.metric_exporter is None]
    side_by_side([(f"shutting {each.name} down", each.shutdown) for each in own], timeout, grace=0.05)


def _tell_ready(settings: Settings) -> None:
    for each in _state.destinations:
        if each.destination.ready:
            logger.info("%s", each.destination.ready)
    asked = [each for each in settings.destinations if each.name.startswith("sentry") and not each.chosen_by]
    if settings.sentry is None and asked:
        logger.info("Sentry is off: SENTRY_DSN is not set")


def _tell_second_setup(environment: str | None, config_file: object) -> None:
    expected = _state.by_launcher and environment is None and config_file is None
    _state.by_launcher = False
    if not expected:
        logger.warning("brain_otel is set up already; this setup() changes nothing")
