"""Tests of an ingest that fails in the middle of something, with real processes."""

import os
from collections import Counter
from pathlib import Path

import pytest

from brain_otel.delivery.record import Record
from brain_otel.delivery.spool.directory import Bounds, is_empty
from brain_otel.delivery.spool.writer import Spool
from brain_otel.delivery.target import Target
from tests.delivery.application import Application, arrived, shipper_of, wait_until_sent
from tests.delivery.until import until
from tests.support.ingest import SentryIngest
from tests.support.otlp import OtlpReceiver
from tests.support.process import free_port


@pytest.mark.parametrize("spool", ["process", "none"])
def test_a_connection_that_is_reset_in_the_middle_of_a_request(
    ingest: SentryIngest, tmp_path: Path, spool: str
) -> None:
    """Every other one, while the body is being read: all arrives in the end, once, and nothing in part."""
    turns = iter(range(10_000))
    ingest.cut = lambda: next(turns) % 2 == 0
    directory = "" if spool == "none" else tmp_path
    app = Application(ingest.dsn, directory, shipper="thread" if spool == "none" else "process", count=30)
    app.wait_for_first()
    until(lambda: len(arrived(ingest)) > 2)
    ingest.cut = None
    captured = app.captured()
    assert app.process.returncode == 0
    assert b"Traceback" not in app.errors
    if spool != "none":
        with shipper_of(tmp_path):
            wait_until_sent(tmp_path, ingest, set(captured))
    assert arrived(ingest) == Counter(captured)


def test_a_large_body_that_is_cut_off_is_sent_again_whole(ingest: SentryIngest, tmp_path: Path) -> None:
    """Larger than what the kernel buffers: the reset comes while it is being sent."""
    payload = os.urandom(8 * 2**20)
    item = b'{"type":"attachment","length":%d,"filename":"core"}\n' % len(payload)
    url = f"http://127.0.0.1:{ingest.port}/api/42/envelope/"
    spool = Spool(tmp_path, Target(kind="sentry", url=url), Bounds())
    spool.append(Record("error", b"{}\n" + item + payload + b"\n"))
    spool.close()
    turns = iter(range(10_000))
    ingest.cut = lambda: next(turns) < 2
    with shipper_of(tmp_path):
        until(lambda: is_empty(tmp_path), 30.0)
    (sent,) = ingest.items("attachment")
    assert sent.payload == payload


def test_an_ingest_that_hangs_and_is_restarted(tmp_path: Path) -> None:
    """It takes what it gets and says nothing, until it goes; the next one on its port gets everything."""
    port = free_port()
    with SentryIngest(port=port) as hanging:
        hanging.delay = 60.0
        hanging.respond = lambda: (0, {})
        app = Application(hanging.dsn, tmp_path, shipper="process", count=20)
        captured = app.captured()
        assert app.process.returncode == 0
        until(lambda: hanging.envelopes)
    with SentryIngest(port=port) as ingest, shipper_of(tmp_path):
        wait_until_sent(tmp_path, ingest, set(captured))
        assert arrived(ingest) == Counter(captured)


@pytest.mark.parametrize("status", [500, 429, 413])
def test_a_collector_in_a_bad_mood(tmp_path: Path, status: int) -> None:
    """What is spooled for OTLP is sent again, or set aside with the reason, as for Sentry."""
    with OtlpReceiver() as receiver:
        receiver.respond = lambda *_: (status, {"Retry-After": "0"})
        spool = Spool(tmp_path, Target(kind="otlp", url=f"{receiver.endpoint}/v1/traces"), Bounds())
        for _ in range(5):
            spool.append(Record("otlp_traces", b""))
        spool.close()
        with shipper_of(tmp_path):
            until(lambda: len(receiver.requests) >= (5 if status == 413 else 2))
            receiver.respond = None
            until(lambda: is_empty(tmp_path), 20.0)
        assert len(receiver.accepted) == (0 if status == 413 else 5)
        assert len(list(spool.folder.glob("*.refused.v1"))) == (5 if status == 413 else 0)
