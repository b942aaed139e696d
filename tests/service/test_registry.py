"""All that a service emits is in OpenTelemetry's registry or below our prefix, and Sentry knows what it gets."""

import json
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.instrumentation.target import start_target
from tests.support import ROOT
from tests.support.ingest import SentryIngest
from tests.support.process import run_python
from tests.support.semantic_conventions import (
    EVENTS,
    INTEGERS,
    LISTS,
    OPEN_ENUMS,
    OPT_IN,
    REQUIRED,
    attributes,
    metrics,
)
from tests.support.services import Postgres, Valkey
from tests.support.tiers import quick_first, thorough

Json = dict[str, Any]

MODES: dict[str, dict[str, str]] = {
    "http,database": {"OTEL_SEMCONV_STABILITY_OPT_IN": "http,database"},
    "http/dup,database/dup": {"OTEL_SEMCONV_STABILITY_OPT_IN": "http/dup,database/dup"},
    "native": {"NATIVE": "yes"},
    "without fast paths": {"BRAIN_OTEL_FAST_PATHS": "false"},
}

OURS = "brain_otel."

APPLICATION = "shop."
"""The prefix of what the application of the test names itself."""

EXCEPTIONS = {
    "client.port": "contrib sets it although it is opt-in; without `send_default_pii` no destination gets it",
    "user_agent.synthetic.type": "contrib sets it although it is opt-in; it tells crawlers from people",
    "handled": "of our own metric `brain_otel.errors`, where it cannot collide; people write it in alerts",
    "fastapi.validation.failed": "FastAPI's own event, in its own namespace",
    "fastapi.validation.error_count": "FastAPI's own attribute, in its own namespace",
}
"""What is emitted although the registry does not want it, with the reason."""

OLD_METRICS = {
    "http.server.duration": ("Histogram", "ms"),
    "http.server.request.size": ("Histogram", "By"),
    "http.server.response.size": ("Histogram", "By"),
    "http.client.duration": ("Histogram", "ms"),
}
"""Metrics of the old conventions, which the package has no function for; the mode `dup` has them."""


SENTRYS_OPS = frozenset(
    {"http.server", "http.client", "websocket", "db", "db.query", "db.redis", "cache.get", "cache.put", "function"}
    | {"queue.publish", "queue.process", "queue.task", "cache.remove"}
)
"""Ops of Sentry's conventions that the service has: https://getsentry.github.io/sentry-conventions/ops/."""

SENTRYS_KEYS: dict[str, type] = {
    **dict.fromkeys(("cache.hit",), bool),
    **dict.fromkeys(("cache.key",), list),
    **dict.fromkeys(("cache.item_size", "client.port", "db.operation.batch.size", "http.response.status_code"), int),
    **dict.fromkeys(("network.peer.port", "server.port"), int),
    **dict.fromkeys(("client.address", "db.namespace", "db.operation.name", "db.query.text", "db.system.name"), str),
    **dict.fromkeys(("db.response.status_code", "error.type", "http.request.method", "http.route"), str),
    **dict.fromkeys(("network.peer.address", "network.protocol.name", "network.protocol.version"), str),
    **dict.fromkeys(("network.transport", "otel.status_description", "sentry.kind", "server.address"), str),
    **dict.fromkeys(("thread.name", "url.full", "url.path", "url.query", "url.scheme", "user.email"), str),
    **dict.fromkeys(("user.full_name", "user.id", "user.name", "user_agent.original"), str),
    **dict.fromkeys(("messaging.system", "messaging.destination.name", "messaging.message.id"), str),
    **dict.fromkeys(("messaging.operation.name", "messaging.operation.type"), str),
    **dict.fromkeys(("code.file.path", "code.function.name"), str),
    "code.line.number": int,
    "messaging.message.retry.count": int,
    "messaging.message.receive.latency": float,
}
"""Data keys of Sentry's conventions that the service has: https://getsentry.github.io/sentry-conventions/attributes/."""

