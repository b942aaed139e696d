"""Tests of ``brain-otel mask``: what would leave, and which rule masked the rest."""

import json
from pathlib import Path
from typing import Any

from tests.doctor.command import Run, run_command

CARD = "4111 1111 1111 1111"
KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----"


def mask(tmp_path: Path, data: Any, *options: str, **env: str) -> Run:
    file = tmp_path / "data"
    file.write_text(data if isinstance(data, str) else json.dumps(data))
    return run_command("mask", str(file), *options, env=env)


def test_a_text_is_masked_line_by_line(tmp_path: Path) -> None:
    """The places are the lines of the input, also after a key that becomes one line."""
    run = mask(tmp_path, f"login failed, password=hunter2\nfine\n{KEY}\ncard {CARD}\n")
    assert run.out == "login failed, password=[Filtered]\nfine\n[Filtered]\ncard [Filtered]\n"
    assert run.err.splitlines() == [
        "private_keys: line 3, line 4, line 5",
        "cards: line 6",
        "assignments: line 1",
    ]


def test_a_long_text_is_masked_as_a_whole(tmp_path: Path) -> None:
    """Nothing is cut: each line would be a text of its own in an application."""
    lines = [f"{number} token=t{number}" for number in range(5_000)]
    run = mask(tmp_path, "\n".join(lines))
    assert run.out.splitlines() == [f"{number} token=[Filtered]" for number in range(5_000)]
    assert mask(tmp_path, "\n".join(lines), "--stats").out == "assignments 5000\n"


def test_json_is_masked_by_its_names(tmp_path: Path) -> None:
    """A name is shown as the reason where it is one, and a rule where the name is harmless."""
    run = mask(tmp_path, {"user": {"password": CARD}, "notes": ["fine", f"card {CARD}"], "id": 7})
    assert json.loads(run.out) == {"user": {"password": "[Filtered]"}, "notes": ["fine", "card [Filtered]"], "id": 7}
    assert run.err.splitlines() == ["names: user.password", "cards: notes.1"]


def test_an_event_of_an_envelope_is_masked_as_for_sentry(tmp_path: Path) -> None:
    """Variables of database clients are removed, as they are before an event is sent."""
    frame = {"module": "sqlalchemy.engine", "vars": {"parameters": "['x']"}, "context_line": "connect()"}
    event = {
        "event_id": "a" * 32,
        "tags": {"api_key": "k-1842"},
        "exception": {"values": [{"type": "E", "value": "token=abc", "stacktrace": {"frames": [frame]}}]},
    }
    envelope = [{"event_id": "a" * 32, "dsn": "https://public@sentry.example/1"}, {"type": "event"}, event]
    run = mask(tmp_path, "\n".join(map(json.dumps, envelope)))
    header, item, masked = map(json.loads, run.out.splitlines())
    assert header["dsn"] == "[Filtered]"
    assert item == {"type": "event"}
    assert masked["tags"] == {"api_key": "[Filtered]"}
    assert masked["exception"]["values"][0]["value"] == "token=[Filtered]"
    assert "vars" not in masked["exception"]["values"][0]["stacktrace"]["frames"][0]
    assert "assignments: 2.exception.values.0.value" in run.err


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


def test_the_policy_is_the_one_of_the_configuration(tmp_path: Path) -> None:
    """Its names and rules count, and an error in it is one line."""
    file = tmp_path / "own.yaml"
    file.write_text(
        'file_format: "1.1"\ntracer_provider: {processors: [{console: }]}\n'
        "distribution: {brain_otel: {privacy: {sensitive_names: [patient], rules: {cards: false}}}}\n"
    )
    run = mask(tmp_path, f"patient=p-1, card {CARD}", "--config-file", str(file))
    assert run.out == f"patient=[Filtered], card {CARD}\n"
    failed = mask(tmp_path, "x", SENTRY_TRACES_SAMPLE_RATE="two")
    assert (failed.returncode, failed.out) == (1, "")
    assert "SENTRY_TRACES_SAMPLE_RATE" in failed.err


def test_a_missing_file_is_one_line(tmp_path: Path) -> None:
    """The exit code is 1."""
    run = run_command("mask", str(tmp_path / "missing"))
    assert (run.returncode, run.out) == (1, "")
    assert run.err.count("\n") == 1


def test_odd_json_is_masked_too(tmp_path: Path) -> None:
    """Lists with `key` and no `value`, and OTLP that leaves values out."""
    run = mask(tmp_path, {"items": [{"key": "x", "password": "hunter2"}]})
    assert json.loads(run.out) == {"items": [{"key": "x", "password": "[Filtered]"}]}
    pairs = [{"key": "a"}, {"key": "b", "value": {"intValue": "x"}}, {"key": "c", "value": {"arrayValue": {}}}]
    run = mask(tmp_path, {"resourceSpans": [{"resource": {"attributes": pairs}}]})
    assert run.returncode == 0
