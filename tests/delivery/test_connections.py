"""POSTs over kept-alive connections: what is kept, what is not, and which targets urllib3 takes."""

import gc
import os
import socket
import sys
import threading
import time
import warnings
from collections import Counter
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from itertools import takewhile
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
from urllib3.util import wait_for_read

from brain_otel.delivery.connections import Connections, Response, can_connect
from brain_otel.delivery.http import HttpClient
from brain_otel.delivery.record import Record
from brain_otel.delivery.target import Target
from tests.support.otlp import OtlpReceiver, self_signed
from tests.support.process import SLACK
from tests.support.waiting import until

OK = b"HTTP/1.1 200 OK\r\n"
USUAL = OK + b"Content-Length: 2\r\n\r\n{}"
SECONDS = 5.0
Answer = tuple[bytes, ...]


class Server:
    """Answers each request on each connection with parts that are sent one by one; closes after an empty part."""

    def __init__(self, answer: Answer = (USUAL,)) -> None:
        self.answer = answer
        self.connections: list[socket.socket] = []
        self.requests: list[bytes] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port = self._listening.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self.connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with suppress(OSError), connection, connection.makefile("rb") as file:
            while head := b"".join(takewhile(bool, iter(file.readline, b"\r\n"))):  # an empty line is the end
                length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
                self.requests.append(head + b"\r\n" + file.read(length))
                for part in self.answer:
                    if not part:
                        return
                    connection.sendall(part)
                    time.sleep(0.02 if len(self.answer) > 1 else 0)

    def close(self) -> None:
        """Close everything."""
        self._listening.close()
        for each in self.connections:
            each.close()


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    yield made
    made.close()


def connections(port: int, **more: Any) -> Connections:
    return Connections(target(f"http://127.0.0.1:{port}/api/1/envelope/", **more), "text/plain", size=2)


def target(url: str, **more: Any) -> Target:
    return Target(kind="sentry", url=url, **more)


def test_a_request_has_the_headers_that_http_needs(server: Server) -> None:
    """And those of the target; equal requests follow each other on one connection."""
    made = connections(server.port, headers={"X-Sentry-Auth": "Sentry sentry_key=public", "User-Agent": "shop"})
    assert made.post(b"{}", "", SECONDS) == Response(200, {"content-length": "2"}, b"{}")
    assert made.post(b"xyz", "gzip", SECONDS).status == 200
    head = (
        b"POST /api/1/envelope/ HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nAccept-Encoding: identity\r\n"
        b"Content-Type: text/plain\r\nX-Sentry-Auth: Sentry sentry_key=public\r\nUser-Agent: shop\r\n" % server.port
    )
    assert server.requests == [
        head + b"Content-Length: 2\r\n\r\n{}",
        head + b"Content-Encoding: gzip\r\nContent-Length: 3\r\n\r\nxyz",
    ]
    assert len(server.connections) == 1


