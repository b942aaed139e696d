"""The destinations of a configuration file: where they stand, what variables add, and what replaces them.

OpenTelemetry's places for what is sent somewhere are ``tracer_provider.processors``, ``logger_provider.processors``
and, one level deeper, the exporters of ``meter_provider.readers``. A destination of ours is a plugin component there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brain_otel.configuration.destination_registry import UPSTREAM_METRIC_EXPORTERS, is_known, known_names, takes
from brain_otel.configuration.error import configuration_error
from brain_otel.configuration.options import Options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brain_otel.configuration.document import Document, Key
    from brain_otel.configuration.options import Signal

METRIC_EXPORTER = "brain_otel"
"""The name under which OpenTelemetry finds our metric exporters (entry point ``opentelemetry_metrics_exporter``)."""

PROCESSORS: dict[Signal, tuple[str, str]] = {
    "traces": ("tracer_provider", "processors"),
    "logs": ("logger_provider", "processors"),
}
READERS = ("meter_provider", "readers")

_REPLACED_BY: dict[Signal, str] = {
    "traces": "OTEL_TRACES_EXPORTER",
    "logs": "OTEL_LOGS_EXPORTER",
    "metrics": "OTEL_METRICS_EXPORTER",
}
_INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"
_MAX_INTERVAL = 86_400_000
"""Milliseconds, a day."""

_OTLP_OPTIONS = ("endpoint", "protocol", "headers", "compression", "certificate", "client_key", "client_certificate")


def read_destinations(document: Document, environ: Mapping[str, str]) -> tuple[Options, ...]:
    """Every destination of the file, once for each signal.

    Raises:
        ConfigurationError: one is unknown, or Sentry is to get the same spans twice.
    """
    found: list[Options] = []
    for signal, place in PROCESSORS.items():
        for index, component in enumerate(document.get(*place) or ()):
            ((name, values),) = component.items()
            found.append(_options(document, environ, name, values, signal, (*place, index, name), index))
    for index, reader in enumerate(document.get(*READERS) or ()):
        periodic = reader.get("periodic") or {}
        if not periodic.get("exporter"):
            continue  # a pull reader: all of it is OpenTelemetry's
        if periodic.get("interval") == 0:  # which OpenTelemetry's schema allows, and its SDK does not
            raise document.error(
                (*READERS, index, "periodic", "interval"), 0, "a whole number of milliseconds from 1 on"
            )
        ((name, values),) = periodic["exporter"].items()
        key = (*READERS, index, "periodic", "exporter", name)
        found.append(_options(document, environ, name, values, "metrics", key, index))
    _reject_twice(document, found)
    return tuple(found)


def replace_destinations(document: Document, environ: Mapping[str, str], *, packaged: bool) -> list[str]:
    """Let ``OTEL_TRACES_EXPORTER`` and its like replace the destinations of a packaged file.

    Returns what to tell the user: beside a file of their own these variables are ignored, as the specification wants.

    Raises:
        ConfigurationError: a variable names an unknown destination.
    """
    notices = []
    for signal, variable in _REPLACED_BY.items():
        if variable not in environ:
            continue
        if packaged:
            _replace(document, signal, _names(environ[variable], variable, signal), environ)
        else:
            notices.append(f"{variable} is ignored: {document.source} says where telemetry goes")
    return notices


def _names(value: str, variable: str, signal: Signal) -> list[str]:
    names = list(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))
    needs_options = ("batch", "simple", "file")
    allowed = [name for name in known_names() if name not in needs_options and takes(name, signal)]
    unknown = [name for name in names if name not in allowed and name != "none"]
    if not names or unknown or ("none" in names and len(names) > 1):
        raise configuration_error(variable, value, f"none, or some of {', '.join(allowed)}")
    return [name for name in names if name != "none"]


def _interval(environ: Mapping[str, str]) -> int:
    """Milliseconds between two exports of metrics, as the variable says."""
    digits = environ[_INTERVAL].strip()
    interval = int(digits) if digits.isdecimal() and len(digits) <= len(str(_MAX_INTERVAL)) else 0
    if not 0 < interval <= _MAX_INTERVAL:
        raise configuration_error(
            _INTERVAL, environ[_INTERVAL], f"a whole number of milliseconds from 1 to {_MAX_INTERVAL}"
        )
    return interval


def _replace(document: Document, signal: Signal, names: list[str], environ: Mapping[str, str]) -> None:
    """Put ``names`` in place of the signal's destinations; those that the file has keep their options."""
    provider, key = READERS if signal == "metrics" else PROCESSORS[signal]
    components: list[Any] = []
    known = {_name_of(each): (index, each) for index, each in enumerate(document.get(provider, key) or ())}
    for name in names:
        index, component = known.get(name, (None, {name: {}}))
        if index is None and signal == "metrics":
            periodic: dict[str, Any] = next(
                (each["periodic"] for _, each in known.values() if "periodic" in each), {}
            )
            if "interval" not in periodic and _INTERVAL in environ:
                periodic = {**periodic, "interval": _interval(environ)}
            component = {"periodic": {**periodic, "exporter": component}}  # as often as the file says
        place = None if index is None else (provider, key, index)
        document.record_origin((provider, key, len(components)), _REPLACED_BY[signal], moved_from=place)
        components.append(component)
    if not components and signal != "traces":
        document.data.pop(provider, None)
        return
    document.data[provider] = {**(document.data.get(provider) or {}), key: components}


