"""Reads the destinations of a configuration file, and lets variables replace or complete them.

OpenTelemetry's places for destinations are ``tracer_provider.processors``, ``logger_provider.processors`` and, one
level deeper, the exporters of ``meter_provider.readers``. Our destinations are plugin components there.
"""

from collections.abc import Mapping
from functools import partial
from typing import Any

from brain_otel.configuration.destination_registry import is_known, is_otel_metric_exporter, known_names, takes
from brain_otel.configuration.document import Document
from brain_otel.configuration.error import configuration_error
from brain_otel.configuration.options import Options, Signal
from brain_otel.configuration.values import Key, boolean, number, read_or

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
_NEED_OPTIONS = ("batch", "simple", "file")
"""Destinations that a variable cannot name: they do nothing without options."""

_SWITCHED = ("logs", "sentry")
"""The destination with an option ``enabled``; ``false``, as of ``SENTRY_ENABLE_LOGS``, takes it out of the file."""

_INTERVAL = "OTEL_METRIC_EXPORT_INTERVAL"
_read_interval = number(1, 86_400_000, whole=True, unit="milliseconds")
_read_seconds = number(above=0, high=3_600, unit="seconds")

_OTLP_OPTIONS = (
    "endpoint",
    "protocol",
    "headers",
    "compression",
    "certificate",
    "client_key",
    "client_certificate",
    "timeout",
)


def read_destinations(document: Document, environ: Mapping[str, str]) -> tuple[Options, ...]:
    """Every destination of the file, once for each signal.

    Raises:
        ConfigurationError: a name is unknown, or a destination that allows one use a signal has two.
    """
    found: list[Options] = []
    for signal, place in PROCESSORS.items():
        for index, component in enumerate(document.get(*place) or ()):
            ((name, values),) = component.items()
            if _is_enabled(document, (*place, index, name), values):
                found.append(_options(document, environ, name, values, signal, (*place, index, name)))
    for index, reader in enumerate(document.get(*READERS) or ()):
        periodic = reader.get("periodic") or {}
        if not periodic.get("exporter"):
            continue  # OpenTelemetry makes pull readers itself
        key: Key = (*READERS, index, "periodic")
        if periodic.get("interval") == 0:  # OpenTelemetry's schema allows it, its SDK does not
            raise document.error((*key, "interval"), 0, "a whole number of milliseconds from 1 on")
        ((name, values),) = periodic["exporter"].items()
        found.append(_options(document, environ, name, values, "metrics", (*key, "exporter", name)))
    _reject_twice(document, found)
    return tuple(found)


def replace_destinations(document: Document, environ: Mapping[str, str], *, packaged: bool) -> list[str]:
    """Let ``OTEL_TRACES_EXPORTER`` and its like replace the destinations of a packaged file.

    With a file of the user's own these variables have no effect, as the specification says. Returns what to tell
    the user about that.

    Raises:
        ConfigurationError: a variable names a destination that is unknown or does not take the signal.
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
    if names == ["none"]:
        return []
    if not names or not all(_can_be_named(name, signal) for name in names):
        allowed = ", ".join(name for name in known_names() if _can_be_named(name, signal))
        raise configuration_error(variable, value, f"none, or some of {allowed}")
    return names


def _can_be_named(name: str, signal: Signal) -> bool:
    return name in known_names() and name not in _NEED_OPTIONS and takes(name, signal)


def _replace(document: Document, signal: Signal, names: list[str], environ: Mapping[str, str]) -> None:
    """Put ``names`` in place of the signal's destinations; those that the file has keep their options."""
    provider, key = READERS if signal == "metrics" else PROCESSORS[signal]
    components: list[Any] = []
    known = {_name_of(each): (index, each) for index, each in enumerate(document.get(provider, key) or ())}
    if signal == "traces" and not {"sentry", "sentry_otlp"} & {*names} and "sentry" in known:
        _keep_for_errors(document, "sentry")
        names = [*names, "sentry"]
    for name in names:
        index, component = known.get(name, (None, {name: {}}))
        if index is None and signal == "metrics":
            file_times: dict[str, Any] = next(
                (each["periodic"] for _, each in known.values() if "periodic" in each), {}
            )
            component = {"periodic": {**_interval(environ), **file_times, "exporter": component}}
        moved_from = None if index is None else (provider, key, index)
        document.record_origin((provider, key, len(components)), _REPLACED_BY[signal], moved_from=moved_from)
        if (signal, name) == _SWITCHED:
            component = {name: {**(component[name] or {}), "enabled": True}}
        components.append(component)
    if not components and signal != "traces":
        document.data.pop(provider, None)
        return
    document.data[provider] = {**(document.data.get(provider) or {}), key: components}


