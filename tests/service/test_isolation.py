"""User, tags, contexts and breadcrumbs belong to exactly one request, task or transaction."""

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import Server, free_port, run_python, uvicorn_command
from tests.support.relay import assert_accepted
from tests.support.tiers import quick_first

ENVIRONMENT = {
    "SENTRY_ENVIRONMENT": "test",
    "SENTRY_TRACES_SAMPLE_RATE": "1",
    "SENTRY_PROFILES_SAMPLE_RATE": "0",
}
MARKER = re.compile(r"marker-[a-z]+-\d{4}")


@pytest.fixture(scope="module")
def sentry() -> Iterator[SentryIngest]:
    with SentryIngest() as running:
        yield running


@pytest.fixture(scope="module")
def server(sentry: SentryIngest) -> Iterator[Server]:
    port = free_port()
    env = {**ENVIRONMENT, "SENTRY_DSN": sentry.dsn}
    command = uvicorn_command("tests.apps.isolation:app", port)
    with Server(command, port, env=env, pythonpath=[ROOT], ready_path="/ready") as running:
        yield running


@pytest.fixture(autouse=True)
def _clear(request: pytest.FixtureRequest) -> None:
    if "server" in request.fixturenames:
        sentry: SentryIngest = request.getfixturevalue("sentry")
        sentry.settle()
        sentry.clear()


async def call_all(url: str, paths: list[str], connections: int = 100) -> dict[str, int]:
    """Request all paths over this many connections at once, and return the statuses.

    Each connection has its own client: httpx needs quadratic time to choose a connection of a large pool.
    uvicorn closes the connection after an unhandled exception without announcing it in the response, so a client
    must not reuse it.
    """
    waiting = iter(paths)
    statuses = {}

    async def call_one_by_one() -> None:
        async with httpx.AsyncClient(base_url=url, timeout=60, trust_env=False, verify=False) as client:
            for path in waiting:
                response = await client.get(path, headers=closing(path))
                statuses[path] = response.status_code

    await asyncio.gather(*(call_one_by_one() for _ in range(connections)))
    return statuses


def closing(path: str) -> dict[str, str]:
    return {"Connection": "close"} if "fail" in path else {}


def said(sent: dict[str, Any]) -> dict[str, Any]:
    """Return the data in an event or transaction that its request set."""
    crumbs = [crumb["message"] for crumb in sent.get("breadcrumbs", {}).get("values", [])]
    return {
        "user": sent.get("user", {}).get("id"),
        "tag": (sent.get("tags") or {}).get("marker"),
        "context": sent["contexts"].get("order"),
        "breadcrumbs": sorted(crumbs),
    }


def all_of(marker: str, *crumbs: str) -> dict[str, Any]:
    return {
        "user": marker,
        "tag": marker,
        "context": {"marker": marker},
        "breadcrumbs": [f"{crumb} {marker}" for crumb in crumbs],
    }


NOTHING: dict[str, Any] = {"user": None, "tag": None, "context": None, "breadcrumbs": []}


