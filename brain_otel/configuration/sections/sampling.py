"""The file's block about sampling, ``distribution.brain_otel.sampling``: what stands in it, and what is refused."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from brain_otel.configuration.options import BOOLEANS
from brain_otel.configuration.settings import RuleSettings, SamplingSettings, TailSettings
from brain_otel.configuration.values import OURS, TRACES_RATE, reject_unknown

if TYPE_CHECKING:
    from brain_otel.configuration.document import Document, Key
    from brain_otel.configuration.options import Options

PLACE = (*OURS, "sampling")

_MOST = 1_000_000_000
"""No bound in the file is above it."""


def read_sampling(document: Document, destinations: tuple[Options, ...]) -> SamplingSettings:
    """What is sampled, beside the sampler in OpenTelemetry's own place.

    Raises:
        ConfigurationError: a value is wrong.
    """
    given = document.get(*PLACE)
    if given is None:
        return SamplingSettings()
    reject_unknown(document, PLACE, given, SamplingSettings._fields)
    rules = _rules(document)
    return SamplingSettings(
        rules=rules, destinations=_destinations(document, destinations, rules), tail=_tail(document)
    )


def sentry_rate(sampling: SamplingSettings, head: float) -> float:
    """The share of all traces that Sentry gets where the head records the share ``head``."""
    return min([head, *(sampling.destinations.get(name, 1.0) for name in ("sentry", "sentry_otlp"))])


def _rules(document: Document) -> tuple[RuleSettings, ...]:
    place = (*PLACE, "rules")
    given = document.get(*place)
    if given is None:
        return ()
    if not isinstance(given, list):
        raise document.error(place, given, "a list of rules")
    return tuple(_rule(document, (*place, index), each) for index, each in enumerate(given))


def _rule(document: Document, place: Key, given: Any) -> RuleSettings:
    reject_unknown(document, place, given, RuleSettings._fields)
    values: dict[str, Any] = {
        name: _text(document, (*place, name), given[name])
        for name in ("route", "method", "environment")
        if given.get(name) is not None
    }
    if given.get("attributes") is not None:
        values["attributes"] = _attributes(document, (*place, "attributes"), given["attributes"])
    if given.get("rate") is not None:
        values["rate"] = _number(document, (*place, "rate"), "a number from 0 to 1", low=0.0, high=1.0)
    if given.get("per_second") is not None:
        values["per_second"] = _number(document, (*place, "per_second"), "a number above 0", above=0.0)
    if not {"rate", "per_second"} & values.keys():
        raise document.error(place, given, "a rule with rate, per_second or both")
    return RuleSettings(**values)


def _attributes(document: Document, place: Key, given: Any) -> dict[str, str]:
    if not isinstance(given, dict):
        raise document.error(place, given, "a mapping of attributes to values or patterns")
    return {str(name): _text(document, (*place, str(name)), value) for name, value in given.items()}


def _destinations(
    document: Document, destinations: tuple[Options, ...], rules: tuple[RuleSettings, ...]
) -> dict[str, float]:
    place = (*PLACE, "destinations")
    given = document.get(*place)
    if given is None:
        return {}
    used = tuple(dict.fromkeys(each.name for each in destinations if each.signal == "traces"))
    if not isinstance(given, dict):
        raise document.error(place, given, "a mapping of destinations to rates")
    head = document.get(*TRACES_RATE)
    most = max([1.0 if head is None else float(head), *(each.rate for each in rules)])
    allowed = f"a number from 0 to {most:g}" + (
        "" if most == 1.0 else ", the highest rate at which traces are recorded"
    )
    shares = {}
    for name in given:
        if name not in used:
            raise document.error(
                (*place, str(name)), given[name], f"the file's destinations for traces: {', '.join(used)}"
            )
        shares[name] = _number(document, (*place, name), allowed, low=0.0, high=most)
    return shares


def _tail(document: Document) -> TailSettings | None:
    place = (*PLACE, "tail")
    given = document.get(*place)
    if given is None:
        return None
    reject_unknown(document, place, given, TailSettings._fields)
    values: dict[str, Any] = {}
    for name in (name for name in given if given[name] is not None):
        if name == "errors":
            word = str(given[name]).strip().lower()
            if word not in BOOLEANS:
                raise document.error((*place, name), given[name], ", ".join(BOOLEANS))
            values[name] = BOOLEANS[word]
        elif name in ("slower_than", "max_age"):
            values[name] = _number(document, (*place, name), "a number of seconds above 0", above=0.0)
        else:
            whole = f"a whole number from 1 to {_MOST}"
            values[name] = _number(document, (*place, name), whole, low=1, high=_MOST, whole=True)
    tail = TailSettings(**values)
    if not tail.errors and tail.slower_than is None:
        raise document.error(place, given, "errors: true, slower_than, or both")
    if tail.slower_than is not None and tail.slower_than >= tail.max_age:
        allowed = f"less than max_age, which is {tail.max_age:g}"
        raise document.error((*place, "slower_than"), tail.slower_than, allowed)
    return tail


def _number(
    document: Document,
    place: Key,
    allowed: str,
    *,
    low: float = -math.inf,
    above: float = -math.inf,
    high: float = _MOST,
    whole: bool = False,
) -> Any:
    """The number at ``place``, from ``low`` or above ``above``, up to ``high``."""
    value = document.get(*place)
    try:
        number = math.nan if isinstance(value, (bool, list, dict)) else float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not (low <= number <= high and number > above) or (whole and number != int(number)):
        raise document.error(place, value, allowed)
    return int(number) if whole else number


def _text(document: Document, place: Key, value: Any) -> str:
    if value is None or value == "" or isinstance(value, (list, dict)):
        raise document.error(place, value, "text, in which * stands for anything")
    return str(value).lower() if isinstance(value, bool) else str(value)
