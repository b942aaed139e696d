"""Tests of the search for a value in captured telemetry."""

import base64
import json
from typing import Any
from urllib.parse import quote

import pytest

import brain_otel
from brain_otel.privacy.canary import places_of
from brain_otel.testing import Telemetry

VALUE = 'Grüße "kept" & 50%/close'


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("plain", VALUE),
        ("plain", VALUE.lower()),
        ("JSON", json.dumps({"a": VALUE})),
        ("percent-encoded", quote(VALUE, safe="")),
        ("percent-encoded twice", quote(quote(VALUE, safe=""), safe="")),
        ("hexadecimal", VALUE.encode().hex().upper()),
        ("reversed", VALUE[::-1]),
        *(("base64", base64.b64encode(before + VALUE.encode() + b"after").decode()) for before in (b"", b"b", b"be")),
        ("base64", base64.urlsafe_b64encode(VALUE.encode()).decode()),
    ],
)
def test_a_value_is_found_in_each_encoding(form: str, text: str) -> None:
    """Among other text, at any depth; the place says which encoding it is."""
    assert list(places_of(VALUE, {"a": [{"b": f"<{text}>"}, "harmless"]})) == [f"a.0.b ({form})"]


def test_keys_and_other_types_are_searched() -> None:
    """Bytes and numbers too."""
    data: dict[Any, Any] = {"a 12345 b": 1, "c": b"12345", "d": (12345, 1.5), "e": {"12345"}}
    places = ["a 12345 b as a key (plain)", "c (plain)", "d.0 (plain)", "e.0 (plain)"]
    assert list(places_of("12345", data)) == places


def test_a_short_value_is_rejected() -> None:
    """It would be found in harmless texts."""
    with pytest.raises(ValueError, match="'abc' is too short to be searched for; allowed: 4 or more characters"):
        list(places_of("abc", {}))


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
