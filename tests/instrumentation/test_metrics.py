"""Metrics: what contrib and brain_otel measure of requests, statements, commands and calls, sampled or not."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from tests.instrumentation.redis.test_instrumentor import cluster  # noqa: F401  # a fixture
from tests.instrumentation.target import HttpTarget
from tests.support import ROOT
from tests.support.otlp import refusing
from tests.support.process import run_python
from tests.support.services import Postgres, Valkey
from tests.support.tiers import quick_first

Point = dict[str, Any]

APP = ROOT / "tests" / "apps" / "measured.py"

OPERATION, CALL, REQUEST = (
    "db.client.operation.duration",
    "http.client.request.duration",
    "http.server.request.duration",
)

SQL = ("sqlite", "aiosqlite", "psycopg", "asyncpg")
REDIS = ("redis", "redis async")
CLUSTER = ("cluster", "cluster async")
RATES = ("1", "0")

NO_METRICS = """
file_format: "1.1"
tracer_provider:
  processors:
    - memory: {}
"""

METHODS = """
import os
import brain_otel
import httpx
from brain_otel.instrumentation.redis import instrumentor as ours
from sqlalchemy import create_engine

METHODS = [(httpx.HTTPTransport, "handle_request"), (httpx.AsyncHTTPTransport, "handle_async_request")]
for client, cluster in ours._CLIENTS:
    METHODS += [(client.Redis, "execute_command"), (client.Pipeline, "immediate_execute_command")]
    METHODS += [(cluster.RedisCluster, "execute_command")]
    METHODS += [(client.Pipeline, "execute"), (cluster.ClusterPipeline, "execute")]

def methods():
    return [vars(owner)[name] for owner, name in METHODS]

def listeners():
    return len(list(create_engine("sqlite://").dispatch.before_cursor_execute))

found, heard = methods(), listeners()
brain_otel.setup(config_file=os.environ.get("FILE"))
contribs = [method.__wrapped__ for method in methods()]
print([one is two for one, two in zip(contribs, found)].count(True), len(found), listeners() - heard)
brain_otel.shutdown()
assert (methods(), listeners()) == (found, heard)
"""


class Outcome:
    """What one use of a library measured and traced."""

    def __init__(self, output: str) -> None:
        self._found = json.loads(output)
        self.spans: list[dict[str, Any]] = self._found["spans"]
        self.seconds: float = self._found["seconds"]

    def points(self, name: str, **attributes: Any) -> list[Point]:
        """Return the points of a metric, those whose attributes (`_` for `.`) are as given."""
        wanted = {key.replace("_", "."): value for key, value in attributes.items()}
        return [
            point
            for point in self._found["points"]
            if point["name"] == name and wanted.items() <= {**point["attributes"]}.items()
        ]

    def counts(self, name: str, attribute: str) -> Counter[Any]:
        """Count by the value of an attribute."""
        counts: Counter[Any] = Counter()
        for point in self.points(name):
            counts[point["attributes"].get(attribute)] += point["count"]
        return counts

    def total(self, name: str) -> float:
        return sum(float(point["sum"]) for point in self.points(name))


Run = Callable[..., Outcome]


@pytest.fixture(scope="module")
def run(postgres: Postgres, valkey: Valkey, target: HttpTarget, cluster: Valkey) -> Iterator[Run]:  # noqa: F811
    """Use a library in a process of its own, once for all tests that ask for the same."""
    places = {
        "POSTGRES": postgres.url,
        "REDIS": valkey.url,
        "CLUSTER": cluster.url,
        "TARGET": target.url,
        "SENTRY_ENVIRONMENT": "test",
        "PYTHONWARNINGS": "error",
    }

    @cache
    def used(use: str, rate: str = "1", file: Path | None = None) -> Outcome:
        env = {**places, "SENTRY_TRACES_SAMPLE_RATE": rate, **({"FILE": str(file)} if file else {})}
        done = run_python(APP, env, pythonpath=[ROOT], arguments=[use])
        assert (done.returncode, done.stderr) == (0, ""), done.stderr
        return Outcome(done.stdout)

    with refusing() as places["DEAD"]:
        yield used


@pytest.mark.parametrize("rate", quick_first(RATES))
@pytest.mark.parametrize("use", SQL)
def test_every_statement_is_measured(run: Run, use: str, rate: str) -> None:
    """Sampled or not, by operation; an INSERT of many rows counts once, and a failed statement has its error type."""
    outcome = run(use, rate)
    assert outcome.counts(OPERATION, "db.operation.name") == {"CREATE": 1, "BATCH INSERT": 1, "SELECT": 4}
    failures = outcome.counts(OPERATION, "error.type")
    assert failures.pop(None) == 5
    assert [(kind.rpartition(".")[2], count) for kind, count in failures.items()] in (
        [("OperationalError", 1)],
        [("UndefinedTable", 1)],
        [("UndefinedTableError", 1)],
    )
    assert len(outcome.spans) == (6 if rate == "1" else 0)


@pytest.mark.parametrize("use", SQL)
def test_a_statement_is_measured_by_database_and_never_by_its_text(run: Run, use: str) -> None:
    """The attributes are those of the stable conventions, with few values; a failed one has the database's code."""
    outcome = run(use)
    for point in outcome.points(OPERATION):
        attributes = point["attributes"]
        assert "secret" not in str(attributes)
        assert attributes.pop("db.operation.name")
        is_failed = attributes.pop("error.type", None) is not None
        code = attributes.pop("db.response.status_code", None)
        assert code == (None if not is_failed else "SQLITE_ERROR" if "sqlite" in use else "42P01")
        if use in ("sqlite", "aiosqlite"):
            assert attributes == {"db.system.name": "sqlite"}
        else:
            assert attributes.pop("server.port") > 0
            expected = {"db.system.name": "postgresql", "db.namespace": "postgres", "server.address": "127.0.0.1"}
            assert attributes == expected