SENTRYS_EXCEPTIONS = {
    "task.nightly": "the op that the application has chosen",
    "db.system": "older than `db.system.name`; sentry-sdk sends it, and self-hosted versions read it alone",
    "db.name": "older than `db.namespace`; as `db.system`",
    "db.operation": "older than `db.operation.name`; as `db.system`",
    **{
        old: f"older than `{new}`; sentry-sdk sends it, and Sentry's view of queries reads it"
        for old, new in (("code.filepath", "code.file.path"), ("code.lineno", "code.line.number"))
    },
    **dict.fromkeys(
        ("code.function", "code.namespace"),
        "older than `code.function.name`; sentry-sdk sends it, and Sentry's view of queries reads it",
    ),
    "http.request.method_original": "OpenTelemetry's; Sentry has no name for it",
    "user_agent.synthetic.type": "OpenTelemetry's; Sentry has no name for it",
    "otel.events": "the span's events, which Sentry's protocol has no place for",
    "thread.id": "text, as sentry-sdk sends it",
}
"""What Sentry gets although its conventions do not have it, with the reason; the mode `dup` has the old names too."""


@pytest.fixture(scope="module")
def emitted(
    postgres: Postgres, valkey: Valkey, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[[str], Json]]:
    """Run the service in a mode, once."""
    folder: Path = tmp_path_factory.mktemp("judged")
    with start_target() as target, SentryIngest() as ingest:

        @cache
        def run(mode: str) -> Json:
            before = len(ingest.transactions)
            addresses = {
                "SENTRY_DSN": ingest.dsn,
                "POSTGRES": postgres.url,
                "REDIS": valkey.url,
                "TARGET": target.url,
            }
            env = {**addresses, "SQLITE": str(folder / f"{len(list(folder.iterdir()))}.db"), **MODES[mode]}
            done = run_python(ROOT / "tests/apps/judged.py", env, pythonpath=[ROOT])
            assert done.returncode == 0, done.stderr
            assert ingest.rejected == []
            found: Json = json.loads(done.stdout)
            return {**found, "transactions": ingest.transactions[before:]}

        yield run


def faults_of(given: Json, place: str, *, may_be_old: bool) -> Iterator[str]:
    """What is wrong with the attributes ``given``."""
    for name, value in given.items():
        if name.startswith((OURS, APPLICATION)) or name in EXCEPTIONS:
            continue
        known = attributes().get(name)
        kind = int if name in INTEGERS else list if name in LISTS else str
        if known is None:
            yield f"{place}: {name} is not in the registry"
        elif name in OPT_IN:
            yield f"{place}: {name} is opt-in"
        elif known.is_deprecated and not may_be_old:
            yield f"{place}: {name} is deprecated"
        elif type(value) is not kind:
            yield f"{place}: {name} is {value!r}, not of type {kind.__name__}"
        elif known.values is not None and name not in OPEN_ENUMS and str(value) not in known.values:
            yield f"{place}: {name} is {value!r}, none of {sorted(known.values)}"


def kind_of(span: Json) -> str | None:
    """The group of the conventions that a span belongs to."""
    found, kind = span["attributes"], span["kind"]
    if "http.request.method" in found:
        return f"http {kind.lower()}"
    if "messaging.system" in found:
        return "messaging"
    system = found.get("db.system.name")
    return None if system is None else "redis" if system == "redis" else "sql"


