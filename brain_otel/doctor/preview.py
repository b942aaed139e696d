"""Shows what of a text, an envelope or OTLP JSON would leave the process, and which rule masked each value."""

import json
from collections.abc import Callable
from difflib import SequenceMatcher
from typing import Any, NamedTuple

from brain_otel.configuration.settings import Settings
from brain_otel.privacy import Policy
from brain_otel.privacy.attributes import masked_attributes
from brain_otel.privacy.settings import PrivacySettings, Rules
from brain_otel.runtime.text import MAX_TEXT

MAX_BYTES = 64 * 1024 * 1024
"""Bytes of the largest input."""

NAMES = "names"
"""Stands among the rules for values that are masked because of their name."""

_NO_RULES = Rules(**dict.fromkeys(Rules._fields, False))
_OTLP = frozenset({"resourceSpans", "resourceLogs", "resourceMetrics"})
_OTLP_TEXTS = frozenset({"name", "message", "description", "stringValue"})
"""Keys of OTLP JSON whose strings are free texts; the others hold ids, times and numbers."""


class Preview(NamedTuple):
    """The text that would leave, and the rules that masked the rest."""

    text: str
    places: dict[str, list[str]]
    """The rules that acted, each with the places where it did: ``line 3``, or a path such as ``extra.api_key``."""


def preview(data: bytes, settings: Settings) -> Preview:
    """Mask ``data`` by the policy of ``settings``.

    Events of an envelope are masked as for Sentry, OTLP JSON as spans, log records and metrics are, other JSON by its
    names and texts, and anything else as a text.
    """
    source = _read(data.decode("utf-8", "replace"))

    def masked_by(privacy: PrivacySettings) -> Any:
        return source.mask(Policy(privacy, send_default_pii=settings.send_default_pii))

    chosen = settings.privacy
    by_name = source.changed(source.data, masked_by(chosen._replace(rules=_NO_RULES)))
    found = {NAMES: by_name} if by_name else {}
    for rule in Rules._fields:
        if getattr(chosen.rules, rule):
            alone = _NO_RULES._replace(**{rule: True})
            places = source.changed(source.data, masked_by(chosen._replace(rules=alone)))
            if acted := [place for place in places if place not in by_name]:
                found[rule] = acted
    return Preview(source.write(masked_by(chosen)), found)


class _Source(NamedTuple):
    """The input as data, with the functions that mask it, write it and compare it with its masked form."""

    data: Any
    mask: Callable[[Policy], Any]
    write: Callable[[Any], str]
    changed: Callable[[Any, Any], list[str]]


def _read(text: str) -> _Source:
    whole = _parsed(text)
    if isinstance(whole, (dict, list)):
        return _Source(whole, lambda by: _masked_document(whole, by), _as_json, _changed)
    lines = text.splitlines()
    documents = [_parsed(line) for line in lines]
    if documents and all(isinstance(each, dict) for each in documents):
        return _Source(documents, lambda by: [_masked_document(each, by) for each in documents], _as_lines, _changed)
    if len(text) > MAX_TEXT:  # in an application each line would be a text of its own
        return _Source(lines, lambda by: [by.text(line) for line in lines], "\n".join, _changed_lines)
    return _Source(lines, lambda by: by.text(text).splitlines(), "\n".join, _changed_lines)


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _as_json(document: Any) -> str:
    return json.dumps(document, indent=2)


def _as_lines(documents: list[Any]) -> str:
    return "\n".join(map(json.dumps, documents))


def _masked_document(document: Any, by: Policy) -> Any:
    """One JSON document, or one line of an envelope: https://develop.sentry.dev/sdk/data-model/envelopes/."""
    if isinstance(document, dict):
        if not _OTLP.isdisjoint(document):
            return _masked_otlp(document, by)
        if "event_id" in document and ("exception" in document or "contexts" in document):
            from brain_otel.sentry.before_send import mask

            return mask(document, by)
    return by.value(document)


def _masked_otlp(node: Any, by: Policy) -> Any:
    """OTLP JSON: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding."""
    if isinstance(node, list):
        return [_masked_otlp(each, by) for each in node]
    if not isinstance(node, dict):
        return node
    masked: dict[str, Any] = {}
    for key, value in node.items():
        if key == "attributes" and isinstance(value, list):
            masked[key] = _masked_pairs(value, by)
        elif key in _OTLP_TEXTS and isinstance(value, str):
            masked[key] = by.text(value)
        else:
            masked[key] = _masked_otlp(value, by)
    return masked


def _masked_pairs(pairs: list[Any], by: Policy) -> list[Any]:
    """OTLP's ``[{"key": ..., "value": {"stringValue": ...}}]``; a value whose type changes becomes a string."""
    given = {
        str(pair["key"]): _plain(pair.get("value")) for pair in pairs if isinstance(pair, dict) and "key" in pair
    }
    return [{"key": key, "value": _otlp_value(value)} for key, value in masked_attributes(by, given).items()]


def _plain(value: Any) -> Any:
    kind: str
    inner: Any
    kind, inner = next(iter(value.items()), ("", None)) if isinstance(value, dict) else ("", value)
    if kind == "arrayValue":
        return [_plain(each) for each in (inner or {}).get("values") or ()]
    if kind == "kvlistValue":
        return {each.get("key"): _plain(each.get("value")) for each in (inner or {}).get("values") or ()}
    return int(inner) if kind == "intValue" and str(inner).lstrip("-").isdecimal() else inner


def _otlp_value(value: Any) -> Any:
    if isinstance(value, bool):
        return {"boolValue": value}
    if isinstance(value, int):
        return {"intValue": str(value)}
    if isinstance(value, float):
        return {"doubleValue": value}
    if isinstance(value, (list, tuple)):
        return {"arrayValue": {"values": [_otlp_value(each) for each in value]}}
    if isinstance(value, dict):
        return {"kvlistValue": {"values": [{"key": key, "value": _otlp_value(each)} for key, each in value.items()]}}
    return {"stringValue": value}


def _changed(original: Any, masked: Any, place: str = "") -> list[str]:
    """The places at which ``masked`` differs from ``original``."""
    if original == masked:
        return []
    if isinstance(original, dict) and isinstance(masked, dict):
        return [
            found for key, each in original.items() for found in _changed(each, masked.get(key), f"{place}.{key}")
        ]
    if isinstance(original, list) and isinstance(masked, list):
        if original and all(isinstance(each, dict) and "key" in each and "value" in each for each in original):
            return _changed(_by_key(original), _by_key(masked), place)
        if len(original) == len(masked):
            pairs = enumerate(zip(original, masked, strict=True))
            return [found for index, (one, other) in pairs for found in _changed(one, other, f"{place}.{index}")]
    return [place.lstrip(".")]


def _by_key(pairs: list[Any]) -> dict[Any, Any]:
    return {pair["key"]: pair["value"] for pair in pairs}


def _changed_lines(original: list[str], masked: list[str]) -> list[str]:
    """The lines that changed; a masked text may have fewer lines, since a private key becomes one."""
    if len(original) == len(masked):
        numbers = [number for number, line in enumerate(original) if masked[number] != line]
    else:
        codes = SequenceMatcher(None, original, masked, autojunk=False).get_opcodes()
        numbers = [number for code, start, end, _, _ in codes if code != "equal" for number in range(start, end)]
    return [f"line {number + 1}" for number in numbers]
