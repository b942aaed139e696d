"""W3C's trace-context cases at level 2, over a real server that calls back.

Written anew after https://github.com/w3c/trace-context/blob/main/test/test.py, one case for each of its 41 tests.
They are stricter: the flags are compared, and the whole outgoing trace state, to which the service adds nothing.
"""

import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from tests.conftest import SWITCH
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import Server, free_port, uvicorn_command
from tests.support.tiers import quick_first

TRACE, SPAN = "12345678901234567890123456789012", "1234567890123456"
PARENT, UNSAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"
OUTGOING = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")

Headers = list[tuple[str, str]]


@dataclass(frozen=True)
class Step:
    """One request, and what the service must send on."""

    headers: Headers
    continues: bool = True
    """Whether the trace of the request is continued."""
    state: str = ""
    """The outgoing trace state."""
    calls: int = 1


def parents(*headers: str, continues: bool) -> list[Step]:
    """One request for each ``traceparent``."""
    return [Step([("traceparent", each)], continues) for each in headers]


def states(*cases: tuple[str | list[str], str], name: str = "tracestate") -> list[Step]:
    """One request for each trace state, in one header or in several, with what is sent on."""
    return [
        Step(
            [("traceparent", UNSAMPLED), *((name, each) for each in ([given] if isinstance(given, str) else given))],
            True,
            sent,
        )
        for given, sent in cases
    ]


def kept(*given: str) -> list[Step]:
    """One request for each trace state that is sent on as it is."""
    return states(*((each, each) for each in given))


KEY = "abcdefghijklmnopqrstuvwxyz0123456789_-*/"
VALUE = "".join(chr(code) for code in range(0x20, 0x7F) if chr(code) not in ",=")
MEMBERS = [f"bar{number:02d}={number:02d}" for number in range(1, 34)]

