"""One application under `sentry_sdk.init(traces_sample_rate=1.0)` and under brain_otel, compared field by field.

Each side is one server in a process of its own (`tests/apps/differential.py`) that gets the same requests. Each
request has a trace of its own, by which what either side sends about it is found. `PERMITTED` lists every difference
with its reason; `docs/migrating.md` shows that table.
"""

import hashlib
import socketserver
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from tests.service.differences import BEGIN, END, PAGE, PERMITTED, table
from tests.support.event_diff import Reports, differences
from tests.support.ingest import SentryIngest
from tests.support.process import Server, free_port, uvicorn_command
from tests.support.services import Valkey

SPAN = "c" * 15 + "3"
UNSHARED = httpx.Limits(max_keepalive_connections=0)
"""A server closes the connection of a request that failed."""

TYPES = ("event", "transaction", "check_in")


@dataclass(frozen=True)
class Case:
    """One request to both sides."""

    name: str
    path: str
    method: str = "GET"
    options: dict[str, Any] = field(default_factory=dict)

    @property
    def trace_id(self) -> str:
        return hashlib.md5(self.name.encode()).hexdigest()


def get(path: str, name: str = "", **options: Any) -> Case:
    return Case(name or path, path, "GET", options)


PATHS = [
    "/plain",
    "/sync",
    "/items/7",
    "/items/none",
    "/users/1/orders/a",
    "/files/a/b.txt",
    "/search?q=a&page=2",
    "/cookie",
    "/redirect",
    "/stream",
    "/sync-stream",
    "/background",
    "/depends?q=a",
    "/api/v1/things/a",
    "/sub/inner/7",
    "/raw/deep/a",
    "/missing",
    "/sub/missing",
    "/raw/missing",
    "/plain/",
    "/search?page=none",
    "/fails",
    "/sync-fails/7",
    "/dependency-fails",
    "/yield-fails",
    "/http/400",
    "/http/404",
    "/http/500",
    "/http/503",
    "/teapot",
    "/broken",
    "/chained",
    "/context-chained",
    "/group",
    "/noted",
    "/stream-fails",
    "/background-fails",
    "/sync-background-fails",
    "/captured",
    "/captured-twice",
    "/captured-then-logged",
    "/captured-in-sync",
    "/thread",
    "/task",
    "/message/info",
    "/message/warning",
    "/message/error",
    "/sub/fails",
    "/middleware-fails",
    "/middleware-answers",
    "/tag",
    "/user",
    "/context",
    "/current-scope",
    "/fingerprint",
    "/named",
    "/new-scope",
    "/isolation-scope",
    "/sync-scope",
    "/attachment",
    "/breadcrumbs",
    "/logged",
    "/logged-error",
    "/logged-exception",
    "/logged-critical",
    "/httpx",
    "/httpx-sync",
    "/httpx/404",
    "/httpx/503",
    "/httpx-refused",
    "/redis",
    "/redis-sync",
    "/redis-pipeline",
    "/redis-fails",
    "/sql",
    "/sql-write",
    "/sql-fails",
    "/span",
    "/nested-spans",
    "/span-fails",
    "/headers",
    "/checkin",
    "/monitor",
    "/monitor-fails",
    "/job",
]

CASES = (
    *map(get, PATHS),
    Case("HEAD", "/plain", "HEAD"),
    Case("OPTIONS", "/plain", "OPTIONS"),
    Case("method not allowed", "/plain", "POST"),
    Case("JSON", "/orders", "POST", {"json": {"item": "a", "count": 2}}),
    Case("JSON that is invalid", "/orders", "POST", {"json": {"count": "many"}}),
    Case("no JSON", "/orders", "POST", {"content": b"{", "headers": {"content-type": "application/json"}}),
    Case("PUT", "/orders/7", "PUT", {"json": {"item": "a"}}),
    Case("PATCH", "/orders/7", "PATCH"),
    Case("DELETE", "/orders/7", "DELETE"),
    Case("form", "/form", "POST", {"data": {"name": "ann"}}),
    Case("form without its field", "/form", "POST", {"data": {"other": "ann"}}),
    Case("file", "/upload", "POST", {"files": {"file": ("a.txt", b"abc")}}),
    get("/fails", "bearer token", headers={"Authorization": "Bearer abc"}),
    get("/fails", "basic credentials", auth=("ann", "secret")),
    get("/fails", "API key", headers={"X-Api-Key": "abc"}),
    get("/fails", "cookies", headers={"Cookie": "session=abc; theme=dark"}),
    get("/fails?token=abc&page=2", "secret in the query"),
    get("/fails", "forwarded", headers={"X-Forwarded-For": "203.0.113.9"}),
    Case("JSON of a failing request", "/fails", "POST", {"json": {"a": 1}}),
    Case("socket", "/ws/blue", "WS"),
    Case("socket that tells", "/ws-told", "WS"),
    Case("socket that fails", "/ws-fails", "WS"),
)


