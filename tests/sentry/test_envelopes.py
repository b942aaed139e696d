"""Items of envelopes that no `before_send` sees are masked, as they arrive at an ingest."""

import logging
import threading
from pathlib import Path
from typing import Any

import pytest
import sentry_sdk
from sentry_sdk.crons import capture_checkin
from sentry_sdk.envelope import Envelope, Item, PayloadRef

import brain_otel
from brain_otel.events.listeners import local_trace_entered
from brain_otel.privacy import Policy, configure_privacy
from brain_otel.runtime import guard
from brain_otel.runtime.text import MAX_TEXT
from brain_otel.sentry.envelopes import masked_envelope
from brain_otel.traces.local_trace import LocalTrace
from tests.sentry.conftest import Connect
from tests.support.ingest import SentryIngest

SECRET = "hunter2"
ADDRESS = "198.51.100.7"


def attached(content: bytes, name: str = "notes.txt") -> tuple[bytes, dict[str, Any]]:
    (item,) = masked_envelope(Envelope(items=[Item(content, type="attachment", filename=name)])).items
    return item.get_bytes(), item.headers


@pytest.mark.parametrize(
    ("content", "sent"),
    [
        (f"[db]\npassword = {SECRET}\n", "[db]\npassword = [Filtered]\n"),
        (f'{{"token": "{SECRET}", "kept": 1}}', '{"token": "[Filtered]", "kept": 1}'),
        (
            f"DEBUG x\nfetching https://app:{SECRET}@shop.test/\r\n",
            "DEBUG x\nfetching https://[Filtered]@shop.test/\r\n",
        ),
        ("a harmless text, 5 % of it\n", "a harmless text, 5 % of it\n"),
        ("", ""),
    ],
)
def test_the_text_of_an_attachment_is_masked(content: str, sent: str) -> None:
    """Whatever its file is called."""
    assert attached(content.encode())[0].decode() == sent


