"""A request that has been served keeps what an event needs, and nothing of the application's."""

import asyncio
from typing import Any

import httpx
import pytest
import sentry_sdk
from fastapi import FastAPI

import brain_otel
from brain_otel.instrumentation.fastapi.request import RequestInProgress
from brain_otel.runtime import guard
from brain_otel.testing import Telemetry


class Heavy:
    """An object that the application keeps for a request."""


def served(path: str, *, look: bool) -> tuple[RequestInProgress, dict[str, Any]]:
    """A request of an app with one route; ``look``: its route has been asked for before its end."""
    app = FastAPI()

    @app.get("/users/{user_id}")
    async def user(user_id: int) -> int:
        return user_id

    scope: dict[str, Any] = {
        "type": "http",
        "http_version": "1.1",
        "method": "GET",
        "scheme": "https",
        "path": path,
        "query_string": b"a=b",
        "headers": [(b"host", b"shop.test"), (b"x-a", b"1"), (b"x-a", b"2")],
        "server": ("10.0.0.1", 80),
        "client": ("10.0.0.2", 50_000),
        "root_path": "",
        "state": {"heavy": Heavy()},
        "app": app,
    }
    request = RequestInProgress(app, scope)
    if look:
        request.route()
    return request, scope


def test_a_served_request_keeps_its_facts_and_its_name() -> None:
    """Also where no route matches."""
    for path, name in (("/users/7", "GET /users/{user_id}"), ("/nothing", "GET /nothing")):
        request, _ = served(path, look=True)
        before = request.facts(), request.name(), request.route()
        request.leave()
        assert (request.facts(), request.name(), request.route()) == before
        assert request.name().text == name


def test_a_served_request_holds_nothing_of_the_application() -> None:
    """What the application has put on its ASGI scope dies with the request, not with its transaction."""
    request, scope = served("/users/7", look=True)
    request.leave()
    assert not any(isinstance(value, dict) and "heavy" in value for value in request._scope.values())
    assert "state" not in request._scope
    assert "state" not in request.routed
    assert "state" in scope


def test_a_route_that_nobody_has_asked_for_is_still_found() -> None:
    """An error of a background task names it late."""
    request, _ = served("/users/7", look=False)
    request.leave()
    assert request.route() == "/users/{user_id}"


def test_a_request_that_we_fail_to_begin_keeps_its_user_to_itself(
    telemetry: Telemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The next one in the same context has neither its user nor its tags."""
    app = FastAPI()

    @app.get("/marked")
    async def mark() -> None:
        brain_otel.set_user_context("marked")
        sentry_sdk.set_tag("marked", "yes")
        sentry_sdk.get_current_scope().set_tag("marked too", "yes")
        brain_otel.capture_message("loud")

    @app.get("/later")
    async def later() -> None:
        brain_otel.capture_message("quiet")

    def fail(*_: object) -> None:
        raise RuntimeError("injected")

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
            with monkeypatch.context() as broken:
                broken.setattr(RequestInProgress, "__init__", fail)
                await client.get("/marked")
            await client.get("/later")

    guard.reraise_failures(False)
    asyncio.run(ask())
    assert {each["message"]: "marked" in str(each) for each in telemetry.events} == {"loud": True, "quiet": False}


def test_values_of_one_header_are_joined(telemetry: Telemetry) -> None:
    """Equal ones too."""
    app = FastAPI()

    @app.get("/")
    async def report() -> None:
        brain_otel.capture_message("seen")

    async def ask() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://shop") as client:
            await client.get("/", headers=[("x-tier", "a"), ("x-other", "b"), ("x-tier", "a"), ("x-tier", "c")])

    asyncio.run(ask())
    (event,) = telemetry.events
    headers = {name.lower(): value for name, value in event["request"]["headers"].items()}
    assert (headers["x-tier"], headers["x-other"]) == ("a, a, c", "b")
