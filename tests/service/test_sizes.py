"""What a service sends to Sentry is never too large for it, whatever a request does."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from sentry_relay.processing import StoreNormalizer

from tests.support import ROOT
from tests.support.ingest import Json, SentryIngest
from tests.support.process import Server, free_port, uvicorn_command
from tests.support.tiers import quick_first, quick_one_in

SENTRY_ACCEPTS = 1_000_000
"""Bytes of an event."""

FAILING = ("inserts", "lines", "breadcrumbs", "text", "context", "recursion", "group")
WELL = ("batches", "message", "attributes", "events")
ROUTES = (*FAILING, *WELL)


@pytest.fixture(scope="module", params=quick_first(["true", "false"]))
def items(request: pytest.FixtureRequest) -> Iterator[list[Any]]:
    """Return what arrives of a request to each route."""
    port = free_port()
    with SentryIngest() as ingest:
        env = {
            "SENTRY_DSN": ingest.dsn,
            "SENTRY_ENVIRONMENT": "production",
            "SENTRY_TRACES_SAMPLE_RATE": "1",
            "BRAIN_OTEL_FAST_PATHS": request.param,
        }
        with Server(uvicorn_command("tests.apps.large:app", port), port, env=env, pythonpath=[ROOT]) as server:
            for route in ROUTES:
                assert server.get(f"/{route}").status_code == (500 if route in FAILING else 200)
            ingest.wait_for(
                lambda ingest: (
                    {each.get("transaction") for each in ingest.transactions} >= {f"GET /{each}" for each in ROUTES}
                    and {each.get("transaction") for each in ingest.events}
                    >= {f"GET /{each}" for each in (*FAILING, "message")}
                )
            )
            yield ingest.items("event", "transaction")


def of(items: list[Any], kind: str, route: str) -> Any:
    return next(each for each in items if each.type == kind and each.json["transaction"] == f"GET /{route}")


@pytest.mark.parametrize("route", quick_one_in(4, [*FAILING, "message"]))
def test_an_error_arrives_whatever_came_before_it(items: list[Any], route: str) -> None:
    """Relay accepts it, and keeps its notes."""
    item = of(items, "event", route)
    assert len(item.payload) < SENTRY_ACCEPTS
    if route == "message":
        assert item.json["message"].startswith("word")
    else:
        assert item.json["exception"]["values"][-1]["type"]
    assert_noted(item.json)


@pytest.mark.parametrize("route", ROUTES)
def test_a_transaction_arrives_whatever_is_in_it(items: list[Any], route: str) -> None:
    """With all of its spans."""
    item = of(items, "transaction", route)
    assert len(item.payload) < SENTRY_ACCEPTS
    counts = {"batches": 1_000, "inserts": 100, "attributes": 60, "events": 1}
    assert len(item.json["spans"]) == pytest.approx(counts.get(route, 0), abs=3)
    if route not in ("lines", "message", "text", "recursion", "group"):
        assert_noted(item.json)


def assert_noted(event: Json) -> None:
    normalized = StoreNormalizer(project_id=42, enable_trimming=False).normalize_event(copy.deepcopy(event))
    assert not normalized.get("errors"), json.dumps(normalized["errors"])
    assert event["_meta"]
    assert normalized["_meta"]


def test_the_latest_breadcrumbs_are_there(items: list[Any]) -> None:
    """All of them, with shorter texts; `_meta` says how long they were."""
    for route in ("inserts", "lines"):
        event = of(items, "event", route).json
        assert len(event["breadcrumbs"]["values"]) == 100
        notes = event["_meta"]["breadcrumbs"]["values"]
        assert any(note["message"][""]["len"] > 5_000 for position, note in notes.items() if position)


def test_a_span_says_how_long_its_statement_was(items: list[Any]) -> None:
    notes = of(items, "transaction", "batches").json["_meta"]["spans"]
    assert any(
        note.get("description", {"": {"len": 0}})[""]["len"] > 500 for position, note in notes.items() if position
    )
