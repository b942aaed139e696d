"""Tests of the search for a value in captured telemetry."""

import base64
import html
import json
import logging
from collections.abc import Callable
from typing import Any
from urllib.parse import quote, quote_plus

import pytest
import sentry_sdk
from opentelemetry import _logs as otel_logs
from opentelemetry import trace
from opentelemetry.trace import Link, SpanContext, Status, StatusCode, TraceFlags, TraceState
from sentry_sdk.crons import capture_checkin

import brain_otel
from brain_otel.privacy.canary import places_of
from brain_otel.testing import Telemetry

VALUE = 'Grüße "kept" & 50%/close'

ENCODINGS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "as it is": ("plain", str),
    "lower case": ("plain", str.lower),
    "bytes": ("plain", str.encode),
    "JSON": ("escaped", json.dumps),
    "JSON in UTF-8": ("escaped", lambda value: json.dumps(value, ensure_ascii=False)),
    "JSON in JSON": ("escaped twice", lambda value: json.dumps(json.dumps(value))),
    "every character escaped": ("escaped", lambda value: "".join(f"\\u{ord(each):04x}" for each in value)),
    "repr": ("escaped", lambda value: ascii(value)),
    "repr of bytes": ("escaped", lambda value: repr(value.encode())),
    "percent": ("percent-encoded", lambda value: quote(value, safe="")),
    "percent but for slashes": ("percent-encoded", quote),
    "percent in part": ("percent-encoded", lambda value: value.replace("e", "%65")),
    "form": ("form", quote_plus),
    "percent twice": ("percent-encoded twice", lambda value: quote(quote(value))),
    "JSON in a query": ("escaped, percent-encoded", lambda value: quote(json.dumps(value))),
    "HTML": ("HTML", html.escape),
    "HTML by numbers": ("HTML", lambda value: "".join(f"&#{ord(each)};" for each in value)),
    "HTML in JSON": ("escaped, HTML", lambda value: json.dumps(html.escape(value))),
    "hexadecimal": ("hexadecimal", lambda value: value.encode().hex().upper()),
    "hexadecimal with colons": ("hexadecimal", lambda value: value.encode().hex(":")),
    "reversed": ("reversed", lambda value: value[::-1]),
    "base64 0": ("base64", lambda value: base64.b64encode(f"{value}after".encode()).decode()),
    "base64 1": ("base64", lambda value: base64.b64encode(f"b{value}after".encode()).decode()),
    "base64 2": ("base64", lambda value: base64.b64encode(f"be{value}".encode()).decode()),
    "base64 for addresses": ("base64", lambda value: base64.urlsafe_b64encode(value.encode()).decode()),
    "UTF-16": ("plain", lambda value: value.encode("utf-16-le")),
    "UTF-16, big end first": ("plain", lambda value: value.encode("utf-16-be")),
    "UTF-16 in base64": ("base64", lambda value: base64.b64encode(value.encode("utf-16-le")).decode()),
    "UTF-16 in hexadecimal": ("hexadecimal", lambda value: value.encode("utf-16-be").hex()),
    "base64 twice": ("base64 twice", lambda value: base64.b64encode(base64.b64encode(value.encode())).decode()),
    "JSON in base64": ("escaped, base64", lambda value: base64.b64encode(json.dumps([value]).encode()).decode()),
    "hexadecimal in base64": ("hexadecimal, base64", lambda value: base64.b64encode(value.encode().hex().encode())),
    "base64 in a query": ("base64", lambda value: quote(base64.b64encode(value.encode() * 2))),
}


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_value_is_found_in_each_encoding(encoding: str) -> None:
    """Among other text, at any depth; the place says which encoding it is."""
    found, encode = ENCODINGS[encoding]
    text = encode(VALUE)
    text = b"<" + text + b">" if isinstance(text, bytes) else f"<{text}>"
    assert list(places_of(VALUE, {"a": [{"b": text}, "harmless"]})) == [f"a.0.b ({found})"]


def test_keys_and_other_types_are_searched() -> None:
    """Bytes and numbers too."""
    data: dict[Any, Any] = {"a 12345 b": 1, "c": b"12345", "d": (12345, 1.5), "e": {"12345"}}
    places = ["a 12345 b as a key (plain)", "c (plain)", "d.0 (plain)", "e.0 (plain)"]
    assert list(places_of("12345", data)) == places


@pytest.mark.parametrize("text", ["100 % of it & more", "C:\\users\\x", "a+b=c \\", "%zz &nope; \\u12", "Z3LDvMOf"])
def test_harmless_texts_hold_no_value(text: str) -> None:
    """Texts that cannot be decoded, or only look encoded."""
    assert list(places_of(VALUE, {"a": text, "b": text.encode()})) == []