def span_faults(span: Json, *, may_be_old: bool, is_native: bool) -> Iterator[str]:
    place, found = f"{span['kind']} {span['name']}", span["attributes"]
    yield from faults_of(found, place, may_be_old=may_be_old)
    kind = kind_of(span)
    missing = REQUIRED.get(kind or "", set()) - found.keys()
    if missing:
        yield f"{place}: has no {sorted(missing)}"
    if span["status"] == "ERROR" and "error.type" not in found:
        yield f"{place}: has failed without error.type"
    if kind == "http server" and not is_native:
        method = found["http.request.method"].replace("_OTHER", "HTTP")
        if span["name"] != f"{method} {found.get('http.route', '')}".strip():
            yield f"{place}: is not named by its method and route"
    if kind in ("sql", "redis") and not span["name"].startswith(found["db.operation.name"] + " "):
        yield f"{place}: is not named by its operation and target"
    for event in span["events"]:
        yield from event_faults(event, place, may_be_old=may_be_old)
    if not all(span["scope"]):
        yield f"{place}: its scope {span['scope']} has no version or schema"


def event_faults(event: Json, place: str, *, may_be_old: bool) -> Iterator[str]:
    name = event["name"]
    place = f"{place}, {name}"
    yield from faults_of(event["attributes"], place, may_be_old=may_be_old)
    if name is not None and not name.startswith(OURS) and name not in EXCEPTIONS:
        if name not in EVENTS:
            yield f"{place}: is not in the registry"
        elif missing := EVENTS[name] - event["attributes"].keys():
            yield f"{place}: has no {sorted(missing)}"


def metric_faults(point: Json, *, may_be_old: bool) -> Iterator[str]:
    name = point["name"]
    yield from faults_of(point["attributes"], f"metric {name}", may_be_old=may_be_old)
    if not all(point["scope"]):
        yield f"metric {name}: its scope {point['scope']} has no version or schema"
    known = metrics().get(name) or (OLD_METRICS.get(name) if may_be_old else None)
    if known is None and not name.startswith(OURS):
        yield f"metric {name}: is not in the registry"
    elif known is not None and tuple(known) != (point["kind"], point["unit"]):
        yield f"metric {name}: is a {point['kind']} in {point['unit']!r}, not {tuple(known)}"


@pytest.mark.parametrize("mode", quick_first(tuple(MODES)))
def test_everything_is_in_the_registry(emitted: Callable[[str], Json], mode: str) -> None:
    """Spans, events, metrics, log records, the resource and the scopes."""
    found, may_be_old = emitted(mode), "dup" in mode
    faults = [*faults_of(found["resource"], "resource", may_be_old=may_be_old)]
    for span in found["spans"]:
        faults += span_faults(span, may_be_old=may_be_old, is_native=mode == "native")
    for record in found["logs"]:
        faults += event_faults(record, "log record", may_be_old=may_be_old)
    for point in found["metrics"]:
        faults += metric_faults(point, may_be_old=may_be_old)
    assert "\n".join(dict.fromkeys(faults)) == ""
    assert {kind_of(span) for span in found["spans"]} >= REQUIRED.keys() - {"rpc client"}  # the service has none


@thorough
def test_each_exception_is_needed(emitted: Callable[[str], Json]) -> None:
    """An exception for what nobody emits would hide a fault some day."""
    text = json.dumps([emitted("http,database"), emitted("native")])
    assert [name for name in EXCEPTIONS if f'"{name}"' not in text] == []


@pytest.mark.parametrize("mode", quick_first(("http,database", "http/dup,database/dup", "without fast paths")))
def test_spans_and_metrics_have_the_whole_route(emitted: Callable[[str], Json], mode: str) -> None:
    """Through mounted apps, plain routers, hosts and a middleware that rewrites the path."""
    found = emitted(mode)
    routes = {
        "/items/1": "/items/{item_id}",
        "/sub/3/items/2": "/sub/{shelf}/items/{item_id}",
        "/plain/items/3": "/plain/items/{item_id}",
        "/old/4": "/items/{item_id}",
        "/items/5": "/items/{item_id}",
        "/nowhere": None,
        "/rooms/blue": "/rooms/{room}",
        "/sub/3/rooms/red": "/sub/{shelf}/rooms/{room}",
    }
    spans = {span["attributes"]["url.path"]: span for span in found["spans"] if span["kind"] == "SERVER"}
    assert {path: spans[path]["attributes"].get("http.route") for path in routes} == routes
    names = ("http.server.request.duration", "http.server.response.body.size")
    for name in names:
        measured = {point["attributes"].get("http.route") for point in found["metrics"] if point["name"] == name}
        assert measured >= {route for path, route in routes.items() if "rooms" not in path} - {None}
        assert not any("/old" in str(route) or route in ("/sub/{shelf}", "/plain") for route in measured)
    if "dup" in mode:
        old = {p["attributes"].get("http.target") for p in found["metrics"] if p["name"] == "http.server.duration"}
        assert "/sub/{shelf}/items/{item_id}" in old


