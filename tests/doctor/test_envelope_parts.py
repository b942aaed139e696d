"""Tests of envelopes as `brain-otel mask` reads them: whole, cut off, with content of every kind."""

import json
from typing import Any

import pytest

from brain_otel.doctor.envelope_parts import masked_parts, read_envelope
from brain_otel.privacy import Policy

EVENT = {"event_id": "a" * 32, "message": "password=hunter2", "user": {"ip_address": "192.0.2.1"}}
SPAN = {"op": "db", "description": "SELECT 'hunter2'", "data": {"db.query.text": "SELECT 'hunter2'"}}
ITEMS: list[tuple[dict[str, Any], bytes]] = [
    ({"type": "event"}, json.dumps(EVENT, indent=1).encode()),
    ({"type": "transaction"}, json.dumps({"type": "transaction", "spans": [SPAN]}).encode()),
    ({"type": "attachment", "filename": "a token=hunter2"}, b"password=hunter2\n{\n"),
    ({"type": "attachment", "filename": "b.png"}, b"\xff\x00\n\n"),
    ({"type": "session"}, b'{"sid": "1", "attrs": {"ip_address": "192.0.2.1", "release": "shop@1"}}'),
    ({"type": "something_new"}, b'{"token": "hunter2"}'),
    ({"type": "profile"}, b"[7]"),
]


def envelope(*items: tuple[dict[str, Any], bytes]) -> bytes:
    parts = [json.dumps({"event_id": "a" * 32}).encode()]
    for headers, content in items:
        parts += [json.dumps({**headers, "length": len(content)}).encode(), content]
    return b"\n".join(parts) + b"\n"


def test_every_item_is_masked_by_its_type() -> None:
    """By its length, so an item may have many lines; bytes are shown by their number."""
    parts = read_envelope(envelope(*ITEMS))
    assert parts is not None
    assert len(parts) == 1 + 2 * len(ITEMS)
    masked = masked_parts(parts, Policy())
    assert "hunter2" not in str(masked)
    assert "192.0.2.1" not in str(masked)
    contents = masked[2::2]
    assert contents[0]["message"] == "password=[Filtered]"
    assert contents[1]["spans"][0]["data"] == {"db.query.text": "SELECT ?"}
    assert contents[2] == "password=[Filtered]\n{\n"
    assert contents[3] == "<4 bytes>"
    assert contents[4] == {"sid": "1", "attrs": {"release": "shop@1"}}
    assert contents[5] == {"token": "[Filtered]"}
    assert contents[6] == [7]


def test_half_an_envelope_is_masked() -> None:
    """Wherever it was cut off; a document that is cut off is a text."""
    data = envelope(*[each for each in ITEMS if each[0]["type"] != "transaction"])
    cut = [parts for end in range(60, len(data)) if (parts := read_envelope(data[:end])) is not None]
    assert len(cut) > 400
    assert [parts for parts in cut if "hunter2" in str(masked_parts(parts, Policy()))] == []


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"{}",
        b"{}\n",
        b'{"a": 1}\n{"b": 2}',
        b'[1]\n{"type": "event"}\n{}',
        b'{"type": "x"}\n{"type": "y"}\n',
        json.dumps({**EVENT, "contexts": {}}).encode() + b'\n{"type": "event"}\n{}',
        b"\x00\xff\n{}",
    ],
)
def test_other_data_is_no_envelope(data: bytes) -> None:
    """Such as lines of JSON."""
    assert read_envelope(data) is None


def test_lengths_that_are_wrong_hide_nothing() -> None:
    """Too long, negative and of another type."""
    for length in (10_000, -1, "7", True, None):
        data = b"{}\n" + json.dumps({"type": "event", "length": length}).encode() + b"\n" + json.dumps(EVENT).encode()
        parts = read_envelope(data)
        assert parts is not None
        assert masked_parts(parts, Policy())[2] == {
            "event_id": "a" * 32,
            "message": "password=[Filtered]",
            "user": {},
        }
