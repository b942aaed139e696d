"""Creates the destinations of a file and connects them to OpenTelemetry's providers."""

from __future__ import annotations

import atexit
import logging
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from opentelemetry import _logs as otel_logs
from opentelemetry import metrics as otel_metrics
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider

from brain_otel.configuration.destination_registry import load_module
from brain_otel.configuration.error import ConfigurationError, reason
from brain_otel.configuration.options import Options
from brain_otel.configuration.sections.instrumentation import SLOW_CALL
from brain_otel.configuration.sections.sampling import RuleSettings, SamplingSettings
from brain_otel.configuration.settings import Settings
from brain_otel.destinations.destination import Destination, create_destination
from brain_otel.destinations.isolation import IsolatedDestination
from brain_otel.runtime.announcements import announce
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.thread_pool import side_by_side
from brain_otel.sampling.policy import DestinationRate, SamplingPolicy
from brain_otel.sdk.resource import keep_given_instance_id
from brain_otel.sdk.span_router import SpanRouter

if TYPE_CHECKING:
    from brain_otel.sampling.rules import Rule
    from brain_otel.sampling.tail import Tail

logger = logging.getLogger(__name__)


def create_policy(settings: Settings, destinations: tuple[IsolatedDestination, ...]) -> SamplingPolicy:
    """Create the head's policy from the rules of the file and the destinations in use."""
    sampling = settings.sampling
    rates = tuple(
        DestinationRate(
            name=each.asked_as,
            share=sampling.destinations.get(each.asked_as, 1.0),
            pressure=each.destination.pressure,
            relieved=each.destination.relieved,
        )
        for each in destinations
        if each.span_processor is not None
    )
    rules = _compiled(sampling.rules, settings.environment) if sampling.rules else ()
    return SamplingPolicy(rules=rules, destinations=rates, tail=sampling.tail is not None)


def _compiled(rules: Sequence[RuleSettings], environment: str) -> tuple[Rule, ...]:
    from brain_otel.sampling.rules import compiled  # most files have no rules

    return compiled(rules, environment)


def create_destinations(settings: Settings) -> tuple[IsolatedDestination, ...]:
    """Create the destinations of the file that are not off; if one fails, discard the others.

    Raises:
        ConfigurationError: an option is wrong.
    """
    created: list[IsolatedDestination] = []
    off: dict[tuple[str, str], Options] = {}
    try:
        for options in settings.destinations:
            destination = _create(options, settings)
            if destination is not None:
                created.append(destination)
            else:
                off.setdefault((options.name, options.chosen_by), options)
    except Exception:
        discard_destinations(created)
        raise
    for options in off.values():
        _log_off(options, settings)
    return tuple(created)


def discard_destinations(destinations: Sequence[IsolatedDestination]) -> None:
    """Shut down destinations that will not be used, within 0.1 s."""
    side_by_side([(f"shutting {each.name} down", each.shutdown) for each in destinations], 0.0, grace=0.1)


def connect_destinations(
    destinations: tuple[IsolatedDestination, ...],
    provider: TracerProvider,
    sampling: SamplingSettings | None = None,
    slow_call: float = SLOW_CALL,
) -> tuple[IsolatedDestination, ...]:
    """Send the spans of ``provider``, and the log records of the global logger provider, to ``destinations``.

    Returns:
        What to flush and shut down besides: processors that the application adds to ``provider``, the tail of the
        sampling, and the meter provider.
    """
    processors = [(each.asked_as, each.span_processor) for each in destinations if each.span_processor is not None]
    router = SpanRouter(processors, sampling.tail if sampling is not None else None, slow_call)
    provider.add_span_processor(router)
    others = [_added_by_application(provider)]
    if router.tail is not None:
        others.append(_tail(router.tail))
    loggers = otel_logs.get_logger_provider()
    for destination in destinations:
        if destination.log_record_processor is not None and isinstance(loggers, LoggerProvider):
            loggers.add_log_record_processor(destination.log_record_processor)
    meters = otel_metrics.get_meter_provider()
    if isinstance(meters, MeterProvider):
        others.append(_metrics(meters, destinations))
    providers = [each for each in (loggers, meters) if isinstance(each, (LoggerProvider, MeterProvider))]
    keep_given_instance_id(provider, providers)
    for each in (provider, *providers):
        # At exit each would wait for unreachable servers, one after the other and without a bound.
        atexit.unregister(each.shutdown)
    return tuple(map(IsolatedDestination, others))


def _create(options: Options, settings: Settings) -> IsolatedDestination | None:
    """Create a destination. Its module may be another package's, and raise anything."""
    try:
        destination = create_destination(options, settings)
        return None if destination is None else IsolatedDestination(destination, options.index, options.name)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"{options.place} cannot be created ({type(error).__name__}: {reason(error)}); "
            "allowed: a destination whose module has create_destination(options, settings) -> Destination or None"
        ) from error


def _log_off(options: Options, settings: Settings) -> None:
    """Log that a destination is off, and why: a warning if a variable names it."""
    if options.name.startswith("sentry") and not options.chosen_by:
        return  # `setup()` logs a line for Sentry
    with guarded("logging that a destination is off"):
        describe = getattr(load_module(options), "describe", None)
        why = describe(options, settings).removeprefix("off: ") if describe is not None else "it has no address"
        if options.chosen_by:
            logger.warning("%s names %s, which is off: %s", options.chosen_by, options.name, why)
        else:
            announce(logger, "%s is off: %s", options.name, why)


def _added_by_application(provider: TracerProvider) -> Destination:
    def flush(timeout: float) -> bool:
        return provider.force_flush(int(timeout * 1000))

    return Destination(name="OpenTelemetry", flush=flush)


def _tail(tail: Tail) -> Destination:
    """The tail; a flush releases nothing, since buffered spans need a reason."""
    return Destination(name="sampling.tail", shutdown=lambda _timeout: tail.stop(), listener=tail)


def _metrics(meters: MeterProvider, destinations: tuple[IsolatedDestination, ...]) -> Destination:
    """The meter provider: its readers export first, then their destinations are flushed."""
    exported = [each for each in destinations if each.metric_exporter is not None]

    def flush(timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        complete = meters.force_flush(timeout * 1000)
        left = max(0.0, deadline - time.monotonic())
        calls = [(f"flushing {each.name}", each.flush) for each in exported]
        return side_by_side(calls, left) and complete

    def shutdown(timeout: float) -> None:
        deadline = time.monotonic() + timeout
        with suppress(Exception):  # raised when the time is over; the flush before has logged failures
            meters.shutdown(timeout * 1000)
        left = max(0.0, deadline - time.monotonic())
        side_by_side([(f"shutting {each.name} down", each.shutdown) for each in exported], left)

    return Destination(name="metrics", flush=flush, shutdown=shutdown)
