"""The fast paths of HTTPX, Redis and SQLAlchemy create the spans that are created without them."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from tests.instrumentation.target import HttpTarget
from tests.support import ROOT
from tests.support.process import run_python
from tests.support.services import Postgres, Valkey

Json = dict[str, Any]
Trace = Callable[..., Json]

REDIS = ("set", "get", "bytes", "number", "lower case", "many", "error reply", "search", "create", "none", "pipeline")
SQL = ("select", "lower case", "leading comment", "padded", "failing", "long", "many", "raw", "comment only")

OF_TWO_SET_UPS = {
    "SQLAlchemy is instrumented already; remove SQLAlchemyInstrumentor to let brain_otel do it",
    "HTTPX is instrumented already; remove HTTPXClientInstrumentor to let brain_otel do it",
    "Attempting to uninstrument while already uninstrumented",
}
"""The program instruments an engine and a client itself too, and removes what contrib has never added."""


@pytest.fixture(scope="module")
def trace(valkey: Valkey, postgres: Postgres, target: HttpTarget) -> Trace:
    """Run the program one way or the other, with further variables."""

    def run(way: str, extra: Mapping[str, str] | None = None) -> Json:
        env = {
            "WAY": way,
            "VALKEY": valkey.url,
            "POSTGRES": postgres.url,
            "TARGET": target.url,
            "OTEL_SEMCONV_STABILITY_OPT_IN": "http,database",
            "PYTHONWARNINGS": "error",
            **(extra or {}),
        }
        done = run_python(ROOT / "tests/apps/client_spans.py", env, pythonpath=[ROOT])
        assert done.returncode == 0, done.stderr
        assert set(done.stderr.splitlines()) <= OF_TWO_SET_UPS
        found: Json = json.loads(done.stdout)
        return found

    return run


def unequal(contribs: Json, ours: Json) -> str:
    """Tell what differs."""
    names = contribs["spans"].keys() | ours["spans"].keys()
    return "\n".join(
        f"{name}:\n  contrib's {contribs['spans'].get(name)}\n  ours      {ours['spans'].get(name)}"
        for name in sorted(names)
        if contribs["spans"].get(name) != ours["spans"].get(name)
    )


@pytest.fixture(scope="module")
def both(trace: Trace) -> tuple[Json, Json]:
    """Give what contrib alone makes of everything, and what we make of it."""
    return trace("contrib"), trace("fast")


def test_every_call_makes_the_spans_that_it_makes_without_fast_paths(both: tuple[Json, Json]) -> None:
    """Spans have the same names, kinds, attributes, statuses, events and parents, in sync and async clients."""
    contribs, ours = both
    assert unequal(contribs, ours) == ""
    assert contribs["seen"] == ours["seen"]
    names = [f"{client} {name}" for client in ("redis", "async redis") for name in REDIS]
    names += [f"{driver} {name}" for driver in ("sqlite", "psycopg", "aiosqlite", "asyncpg") for name in SQL]
    assert [len(ours["spans"][name]) for name in ("redis of another address", "psycopg without a host")] == [2, 2]
    for name in names:
        assert [span["kind"] for span in ours["spans"][name]] == ["CLIENT"], name


@pytest.mark.parametrize("name", ["async httpx cancelled", "async redis cancelled"])
def test_the_span_of_a_cancelled_call_ends_without_an_error(both: tuple[Json, Json], name: str) -> None:
    """The caller cancelled it on purpose."""
    (span,) = both[1]["spans"][name]
    assert both[1]["seen"][name] == "CancelledError"
    assert (span["status"], span["events"]) == (["UNSET", None], [])


def test_the_span_of_a_failed_call_has_the_error_type(both: tuple[Json, Json]) -> None:
    """As an attribute or as an event."""
    spans = both[1]["spans"]
    for name in ("httpx refused", "httpx time-out", "httpx unknown scheme", "async httpx refused"):
        assert spans[name][0]["attributes"]["error.type"] == f"httpx.{both[1]['seen'][name]}"
    for name in ("redis error reply", "redis refused", "redis unix socket", "async redis error reply"):
        assert spans[name][0]["events"][0][1]["exception.type"] == f"redis.exceptions.{both[1]['seen'][name]}"


def test_contrib_records_metrics_with_a_clients_own_meter_provider(both: tuple[Json, Json]) -> None:
    """The process has no meter provider, but the application gives one to its client."""
    assert both[1]["seen"]["measured"] == ["http.client.request.duration"]


def test_contrib_adds_sqlcommenter_comments(both: tuple[Json, Json]) -> None:
    """The application traces the engine with sqlcommenter."""
    commented = both[1]["seen"]["commented"]
    assert len(commented) == 2
    assert all("db_driver='pysqlite'" in statement for statement in commented)
    text = [both[1]["spans"][f"commenter {each}"][0]["attributes"]["db.query.text"] for each in (False, True)]
    assert ["db_driver" in each for each in text] == [False, True]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_PYTHON_HTTPX_EXCLUDED_URLS", "status/404,redirect"),
        ("OTEL_INSTRUMENTATION_HTTP_CAPTURE_HEADERS_CLIENT_RESPONSE", "content-.*"),
    ],
)
def test_contribs_environment_variables_have_effect(trace: Trace, name: str, value: str) -> None:
    """Excluded URLs, and captured headers."""
    contribs, ours = (trace(way, {name: value, "ONLY_HTTPX": "yes"}) for way in ("contrib", "fast"))
    assert unequal(contribs, ours) == ""
    spans = ours["spans"]
    if "EXCLUDED" in name:
        assert [len(spans[f"httpx {case}"]) for case in ("200", "404", "redirect")] == [1, 0, 1]
    else:
        assert spans["httpx 200"][0]["attributes"]["http.response.header.content_length"] == ["5"]
