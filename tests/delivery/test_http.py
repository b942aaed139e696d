"""Tests of one POST and the meaning of its answer."""

import json
import socket
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from brain_otel.delivery.http import HttpClient, _answer, parse_rate_limits
from brain_otel.delivery.record import Record
from brain_otel.delivery.target import Target
from tests.support.ingest import SentryIngest
from tests.support.otlp import OtlpReceiver, refusing, self_signed
from tests.support.process import SLACK


def target(ingest: SentryIngest, **more: object) -> Target:
    url = f"http://127.0.0.1:{ingest.port}/api/42/envelope/"
    return Target(kind="sentry", url=url, headers={"X-Sentry-Auth": "Sentry sentry_key=public"}, **more)  # type: ignore[arg-type]


def event(text: str = "hello") -> Record:
    payload = json.dumps({"message": text}).encode()
    header = b'{"event_id":"0123456789abcdef0123456789abcdef","sent_at":"2020-01-01T00:00:00Z"}'
    return Record("error", header + b'\n{"type":"event","length":%d}\n%s\n' % (len(payload), payload))


@pytest.fixture
def ingest() -> Iterator[SentryIngest]:
    with SentryIngest() as server:
        yield server


def test_a_record_arrives_with_its_headers(ingest: SentryIngest) -> None:
    """A small one as it is, a large one compressed."""
    http_client = HttpClient(target(ingest), connections=1)
    assert http_client.send(event()).result == "sent"
    assert http_client.send(event("x" * 5_000)).result == "sent"
    assert [each["message"] for each in ingest.events] == ["hello", "x" * 5_000]
    small, large = (envelope.request_headers for envelope in ingest.envelopes)
    assert small["content-type"] == "application/x-sentry-envelope"
    assert small["x-sentry-auth"] == "Sentry sentry_key=public"
    assert "content-encoding" not in small
    assert large["content-encoding"] == "gzip"


def test_sent_at_is_the_time_of_sending(ingest: SentryIngest) -> None:
    """Not of capturing: Relay would take the time in the queue for an error of our clock."""
    HttpClient(target(ingest), connections=1).send(event())
    headers = ingest.envelopes[0].headers
    assert headers["event_id"] == "0123456789abcdef0123456789abcdef"
    sent = datetime.fromisoformat(headers["sent_at"])
    assert abs(datetime.now(UTC) - sent) < timedelta(minutes=1)


@pytest.mark.parametrize(
    ("status", "result"),
    [
        (200, "sent"),
        (202, "sent"),
        (301, "rejected"),
        (400, "rejected"),
        (401, "rejected"),
        (403, "rejected"),
        (404, "rejected"),
        (408, "server_error"),
        (413, "rejected"),
        (429, "rate_limited"),
        (500, "server_error"),
        (502, "server_error"),
        (503, "server_error"),
        (504, "server_error"),
        (599, "server_error"),
        (0, "unreachable"),
    ],
)
def test_the_status_decides_the_result(ingest: SentryIngest, status: int, result: str) -> None:
    """Status 0 stands for a connection that is reset during the answer."""
    ingest.respond = lambda: (status, {"Location": "http://127.0.0.1:1/"})
    answer = HttpClient(target(ingest), connections=1).send(event())
    assert answer.result == result
    assert result == "sent" or answer.reason


def test_a_server_or_proxy_that_is_down_is_unreachable() -> None:
    with refusing() as url:
        for each in (Target(kind="sentry", url=url), Target(kind="sentry", url="http://sentry.test/", proxy=url)):
            answer = HttpClient(each, connections=1).send(event())
            assert answer.result == "unreachable"
            assert "Error" in answer.reason


def test_a_server_that_hangs_is_unreachable_after_the_timeout(ingest: SentryIngest) -> None:
    """The target's timeout, or that of the call."""
    ingest.delay = 20.0
    begun = time.monotonic()
    assert HttpClient(target(ingest, timeout=0.2), connections=1).send(event()).result == "unreachable"
    assert HttpClient(target(ingest, timeout=5.0), connections=1).send(event(), 0.2).result == "unreachable"
    assert time.monotonic() - begun < 4.0 + SLACK