@pytest.mark.parametrize("mode", quick_first(("http,database", "http/dup,database/dup", "without fast paths")))
def test_a_websocket_is_described_by_its_handshake(emitted: Callable[[str], Json], mode: str) -> None:
    """Its method, its path, its route, and the status with which it was answered."""
    sockets = {
        (span["attributes"]["url.path"], span["attributes"].get("http.response.status_code")): span
        for span in emitted(mode)["spans"]
        if span["attributes"].get("url.scheme") == "ws"
    }
    assert {key: span["name"] for key, span in sockets.items()} == {
        ("/rooms/blue", 101): "GET /rooms/{room}",
        ("/sub/3/rooms/red", 101): "GET /sub/{shelf}/rooms/{room}",
        ("/refusing", 403): "GET /refusing",
        ("/nowhere", 403): "GET",
        ("/failing", 101): "GET /failing",
    }
    assert {span["attributes"]["http.request.method"] for span in sockets.values()} == {"GET"}
    failed = {key[0]: span["attributes"]["error.type"] for key, span in sockets.items() if span["status"] == "ERROR"}
    assert failed == {"/failing": "LookupError"}


@pytest.mark.parametrize("mode", quick_first(tuple(MODES)))
def test_calls_to_databases_are_described(emitted: Callable[[str], Json], mode: str) -> None:
    """Operation, size of a batch, class and code of a failure, on the span and on the metric."""
    found = emitted(mode)
    redis = [span for span in found["spans"] if span["attributes"].get("db.system.name") == "redis"]
    server = next(f"{s['attributes']['server.address']}:{s['attributes']['server.port']}" for s in redis)
    described = [
        (span["name"].replace(server, "server"), span["attributes"].get("db.operation.batch.size")) for span in redis
    ]
    assert described == [
        ("SET server", None),
        ("GET server", None),
        ("LPUSH server", None),
        ("BREW server", None),
        ("GET server", None),
        ("DEL server", None),
        ("MULTI SET server", 2),
        ("PIPELINE server", 2),
        ("GET server", None),
        ("PING localhost:1", None),
    ]
    codes = ("WRONGTYPE", "ERR", "SQLITE_CONSTRAINT_UNIQUE", "SQLITE_ERROR", "23505", "42P01")
    for signal in ("spans", "metrics"):
        failed = [each["attributes"] for each in found[signal] if "db.response.status_code" in each["attributes"]]
        assert {each["db.response.status_code"] for each in failed} == set(codes)
        assert all("." in each["error.type"] for each in failed)
    batches = [
        (span["name"].partition(" /")[0], span["attributes"]["db.operation.name"])
        for span in found["spans"]
        if span["attributes"].get("db.operation.batch.size") == 2 and kind_of(span) == "sql"
    ]
    assert batches == [("BATCH INSERT", "BATCH INSERT"), ("BATCH INSERT postgres", "BATCH INSERT")]


@pytest.mark.parametrize("mode", quick_first(tuple(MODES)))
def test_connections_are_counted(emitted: Callable[[str], Json], mode: str) -> None:
    """After 25 checkouts of each of two pools, one connection of each is idle, and none in use."""
    counts = {
        (
            point["attributes"]["db.client.connection.pool.name"].partition(":")[0],
            point["attributes"]["db.client.connection.state"],
        ): point["value"]
        for point in emitted(mode)["metrics"]
        if point["name"] == "db.client.connection.count"
    }
    engines = ("sqlite", "postgresql+psycopg")
    assert counts == {(engine, state): int(state == "idle") for engine in engines for state in ("idle", "used")}


