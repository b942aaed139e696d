"""The destinations of a file, made and joined to OpenTelemetry's providers: who gets what, and who is flushed."""

from __future__ import annotations

import atexit
import logging
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from opentelemetry import _logs as otel_logs
from opentelemetry import metrics as otel_metrics
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk.metrics import MeterProvider

from brain_otel.configuration.destination_registry import load_module
from brain_otel.configuration.error import ConfigurationError, reason
from brain_otel.destinations.destination import Destination, create_destination
from brain_otel.destinations.isolation import IsolatedDestination
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.thread_pool import side_by_side
from brain_otel.sampling.policy import DestinationRate, SamplingPolicy
from brain_otel.sampling.rules import compiled
from brain_otel.sdk.resource import set_instance_id
from brain_otel.sdk.span_router import SpanRouter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from opentelemetry.sdk.trace import TracerProvider

    from brain_otel.configuration.options import Options
    from brain_otel.configuration.settings import SamplingSettings, Settings
    from brain_otel.sampling.tail import Tail

logger = logging.getLogger(__name__)


def create_plan(settings: Settings, destinations: tuple[IsolatedDestination, ...]) -> SamplingPolicy:
    """What the sampler decides by: the rules of the file, and the destinations that are in use."""
    sampling = settings.sampling
    shares = tuple(
        DestinationRate(
            name=each.asked_as,
            share=sampling.destinations.get(each.asked_as, 1.0),
            pressure=each.destination.pressure,
        )
        for each in destinations
        if each.span_processor is not None
    )
    rules = compiled(sampling.rules, settings.environment)
    return SamplingPolicy(rules=rules, destinations=shares, tail=sampling.tail is not None)


def create_destinations(settings: Settings) -> tuple[IsolatedDestination, ...]:
    """Create the destinations that the file names and that are not off; none of them if one cannot be.

    Raises:
        ConfigurationError: an option of one is wrong.
    """
    created: list[IsolatedDestination] = []
    off: dict[tuple[str, str], Options] = {}
    try:
        for options in settings.destinations:
            in_use = _create(options, settings)
            if in_use is not None:
                created.append(in_use)
            else:
                off.setdefault((options.name, options.chosen_by), options)
    except Exception:
        give_up(created)
        raise
    for options in off.values():
        _tell_off(options, settings)
    return tuple(created)


def give_up(destinations: Sequence[IsolatedDestination]) -> None:
    """Shut down what is not to be used after all, whatever it does."""
    side_by_side([(f"shutting {each.name} down", each.shutdown) for each in destinations], 0.0, grace=0.1)


def attach(
    destinations: tuple[IsolatedDestination, ...], provider: TracerProvider, sampling: SamplingSettings | None = None
) -> tuple[IsolatedDestination, ...]:
    """Let ``destinations`` have the spans of ``provider``, and the log records of the global logger provider.

    Returns what is to be flushed and shut down beside them: the meter provider, if the file has one, what the
    application adds to the tracer provider, and the sampling's tail.
    """
    spans = [(each.asked_as, each.span_processor) for each in destinations if each.span_processor is not None]
    router = SpanRouter(spans, sampling.tail if sampling is not None else None)
    provider.add_span_processor(router)
    in_use = [
        IsolatedDestination(_added_by_others(provider)),
        *([IsolatedDestination(_tail(router.tail))] if router.tail is not None else []),
    ]
    loggers = otel_logs.get_logger_provider()
    for destination in destinations:
        if destination.log_record_processor is not None and isinstance(loggers, LoggerProvider):
            loggers.add_log_record_processor(destination.log_record_processor)
    meters = otel_metrics.get_meter_provider()
    if isinstance(meters, MeterProvider):
        in_use.append(IsolatedDestination(_metrics(meters, destinations)))
    others = [each for each in (loggers, meters) if isinstance(each, (LoggerProvider, MeterProvider))]
    set_instance_id(provider, others)
    for each in (provider, *others):
        # They would wait, one after the other and without a bound, for what cannot be reached.
        atexit.unregister(each.shutdown)
    return tuple(in_use)


def _tell_off(options: Options, settings: Settings) -> None:
    """Say that a destination is off, and why; loudly where a variable has asked for it."""
    if options.name.startswith("sentry") and not options.chosen_by:
        return  # there is a line for it when all is ready
    with guarded("telling that a destination is off"):
        describe = getattr(load_module(options), "describe", None)
        why = describe(options, settings).removeprefix("off: ") if describe is not None else "it has no address"
        if options.chosen_by:
            logger.warning("%s names %s, which is off: %s", options.chosen_by, options.name, why)
        else:
            logger.info("%s is off: %s", options.name, why)


def _added_by_others(provider: TracerProvider) -> Destination:
    def flush(timeout: float) -> bool:
        return provider.force_flush(int(timeout * 1000))

    return Destination(name="OpenTelemetry", flush=flush, shutdown=lambda _timeout: None)


def _tail(tail: Tail) -> Destination:
    """What waits for a reason to be kept: it is handed on when there is one, never by a flush."""
    return Destination(
        name="sampling.tail",
        flush=lambda _timeout: True,
        shutdown=lambda _timeout: tail.stop(),
        listener=tail.listener,
    )


def _create(options: Options, settings: Settings) -> IsolatedDestination | None:
    """The destination, whose module may be another package's and do anything."""
    try:
        destination = create_destination(options, settings)
        return None if destination is None else IsolatedDestination(destination, options.index, options.name)
    except ConfigurationError:
        raise
    except Exception as error:
        raise ConfigurationError(
            f"{options.place} cannot be made ({type(error).__name__}: {reason(error)}); "
            "allowed: a destination whose module has create_destination(options, settings) -> Destination or None"
        ) from error


def _metrics(meters: MeterProvider, destinations: tuple[IsolatedDestination, ...]) -> Destination:
    """The meter provider. Its readers have to hand on what was measured before their destinations are flushed."""
    exported = [each for each in destinations if each.metric_exporter is not None]

    def flush(timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        complete = meters.force_flush(timeout * 1000)
        left = max(0.0, deadline - time.monotonic())
        calls = [(f"flushing {each.name}", each.flush) for each in exported]
        return side_by_side(calls, left) and complete

    def shutdown(timeout: float) -> None:
        deadline = time.monotonic() + timeout
        with suppress(Exception):  # which it raises when the time is over; what was flushed has been told
            meters.shutdown(timeout * 1000)
        left = max(0.0, deadline - time.monotonic())
        side_by_side([(f"shutting {each.name} down", each.shutdown) for each in exported], left)

    return Destination(name="metrics", flush=flush, shutdown=shutdown)
