"""Tests of a server that fails during a request, with real processes."""

import os
from collections import Counter
from pathlib import Path

import pytest

from brain_otel.delivery.record import Record
from brain_otel.delivery.spool.directory import Bounds, is_empty
from brain_otel.delivery.spool.writer import Spool
from brain_otel.delivery.target import Target
from tests.delivery.application import Application, arrived, shipper_of, wait_until_sent
from tests.support.ingest import SentryIngest
from tests.support.otlp import OtlpReceiver
from tests.support.process import free_port
from tests.support.waiting import until


@pytest.mark.parametrize(("spool", "shipper"), [("spool", "process"), ("none", "thread"), ("none", "process")])
def test_connections_that_are_reset_during_a_request(
    ingest: SentryIngest, tmp_path: Path, spool: str, shipper: str
) -> None:
    """Every other one, during the body: each record arrives once, complete."""
    turns = iter(range(10_000))
    ingest.cut = lambda: next(turns) % 2 == 0
    directory = "" if spool == "none" else tmp_path
    app = Application(ingest.dsn, directory, shipper=shipper, count=30, pause=0.02)
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


def test_a_large_body_that_is_cut_off_is_sent_again(ingest: SentryIngest, tmp_path: Path) -> None:
    """It is larger than the kernel's buffers, so that the reset comes during sending."""
    payload = os.urandom(4 * 2**20 - 4_096)
    item = b'{"type":"attachment","length":%d,"filename":"core"}\n' % len(payload)
    url = f"http://127.0.0.1:{ingest.port}/api/42/envelope/"
    spool = Spool(tmp_path, Target(kind="sentry", url=url), Bounds())
    spool.append(Record("error", b"{}\n" + item + payload + b"\n"))
    spool.close()
    turns = iter(range(10_000))
    ingest.cut = lambda: next(turns) < 2
    with shipper_of(tmp_path):
        until(lambda: is_empty(tmp_path))
    (sent,) = ingest.items("attachment")
    assert sent.payload == payload


def test_a_server_that_hangs_and_is_restarted(tmp_path: Path) -> None:
    """The first server never answers; the next one on its port gets everything."""
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


@pytest.mark.parametrize("status", [503, 429, 413, 500])
def test_a_collector_that_fails(tmp_path: Path, status: int) -> None:
    """Spooled OTLP requests are sent again, or kept with the reason; 500 is not retried."""
    retried = status in (503, 429)
    with OtlpReceiver() as receiver:
        receiver.respond = lambda *_: (status, {"Retry-After": "0"})
        spool = Spool(tmp_path, Target(kind="otlp", url=f"{receiver.endpoint}/v1/traces"), Bounds())
        for _ in range(5):
            spool.append(Record("otlp_traces", b""))
        spool.close()
        with shipper_of(tmp_path):
            until(lambda: len(receiver.requests) >= (2 if retried else 5))
            receiver.respond = None
            until(lambda: is_empty(tmp_path))
        assert len(receiver.accepted) == (5 if retried else 0)
        assert len(list(spool.folder.glob("*.refused.v1"))) == (0 if retried else 5)
