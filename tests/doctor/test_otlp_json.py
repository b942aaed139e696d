"""Tests of OTLP JSON as ``brain-otel mask`` masks it."""

import json
from pathlib import Path
from typing import Any

from tests.doctor.test_preview import CARD, mask


def test_otlp_is_masked_as_spans_are(tmp_path: Path) -> None:
    """By the keys of the semantic conventions; ids, times and numbers stay."""
    attributes = [
        {"key": "db.query.text", "value": {"stringValue": "SELECT 'secret'"}},
        {"key": "db.system.name", "value": {"stringValue": "postgresql"}},
        {"key": "client.address", "value": {"stringValue": "192.0.2.1"}},
        {"key": "retries", "value": {"intValue": "3"}},
        {"key": "tokens", "value": {"arrayValue": {"values": [{"stringValue": "t-1"}]}}},
    ]
    span: dict[str, Any] = {"traceId": "a" * 32, "startTimeUnixNano": "4111111111111111", "name": "GET token=abc"}
    span |= {"attributes": attributes, "status": {"message": f"card {CARD}"}}
    run = mask(tmp_path, {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]})
    masked = json.loads(run.out)["resourceSpans"][0]["scopeSpans"][0]["spans"][0]
    assert {each["key"]: each["value"] for each in masked["attributes"]}["db.query.text"] == {
        "stringValue": "SELECT ?"
    }
    assert [each["key"] for each in masked["attributes"]] == ["db.query.text", "db.system.name", "retries", "tokens"]
    assert masked["attributes"][2] == attributes[3]
    assert masked["name"] == "GET token=[Filtered]"
    assert masked["status"] == {"message": "card [Filtered]"}
    assert masked["startTimeUnixNano"] == "4111111111111111"
    place = "resourceSpans.0.scopeSpans.0.spans.0"
    assert f"cards: {place}.status.message" in run.err
    assert f"sql_literals: {place}.attributes.db.query.text" in run.err


def test_otlp_that_is_malformed_is_masked_too(tmp_path: Path) -> None:
    """Values of other types, and bodies, trace states and scopes."""
    pairs = [{"key": None, "value": None}, 7, {"key": "p", "value": {"arrayValue": None}}]
    pairs += [
        {"key": "q", "value": {"kvlistValue": {"values": [3]}}},
        {"key": "b", "value": {"bytesValue": "dG9rZW49aHVudGVyMg=="}},
    ]
    body = {"kvlistValue": {"values": [{"key": "password", "value": {"stringValue": "hunter2"}}]}}
    record = {"body": body, "attributes": pairs, "eventName": "token=hunter2"}
    span = {"traceState": "shop=token:hunter2,kept=1", "links": 7}
    scope = {"name": "token=hunter2", "version": "token=hunter2", "attributes": [{"key": "api_key", "value": {}}]}
    data = {"resourceLogs": [{"scopeLogs": [{"scope": scope, "logRecords": [record], "spans": [span]}]}]}
    run = mask(tmp_path, data)
    assert run.returncode == 0
    assert "hunter2" not in run.out
    assert "aHVudGVyMg" not in run.out
    assert "shop=token:[Filtered],kept=1" in run.out
