"""The request of an error: body and cookies only with `send_default_pii`, masked by name."""

import json
from hashlib import sha256
from operator import itemgetter
from typing import Any

import pytest

from brain_otel.privacy import Policy, configure_privacy
from brain_otel.sentry.before_send import masked_event
from brain_otel.sentry.request import body_data, request_interface
from brain_otel.traces.local_trace import Request
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import Server, free_port, uvicorn_command
from tests.support.relay import assert_accepted

APP = """
import brain_otel
brain_otel.setup()
import hashlib
from fastapi import FastAPI, Request

app = FastAPI()

@app.post("/read")
async def read(request: Request):
    body = await request.body()
    brain_otel.capture_message("read")
    return [len(body), hashlib.sha256(body).hexdigest()]

@app.post("/unread")
async def unread():
    brain_otel.capture_message("unread")
"""

JSON = {
    "user": {"email": "ada@example.com", "password": "hunter2-json"},
    "cards": [{"number": "4111 1111 1111 1111"}],
    "items": [{"name": "tea", "api_key": "hunter2-key"}],
    "author": "Ada",
}


@pytest.fixture(scope="module", params=[True, False], ids=["personal data", "none"])
def asked(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[bool, list[Any], str]:
    """Send bodies of all kinds, and return the events in order, and everything that arrived as text."""
    port = free_port()
    with SentryIngest() as ingest:
        env = {"SENTRY_DSN": ingest.dsn, "SENTRY_ENVIRONMENT": "production", "SENTRY_TRACES_SAMPLE_RATE": "1"}
        env["SENTRY_SEND_DEFAULT_PII"] = str(request.param).lower()
        folder = tmp_path_factory.mktemp("bodies")
        (folder / "shop.py").write_text(APP)
        with Server(
            uvicorn_command("shop:app", port), port, env=env, cwd=folder, pythonpath=[folder, ROOT]
        ) as server:
            for number, options in enumerate(BODIES):
                response = server.request("POST", "/read", headers={"cookie": COOKIES}, **options)
                sent = response.request.read()
                assert response.json() == [len(sent), sha256(sent).hexdigest()], number  # the application's bytes
            server.request("POST", "/unread", json=JSON)
            server.terminate()
        texts = json.dumps([*ingest.events, *ingest.transactions])
        return request.param, sorted(ingest.events, key=itemgetter("timestamp")), texts


COOKIES = "theme=dark; sessionid=hunter2-cookie; a=1; a=2"
LARGE = {"name": "x" * 20_000}
BODIES: list[dict[str, Any]] = [
    {"json": JSON},
    {"data": {"name": "Ada", "password": "hunter2-form", "tags": ["a", "b"]}},
    {
        "data": {"name": "Ada", "secret": "hunter2-part"},
        "files": {"picture": ("hunter2-file.png", b"\x89PNG hunter2-bytes")},
    },
    {"json": LARGE},
    {"content": b"hunter2-text"},
    {"content": b'{"password": "hunter2-broken'},
]


def test_the_body_is_sent_with_send_default_pii_alone(asked: tuple[bool, list[Any], str]) -> None:
    """Masked by name. Bodies that are too long, or have no names, are not sent."""
    allowed, events, _ = asked
    data = [event["request"].get("data") for event in events]
    if not allowed:
        assert data == [None] * (len(BODIES) + 1)
        return
    assert data == [
        {
            "user": {"email": "ada@example.com", "password": "[Filtered]"},
            "cards": [{"number": "[Filtered]"}],
            "items": [{"name": "tea", "api_key": "[Filtered]"}],
            "author": "Ada",
        },
        {"name": "Ada", "password": "[Filtered]", "tags": ["a", "b"]},
        {"name": "Ada", "secret": "[Filtered]", "picture": "<18 bytes>"},
        None,
        None,
        None,
        None,  # the application has not read it
    ]
    for event in events:
        assert_accepted(event)


def test_cookies_are_sent_with_the_body(asked: tuple[bool, list[Any], str]) -> None:
    allowed, events, _ = asked
    expected = {"theme": "dark", "sessionid": "[Filtered]", "a": "2"} if allowed else None
    assert {str(event["request"].get("cookies")) for event in events[:-1]} == {str(expected)}
    assert {event["request"]["headers"]["cookie"] for event in events[:-1]} == {"[Filtered]"}


def test_many_headers_are_cut() -> None:
    """Each is masked, and the first 200 tell enough."""
    headers = {f"x-{number}": "a" for number in range(8_000)}
    request = Request(method="GET", url="http://shop/", query_string="", headers=headers, client_address=None)
    found = request_interface(request)["headers"]
    assert len(found) == 201
    assert found["..."] == "7,800 more"


def test_cookies_of_others_are_masked_one_by_one() -> None:
    """Those that an integration of sentry-sdk puts into an event, too."""
    event = {"request": {"cookies": {"theme": "dark", "sessionid": "hunter2"}, "method": "GET"}}
    try:
        configure_privacy(Policy(send_default_pii=True))
        assert masked_event(event, {})["request"]["cookies"] == {"theme": "dark", "sessionid": "[Filtered]"}
    finally:
        configure_privacy(None)
    assert masked_event(event, {})["request"]["cookies"] == "[Filtered]"


def test_no_secret_of_a_body_arrives(asked: tuple[bool, list[Any], str]) -> None:
    """Neither in events nor in transactions, with either setting."""
    assert "hunter2" not in asked[2]
    assert "1111 1111" not in asked[2]  # four digits may stand in an id


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("application/json", b"[" * 9_000, None),
        ("application/json", b"\xff\xfe", None),
        ("application/json", b'"hunter2"', None),
        ("application/vnd.api+json; charset=utf-8", b'{"a": 1}', {"a": 1}),
        ("application/x-www-form-urlencoded", b"a=1&b=%ff&a=2", {"a": ["1", "2"], "b": "\ufffd"}),
        ("application/x-www-form-urlencoded", b"&" * 5_000, None),
        ("multipart/form-data; boundary=b", b"--b\r\nno form", {}),
        ("multipart/form-data", b"--b\r\n", {}),
        ("text/plain", b"a=1", None),
        ("", b"a=1", None),
        ("\xfc\u20ac/\n;;=", b"a=1", None),
    ],
)
def test_bodies_of_any_form(kind: str, body: bytes, expected: Any) -> None:
    """A broken body is not sent, and raises nothing."""
    assert body_data(kind, body) == expected
