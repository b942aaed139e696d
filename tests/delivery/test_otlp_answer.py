"""Tests of what is read of an OTLP receiver's answer: what it has rejected, and why."""

import json
from typing import Any

import pytest
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceResponse
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceResponse
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceResponse

from brain_otel.delivery.http import HttpClient
from brain_otel.delivery.memory_queue import MemoryQueue, MemoryRecord
from brain_otel.delivery.otlp_answer import MAX_MESSAGE, is_page, partial_success
from brain_otel.delivery.record import Record
from brain_otel.delivery.retry_loop import RetryLoop
from brain_otel.delivery.target import Target
from tests.support.otlp import OtlpReceiver
from tests.support.otlp_data import KINDS

COUNTS = {"traces": "rejected_spans", "logs": "rejected_log_records", "metrics": "rejected_data_points"}
RESPONSES: dict[str, Any] = {
    "traces": ExportTraceServiceResponse,
    "logs": ExportLogsServiceResponse,
    "metrics": ExportMetricsServiceResponse,
}
PROTOBUF, JSON = "application/x-protobuf", "application/json"


def answer(signal: str, rejected: int, message: str) -> Any:
    response = RESPONSES[signal]()
    setattr(response.partial_success, COUNTS[signal], rejected)
    response.partial_success.error_message = message
    return response


@pytest.mark.parametrize("signal", COUNTS)
def test_rejected_items_are_counted(signal: str) -> None:
    """In protobuf and JSON, whose 64-bit numbers may be texts; with a reason or without."""
    for rejected, message in (
        (1, ""),
        (512, "no quota"),
        (2**31 - 1, "Größe: 1 MB"),
        (0, "use another name"),
        (0, ""),
    ):
        found = partial_success(PROTOBUF, answer(signal, rejected, message).SerializeToString())
        assert found == (rejected, message)
        name = "".join(part.capitalize() if index else part for index, part in enumerate(COUNTS[signal].split("_")))
        for count in (rejected, str(rejected)):
            for names in ((name, "errorMessage"), (COUNTS[signal], "error_message")):
                data = {"partialSuccess": dict(zip(names, (count, message), strict=True))}
                for indent in (None, 2):
                    body = json.dumps(data, indent=indent).encode()
                    assert partial_success(f"{JSON}; charset=utf-8", body) == (rejected, message)
                    assert partial_success("", body) == (rejected, message)


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("", b""),
        (PROTOBUF, b"\xff" * 50),
        (PROTOBUF, b"\x0a"),
        (PROTOBUF, b"\x0a\x05\x08"),
        (PROTOBUF, b"\x0b\x0c"),
        (PROTOBUF, b"OK"),
        (PROTOBUF, b"\x08\x05"),
        (PROTOBUF, b"\x0a\x0b\x08" + b"\xff" * 9 + b"\x01"),  # -1
        (PROTOBUF, b"\x0a\x02\x0a\x00"),  # a text in the place of the number
        (JSON, b""),
        (JSON, b"{}"),
        (JSON, b"[" * 4_000),
        (JSON, b'{"partialSuccess": null}'),
        (JSON, b'{"partialSuccess": {"rejectedSpans": -1}}'),
        (JSON, b'{"partialSuccess": {"rejectedSpans": "many"}}'),
        ("text/plain", b"OK"),
        (JSON, b"\xff\xfe"),
    ],
)
def test_an_answer_that_says_nothing_is_success(content_type: str, body: bytes) -> None:
    """Other bodies too, since many receivers answer what they like."""
    assert partial_success(content_type, body) == (0, "")


def test_an_answer_that_is_cut_off_is_read() -> None:
    """Only its beginning is read; the number comes first, and the message is bounded anyway."""
    long = "x y" * 3_000
    for response in (answer("traces", 7, long), answer("logs", 7, long)):
        found = partial_success(PROTOBUF, response.SerializeToString()[:4_096])
        assert found.rejected == 7
        assert found.message.startswith("x yx y")
        assert len(found.message) == MAX_MESSAGE
    data = json.dumps({"partialSuccess": {"rejectedSpans": "7", "errorMessage": long}}).encode()[:4_096]
    assert partial_success(JSON, data)[0] == 7
    assert len(partial_success(JSON, data)[1]) == MAX_MESSAGE
    assert partial_success(JSON, b'{"partialSuccess":{"rejectedSpans":"7","errorMessage":"a\\').rejected == 7


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("two\nlines\r\n", "two lines"),
        ("red \x1b[31m bell \x07 \u202e", "red \\x1b[31m bell \\x07 \\u202e"),
        ("key: Bearer abcdefghijklmnop123456", "key: (masked)"),
        ("at https://user:hunter2@host/", "at https://(masked)@host/"),
        ("password=hunter2", "(masked)"),
    ],
)
def test_a_message_is_one_masked_line(message: str, shown: str) -> None:
    """A collector may repeat what it was sent."""
    assert partial_success(PROTOBUF, answer("traces", 1, message).SerializeToString()).message == shown
    body = json.dumps({"partialSuccess": {"errorMessage": message}}).encode()
    assert partial_success(JSON, body).message == shown


def test_pages_are_recognized() -> None:
    """A login or a web server that answers any address with 200."""
    assert all(map(is_page, (b"<!DOCTYPE html><html>", b"\n <html lang=en>", b"<HTML>", b'<?xml version="1.0"?>')))
    assert not any(map(is_page, (b"", b"OK", b"<3", b"{}", answer("traces", 1, "<html>").SerializeToString())))


BODY = KINDS["traces"][0]().SerializeToString()
RESULTS = {
    200: "sent",
    202: "sent",
    204: "sent",
    **dict.fromkeys((300, 301, 302, 303, 304, 307, 308), "rejected"),
    **dict.fromkeys((400, 401, 404, 408, 413, 425, 500, 501, 505, 507, 599), "rejected"),
    429: "rate_limited",
    **dict.fromkeys((502, 503, 504), "server_error"),
}


def test_only_the_codes_of_the_specification_are_retried() -> None:
    """429, 502, 503 and 504; https://opentelemetry.io/docs/specs/otlp/#failures-1."""
    with OtlpReceiver() as receiver:
        client = HttpClient(Target(kind="otlp", url=f"{receiver.endpoint}/v1/traces"), connections=1)
        found = {}
        for status in RESULTS:
            receiver.status = status
            found[status] = client.send(Record("otlp_traces", BODY)).result
    assert found == RESULTS


def test_a_spooled_record_is_counted_if_a_part_is_rejected(caplog: pytest.LogCaptureFixture) -> None:
    """It is done: sent again, it would be rejected again. A page has accepted nothing."""
    discarded = []
    queue = MemoryQueue(max_items=9, max_bytes=99_999, max_age=60.0, on_discard=lambda *_: None)
    with OtlpReceiver() as receiver:
        target = Target(kind="otlp", url=f"{receiver.endpoint}/v1/traces")
        loop: RetryLoop[MemoryRecord] = RetryLoop(
            "http://collector",
            queue,
            HttpClient(target, connections=1),
            on_discard=lambda record, reason: discarded.append((record.category, record.quantity, reason)),
        )
        answers = [answer("traces", 3, "too old").SerializeToString(), b"<html>log in</html>", b""]
        for receiver.answer in answers:
            queue.put(Record("otlp_traces", BODY))
            loop.step()
    assert len(queue) == 0
    assert discarded == [("otlp_traces", 3, "partial_success"), ("otlp_traces", 1, "send_error")]
    assert "http://collector rejected a part of what it accepted: 3 otlp_traces (too old)" in caplog.messages