CASES: dict[str, list[Step]] = {
    "no headers": [Step([], False)],
    "traceparent without tracestate": parents(PARENT, continues=True),
    "two traceparents": [
        Step([("traceparent", PARENT), ("traceparent", PARENT.replace("12-", "11-", 1))], False),
        Step([("traceparent", PARENT), ("traceparent", PARENT)], False),
    ],
    "traceparent under another name": [Step([(name, PARENT)], False) for name in ("trace-parent", "trace.parent")],
    "traceparent in any case": [Step([(name, PARENT)]) for name in ("TraceParent", "TrAcEpArEnT", "TRACEPARENT")],
    "version 00 with more": parents(f"{PARENT}.", f"{PARENT}-what-the-future-will-be-like", continues=False),
    "version cc": [
        *parents(f"cc{PARENT[2:]}", f"cc{PARENT[2:]}-what-the-future-will-be-like", continues=True),
        *parents(f"cc{PARENT[2:]}.what-the-future-will-be-like", continues=False),
    ],
    "version ff": parents(f"ff{PARENT[2:]}", continues=False),
    "version with illegal characters": parents(f".0{PARENT[2:]}", f"0.{PARENT[2:]}", continues=False),
    "version too long": parents(f"000{PARENT[2:]}", f"0000{PARENT[2:]}", continues=False),
    "version too short": parents(f"0{PARENT[2:]}", continues=False),
    "trace id of zeros": parents(f"00-{'0' * 32}-{SPAN}-01", continues=False),
    "trace id with illegal characters": parents(
        f"00-.{TRACE[1:]}-{SPAN}-01", f"00-{TRACE[:-1]}.-{SPAN}-01", continues=False
    ),
    "trace id too long": parents(f"00-{TRACE}3-{SPAN}-01", continues=False),
    "trace id too short": parents(f"00-{TRACE[:-1]}-{SPAN}-01", continues=False),
    "parent id of zeros": parents(f"00-{TRACE}-{'0' * 16}-01", continues=False),
    "parent id with illegal characters": parents(
        f"00-{TRACE}-.{SPAN[1:]}-01", f"00-{TRACE}-{SPAN[:-1]}.-01", continues=False
    ),
    "parent id too long": parents(f"00-{TRACE}-{SPAN}7-01", continues=False),
    "parent id too short": parents(f"00-{TRACE}-{SPAN[:-1]}-01", continues=False),
    "flags with illegal characters": parents(f"{PARENT[:-2]}.0", f"{PARENT[:-2]}0.", continues=False),
    "flags too long": parents(f"{PARENT[:-2]}001", continues=False),
    "flags too short": parents(f"{PARENT[:-2]}1", continues=False),
    "whitespace around traceparent": parents(
        f" {PARENT}", f"\t{PARENT}", f"{PARENT} ", f"{PARENT}\t", f"\t {PARENT} \t", continues=True
    ),
    "tracestate without traceparent": [Step([("tracestate", each)], False) for each in ("foo=1", "foo=1,bar=2")],
    "traceparent with tracestate": kept("foo=1,bar=2"),
    "tracestate under another name": [
        *states(("foo=1", ""), name="trace-state"),
        *states(("foo=1", ""), name="trace.state"),
    ],
    "tracestate in any case": [
        step for name in ("TraceState", "TrAcEsTaTe", "TRACESTATE") for step in states(("foo=1", "foo=1"), name=name)
    ],
    "empty tracestate": states(("", ""), (["foo=1", ""], "foo=1"), (["", "foo=1"], "foo=1")),
    "several tracestate headers": states(
        (["foo=1,bar=2", "rojo=1,congo=2", "baz=3"], "foo=1,bar=2,rojo=1,congo=2,baz=3")
    ),
    "one key twice": states(
        ("foo=1,foo=1", "foo=1"),
        ("foo=1,foo=2", "foo=1"),
        (["foo=1", "foo=1"], "foo=1"),
        (["foo=1", "foo=2"], "foo=1"),
        ("foo=1,bar=2,foo=3", "foo=1,bar=2"),
    ),
    "all allowed characters": kept(f"{KEY}={VALUE}", f"{KEY}@a-z0-9_-*/={VALUE}"),
    "whitespace in tracestate": states(
        ("foo=1 \t , \t bar=2, \t baz=3", "foo=1,bar=2,baz=3"),
        ("foo=1\t \t,\t \tbar=2,\t \tbaz=3", "foo=1,bar=2,baz=3"),
        *((each, "foo=1") for each in (" foo=1", "\tfoo=1", "foo=1 ", "foo=1\t", "\t foo=1 \t")),
    ),
    "illegal keys": states(("foo =1", ""), ("FOO=1", ""), ("foo.bar=1", ""), ("=1,bar=2", "")),
    "keys with at signs": [
        *kept("foo@=1,bar=2", "foo@@bar=1,bar=2", "foo@bar@baz=1,bar=2", "0foo=1"),
        *states(("@foo=1,bar=2", "")),
    ],
    "32 and 33 members": states(
        ([",".join(MEMBERS[:10]), ",".join(MEMBERS[10:32])], ",".join(MEMBERS[:32])),
        ([",".join(MEMBERS[:10]), ",".join(MEMBERS[10:])], ""),
    ),
    "long keys": states(
        *(
            (["foo=1", f"{key}=1"], f"foo=1,{key}=1")
            for key in ("z" * 256, "t" * 241 + "@" + "v" * 14, "t" * 242 + "@v", "t@" + "v" * 15)
        ),
        (["foo=1", "z" * 257 + "=1"], ""),
    ),
    "illegal values": states(("foo=bar=baz", ""), ("foo=,bar=3", ""), ("foo=" + "v" * 257, "")),
    "three calls with traceparent": [Step([("traceparent", PARENT)], calls=3)],
    "three calls without traceparent": [Step([], False, calls=3)],
    "three calls with an illegal traceparent": [Step([("traceparent", f"00-{'0' * 32}-{SPAN}-01")], False, calls=3)],
    "the random flag": parents(f"00-{TRACE}-{SPAN}-02", f"00-{TRACE}-{SPAN}-03", continues=True),
}


