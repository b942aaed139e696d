"""Shows what of a text, an envelope or OTLP JSON would leave the process, and which rule masked each value."""

import base64
import json
import zlib
from collections.abc import Callable
from itertools import zip_longest
from typing import Any, NamedTuple

from brain_otel.configuration.settings import Settings
from brain_otel.doctor.envelope_parts import is_event, masked_event, masked_parts, parsed, read_envelope
from brain_otel.privacy import Policy
from brain_otel.privacy.attributes import masked_attributes
from brain_otel.privacy.settings import PrivacySettings, Rules
from brain_otel.runtime.text import CHUNK, in_chunks

MAX_BYTES = 64 * 1024 * 1024
"""Bytes of the largest input."""

MAX_PLACES = 20
"""Places of a rule that are shown."""

NAMES = "names"
"""Stands among the rules for values that are masked because of their name."""

_GZIP = b"\x1f\x8b"
_MAX_LINES_OF_KEY = 1_000

LENGTH = "length"
"""Stands among the rules for lines that are cut."""

_NO_RULES = Rules(**dict.fromkeys(Rules._fields, False))
_OTLP = frozenset({"resourceSpans", "resourceLogs", "resourceMetrics"})
_OTLP_TEXTS = frozenset({"name", "version", "schemaUrl", "eventName", "message", "description", "stringValue"})
"""Keys of OTLP JSON whose strings are free texts; the others hold ids, times and numbers."""


class Preview(NamedTuple):
    """The text that would leave, and the rules that masked the rest."""

    text: str
    places: dict[str, list[str]]
    """The rules that acted, each with the places where it did: ``line 3``, or a path such as ``extra.api_key``."""
    is_cut_off: bool
    """Whether the compressed input ends too early, so that something is missing."""


def preview(data: bytes, settings: Settings) -> Preview:
    """Mask ``data``, which gzip may have compressed, by the policy of ``settings``.

    Items of an envelope are masked as for Sentry, OTLP JSON as spans, log records and metrics are, other JSON by its
    names and texts, and anything else as a text.

    Raises:
        ValueError: ``data`` is compressed and broken, or has too much in it.
    """
    content, is_cut_off = _decompressed(data)
    source = _read(content)

    def masked_by(privacy: PrivacySettings) -> Any:
        return source.mask(Policy(privacy, send_default_pii=settings.send_default_pii))

    chosen = settings.privacy
    by_name = source.changed(source.data, masked_by(chosen._replace(rules=_NO_RULES)))
    found = {source.without_rules: by_name} if by_name else {}
    for rule in Rules._fields:
        if getattr(chosen.rules, rule):
            alone = _NO_RULES._replace(**{rule: True})
            places = source.changed(source.data, masked_by(chosen._replace(rules=alone)))
            if acted := [place for place in places if place not in by_name]:
                found[rule] = acted
    return Preview(source.write(masked_by(chosen)), found, is_cut_off)


class _Source(NamedTuple):
    """The input as data, with the functions that mask it, write it and compare it with its masked form."""

    data: Any
    mask: Callable[[Policy], Any]
    write: Callable[[Any], str]
    changed: Callable[[Any, Any], list[str]]
    without_rules: str = NAMES
    """What masks without a rule."""


def _decompressed(data: bytes) -> tuple[bytes, bool]:
    """The content, and whether it is cut off; files of gzip may stand one after the other."""
    content, is_cut_off = [], False
    left = MAX_BYTES
    while data.startswith(_GZIP):
        stream = zlib.decompressobj(wbits=31)
        try:
            content.append(stream.decompress(data, left + 1))
        except zlib.error as error:
            raise ValueError(f"the input is compressed and broken ({error})") from None
        left -= len(content[-1])
        if left < 0:
            raise ValueError(f"the input has more than {MAX_BYTES:,} bytes once it is decompressed")
        data, is_cut_off = stream.unused_data, not stream.eof
    return b"".join([*content, data.rstrip(b"\0") if content else data]), is_cut_off


def _text_of(data: bytes) -> str:
    """``data`` as text: UTF-16, UTF-8, and Latin 1 in lines that are neither."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", "replace")
    if len(data) > 1 and (data[0] == 0) != (data[1] == 0) and data.count(0) * 3 > len(data):
        return data.decode("utf-16-be" if data[0] == 0 else "utf-16-le", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return "\n".join(map(_line_of, data.split(b"\n")))


def _line_of(line: bytes) -> str:
    try:
        return line.decode()
    except UnicodeDecodeError:
        return line.decode("utf-8", "replace") if b"\0" in line else line.decode("latin-1")


def _read(data: bytes) -> _Source:
    envelope = read_envelope(data)
    if envelope is not None:
        return _Source(envelope, lambda by: masked_parts(envelope, by), _as_lines, _changed)
    text = _text_of(data)
    whole = parsed(text)
    if isinstance(whole, (dict, list)):
        return _Source(whole, lambda by: _masked_document(whole, by), _as_json, _changed)
    lines = text.splitlines()
    documents = [parsed(line) for line in lines]
    if documents and all(isinstance(each, dict) for each in documents):
        return _Source(documents, lambda by: [_masked_document(each, by) for each in documents], _as_lines, _changed)
    chunks = list(in_chunks(text, CHUNK))
    return _Source(
        lines,
        lambda by: [line for chunk in chunks for line in by.text(chunk).splitlines()],
        "\n".join,
        _changed_lines,
        LENGTH,
    )


def _as_json(document: Any) -> str:
    return json.dumps(document, indent=2)


def _as_lines(documents: list[Any]) -> str:
    return "\n".join(each if isinstance(each, str) else json.dumps(each) for each in documents)


def _masked_document(document: Any, by: Policy) -> Any:
    if isinstance(document, dict):
        if not _OTLP.isdisjoint(document):
            return _masked_otlp(document, by)
        if is_event(document):
            return masked_event(document, by)
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
        elif key == "body" and isinstance(value, dict):
            masked[key] = _otlp_value(by.value(_plain(value)))
        elif key == "traceState" and isinstance(value, str):
            pairs = [each.partition("=") for each in value.split(",")]
            masked[key] = ",".join(f"{name}{sign}{by.value({name: text})[name]}" for name, sign, text in pairs)
        elif key in _OTLP_TEXTS and isinstance(value, str):
            masked[key] = by.text(value)
        else:
            masked[key] = _masked_otlp(value, by)
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


def _changed(original: Any, masked: Any, place: str = "") -> list[str]:
    """The places at which ``masked`` differs from ``original``."""
    if original is masked or original == masked:
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
        numbers = []
        place = 0
        for line, following in zip_longest(masked, masked[1:]):
            if original[place : place + 1] == [line]:
                place += 1
            else:
                end = _place_of(following, original, place + 1)
                numbers += range(place, end)
                place = end
    return [f"line {number + 1}" for number in numbers]


def _place_of(line: str | None, lines: list[str], start: int) -> int:
    """Where ``line`` is among ``lines``, some of which a key leaves out; the end for None, ``start`` if nowhere."""
    if line is None:
        return len(lines)
    near = range(start, min(len(lines), start + _MAX_LINES_OF_KEY))
    return next((place for place in near if lines[place] == line), min(start, len(lines)))