def texts(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text in the value, with its path."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from texts(key, f"{path}.{key}")
            yield from texts(inner, f"{path}.{key}")
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            yield from texts(inner, f"{path}[{index}]")
    else:
        yield path, str(value)


def by_marker(sent: list[dict[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return each request's event or transaction by its URL; fail if one mentions another request."""
    found = {}
    for each in sent:
        (marker,) = MARKER.findall(each["request"]["url"])
        assert [path for path, text in texts(each) if set(MARKER.findall(text)) - {marker}] == []
        assert marker not in found
        found[marker] = each
    return found


@pytest.mark.parametrize("requests", quick_first([150, 500]))
@pytest.mark.parametrize("kind", quick_first(["sync", "async"]))
def test_concurrent_requests_keep_their_data_apart(
    kind: str, requests: int, server: Server, sentry: SentryIngest
) -> None:
    """Each event and transaction of many concurrent requests carries all its own data and no other's."""
    markers = [f"marker-{kind}-{number:04}" for number in range(requests)]
    failing = set(markers[::10])
    paths = [f"/{kind}/{marker}" + ("?fail=true" if marker in failing else "") for marker in markers]
    statuses = asyncio.run(call_all(server.url, paths))
    assert statuses == {path: 500 if "fail" in path else 200 for path in paths}
    sentry.wait_for(
        lambda ingest: len(ingest.items("transaction")) >= requests and len(ingest.items("event")) >= len(failing)
    )
    events, transactions = by_marker(sentry.events), by_marker(sentry.transactions)
    assert events.keys() == failing
    assert transactions.keys() == set(markers)
    # A log line is a breadcrumb of errors only: sentry-sdk adds none to transactions.
    for marker in failing:
        assert said(events[marker]) == all_of(marker, "task", "thread")
    for marker in markers:
        assert said(transactions[marker]) == all_of(marker, "task")
    for transaction in list(transactions.values())[:20]:
        assert_accepted(transaction)


def test_an_error_of_a_sync_endpoint_has_no_variables_of_its_worker(server: Server, sentry: SentryIngest) -> None:
    """The thread may already serve the next request. The error has the endpoint's own variables."""
    assert server.get("/sync/marker-variables-0000?fail=true").status_code == 500
    sentry.wait_for(lambda ingest: len(ingest.events) == 1)
    frames = sentry.events[0]["exception"]["values"][-1]["stacktrace"]["frames"]
    (worker,) = [each for each in frames if (each["module"], each["function"]) == ("anyio._backends._asyncio", "run")]
    assert "vars" not in worker
    assert frames[-1]["vars"]["marker"] == "'marker-variables-0000'"


def test_the_next_request_of_a_connection_starts_empty(server: Server, sentry: SentryIngest) -> None:
    """A request on a kept-alive connection carries no data of the previous one."""
    with httpx.Client(base_url=server.url, trust_env=False, verify=False) as client:
        for path in ("/async/marker-first-0000", "/sync/marker-first-0001", "/silent/second"):
            stream = client.get(path).extensions["network_stream"]
            streams = {stream.get_extra_info("client_addr")}
        assert len(streams) == 1
    sentry.wait_for(lambda ingest: len(ingest.transactions) == 3 and len(ingest.events) == 1)
    (event,) = sentry.events
    (transaction,) = [each for each in sentry.transactions if each["transaction"] == "GET /silent/{name}"]
    for sent in (event, transaction):
        assert said(sent) == NOTHING
        assert not MARKER.search(json.dumps(sent))


def test_a_background_task_has_its_requests_data(server: Server, sentry: SentryIngest) -> None:
    """An exception of a background task carries the user and tag of its request."""
    assert server.get("/background/marker-background-0000").status_code == 200
    sentry.wait_for(lambda ingest: len(ingest.transactions) == 1 and len(ingest.events) == 1)
    for sent in (*sentry.events, *sentry.transactions):
        assert said(sent)["user"] == said(sent)["tag"] == "marker-background-0000"


def test_a_transaction_in_a_request_shares_its_data(server: Server, sentry: SentryIngest) -> None:
    """It has the request's user, and its tags become the request's; its own data stays its own."""
    marker = "marker-transaction-0000"
    assert server.get(f"/transaction/{marker}").status_code == 200
    sentry.wait_for(lambda ingest: len(ingest.transactions) == 2 and len(ingest.events) == 2)
    for sent in (*sentry.events, *sentry.transactions):
        assert said(sent)["user"] == said(sent)["tag"] == marker
    inside = {event["message"]: "inner" in event["tags"] for event in sentry.events}
    assert inside == {"inside": True, "after": False}
    tagged = {each["transaction"]: "inner" in each["tags"] for each in sentry.transactions}
    assert tagged == {"inner": True, "GET /transaction/{marker}": False}


WORKER = """
import brain_otel
brain_otel.setup()

for job in range(3):
    with brain_otel.start_transaction("job", op="task.run") as transaction:
        if job == 1:
            brain_otel.set_user_context(user_id="marker-job-0001")
            brain_otel.set_tag("marker", "marker-job-0001")
            brain_otel.set_context("order", {"marker": "marker-job-0001"})
            brain_otel.add_breadcrumb("task marker-job-0001")
            transaction.set_tag("own", "own")
        brain_otel.capture_message(f"job {job}")
"""


def test_transactions_of_a_worker_keep_their_data_apart(ingest: SentryIngest) -> None:
    """In a loop outside of requests, each transaction and event carries only its own data."""
    done = run_python(WORKER, {**ENVIRONMENT, "SENTRY_DSN": ingest.dsn}, pythonpath=[ROOT])
    assert (done.returncode, done.stderr) == (0, "")
    events = sorted(ingest.events, key=lambda event: str(event["message"]))
    transactions = sorted(ingest.transactions, key=lambda each: float(each["start_timestamp"]))
    assert [each["transaction"] for each in transactions] == ["job"] * 3
    for sent in (events, transactions):
        assert [said(each) for each in sent] == [NOTHING, all_of("marker-job-0001", "task"), NOTHING]
        assert ["own" in (each.get("tags") or {}) for each in sent] == [False, True, False]
    for event, transaction in zip(events, transactions, strict=True):
        assert event["contexts"]["trace"]["trace_id"] == transaction["contexts"]["trace"]["trace_id"]
    assert len({each["contexts"]["trace"]["trace_id"] for each in transactions}) == 3