def test_a_long_attachment_is_masked_whole() -> None:
    """It is not cut, as other texts are: whole lines are texts of their own."""
    lines = [f"{number} password={SECRET}\n" for number in range(MAX_TEXT // 10)]
    sent = attached("".join(lines).encode())[0].decode().splitlines()
    assert len(sent) == len(lines)
    assert sent[-1] == f"{len(lines) - 1} password=[Filtered]"


def test_an_attachment_that_is_no_text_stays() -> None:
    """Its bytes are not changed; its file's name is masked."""
    content, headers = attached(b"\x89PNG\xff\x00password=hunter2", f"shot token={SECRET}.png")
    assert content == b"\x89PNG\xff\x00password=hunter2"
    assert headers["filename"] == "shot token=[Filtered]"


def test_attachments_of_an_error_arrive_masked(connect: Connect, ingest: SentryIngest, tmp_path: Path) -> None:
    """From memory and from a file."""
    connect()
    path = tmp_path / "app.ini"
    path.write_text(f"api_key = {SECRET}")
    with sentry_sdk.new_scope() as scope:
        scope.add_attachment(bytes=f"password={SECRET}".encode(), filename="a.txt")
        scope.add_attachment(path=str(path))
        brain_otel.capture_message("failed")
    sentry_sdk.flush(5)
    ingest.wait_for(lambda ingest: len(ingest.items("attachment")) == 2)
    assert [item.payload for item in ingest.items("attachment")] == [b"password=[Filtered]", b"api_key = [Filtered]"]


def test_an_attachment_of_an_error_in_the_log_is_not_cut(connect: Connect, ingest: SentryIngest) -> None:
    """The texts of an error share a budget, which its attachments are not part of."""
    connect()
    lines = "".join(f"{number} token=hunter2\n" for number in range(MAX_TEXT // 16))
    with sentry_sdk.new_scope() as scope:
        scope.add_attachment(bytes=lines.encode(), filename="a.txt")
        logging.getLogger("shop").error("failed %s", "x" * 20_000)
    sentry_sdk.flush(5)
    ingest.wait_for(lambda ingest: len(ingest.items("attachment")) == 1)
    assert ingest.items("attachment")[0].payload.decode() == lines.replace(SECRET, "[Filtered]")


@pytest.mark.parametrize("send_default_pii", [False, True])
def test_a_session_has_the_users_address_only_with_personal_data(
    connect: Connect, ingest: SentryIngest, send_default_pii: bool
) -> None:
    """As sentry-sdk's own sessions of applications have it."""
    connect(send_default_pii=send_default_pii)
    configure_privacy(Policy(send_default_pii=send_default_pii))
    with sentry_sdk.isolation_scope() as scope:
        scope.set_user({"id": f"u1 token={SECRET}", "ip_address": ADDRESS})
        scope.start_session(session_mode="application")
        scope.end_session()
    sentry_sdk.flush(5)
    ingest.wait_for(lambda ingest: bool(ingest.items("session")))
    session = ingest.items("session")[0].json
    assert session["did"] == "u1 token=[Filtered]"
    assert session["attrs"].get("ip_address") == (ADDRESS if send_default_pii else None)


def test_a_check_in_is_masked(connect: Connect, ingest: SentryIngest) -> None:
    """It passes sentry-sdk's `before_send`, as each event does."""
    connect()
    schedule: Any = {"schedule": {"type": "crontab", "value": "0 * * * *"}, "token": SECRET}
    capture_checkin(monitor_slug=f"sync token={SECRET}", status="ok", monitor_config=schedule)
    sentry_sdk.flush(5)
    ingest.wait_for(lambda ingest: bool(ingest.items("check_in")))
    found = ingest.items("check_in")[0].json
    assert found["monitor_slug"] == "sync token=[Filtered]"
    assert found["monitor_config"]["token"] == "[Filtered]"
    assert found["monitor_config"]["schedule"]["value"] == "0 * * * *"


@pytest.mark.parametrize("kind", ["profile", "profile_chunk"])
def test_files_and_threads_of_a_profile_are_masked(kind: str) -> None:
    """An application may run code under any file name."""
    frame = {"function": "f", "filename": f"token={SECRET}", "abs_path": f"/jobs/password={SECRET}/a.py", "lineno": 3}
    thread = {"name": f"sync token={SECRET}"}
    profile = {"frames": [frame], "thread_metadata": {"1": thread}, "stacks": [[0]], "samples": []}
    given = Item(PayloadRef(json={"platform": "python", "profile": profile}), type=kind)
    (item,) = masked_envelope(Envelope(items=[given])).items
    masked: Any = item.payload.json
    assert SECRET not in str(masked)
    assert masked["platform"] == "python"
    assert masked["profile"]["frames"][0]["abs_path"].startswith("/jobs/password=[Filtered]")
    assert (masked["profile"]["frames"][0]["lineno"], masked["profile"]["stacks"]) == (3, [[0]])


def test_an_item_that_cannot_be_masked_is_dropped() -> None:
    """The others stay."""
    guard.reraise_failures(False)
    broken = Item(PayloadRef(json={"profile": None}), type="profile")
    event = Item(PayloadRef(json={"message": "kept"}), type="event")
    assert masked_envelope(Envelope(items=[broken, event])).items == [event]


def test_the_release_and_the_servers_name_are_masked_everywhere(connect: Connect, ingest: SentryIngest) -> None:
    """In events, transactions, sessions and the sampling context of envelopes."""
    bridge = connect(options={"server_name": f"web token={SECRET}"}, release=f"shop@1+token={SECRET}")
    with local_trace_entered(LocalTrace(kind="request")), bridge.tracer.start_as_current_span("root"):
        worker = threading.Thread(target=brain_otel.capture_message, args=["from a thread"])
        worker.start()
        worker.join()
        brain_otel.capture_message("failed")
    assert bridge.transaction()["release"] == "shop@1+token=[Filtered]"
    assert ingest.events[0]["server_name"] == "web token=[Filtered]"
    assert SECRET not in "".join(
        str((each.headers, [item.payload for item in each.items])) for each in ingest.envelopes
    )
