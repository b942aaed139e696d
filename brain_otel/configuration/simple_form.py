"""Recognizes files of a simple form, which nearly every file has, so that they need no upstream loader.

Importing ``opentelemetry.configuration``, with jsonschema and a class for each of its 170 types, takes longer than
the rest of a set-up. A file of the simple form matches the schema; :mod:`brain_otel.sdk.providers` creates its
providers. Every other file goes through upstream's loader. A test compares the results of both.
"""

from collections.abc import Callable, Mapping
from typing import Any

Form = Callable[[Any], bool]


def is_simple_form(data: Mapping[str, Any]) -> bool:
    """Whether the content of a file has the simple form, as all packaged files do."""
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


def _component(form: Callable[[Any, Any], bool]) -> Form:
    """A mapping of one name to its options."""
    return lambda value: isinstance(value, dict) and len(value) == 1 and all(form(*item) for item in value.items())


def _plugin(*others: str) -> Form:
    """A component that is none of ``others``: OpenTelemetry creates those from options of its own."""
    return _component(
        lambda name, options: (
            isinstance(name, str) and name not in others and (options is None or isinstance(options, dict))
        )
    )


def _is_share(value: Any) -> bool:
    return type(value) in (int, float) and 0 <= value <= 1


def _is_period(value: Any) -> bool:
    return type(value) is int and value >= 0


PROPAGATORS = frozenset(("tracecontext", "baggage", "sentry"))
_propagator = _component(lambda name, options: name in PROPAGATORS and options in (None, {}))
_sampler = _component(lambda name, options: name in _SAMPLERS and _SAMPLERS[name](options))

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
    propagator=_mapping({"composite": _list(_propagator)}),
    distribution=lambda value: (
        isinstance(value, dict) and bool(value) and all(isinstance(each, dict) for each in value.values())
    ),
)
