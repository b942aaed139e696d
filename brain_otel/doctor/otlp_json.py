"""Masks OTLP JSON as spans, log records and metrics are masked.

See https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding.
"""

import base64
from typing import Any

from brain_otel.privacy import Policy
from brain_otel.privacy.attributes import masked_attributes

_SIGNALS = frozenset({"resourceSpans", "resourceLogs", "resourceMetrics"})
_TEXTS = frozenset({"name", "version", "schemaUrl", "eventName", "message", "description", "stringValue"})
"""Keys whose strings are free texts; the others hold ids, times and numbers."""


def is_otlp(document: dict[str, Any]) -> bool:
    """Whether ``document`` is an export of spans, log records or metrics."""
    return not _SIGNALS.isdisjoint(document)


def masked_otlp(node: Any, by: Policy) -> Any:
    """A document, or a part of one, as it would leave."""
    if isinstance(node, list):
        return [masked_otlp(each, by) for each in node]
    if not isinstance(node, dict):
        return node
    masked: dict[str, Any] = {}
    for key, value in node.items():
        if key == "attributes" and isinstance(value, list):
            masked[key] = _masked_pairs(value, by)
        elif key == "body" and isinstance(value, dict):
            masked[key] = _otlp_value(by.value(_plain(value)))
        elif key == "traceState" and isinstance(value, str):
            pairs = [each.partition("=") for each in value.split(",")]
            masked[key] = ",".join(f"{name}{sign}{by.value({name: text})[name]}" for name, sign, text in pairs)
        elif key in _TEXTS and isinstance(value, str):
            masked[key] = by.text(value)
        else:
            masked[key] = masked_otlp(value, by)
    return masked


def _masked_pairs(pairs: list[Any], by: Policy) -> list[Any]:
    """OTLP's ``[{"key": ..., "value": {"stringValue": ...}}]``; a value whose type changes becomes a string."""
    return [
        {"key": key, "value": _otlp_value(value)} for key, value in masked_attributes(by, _by_name(pairs)).items()
    ]


def _by_name(pairs: Any) -> dict[str, Any]:
    known = [pair for pair in pairs or () if isinstance(pair, dict) and "key" in pair]
    return {str(pair["key"]): _plain(pair.get("value")) for pair in known}


def _plain(value: Any) -> Any:
    kind: str
    inner: Any
    kind, inner = next(iter(value.items()), ("", None)) if isinstance(value, dict) else ("", value)
    values = (inner.get("values") or ()) if isinstance(inner, dict) else ()
    if kind == "arrayValue":
        return [_plain(each) for each in values]
    if kind == "kvlistValue":
        return _by_name(values)
    if kind == "bytesValue":
        return base64.b64decode(str(inner) + "==")
    return int(inner) if kind == "intValue" and str(inner).lstrip("-").isdecimal() else inner


def _otlp_value(value: Any) -> Any:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, bytes):
        return {"bytesValue": base64.b64encode(value).decode()}
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [_otlp_value(each) for each in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": [{"key": key, "value": _otlp_value(each)} for key, each in value.items()]}}
    return {"stringValue": value}
