"""What nearly every file asks of OpenTelemetry, told by its form.

``opentelemetry.configuration`` reads every file there can be; importing it, with jsonschema and a class for each of
its 170 types, takes longer than all else that a set-up does. A file of this form needs neither: it is as the schema
says, and its providers are made in :mod:`brain_otel.sdk.providers`. Every other file goes upstream's way. A test
holds both ways against each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Form = Callable[[Any], bool]


def is_simple_form(data: Mapping[str, Any]) -> bool:
    """Whether the content of a file has this form; the packaged ones do."""
    return _FILE({name: value for name, value in data.items() if not str(name).startswith("x-")})


def _kind(*kinds: type) -> Form:
    return lambda value: type(value) in kinds


def _mapping(required: Mapping[str, Form] | None = None, **optional: Form) -> Form:
    needed = required or {}
    known = {**optional, **needed}

    def is_of_form(value: Any) -> bool:
        return (
            isinstance(value, dict)
            and value.keys() >= needed.keys()
            and all(name in known and known[name](inner) for name, inner in value.items())
        )

    return is_of_form


def _list(form: Form) -> Form:
    return lambda value: isinstance(value, list) and bool(value) and all(map(form, value))


def _plugin(*others: str) -> Form:
    """One component by its name, which is none of ``others``: those OpenTelemetry makes of options of its own."""

    def is_plugin(value: Any) -> bool:
        if not isinstance(value, dict) or len(value) != 1:
            return False
        ((name, options),) = value.items()
        return isinstance(name, str) and name not in others and (options is None or isinstance(options, dict))

    return is_plugin


def _sampler(value: Any) -> bool:
    if not isinstance(value, dict) or len(value) != 1:
        return False
    ((name, options),) = value.items()
    return name in _SAMPLERS and bool(_SAMPLERS[name](options))


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def _is_propagator(value: Any) -> bool:
    if not isinstance(value, dict) or len(value) != 1:
        return False
    ((name, options),) = value.items()
    return name in PROPAGATORS and options in (None, {})


def _is_period(value: Any) -> bool:
    return type(value) is int and value >= 0


PROPAGATORS = frozenset(("tracecontext", "baggage", "sentry"))

_TEXT = _kind(str)
_NOTHING = _mapping()

_SAMPLERS: dict[str, Form] = {
    "always_on": _NOTHING,
    "always_off": _NOTHING,
    "trace_id_ratio_based": _mapping({"ratio": _is_share}),
    "parent_based": _mapping({"root": _sampler}),
}

_FILE = _mapping(
    {"file_format": lambda value: value in ("1.0", "1.1")},
    disabled=_kind(bool, type(None)),
    resource=_mapping(
        attributes=_list(_mapping({"name": _TEXT, "value": _kind(str, int, float, bool, type(None))})),
        attributes_list=_kind(str, type(None)),
    ),
    tracer_provider=_mapping({"processors": _list(_plugin("batch", "simple"))}, sampler=_sampler),
    logger_provider=_mapping(
        {"processors": _list(_plugin("batch", "simple", "event_to_span_event_bridge/development"))}
    ),
    meter_provider=_mapping(
        {
            "readers": _list(
                _mapping(
                    {
                        "periodic": _mapping(
                            {"exporter": _plugin("otlp_http", "otlp_grpc", "otlp_file/development", "console")},
                            interval=_is_period,
                            timeout=_is_period,
                        )
                    }
                )
            )
        }
    ),
    propagator=_mapping({"composite": _list(_is_propagator)}),
    distribution=lambda value: (
        isinstance(value, dict) and bool(value) and all(isinstance(each, dict) for each in value.values())
    ),
)