def test_a_proxy_is_used(ingest: SentryIngest) -> None:
    """With the full URL, and the headers for the proxy."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        requests: list[bytes] = []

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                requests.append(connection.recv(65_536))
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")

        thread = threading.Thread(target=serve)
        thread.start()
        proxy = f"http://127.0.0.1:{listening.getsockname()[1]}"
        through = Target(
            kind="sentry", url="http://sentry.test/api/42/envelope/", proxy=proxy, proxy_headers={"X-Proxy": "1"}
        )
        assert HttpClient(through, connections=1).send(event()).result == "sent"
        thread.join()
    assert requests[0].startswith(b"POST http://sentry.test/api/42/envelope/ HTTP/1.1\r\n")
    assert b"X-Proxy: 1" in requests[0]


def test_a_self_signed_certificate_is_trusted_if_it_is_given(tmp_path: Path) -> None:
    """Only then."""
    certificate, key = self_signed(tmp_path)
    with OtlpReceiver(tls=(certificate, key)) as receiver:
        url = f"{receiver.endpoint}/v1/traces"
        trusting = HttpClient(Target(kind="otlp", url=url, ca_certs=str(certificate)), connections=1)
        assert trusting.send(Record("otlp_traces", b"")).result == "sent"
        answer = HttpClient(Target(kind="otlp", url=url), connections=1).send(Record("otlp_traces", b""))
        assert answer.result == "unreachable"
        assert "SSLError" in answer.reason


def test_a_date_is_compared_with_the_servers_clock() -> None:
    """Our clock may be days off."""
    now = datetime.now(UTC) + timedelta(days=3)
    dates = [format_datetime(now + timedelta(seconds=seconds), usegmt=True) for seconds in (0, 100)]
    answer = _answer(503, {"date": dates[0], "retry-after": dates[1]}, b"")
    assert answer.wait == 100.0


def test_the_answer_sets_the_rate_limits(ingest: SentryIngest) -> None:
    """In seconds or as a date; a minute without either; by category if the server names them."""
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=100), usegmt=True)
    answers = iter(
        [
            (429, {"Retry-After": "7"}),
            (429, {"Retry-After": later}),
            (429, {}),
            (429, {"Retry-After": "nonsense"}),
            (
                429,
                {"X-Sentry-Rate-Limits": "5:error:organization, 9:transaction;span:key:reason", "Retry-After": "1"},
            ),
            (200, {"X-Sentry-Rate-Limits": "3::organization"}),
        ]
    )
    ingest.respond = lambda: next(answers)
    http_client = HttpClient(target(ingest), connections=1)
    assert http_client.send(event()).limits == {"": 7.0}
    assert 90.0 < http_client.send(event()).limits[""] <= 100.0
    assert http_client.send(event()).limits == {"": 60.0}
    assert http_client.send(event()).limits == {"": 60.0}
    assert http_client.send(event()).limits == {"error": 5.0, "transaction": 9.0, "span": 9.0}
    accepted = http_client.send(event())
    assert (accepted.result, accepted.limits) == ("sent", {"": 3.0})


@pytest.mark.parametrize(
    ("header", "limits"),
    [
        ("", {}),
        ("nonsense", {}),
        ("60", {"": 60.0}),
        ("60:", {"": 60.0}),
        ("60:error", {"error": 60.0}),
        ("60:error, 90:error", {"error": 90.0}),
        ("x:error,1:span", {"span": 1.0}),
        *(
            (f"{seconds}:error", {})
            for seconds in ("-5", "1e99", "1e400", "nan", "inf", "0x10", "1_0", "٣", "9" * 50)
        ),
        ("9999999:error", {"error": 86_400.0}),
        ("1e400::, 7:error", {"error": 7.0}),
        ("5:" + ";".join(f"c{number}" for number in range(5_000)), {f"c{number}": 5.0 for number in range(64)}),
        (",".join(f"5:c{number}" for number in range(5_000)), {f"c{number}": 5.0 for number in range(64)}),
        (f"5:{'c' * 1_000};error", {"error": 5.0}),
    ],
)
def test_rate_limits_are_parsed(header: str, limits: dict[str, float]) -> None:
    """Malformed parts are ignored; no limit is longer than a day."""
    assert parse_rate_limits(header) == limits


@pytest.mark.parametrize(
    ("header", "wait"),
    [
        ("7", 7.0),
        ("7.5", 7.5),
        ("-1", None),
        ("1e400", None),
        ("inf", None),
        ("9" * 400, None),
        ("9999999", 3_600.0),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3_600.0),
        ("Mon, 01 Jan 0001 00:00:00 GMT", 0.0),
        ("Mon, 99 Foo 2026 99:99:99 +9999", None),
        ("x" * 60_000, None),
        ("\N{ARABIC-INDIC DIGIT THREE}", None),
    ],
)
def test_a_time_to_retry_is_parsed(header: str, wait: float | None) -> None:
    """Malformed ones are ignored; none is longer than an hour."""
    assert _answer(503, {"retry-after": header}, b"").wait == wait


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]\n{}", b"\xff\n"])
def test_a_body_that_is_no_envelope_is_rejected(ingest: SentryIngest, body: bytes) -> None:
    """It is not sent, and nothing raises."""
    assert HttpClient(target(ingest), connections=1).send(Record("error", body)).result == "rejected"
    assert ingest.envelopes == []