KEPT: Mapping[str, tuple[Answer, int, bytes]] = {
    "usual": ((USUAL,), 200, b"{}"),
    "kept by name": ((OK + b"Connection: keep-alive\r\ncontent-length:2\r\n\r\n{}",), 200, b"{}"),
    "no reason": ((b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n",), 200, b""),
    "body later": ((OK + b"Content-Length: 4\r\n\r\n", b"{}{}"), 200, b"{}{}"),
    "body in three parts": ((OK + b"Content-Length: 6\r\n\r\n", b"{}", b"{}", b"{}"), 200, b"{}{}{}"),
    "headers in three parts": ((b"HTTP/1.1 2", b"00 OK\r\nContent-Le", b"ngth: 2\r\n\r\n{}"), 200, b"{}"),
    "chunks": ((OK + b"Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",), 200, b"{}"),
    "no content": ((b"HTTP/1.1 204 No Content\r\n\r\n",), 204, b""),
    "continue": ((b"HTTP/1.1 100 Continue\r\n\r\n" + USUAL,), 200, b"{}"),
    "error": ((b"HTTP/1.1 503 Busy\r\nRetry-After: 7\r\nContent-Length: 4\r\n\r\nbusy",), 503, b"busy"),
}


@pytest.mark.parametrize("name", KEPT)
def test_the_connection_is_kept_after_a_whole_answer(server: Server, name: str) -> None:
    """However it is divided, and with any status."""
    server.answer, status, body = KEPT[name]
    made = connections(server.port)
    for _ in range(2):
        found = made.post(b"{}", "", SECONDS)
        assert (found.status, found.body) == (status, body)
        assert found.headers.get("retry-after") == ("7" if status == 503 else None)
    assert len(server.connections) == 1
    assert len(server.requests) == 2


NOT_KEPT: Mapping[str, tuple[Answer, bytes]] = {
    "closed by name": ((OK + b"Connection: Close\r\nContent-Length: 2\r\n\r\n{}",), b"{}"),
    "an old protocol": ((b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",), b"{}"),
    "more than announced": ((USUAL + b"HTTP/1.1 500 Oops\r\n\r\n",), b"{}"),
    "unknown length": ((OK + b"\r\n{}", b""), b"{}"),
    "too long": ((OK + b"Content-Length: 5000\r\n\r\n" + b"x" * 5_000,), b"x" * 4_096),
    "closed after it": ((USUAL, b""), b"{}"),
}


@pytest.mark.parametrize("name", NOT_KEPT)
def test_a_connection_that_is_not_kept_costs_no_record(server: Server, name: str) -> None:
    """The next request has a new one, and each is sent once."""
    server.answer, body = NOT_KEPT[name]
    made = connections(server.port)
    for _ in range(2):
        assert made.post(b"{}", "", SECONDS)[::2] == (200, body)
        time.sleep(0.1 if b"" in server.answer else 0)
    assert len(server.connections) == len(server.requests) == 2


MALFORMED: tuple[Answer, ...] = (
    (b"",),
    (b"HTTP/1.1 2x0 OK\r\n\r\n",),
    (b"SSH-2.0-OpenSSH\r\n\r\n",),
    (OK + b"Content-Length: 4\r\n\r\n{}", b""),
    (OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",),
)


@pytest.mark.parametrize("answer", MALFORMED)
def test_a_malformed_answer_is_an_error(server: Server, answer: Answer) -> None:
    """The request is not sent again here, and its connection is closed."""
    server.answer = answer
    client = HttpClient(target(f"http://127.0.0.1:{server.port}/"), connections=1)
    assert client.send(record()).result == "unreachable"
    assert len(server.requests) == 1


def record(size: int = 2) -> Record:
    return Record("error", b'{"event_id":"%032x","sent_at":"2020-01-01T00:00:00Z"}\n%b' % (7, b"x" * size))


def test_an_answer_that_comes_before_the_request_has_ended_counts() -> None:
    """The server refuses by its headers and closes; megabytes of the body are not read."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(1_000)
                connection.sendall(b"HTTP/1.1 413 Too Large\r\nContent-Length: 5\r\n\r\nlarge")
                time.sleep(0.2)

        thread = threading.Thread(target=serve)
        thread.start()
        url = f"http://127.0.0.1:{listening.getsockname()[1]}/"
        answer = HttpClient(target(url, compress=False), connections=1).send(record(50_000_000), SECONDS)
        thread.join()
    # The reset may overtake the answer; then the record is kept.
    assert answer.reason == "HTTP 413: large" or answer.result == "unreachable"


def test_a_connection_that_the_server_has_given_up_is_replaced(server: Server) -> None:
    """It was closed while idle, or the server has said something unasked."""
    made = connections(server.port)
    for unasked in (b"", b"HTTP/1.1 408 Late\r\n\r\n"):
        assert made.post(b"{}", "", SECONDS).status == 200
        if unasked:
            server.connections[-1].sendall(unasked)
        else:
            server.connections[-1].shutdown(socket.SHUT_RDWR)
        assert wait_for_read(made._idle[0].socket, timeout=SECONDS)
    assert made.post(b"{}", "", SECONDS).status == 200
    assert (len(server.connections), len(server.requests)) == (3, 3)


def test_a_server_that_takes_nothing_costs_the_timeout() -> None:
    """It accepts the connection and never reads; the body fills its buffers."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        client = HttpClient(target(f"http://127.0.0.1:{listening.getsockname()[1]}/", compress=False), connections=1)
        for size in (2, 30_000_000):
            began = time.monotonic()
            assert client.send(record(size), 0.3).result == "unreachable"
            assert time.monotonic() - began < 0.6 + SLACK


def test_a_kept_connection_has_its_timeout_already(server: Server) -> None:
    """To set it is a system call, twice a record. A shorter one is set all the same, and holds."""
    made = connections(server.port)
    made.post(b"{}", "", 30.0)
    with c_calls() as counted:
        for _ in range(10):
            made.post(b"{}", "", 30.0)
    assert counted["sendall"] == 10
    assert counted["settimeout"] == counted["poll"] - 10 == 0
    server.answer = ()
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        made.post(b"{}", "", 0.3)
    assert time.monotonic() - began < 0.6 + SLACK
    assert len(server.connections) == 1


@contextmanager
def c_calls() -> Iterator[Counter[str]]:
    """Count the calls of functions written in C, on this thread."""
    counted: Counter[str] = Counter()

    def count(_: FrameType, event: str, function: Any) -> None:
        if event == "c_call":
            counted[function.__name__] += 1

    before = sys.getprofile()
    sys.setprofile(count)
    try:
        yield counted
    finally:
        sys.setprofile(before)


def test_threads_share_the_connections(server: Server) -> None:
    """No two requests are on one at a time, and no more stay open than wanted."""
    made = connections(server.port)
    server.answer = (OK + b"Content-Length: 2\r\n\r\n", b"{}")
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda number: made.post(b"%d" % number, "", SECONDS), range(40)))
    assert {each.status for each in found} == {200}
    assert sorted(int(each.rpartition(b"\r\n")[2]) for each in server.requests) == list(range(40))
    assert len(made._idle) <= 2


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform cannot fork")
def test_a_forked_process_connects_anew(server: Server) -> None:
    """Its parent's connection still works afterwards."""
    made = connections(server.port)
    made.post(b"parent", "", SECONDS)
    pid = os.fork()
    if pid == 0:
        os._exit(0 if made.post(b"child", "", SECONDS).status == 200 else 1)
    assert os.waitpid(pid, 0)[1] == 0
    made.post(b"parent", "", SECONDS)
    assert len(server.connections) == 2


def test_idle_connections_are_closed_with_the_client(server: Server) -> None:
    """Without a warning of Python's."""
    made = connections(server.port)
    made.post(b"{}", "", SECONDS)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        del made
        gc.collect()
    until(lambda: server.connections[0].fileno() == -1, what="the end of the server's connection")


def test_a_tls_connection_is_kept(tmp_path: Path) -> None:
    """The certificate is verified against the name in the URL."""
    certificate, key = self_signed(tmp_path)
    with OtlpReceiver(tls=(certificate, key)) as receiver:
        made = Connections(
            Target(kind="otlp", url=f"{receiver.endpoint}/v1/traces", ca_certs=str(certificate)), "x/y", size=1
        )
        for _ in range(2):
            assert made.post(b"", "", SECONDS).status == 200
            (connection,) = made._idle
        assert made._idle.pop() is connection
        connection.socket.close()


@pytest.mark.parametrize(
    ("url", "more", "is_plain"),
    [
        ("http://sentry.test/api/1/envelope/", {}, True),
        ("https://sentry.test:8443/api/1/envelope/?a=b", {"headers": {"X-Sentry-Auth": "a, b=c"}}, True),
        ("http://[::1]:9000/", {}, True),
        ("http://sentry.test/", {"proxy": "http://proxy.test:3128"}, False),
        ("http://user:password@sentry.test/", {}, False),
        ("http://[::1%25eth0]/", {}, False),
        ("http:///nowhere", {}, False),
        ("http://sentry.test:99999999/", {}, False),
        ("http://sentry.test/", {"headers": {"X": "a\r\nb: c"}}, False),
        ("http://sentry.test/", {"headers": {"X": "\u00e9"}}, False),
        ("http://sentry.test/", {"headers": {"X y": "z"}}, False),
        ("http://sentry.test/", {"headers": {"Host": "other.test"}}, False),
        ("http://sentry.test/", {"headers": {"transfer-encoding": "chunked"}}, False),
        ("http://sentry.test/", {"headers": {"content-type": "x/y"}}, False),
    ],
)
def test_what_is_not_plain_is_left_to_urllib3(url: str, more: dict[str, Any], is_plain: bool) -> None:
    """A proxy, credentials, names that need encoding, and headers that would contradict ours."""
    assert can_connect(target(url, **more)) is is_plain


def test_an_envelope_that_begins_otherwise_is_dated_too() -> None:
    """The time of sending is found without parsing only where it is the second member."""
    server = Server()
    client = HttpClient(target(f"http://127.0.0.1:{server.port}/"), connections=1)
    rest = b'"trace":{"sent_at":"2020-01-01T00:00:00Z"}'
    for head in (
        b'{"event_id":"%032x","sent_at":"2020-01-01T00:00:00Z",%b}' % (7, rest),
        b'{"event_id": "%032x", "sent_at": "2020-01-01T00:00:00Z",%b}' % (7, rest),
        b'{"sent_at":"2020-01-01T00:00:00Z",%b}' % rest,
        b"{%b}" % rest,
    ):
        assert client.send(Record("error", head + b"\n{}\n")).result == "sent"
        sent = server.requests[-1].partition(b"\r\n\r\n")[2]
        assert sent.endswith(b"\n{}\n")
        assert sent.count(b"2020-01-01") == 1
        assert sent.count(b"sent_at") == 2
    server.close()