@pytest.mark.parametrize("use", [*SQL, *REDIS, *CLUSTER])
def test_durations_are_those_of_the_spans(run: Run, use: str) -> None:
    """A histogram in seconds with the recommended buckets; its sum is less than the duration of the program."""
    outcome = run(use)
    for point in outcome.points(OPERATION):
        assert point["unit"] == "s"
        assert point["bounds"] == [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0]
        assert point["sum"] > 0
    assert 0 < outcome.total(OPERATION) < outcome.seconds
    # Measured inside of the spans, but by another clock, on a machine that may stand still in between.
    assert outcome.total(OPERATION) <= sum(span["seconds"] for span in outcome.spans) * 1.5 + 0.5


@pytest.mark.parametrize("rate", quick_first(RATES))
@pytest.mark.parametrize("use", REDIS)
def test_every_command_is_measured(run: Run, use: str, rate: str) -> None:
    """Sampled or not; a pipeline counts once, an empty one never; a failed or cancelled command has its error."""
    outcome = run(use, rate)
    expected = {"SET": 2, "GET": 1, "MULTI": 1, "INCRBY": 1, "WATCH": 1, "LPUSH": 1}
    failures = {"redis.exceptions.ResponseError": 1}
    if use == "redis async":
        expected["BLPOP"] = 1
        failures["asyncio.exceptions.CancelledError"] = 1
        (cancelled,) = outcome.points(OPERATION, db_operation_name="BLPOP")
        assert cancelled["sum"] > 0.04
    assert outcome.counts(OPERATION, "db.operation.name") == expected
    errors = outcome.counts(OPERATION, "error.type")
    errors.pop(None)
    assert errors == failures
    assert len(outcome.spans) == (sum(expected.values()) if rate == "1" else 0)


@pytest.mark.parametrize("use", REDIS)
def test_a_command_is_measured_by_server_and_never_by_its_key(run: Run, use: str, valkey: Valkey) -> None:
    """The attributes are those of the stable conventions, with few values."""
    for point in run(use).points(OPERATION):
        attributes = point["attributes"]
        assert "secret" not in str(attributes).lower()
        attributes = {
            key: value
            for key, value in attributes.items()
            if not key.startswith(("db.operation", "error.", "db.resp"))
        }
        assert attributes == {
            "db.system.name": "redis",
            "db.namespace": "0",
            "server.address": valkey.host,
            "server.port": valkey.port,
        }