class Target(BaseHTTPRequestHandler):
    """Answers with the status that the path names."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(int(self.path[1:4]))
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_POST = do_GET  # noqa: N815 - the base class calls it

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name of the base class
        """Log nothing."""


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Target) as server:
        server.daemon_threads = True
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@pytest.fixture(scope="module")
def reports(target: str, valkey: Valkey) -> dict[str, dict[str, Reports]]:
    """What each side sent about each case."""
    with ExitStack() as stack:
        sides: dict[str, tuple[Server, SentryIngest]] = {}
        for side in ("native", "ours"):
            ingest = stack.enter_context(SentryIngest())
            env = {"SIDE": side, "TARGET": target, "REDIS": valkey.url, "SENTRY_DSN": ingest.dsn}
            env |= {
                "SENTRY_ENVIRONMENT": "production",
                "SENTRY_RELEASE": "shop@1",
                "SENTRY_TRACES_SAMPLE_RATE": "1.0",
            }
            env |= {"SENTRY_PROFILES_SAMPLE_RATE": "0", "PYTHONWARNINGS": "ignore"}
            port = free_port()
            command = [*uvicorn_command("tests.apps.differential:app", port), "--log-level", "critical"]
            sides[side] = stack.enter_context(Server(command, port, env=env)), ingest
        return {side: collected(server, ingest) for side, (server, ingest) in sides.items()}


def collected(server: Server, ingest: SentryIngest) -> dict[str, Reports]:
    """Make all requests and sort what arrives by case."""
    with httpx.Client(base_url=server.url, trust_env=False, timeout=20, limits=UNSHARED) as client:
        for case in CASES:
            ask(server, client, case)
        assert client.get("/flush").status_code == 200
    ingest.settle(0.3)
    assert ingest.rejected == []
    found = {case.name: Reports(case.trace_id) for case in CASES}
    by_trace = {case.trace_id: found[case.name] for case in CASES}
    for item in ingest.items(*TYPES):
        content = item.json
        sent = (content.get("request") or {}).get("headers", {}).get("sentry-trace", "")
        reports = by_trace.get(sent[:32]) or by_trace.get(content["contexts"]["trace"]["trace_id"])
        if reports is not None:
            reports.items.append((item.type, content))
        else:
            assert content.get("transaction", "").endswith("/flush"), f"of no case: {content}"
    return found


def ask(server: Server, client: httpx.Client, case: Case) -> None:
    headers = {"sentry-trace": f"{case.trace_id}-{SPAN}-1"}
    if case.method == "WS":
        with (
            suppress(ConnectionClosed),
            connect(f"ws://127.0.0.1:{server.port}{case.path}", additional_headers=headers) as socket,
        ):
            for _ in range(3):
                socket.recv()
        return
    options = {**case.options, "headers": {**headers, **case.options.get("headers", {})}}
    with suppress(httpx.RemoteProtocolError):
        client.request(case.method, case.path, **options)


@pytest.mark.thorough
def test_each_difference_is_permitted(reports: dict[str, dict[str, Reports]]) -> None:
    """And each permitted difference is there."""
    found: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for case in CASES:
        for each in differences(reports["native"][case.name], reports["ours"][case.name]):
            found[each].append(case.name)
    unlisted = {each: cases for each, cases in found.items() if not any(rule.covers(*each) for rule in PERMITTED)}
    unused = [rule for rule in PERMITTED if not any(rule.covers(*each) for each in found)]
    lines = [f"unused: {rule.place}: {rule.native} -> {rule.ours}" for rule in unused]
    lines += [
        f"{place}: {native} -> {ours} ({', '.join(cases[:3])})" for (place, native, ours), cases in unlisted.items()
    ]
    assert not lines, "\n".join(lines)


def test_the_page_shows_the_permitted_differences() -> None:
    """`docs/migrating.md` has the table; ``uv run python -m tests.service.differences`` writes it."""
    assert BEGIN + table() + END in PAGE.read_text()
    assert len(CASES) >= 80