def test_the_helpers_spans_have_the_kind_of_their_operation(emitted: Callable[[str], Json]) -> None:
    """A call is a CLIENT, what is sent to a queue a PRODUCER, and what comes from it a CONSUMER."""
    kinds = {
        span["attributes"]["brain_otel.op"]: span["kind"]
        for span in emitted("http,database")["spans"]
        if "brain_otel.op" in span["attributes"]
    }
    assert kinds == {
        "http.client": "CLIENT",
        "queue.publish": "PRODUCER",
        "db.query": "CLIENT",
        "task.nightly": "INTERNAL",
        "queue.process": "CONSUMER",
        "queue.task": "CONSUMER",
    }


def test_records_of_exceptions_are_events(emitted: Callable[[str], Json]) -> None:
    """A request's failure and a handled exception; a line of the standard library's logging is a line."""
    records = [
        (record["name"], record["attributes"]["exception.message"])
        for record in emitted("http,database")["logs"]
        if "exception.message" in record["attributes"]
    ]
    assert records == [
        ("http.server.request.exception", "no such item"),
        ("http.server.request.exception", "503: Service Unavailable"),
        ("exception", "wrong"),
        (None, "wrong"),
        ("http.server.request.exception", "no such room"),
        ("exception", "no such parcel"),
        (None, "no such parcel"),
    ]


def test_values_that_others_read_are_what_they_say(emitted: Callable[[str], Json]) -> None:
    """Nested values are JSON, uvicorn's coloured message stays out, and the resource names this distribution."""
    found = emitted("http,database")
    (user,) = {span["attributes"].get("shop.parcel") for span in found["spans"]} - {None}
    assert json.loads(user) == {"weights": [1, 2.5], "fragile": True}
    assert "color_message" not in json.dumps(found["logs"])
    assert found["resource"]["telemetry.distro.name"] == "brain_otel"
    assert found["resource"]["telemetry.distro.version"]


def test_sentry_knows_every_op_and_every_key(emitted: Callable[[str], Json]) -> None:
    """Of transactions and spans, with the type of each value."""
    faults, seen = [], set()
    for transaction in emitted("http,database")["transactions"]:
        for span in (transaction["contexts"]["trace"], *transaction["spans"]):
            seen |= {span["op"], *span["data"]}
            if span["op"] not in SENTRYS_OPS and span["op"] not in SENTRYS_EXCEPTIONS:
                faults.append(f"op {span['op']}")
            for key, value in span["data"].items():
                kind = SENTRYS_KEYS.get(key)
                if kind is None and not key.startswith((OURS, APPLICATION)) and key not in SENTRYS_EXCEPTIONS:
                    faults.append(f"{span['op']}: {key} is not in Sentry's conventions")
                elif kind is not None and type(value) is not kind:
                    faults.append(f"{span['op']}: {key} is {value!r}")
    assert sorted(set(faults)) == []
    assert SENTRYS_EXCEPTIONS.keys() - seen == set()


def test_calls_to_a_cache_are_seen_as_such(emitted: Callable[[str], Json]) -> None:
    """By the beginnings of their keys; another command on such a key is a command."""
    spans = [
        span
        for transaction in emitted("http,database")["transactions"]
        for span in transaction["spans"]
        if span["description"].startswith(("judged", "LPUSH"))
    ]
    names = ("cache.key", "cache.hit", "cache.item_size")
    assert [(span["op"], *map(span["data"].get, names)) for span in spans] == [
        ("cache.put", ["judged"], None, 4),
        ("cache.get", ["judged"], True, 4),
        ("db.redis", None, None, None),
        ("cache.get", ["judged nothing"], False, None),
        ("cache.remove", ["judged"], None, None),
    ]