def _keep_for_errors(document: Document, name: str) -> None:
    """Give ``name`` no spans: the variable says where spans go, and errors go on to Sentry."""
    place = ("distribution", "brain_otel", "sampling", "destinations")
    data = document.data
    for part in place:
        data[part] = data = {**(data.get(part) or {})}
    data[name] = 0
    document.record_origin((*place, name), _REPLACED_BY["traces"])


def _interval(environ: Mapping[str, str]) -> dict[str, int]:
    """The ``interval`` of a reader that the file does not have."""
    if _INTERVAL not in environ:
        return {}
    return {"interval": read_or(_read_interval, environ[_INTERVAL], partial(configuration_error, _INTERVAL))}


def _name_of(component: Mapping[str, Any]) -> str:
    """The name of a processor, or of the exporter of a reader."""
    return str(next(iter(component["periodic"]["exporter"] if "periodic" in component else component)))


def _is_enabled(document: Document, key: Key, values: Mapping[str, Any] | None) -> bool:
    given = (values or {}).get("enabled", "")
    if (key[0], key[-1]) != (PROCESSORS["logs"][0], _SWITCHED[1]) or given in ("", None):
        return True
    return bool(read_or(boolean, given, partial(document.error, (*key, "enabled"))))


def _options(
    document: Document,
    environ: Mapping[str, str],
    name: str,
    values: Mapping[str, Any] | None,
    signal: Signal,
    key: Key,
) -> Options:
    if not is_known(name, signal):
        raise document.error(key[:-1], name, ", ".join(known_names()))
    given = dict(values or {})
    if name == "otlp":
        given = _with_otlp_variables(document, environ, given, signal, key)
    return Options(
        given,
        name=name,
        signal=signal,
        index=int(key[2]),
        place=document.place(key),
        chosen_by=document.set_by(key[:3]),
        make_error=lambda path, value, allowed: document.error((*key, *path), value, allowed),
    )


def _with_otlp_variables(
    document: Document, environ: Mapping[str, str], given: dict[str, Any], signal: Signal, key: Key
) -> dict[str, Any]:
    """Complete the options with OpenTelemetry's standard variables.

    A signal's variable, such as ``OTEL_EXPORTER_OTLP_TRACES_ENDPOINT``, comes before the general one. It also comes
    before the file where the file reads the general one.
    """
    for option in _OTLP_OPTIONS:
        general = f"OTEL_EXPORTER_OTLP_{option.upper()}"
        own = f"OTEL_EXPORTER_OTLP_{signal.upper()}_{option.upper()}"
        if option in given and document.variable((*key, option)) != general:
            continue
        if option == "endpoint" and given.get("url"):
            continue  # the file gives the whole address
        name = "url" if option == "endpoint" and own in environ else option
        variable = own if own in environ else general
        if variable not in environ or (variable == general and option in given):
            continue
        given[name] = environ[variable]
        document.record_origin((*key, name), variable)
        if option == "timeout":
            seconds = read_or(_read_seconds, environ[variable], partial(document.error, (*key, name)))
            given[name] = seconds * 1_000  # OpenTelemetry's exporters for Python read the variable as seconds
    return given


def _reject_twice(document: Document, found: list[Options]) -> None:
    for signal, place in (*PROCESSORS.items(), ("metrics", READERS)):
        names = [
            each.name
            for each in found
            if each.signal == signal and not is_otel_metric_exporter(each.name, each.signal)
        ]
        for name in ("sentry", "sentry_otlp", "console", "memory"):
            if names.count(name) > 1:
                raise document.error(place, ", ".join(names), f"{name} once")
        if "sentry" in names and "sentry_otlp" in names:
            raise document.error(place, ", ".join(names), "sentry or sentry_otlp, which send the same spans")