class Harness:
    """Calls the service with raw headers, and receives its calls."""

    def __init__(self, service: Server) -> None:
        self._connection = HTTPConnection("127.0.0.1", service.port, timeout=20)
        self.received: list[Headers] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        received = self.received

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["Content-Length"]))
                received.append([(name.lower(), value) for name, value in self.headers.items()])
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the name of the base class
                """Log nothing."""

        return Handler

    def send(self, step: Step) -> list[Headers]:
        """Make the request; the headers of each call that the service made for it."""
        self.received.clear()
        url = f"http://127.0.0.1:{self._server.server_port}/"
        body = json.dumps([{"url": f"{url}{number}", "arguments": []} for number in range(step.calls)]).encode()
        self._connection.putrequest("POST", "/test")
        for name, value in [*step.headers, ("Content-Length", str(len(body)))]:
            self._connection.putheader(name, value)
        self._connection.endheaders(body)
        response = self._connection.getresponse()
        assert (response.status, json.loads(response.read())) == (200, [200] * step.calls)
        return list(self.received)

    def close(self) -> None:
        self._connection.close()
        self._server.shutdown()
        self._server.server_close()


def one(headers: Headers, name: str) -> str:
    """The value of the only header of this name, empty without one."""
    found = [value for each, value in headers if each == name]
    assert len(found) <= 1, found
    return found[0] if found else ""


def check(step: Step, calls: list[Headers], flag: int) -> None:
    """Compare what the service sent on with what it received; ``flag``: the decision for a trace that starts here."""
    sent = [one(headers, "traceparent") for headers in calls]
    assert len(sent) == step.calls
    assert all(OUTGOING.fullmatch(each) for each in sent), sent
    traces, spans = {each[3:35] for each in sent}, {each[36:52] for each in sent}
    assert len(traces) == 1
    assert len(spans) == step.calls
    assert SPAN not in spans
    given = "".join(value for _, value in step.headers)
    assert (traces == {TRACE}) if step.continues else traces.isdisjoint({TRACE}) and next(iter(traces)) not in given
    flags = {int(each[-2:], 16) for each in sent}
    if step.continues:
        incoming = int(step.headers[0][1].strip()[53:55], 16)
        assert flags == {incoming & 0b11}
    else:
        assert flags == {0b10 | flag}
    assert {one(headers, "tracestate") for headers in calls} == {step.state}


Variant = tuple[str, dict[str, str]]

VARIANTS: list[Variant] = [
    ("1", {}),
    ("0", {}),
    ("1", {"SENTRY_DSN": ""}),
    ("1", {SWITCH: "false"}),
    ("0", {SWITCH: "false"}),
    ("1", {"INSTRUMENTATION": "native"}),
]


@pytest.fixture(scope="module", params=quick_first([*range(len(VARIANTS))], 2), ids=lambda each: str(VARIANTS[each]))
def harness(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[Step], None]]:
    """Run the service at a rate, and judge what it sends on for one step."""
    rate, more = VARIANTS[request.param]
    file = tmp_path_factory.mktemp("configuration") / "production.yaml"
    text = (ROOT / "config" / "production.yaml").read_text()
    file.write_text(text.replace("fastapi: contrib", f"fastapi: {more.get('INSTRUMENTATION', 'contrib')}"))
    port = free_port()
    with SentryIngest() as ingest:
        env = {"SENTRY_DSN": ingest.dsn, "SENTRY_TRACES_SAMPLE_RATE": rate, "SENTRY_ENVIRONMENT": "production"}
        env |= {"SENTRY_PROFILES_SAMPLE_RATE": "0", "OTEL_CONFIG_FILE": str(file), **more}
        with Server(uvicorn_command("tests.apps.trace_context:app", port), port, env=env) as service:
            running = Harness(service)
            yield lambda step: check(step, running.send(step), int(rate))
            running.close()


def test_each_of_the_41_tests_has_a_case() -> None:
    """W3C's file has 41."""
    assert len(CASES) == 41


@pytest.mark.parametrize("case", CASES)
def test_headers_are_handed_on_as_the_specification_says(case: str, harness: Callable[[Step], None]) -> None:
    """Each step of a case."""
    for step in CASES[case]:
        harness(step)