def test_a_short_value_is_rejected() -> None:
    """It would be found in harmless texts."""
    with pytest.raises(ValueError, match="'abc' is too short to be searched for; allowed: 4 or more characters"):
        list(places_of("abc", {}))


def capture_span(text: str) -> None:
    state = TraceState([("shop", "state-" + text[-2:])])
    link = Link(SpanContext(1, 2, True, TraceFlags(1), state), {"note": text})
    tracer = trace.get_tracer(f"scope {text}", attributes={"note": text})
    with tracer.start_as_current_span(f"name {text}", links=[link], attributes={f"key {text}": text}) as span:
        span.add_event(f"event {text}", {"note": text})
        span.set_status(Status(StatusCode.ERROR, text))


def capture_error(text: str) -> None:
    try:
        local = [text]
        raise ValueError(text)
    except ValueError as error:
        error.add_note(text)
        brain_otel.capture_exception(error, local=local)


def capture_rest(text: str) -> None:
    with sentry_sdk.new_scope() as scope:
        scope.add_attachment(bytes=text.encode(), filename=f"{text}.txt")
        scope.fingerprint = [text]
        scope.set_user({"id": text})
        sentry_sdk.capture_message("rest")
    capture_checkin(monitor_slug=text, status="ok")
    with brain_otel.start_transaction(text):
        brain_otel.add_breadcrumb(text, data={"note": text})
        brain_otel.set_tag("note", text)
        brain_otel.set_context("facts", {"note": text})


def capture_log(text: str) -> None:
    logging.getLogger(f"shop {text}").error("said %s", text, extra={"note": text})
    otel_logs.get_logger("shop", attributes={"note": text}).emit(body={"a": [text]}, event_name=text)


WHERE: dict[str, tuple[Callable[[str], None], list[str]]] = {
    "span": (
        capture_span,
        [
            "spans.0.name",
            "spans.0.attributes",
            "spans.0.events.0.name",
            "spans.0.events.0.attributes.note",
            "spans.0.status_description",
            "spans.0.links.0.note",
            "spans.0.scope.0",
            "spans.0.scope.3.note",
            "transactions.0.transaction",
        ],
    ),
    "error": (
        capture_error,
        [
            "events.0.exception.values.0.value",
            "events.0.exception.values.0.stacktrace.frames.0.vars.local.0",
            "events.0.contexts.extra.local",
            "logs.0.attributes.exception.message",
        ],
    ),
    "rest": (
        capture_rest,
        [
            "attachment.0.data",
            "attachment.0.filename",
            "events.0.fingerprint.0",
            "events.0.user.id",
            "check_in.0.monitor_slug",
            "transactions.0.tags.note",
            "transactions.0.contexts.facts.note",
            "transactions.0.breadcrumbs.values.0.message",
            "breadcrumbs.0.data.note",
            "spans.0.name",
        ],
    ),
    "log": (
        capture_log,
        [
            "logs.0.body",
            "logs.0.attributes.note",
            "logs.0.scope.0",
            "logs.1.body.a.0",
            "logs.1.event_name",
            "logs.1.scope.3.note",
            "events.0.logentry.formatted",
            "events.0.extra.note",
            "events.0.logger",
        ],
    ),
}
"""Captures a text in many places, and the places that a search has to name."""


@pytest.mark.parametrize("encoding", ["as it is", "JSON", "percent twice", "HTML", "base64 0", "hexadecimal"])
@pytest.mark.parametrize("kind", WHERE)
def test_the_fixture_finds_a_value_in_everything_captured(telemetry: Telemetry, kind: str, encoding: str) -> None:
    """And names the places, so that one knows what to change."""
    capture, places = WHERE[kind]
    capture(ENCODINGS[encoding][1]("kept 50% & <close>"))
    with pytest.raises(AssertionError) as raised:
        telemetry.assert_private("kept 50% & <close>")
    assert [place for place in places if f"{place}" not in str(raised.value)] == []


def test_the_fixture_finds_what_would_leave(telemetry: Telemetry) -> None:
    """Masked values pass, in every signal; others are named with their places."""
    with brain_otel.start_transaction("work") as span:
        span.set_data("api_key", "k-1842-secret")
        span.set_data("note", "code 77-red-77")
        brain_otel.add_breadcrumb("step", data={"password": "k-1842-secret"})
        brain_otel.capture_message("failed, token=k-1842-secret", detail=quote("code 77-red-77"))
    telemetry.assert_private("k-1842-secret")
    with pytest.raises(AssertionError) as raised:
        telemetry.assert_private("k-1842-secret", "code 77-red-77")
    message = str(raised.value)
    assert "k-1842-secret" not in message
    for place in (
        "events.0.contexts.extra.detail (percent-encoded)",
        "spans.0.attributes.note (plain)",
        "logs.0.attributes.detail (percent-encoded)",
        "transactions.0.contexts.trace.data.note (plain)",
    ):
        assert place in message