@pytest.mark.parametrize("use", CLUSTER)
def test_a_clusters_commands_are_measured(run: Run, use: str) -> None:
    """As many as there are spans: the application's own, and the client's about the cluster."""
    outcome = run(use)
    counts = outcome.counts(OPERATION, "db.operation.name")
    assert (counts["SET"], counts["PIPELINE"]) == (1, 1)
    assert sum(counts.values()) == len(outcome.spans)


def test_an_exemplar_leads_to_the_commands_span(run: Run) -> None:
    """The measurement is taken within contrib's span."""
    outcome = run("redis")
    ids = {span["span_id"] for span in outcome.spans}
    exemplars = [each for point in outcome.points(OPERATION) for each in point["exemplars"]]
    assert exemplars
    assert set(exemplars) <= ids


@pytest.mark.parametrize("rate", RATES)
def test_requests_and_calls_are_measured_sampled_or_not(run: Run, rate: str) -> None:
    """By route and status, in seconds; a call without an answer counts too, which contrib leaves out."""
    outcome = run("web", rate)
    assert outcome.counts(REQUEST, "http.route") == {"/items/{item_id}": 2, "/boom": 1, None: 1}
    assert outcome.counts(REQUEST, "http.response.status_code") == {200: 2, 500: 1, 404: 1}
    assert outcome.counts(CALL, "http.response.status_code") == {200: 2, None: 1}
    (failed,) = outcome.points(CALL, error_type="httpx.ConnectError")
    assert failed["count"] == 1
    assert failed["attributes"].keys() == {"http.request.method", "server.address", "server.port", "error.type"}
    for name in (REQUEST, CALL):
        assert {point["unit"] for point in outcome.points(name)} == {"s"}
        assert 0 < outcome.total(name) < outcome.seconds
        assert len({tuple(point["bounds"]) for point in outcome.points(name)}) == 1
    assert "secret" not in str(outcome.points(REQUEST))
    assert len(outcome.spans) == (7 if rate == "1" else 0)


def test_fastapis_own_telemetry_measures_requests_too(run: Run, tmp_path: Path) -> None:
    """With `fastapi: native` FastAPI records the metric, with the same name, unit and attributes."""
    text = (ROOT / "config" / "test.yaml").read_text()
    file = tmp_path / "native.yaml"
    file.write_text(text.replace("fastapi: contrib", "fastapi: native"))
    outcome = run("web", "0", file)
    assert {point["scope"] for point in outcome.points(REQUEST)} == {"fastapi"}
    assert outcome.counts(REQUEST, "http.response.status_code") == {200: 2, 500: 1, 404: 1}
    assert outcome.counts(REQUEST, "http.route")["/items/{item_id}"] == 2


@pytest.mark.parametrize("use", quick_first(["web", "sqlite", "redis"]))
def test_nothing_is_measured_without_a_meter_provider(run: Run, tmp_path: Path, use: str) -> None:
    """The spans are the same."""
    file = tmp_path / "traces.yaml"
    file.write_text(NO_METRICS)
    outcome = run(use, "1", file)
    assert outcome.points(OPERATION) == outcome.points(CALL) == outcome.points(REQUEST) == []
    assert len(outcome.spans) == len(run(use).spans)


@pytest.mark.parametrize("metrics", [True, False])
def test_methods_are_replaced_only_with_a_meter_provider_and_restored(tmp_path: Path, metrics: bool) -> None:
    """Without one they are contrib's, and after `shutdown()` the libraries'."""
    file = tmp_path / "traces.yaml"
    file.write_text(NO_METRICS)
    env = {"SENTRY_ENVIRONMENT": "test", **({} if metrics else {"FILE": str(file)})}
    done = run_python(METHODS, env, pythonpath=[ROOT])
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == (["0", "12", "1"] if metrics else ["12", "12", "0"])
