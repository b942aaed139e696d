"""The destinations of a configuration file: where they stand, what variables add, and what replaces them.

OpenTelemetry's places for what is sent somewhere are ``tracer_provider.processors``, ``logger_provider.processors``
and, one level deeper, the exporters of ``meter_provider.readers``. A destination of ours is a plugin component there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brain_otel.destinations import known_names
from brain_otel.options import Options

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brain_otel.document import Document, Key
    from brain_otel.options import Signal

METRIC_EXPORTER = "brain_otel"
"""The name under which OpenTelemetry finds our metric exporters (entry point ``opentelemetry_metrics_exporter``)."""

PROCESSORS: dict[Signal, tuple[str, str]] = {
    "traces": ("tracer_provider", "processors"),
    "logs": ("logger_provider", "processors"),
}
READERS = ("meter_provider", "readers")

UPSTREAM_METRIC_EXPORTERS = ("otlp_http", "otlp_grpc", "otlp_file/development")
"""Metric exporters that are OpenTelemetry's own; ``console`` is too, for metrics."""

_REPLACED_BY: dict[Signal, str] = {
    "traces": "OTEL_TRACES_EXPORTER",
    "logs": "OTEL_LOGS_EXPORTER",
    "metrics": "OTEL_METRICS_EXPORTER",
}
_OTLP_VARIABLES = {
    "endpoint": "OTEL_EXPORTER_OTLP_ENDPOINT",
    "protocol": "OTEL_EXPORTER_OTLP_PROTOCOL",
    "headers": "OTEL_EXPORTER_OTLP_HEADERS",
}


def read_destinations(document: Document, environ: Mapping[str, str]) -> tuple[Options, ...]:
    """Every destination of the file, once for each signal.

    Raises:
        ConfigurationError: one is unknown, or Sentry is to get the same spans twice.
    """
    found: list[Options] = []
    for signal, place in PROCESSORS.items():
        for index, component in enumerate(document.get(*place) or ()):
            ((name, values),) = component.items()
            if signal == "logs" and name == "event_to_span_event_bridge/development":
                raise document.error((*place, index), name, ", ".join(known_names()))
            found.append(_options(document, environ, name, values, signal, (*place, index, name), index))
    for index, reader in enumerate(document.get(*READERS) or ()):
        exporter = (reader.get("periodic") or {}).get("exporter")
        if not exporter:
            continue  # a pull reader: all of it is OpenTelemetry's
        ((name, values),) = exporter.items()
        if name not in (*UPSTREAM_METRIC_EXPORTERS, "console"):
            key = (*READERS, index, "periodic", "exporter", name)
            found.append(_options(document, environ, name, values, "metrics", key, index))
    _refuse_twice(document, found)
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
            _replace(document, signal, _names(environ[variable], variable))
        else:
            notices.append(f"{variable} is ignored: {document.source} says where telemetry goes")
    return notices


def _names(value: str, variable: str) -> list[str]:
    from brain_otel.settings import ConfigurationError

    names = [name.strip() for name in value.split(",") if name.strip()]
    allowed = [name for name in known_names() if name not in ("batch", "simple")]
    for name in names:
        if name not in allowed and name != "none":
            raise ConfigurationError(f"{variable} is {value!r}; allowed: none, or some of {', '.join(allowed)}")
    return [name for name in names if name != "none"]


def _replace(document: Document, signal: Signal, names: list[str]) -> None:
    """Put ``names`` in place of the signal's destinations; those that the file has keep their options."""
    if signal == "metrics":
        provider, key = READERS
        known = {next(iter(each["periodic"]["exporter"])): each for each in document.get(*READERS) or ()}
        components = [known.get(name, {"periodic": {"exporter": {name: {}}}}) for name in names]
    else:
        provider, key = PROCESSORS[signal]
        known = {next(iter(each)): each for each in document.get(provider, key) or ()}
        components = [known.get(name, {name: {}}) for name in names]
    if not components and signal != "traces":
        document.data.pop(provider, None)
        return
    document.data[provider] = {**(document.data.get(provider) or {}), key: components}


def _options(
    document: Document,
    environ: Mapping[str, str],
    name: str,
    values: Mapping[str, Any] | None,
    signal: Signal,
    key: Key,
    index: int,
) -> Options:
    if name not in known_names():
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
        place=f"{document.source}: {'.'.join(map(str, key))}",
        refuse=lambda path, value, allowed: document.error((*key, *path), value, allowed),
    )


def _with_otlp_variables(
    document: Document, environ: Mapping[str, str], given: dict[str, Any], signal: Signal, key: Key
) -> dict[str, Any]:
    """The options with the standard variables where the file does not say otherwise.

    A signal's own variable, such as ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``, comes before the general one, and where
    the file reads the general one, before the file.
    """
    for option, variable in _OTLP_VARIABLES.items():
        if option in given and document.variable((*key, option)) != variable:
            continue
        own = variable.replace("OTLP_", f"OTLP_{signal.upper()}_")
        if own in environ:
            given["url" if option == "endpoint" else option] = environ[own]
        elif option not in given and variable in environ:
            given[option] = environ[variable]
    return given


def _refuse_twice(document: Document, found: list[Options]) -> None:
    names = [each.name for each in found if each.signal == "traces"]
    for name in ("sentry", "sentry_otlp", "console", "memory"):
        if names.count(name) > 1:
            raise document.error(PROCESSORS["traces"], names, f"{name} once")
    if "sentry" in names and "sentry_otlp" in names:
        raise document.error(PROCESSORS["traces"], names, "sentry or sentry_otlp, which send the same spans")
