"""``distribution.brain_otel.sampling``: what is recorded, beside the sampler in OpenTelemetry's own place."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from brain_otel.configuration.document import Document
from brain_otel.configuration.options import Options
from brain_otel.configuration.values import (
    MAX_NUMBER,
    BadValueError,
    Key,
    list_of,
    mapping_of,
    number,
    read_fields,
)
from brain_otel.runtime.named_tuple import NamedTuple

_RATE = number(0, 1)
_SECONDS = number(above=0, unit="seconds")
_COUNT = number(1, MAX_NUMBER, whole=True)
_NOTHING: Mapping[str, Any] = MappingProxyType({})


def _pattern(value: Any) -> str:
    if value is None or value == "" or isinstance(value, (list, dict)):
        raise BadValueError(value, "text, in which * stands for anything")
    return str(value).lower() if isinstance(value, bool) else str(value)


class RuleSettings(NamedTuple):
    """A rate for some requests, jobs and scripts; a condition that is not given matches everything."""

    route: Annotated[str | None, _pattern] = None
    """A pattern for the route (``/missions/{mission_id}``) or the path (``/missions/7``)."""
    method: Annotated[str | None, _pattern] = None
    environment: Annotated[str | None, _pattern] = None
    """A pattern for the environment's name."""
    attributes: Annotated[
        Mapping[str, str], mapping_of(_pattern, "a mapping of attributes to values or patterns")
    ] = _NOTHING
    """Patterns for attributes that the root span has when it starts."""
    rate: Annotated[float, _RATE] = 1.0
    """The share of matching traces that is recorded, 0 to 1."""
    per_second: Annotated[float | None, number(above=0)] = None
    """Most matching traces that this process records in a second; None: no limit."""


def _rule(given: Any) -> RuleSettings:
    values = read_fields(RuleSettings, given)
    if not {"rate", "per_second"} & values.keys():
        raise BadValueError(given, "a rule with rate, per_second or both")
    return RuleSettings(**values)


class TailSettings(NamedTuple):
    """Which local traces are kept although the head decided against them, and the bounds of those that wait."""

    errors: bool = True
    """Keep a trace with a span of status error, or with a reported exception."""
    slower_than: Annotated[float | None, _SECONDS] = None
    """Keep a trace that lasts longer than this, in seconds; None: no trace is kept for being slow."""
    max_traces: Annotated[int, _COUNT] = 10_000
    max_spans: Annotated[int, _COUNT] = 100_000
    max_bytes: Annotated[int, _COUNT] = 64_000_000
    """Bound of the estimated size, which is rather too high than too low."""
    max_age: Annotated[float, _SECONDS] = 120.0
    """Seconds that a local trace waits for its end."""


def _tail(given: Any) -> TailSettings:
    tail = TailSettings(**read_fields(TailSettings, given))
    if not tail.errors and tail.slower_than is None:
        raise BadValueError(given, "errors: true, slower_than, or both")
    if tail.slower_than is not None and tail.slower_than >= tail.max_age:
        raise BadValueError(tail.slower_than, f"less than max_age, which is {tail.max_age:g}", "slower_than")
    return tail


class SamplingSettings(NamedTuple):
    """The rates and rules of sampling, beside the sampler in OpenTelemetry's own place."""

    rules: Annotated[tuple[RuleSettings, ...], list_of(_rule, "a list of rules")] = ()
    """The first rule that matches decides."""
    destinations: Annotated[Mapping[str, float], mapping_of(_RATE, "a mapping of destinations to rates")] = _NOTHING
    """Destination name -> its share of all traces; a destination without one gets all recorded traces."""
    tail: Annotated[TailSettings | None, _tail] = None
    """None: only the head decides."""


def check_destinations(sampling: SamplingSettings, destinations: tuple["Options", ...], head: float) -> None:
    """Reject shares of destinations that the file does not have, or above the highest rate of recorded traces.

    ``destinations`` are all of the file's; ``head`` is the rate of its sampler.
    """
    used = tuple(dict.fromkeys(each.name for each in destinations if each.signal == "traces"))
    most = max([head, *(rule.rate for rule in sampling.rules)])
    for name, share in sampling.destinations.items():
        if name not in used:
            raise BadValueError(share, f"the file's destinations for traces: {', '.join(used)}", "destinations", name)
        if share > most:
            allowed = f"a number from 0 to {most:g}, the highest rate at which traces are recorded"
            raise BadValueError(share, allowed, "destinations", name)


def sentry_rate(sampling: SamplingSettings, head: float) -> float:
    """The share of all traces that Sentry gets if the head records the share ``head``."""
    return min([head, *(sampling.destinations.get(name, 1.0) for name in ("sentry", "sentry_otlp"))])


def head_rate(document: Document) -> float:
    """The share of traces that the file's sampler records if no caller has decided.

    Without a sampler, OpenTelemetry's SDK records every trace. The rate of another package's sampler is unknown.
    """
    place: Key = ("tracer_provider", "sampler")
    while document.get(*place, "parent_based") is not None:
        place = (*place, "parent_based", "root")
    if "always_off" in (document.get(*place) or {}):
        return 0.0
    rate: float = document.read((*place, "trace_id_ratio_based", "ratio"), number(0, 1), 1.0)
    return rate
