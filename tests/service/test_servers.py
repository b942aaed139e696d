"""Under every server, with `setup()` and with the launcher, each request and error arrives exactly once."""

import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from tests.instrumentation.process import sentry_environment
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import Server, free_port, gunicorn_command, uvicorn_command
from tests.support.tiers import quick_first

APP = "tests.apps.servers:app"

Command = Callable[[int, bool], list[str]]

SERVERS: dict[str, Command] = {
    "uvicorn": lambda port, launcher: uvicorn_command(APP, port, launcher=launcher),
    "uvicorn workers": lambda port, launcher: uvicorn_command(APP, port, workers=2, launcher=launcher),
    "gunicorn": lambda port, launcher: gunicorn_command(APP, port, workers=2, launcher=launcher),
    "gunicorn preload": lambda port, launcher: gunicorn_command(
        APP, port, workers=2, preload=True, launcher=launcher
    ),
}

DOORS = ("setup", "launcher")

NUMBERS = range(20)
"""Numbers of the requests: one succeeds and one fails for each. Enough for both of two workers."""

POLLED = "items/999"

LAST = range(20, 24)
"""Numbers of the requests just before the end, when Sentry is slow."""

SLOWLY = 0.1
"""Seconds that a slow Sentry takes to answer: more than one second in total for `LAST`."""


def door_environment(ingest: SentryIngest, door: str) -> dict[str, str]:
    return sentry_environment(ingest, {"SETUP": "module" if door == "setup" else ""})


def send_requests(server: Server, numbers: range = NUMBERS) -> None:
    """Send two requests for each number, one that succeeds and one that fails, over new connections."""
    for number in numbers:
        assert server.get(f"/items/{number}").text.endswith(f' {number}"')
        assert server.get(f"/boom/{number}").status_code == 500


def assert_everything_arrived_once(ingest: SentryIngest, numbers: range = NUMBERS, polls: int = 0) -> None:
    """Compare the arrived data with the requests. The server must have ended."""
    transactions, events = once(ingest.transactions), once(ingest.events)
    expected = [f"{path}/{number}" for path in ("items", "boom") for number in numbers] + [POLLED] * polls
    assert Counter(map(path_of, transactions)) == Counter(expected), ingest.describe()
    names = Counter(each["transaction"] for each in transactions)
    assert names == {"GET /items/{item_id}": len(numbers) + polls, "GET /boom/{item_id}": len(numbers)}
    errors = Counter(each["exception"]["values"][-1]["value"] for each in events)
    assert errors == {f"boom {number}": 1 for number in numbers}
    failed = {trace_of(each) for each in transactions if path_of(each).startswith("boom/")}
    assert {trace_of(each) for each in events} == failed
    assert ingest.rejected == []


def once(sent: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what Sentry keeps: it drops a second arrival by its id.

    At its end gunicorn closes the descriptor of its listener a second time. If it belongs to a connection of ours by
    then, the record whose answer is lost is sent again.
    """
    return list({each["event_id"]: each for each in sent}.values())


def path_of(event: dict[str, Any]) -> str:
    return urlsplit(str(event["request"]["url"])).path[1:]


def trace_of(event: dict[str, Any]) -> str:
    return str(event["contexts"]["trace"]["trace_id"])


CASES = [*zip(SERVERS, DOORS * 2, strict=True), *zip(SERVERS, DOORS[::-1] * 2, strict=True)]
"""Every server with one door, then every server with the other."""


@pytest.mark.parametrize(("name", "door"), quick_first(CASES, len(SERVERS)))
def test_every_request_arrives_once_including_the_last_ones(ingest: SentryIngest, name: str, door: str) -> None:
    """Requests just before SIGTERM arrive, and the server ends in time."""
    port = free_port()
    command = SERVERS[name](port, door == "launcher")
    with Server(command, port, env=door_environment(ingest, door), cwd=ROOT, pythonpath=[ROOT]) as server:
        send_requests(server)
        ingest.delay = SLOWLY
        send_requests(server, LAST)
        server.terminate(timeout=5.0)
        assert_everything_arrived_once(ingest, range(LAST.stop))


@pytest.mark.parametrize(
    "options", quick_first([["--lifespan", "off"], ["--loop", "asyncio", "--http", "h11"]]), ids=" ".join
)
def test_uvicorns_options_change_nothing(ingest: SentryIngest, options: list[str]) -> None:
    """Nothing is lost without a lifespan, which announces the server's end."""
    port = free_port()
    command = [*uvicorn_command(APP, port), *options]
    with Server(command, port, env=door_environment(ingest, "setup"), cwd=ROOT, pythonpath=[ROOT]) as server:
        ingest.delay = SLOWLY
        send_requests(server, range(5))
        server.terminate(timeout=5.0)
        assert_everything_arrived_once(ingest, range(5))


def answers_until(server: Server, path: str, text: str, changed: Path, timeout: float = 30.0) -> int:
    """Repeat the request until the answer is `text`; return the number of answers."""
    answers = 0
    deadline = time.monotonic() + timeout
    touch_at = time.monotonic() + 8.0  # the watcher may have started after the change
    while time.monotonic() < deadline:
        if time.monotonic() > touch_at:
            changed.touch()
            touch_at = deadline
        try:
            answer = server.get(path).text
        except httpx.TransportError:
            time.sleep(0.05)  # between the old process and the new one
            continue
        answers += 1
        if answer == text:
            return answers
    raise AssertionError(f"{path} never answered {text!r}:\n{server.output}")


@pytest.mark.parametrize("door", quick_first(DOORS))
def test_a_reloaded_app_is_traced_like_the_first(ingest: SentryIngest, tmp_path: Path, door: str) -> None:
    """After an edit, each request is still traced once, and the old process loses nothing."""
    source = (ROOT / "tests" / "apps" / "servers.py").read_text()
    file = tmp_path / "edited.py"
    file.write_text(source)
    port = free_port()
    command = uvicorn_command("edited:app", port, reload=True, launcher=door == "launcher")
    with Server(
        command, port, env=door_environment(ingest, door), cwd=tmp_path, pythonpath=[tmp_path, ROOT]
    ) as server:
        send_requests(server, range(5))
        file.write_text(source.replace('VERSION = "before"', 'VERSION = "after"'))
        answers = answers_until(server, f"/{POLLED}", '"after 999"', file)
        send_requests(server, range(5, 10))
        server.terminate(timeout=5.0)
        assert_everything_arrived_once(ingest, range(10), polls=answers)


def test_setup_in_the_lifespan_warns_and_traces_every_request(ingest: SentryIngest) -> None:
    """The app has already built its middleware: a warning says so, and its requests are traced nevertheless."""
    port = free_port()
    env = sentry_environment(ingest, {"SETUP": "lifespan"})
    with Server(uvicorn_command(APP, port), port, env=env, cwd=ROOT, pythonpath=[ROOT]) as server:
        send_requests(server)
        ingest.wait_for(lambda it: len(it.transactions) == 2 * len(NUMBERS) and len(it.events) == len(NUMBERS))
        server.terminate(timeout=5.0)
        assert server.output.count("had built its middleware before brain_otel.setup()") == 1
        assert_everything_arrived_once(ingest)