def _name_of(component: Mapping[str, Any]) -> str:
    """The name of a processor, or of the exporter of a reader."""
    return str(next(iter(component["periodic"]["exporter"] if "periodic" in component else component)))


def _options(
    document: Document,
    environ: Mapping[str, str],
    name: str,
    values: Mapping[str, Any] | None,
    signal: Signal,
    key: Key,
    index: int,
) -> Options:
    if not is_known(name) and not _is_upstream(name, signal):
        allowed = ", ".join(known_names())
        raise document.error(key[:-1], name, allowed)
    given = dict(values or {})
    if name == "otlp":
        given = _with_otlp_variables(document, environ, given, signal, key)
    return Options(
        given,
        name=name,
        signal=signal,
        index=index,
        place=document.place(key),
        chosen_by=document.set_by(key[:3]),
        refuse=lambda path, value, allowed: document.error((*key, *path), value, allowed),
    )


def _is_upstream(name: str, signal: Signal) -> bool:
    """Whether it is a metric exporter of OpenTelemetry's, as ``console`` is for metrics alone."""
    return signal == "metrics" and name in UPSTREAM_METRIC_EXPORTERS


def _with_otlp_variables(
    document: Document, environ: Mapping[str, str], given: dict[str, Any], signal: Signal, key: Key
) -> dict[str, Any]:
    """The options with the standard variables where the file does not say otherwise.

    A signal's own variable, such as ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``, comes before the general one, and where
    the file reads the general one, before the file.
    """
    for option in (*_OTLP_OPTIONS, "timeout"):
        general = f"OTEL_EXPORTER_OTLP_{option.upper()}"
        own = f"OTEL_EXPORTER_OTLP_{signal.upper()}_{option.upper()}"
        if option in given and document.variable((*key, option)) != general:
            continue
        if option == "endpoint" and given.get("url"):
            continue  # the file says the whole address
        name = "url" if option == "endpoint" and own in environ else option
        variable = own if own in environ else general
        if variable not in environ or (variable == general and option in given):
            continue
        given[name] = environ[variable]
        document.record_origin((*key, name), variable)
        if option == "timeout":
            given[name] = _milliseconds(document, (*key, name), environ[variable])
    return given


def _milliseconds(document: Document, key: Key, seconds: str) -> float:
    """A timeout from a variable: OpenTelemetry's exporters for Python take it for seconds."""
    try:
        number = float(seconds)
    except ValueError:
        number = -1.0
    if not 0 < number <= 3_600:
        raise document.error(key, seconds, "a number of seconds above 0, up to 3600")
    return number * 1_000


def _reject_twice(document: Document, found: list[Options]) -> None:
    for signal, place in (*PROCESSORS.items(), ("metrics", READERS)):
        names = [each.name for each in found if each.signal == signal and not _is_upstream(each.name, signal)]
        for name in ("sentry", "sentry_otlp", "console", "memory"):
            if names.count(name) > 1:
                raise document.error(place, ", ".join(names), f"{name} once")
        if "sentry" in names and "sentry_otlp" in names:
            raise document.error(place, ", ".join(names), "sentry or sentry_otlp, which send the same spans")
