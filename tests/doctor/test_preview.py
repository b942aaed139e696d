"""Tests of ``brain-otel mask``: what would leave, and which rule masked the rest."""

import contextlib
import gzip
import io
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from brain_otel.doctor.preview import Preview
from brain_otel.doctor.preview_input import InputError
from brain_otel.runtime.text import MAX_TEXT
from tests.destinations.service import settings
from tests.doctor.command import Run, run_command
from tests.support.process import PROGRAMS, environment

CARD = "4111 1111 1111 1111"
KEY = "-----BEGIN PRIVATE KEY-----\nMIIEvQ\n-----END PRIVATE KEY-----"


def mask(tmp_path: Path, data: Any, *options: str, **env: str) -> Run:
    file = tmp_path / "data"
    file.write_bytes(
        data if isinstance(data, bytes) else (data if isinstance(data, str) else json.dumps(data)).encode()
    )
    return run_command("mask", str(file), *options, env=env)


def preview(data: bytes) -> tuple[str, dict[str, list[str]], bool]:
    """The text, the first places of each rule, and whether the input is cut off."""
    shown = Preview(io.BytesIO(data), settings())
    text = "\n".join(shown)
    return text, {rule: places.first for rule, places in shown.places.items()}, shown.is_cut_off


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
    """Nothing is cut. Each part of 4 KB is a text, which has fewer names here than a text's bound of 250."""
    lines = [f"{number} no log-in, token=t{number}" for number in range(5_000)]
    run = mask(tmp_path, "\n".join(lines))
    assert run.out.splitlines() == [f"{number} no log-in, token=[Filtered]" for number in range(5_000)]
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


@pytest.mark.parametrize(
    ("data", "out", "places"),
    [
        (b"", "", {}),
        (b"\n\n", "\n", {}),
        (gzip.compress(b"password=hunter2\n"), "password=[Filtered]", {"assignments": ["line 1"]}),
        ("password=hunter2".encode("utf-16"), "password=[Filtered]", {"assignments": ["line 1"]}),
        ("token=abc1\n".encode("utf-16-le"), "token=[Filtered]", {"assignments": ["line 1"]}),
        ("token=abc1\n".encode("utf-16-be"), "token=[Filtered]", {"assignments": ["line 1"]}),
        ("é\n".encode() + "contraseña=x1".encode("latin-1"), "é\ncontraseña=[Filtered]", {"assignments": ["line 2"]}),
        (gzip.compress(b"a=1\n") + gzip.compress(b"pin=4821\n"), "a=1\npin=[Filtered]", {"assignments": ["line 2"]}),
        (b'\xef\xbb\xbf["token=abc1"]', '[\n  "token=[Filtered]"\n]', {"assignments": ["0"]}),
        (b"\xff\xfa\x00 password=hunter2", "\ufffd\ufffd\0 password=[Filtered]", {"assignments": ["line 1"]}),
        (b'{"a": NaN, "token": "x1"}', '{\n  "a": NaN,\n  "token": "[Filtered]"\n}', {"names": ["token"]}),
        (b"x" * 40_000, f"{'x' * 32_768} ... 7232 characters left out ...", {"length": ["line 1"]}),
    ],
    ids=[
        "empty",
        "lines",
        "gzip",
        "UTF-16",
        "UTF-16 LE",
        "UTF-16 BE",
        "Latin 1",
        "two of gzip",
        "BOM",
        "binary",
        "NaN",
        "long line",
    ],
)
def test_any_input_is_read(data: bytes, out: str, places: dict[str, list[str]]) -> None:
    """Compressed, in another encoding, and what is no text at all."""
    assert preview(data) == (out, places, False)


def test_the_standard_input_is_read() -> None:
    """Without a file; `--stats` counts."""
    command = [str(PROGRAMS / "brain-otel"), "mask"]
    given = gzip.compress(b"pin=4821 token=abc1\ntoken=abc2\n")
    env = environment()
    counted = subprocess.run([*command, "--stats"], input=given, capture_output=True, env=env, check=True)
    assert counted.stdout.decode() == "assignments 2\n"
    cut = subprocess.run([*command, "-"], input=given[:-9], capture_output=True, env=env, check=True)
    assert cut.stdout.startswith(b"pin=[Filtered]")
    assert cut.stderr.startswith(b"the compressed input is cut off")
    failed = subprocess.run(command, input=given[:2] + b"broken", capture_output=True, env=environment(), check=False)
    assert (failed.returncode, failed.stdout) == (1, b"")
    assert failed.stderr.count(b"\n") == 1
    assert b"compressed and broken" in failed.stderr


@pytest.mark.parametrize(
    "data",
    [b"\x1f\x8b", gzip.compress(b"x" * 5_000)[:-20], b"\x1f\x8b\x08" + b"\0" * 20],
    ids=["no header", "no end", "no data"],
)
def test_compression_that_is_cut_off_shows_what_is_there(data: bytes) -> None:
    """And says so, or that it is broken."""
    with contextlib.suppress(InputError):
        text, _, is_cut_off = preview(data)
        assert set(text) <= {"x"}
        assert is_cut_off


@pytest.mark.parametrize("before", range(MAX_TEXT - 3_500, MAX_TEXT, 500))
def test_a_private_key_is_masked_in_a_long_text(before: int) -> None:
    """Wherever the text is divided to be masked."""
    body = "\n".join(["MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQ"] * 50)
    key = f"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"
    text = ("a\n" * (before // 2) + key + "b\n" * 900).encode()
    shown = Preview(io.BytesIO(text), settings())
    masked = "\n".join(shown)
    assert "MIIE" not in masked
    assert (masked.count("a\n"), masked.count("b")) == (before // 2, 900)
    assert shown.places["private_keys"].count >= 50


def test_of_many_places_the_first_are_shown(tmp_path: Path) -> None:
    """And the number of the others."""
    run = mask(tmp_path, "token=abc1\n" * 25)
    assert run.err == f"assignments: {', '.join(f'line {number}' for number in range(1, 21))} and 5 more\n"
