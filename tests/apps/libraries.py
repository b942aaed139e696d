"""Calls each library that OpenTelemetry's instrumentors observe, each in a transaction of its own.

ORDER says when set-up happens: `first`, `after imports` or `launcher`. ONLY names the cases to run, with commas.
"""

# ruff: noqa: E402
import asyncio
import os
import sys
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import Thread

import brain_otel

ORDER, ONLY = os.environ["ORDER"], set(filter(None, os.environ.get("ONLY", "").split(",")))
HTTP, GRPC, AWS, POSTGRES = (os.environ[f"{name}_URL"] for name in ("HTTP", "GRPC", "AWS", "POSTGRES"))
SECRET = "hunter2-planted"
CLOSED = "http://127.0.0.1:1"

if ORDER == "first":
    brain_otel.setup()

import sqlite3

import aiohttp
import asyncpg  # type: ignore[import-untyped]  # ships no types
import boto3
import grpc  # type: ignore[import-untyped]  # ships no types
import psycopg
import requests
import sqlalchemy
import urllib3
from aiohttp import web
from botocore.exceptions import ParamValidationError  # type: ignore[import-untyped]  # ships no types
from sqlalchemy.ext.asyncio import create_async_engine

if ORDER == "after imports":
    brain_otel.setup()

SELECT = f"SELECT 'a@{SECRET}.com' AS secret"
ASYNCPG = POSTGRES.replace("postgresql+psycopg", "postgresql+asyncpg")
AWS_OPTIONS = {
    "endpoint_url": AWS,
    "region_name": "eu-west-1",
    "aws_access_key_id": "AKIAIOSFODNN7EXAMPLE",
    "aws_secret_access_key": SECRET,
}
PLAIN = POSTGRES.replace("postgresql+psycopg", "postgresql")


def use_requests() -> None:
    assert requests.get(f"{HTTP}/requests?token={SECRET}", timeout=5).status_code == 200
    assert requests.get(f"{HTTP}/status/503", timeout=5).status_code == 503
    with suppress(requests.ConnectionError):
        requests.get(CLOSED, timeout=5)


def use_urllib3() -> None:
    http = urllib3.PoolManager(retries=False)
    assert http.request("GET", f"{HTTP}/urllib3?token={SECRET}").status == 200
    with suppress(urllib3.exceptions.HTTPError):
        http.request("GET", CLOSED)


async def use_aiohttp() -> None:
    async with aiohttp.ClientSession() as session:
        async with session.get(f"{HTTP}/aiohttp?token={SECRET}") as answer:
            assert answer.status == 200
        async with session.get(f"{HTTP}/status/503") as answer:
            assert answer.status == 503
        with suppress(aiohttp.ClientError):
            await session.get(CLOSED)


async def use_asyncpg() -> None:
    connection = await asyncpg.connect(PLAIN)
    assert await connection.fetchval(query=SELECT)
    prepared = await connection.prepare("SELECT $1::text")
    assert await prepared.fetchval(SECRET) == SECRET
    with suppress(asyncpg.PostgresError):
        await connection.execute(f"SELECT '{SECRET}' FROM nowhere")
    await connection.close()


def use_psycopg() -> None:
    with psycopg.connect(PLAIN) as connection, connection.cursor() as cursor:
        assert cursor.execute(query=SELECT).fetchone()
        assert cursor.execute("SELECT %s", (SECRET,)).fetchone()
        with suppress(psycopg.Error):
            cursor.execute(f"SELECT '{SECRET}' FROM nowhere")


async def use_psycopg_async() -> None:
    async with await psycopg.AsyncConnection.connect(PLAIN) as connection, connection.cursor() as cursor:
        await cursor.execute(SELECT)
        assert await cursor.fetchone()


def use_sqlite3() -> None:
    connection = sqlite3.connect(":memory:")
    assert connection.cursor().execute(SELECT).fetchone()
    with suppress(sqlite3.Error):
        connection.cursor().execute(f"SELECT '{SECRET}' FROM nowhere")


def use_sqlalchemy(url: str) -> None:
    engine = sqlalchemy.create_engine(url)
    with engine.begin() as connection:
        assert connection.execute(sqlalchemy.text("SELECT 1 AS one")).scalar() == 1
    engine.dispose()


async def use_sqlalchemy_async(url: str) -> None:
    engine = create_async_engine(url)
    async with engine.begin() as connection:
        assert (await connection.execute(sqlalchemy.text("SELECT 1 AS one"))).scalar() == 1
        with suppress(sqlalchemy.exc.DBAPIError):
            await connection.execute(sqlalchemy.text("SELECT 1 FROM nowhere"))
    await engine.dispose()


def use_grpc() -> None:
    with grpc.insecure_channel(GRPC) as channel:
        call = channel.unary_unary("/shop.Shop/Buy")
        assert call(b"one", timeout=5) == b"one"
        with suppress(grpc.RpcError):
            call(b"missing", timeout=5)


async def use_grpc_aio() -> None:
    async with grpc.aio.insecure_channel(GRPC) as channel:
        assert await channel.unary_unary("/shop.Shop/Buy")(b"two", timeout=5) == b"two"


async def serve_aiohttp(place: Future[str]) -> None:
    async def item(request: web.Request) -> web.Response:
        if request.match_info["item"] == "broken":
            raise ValueError("planted")
        return web.Response(text="hello")

    app = web.Application()
    app.router.add_get("/items/{item}", item)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    place.set_result(f"http://{host}:{port}")
    await asyncio.sleep(60)


async def use_aiohttp_server() -> None:
    async with aiohttp.ClientSession() as session:
        for name, status in (("7", 200), ("broken", 500)):
            async with session.get(f"{served.result(5)}/items/{name}") as answer:
                assert answer.status == status


def use_grpc_server() -> None:
    def sell(body: bytes, context: grpc.ServicerContext) -> bytes:
        if body == b"broken":
            raise ValueError("planted")
        return body

    handlers = {"Sell": grpc.unary_unary_rpc_method_handler(sell)}
    server = grpc.server(ThreadPoolExecutor(1))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Till", handlers),))
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/shop.Till/Sell")
        assert call(b"one", timeout=5) == b"one"
        with suppress(grpc.RpcError):
            call(b"broken", timeout=5)
    server.stop(None).wait()


def use_boto3() -> None:
    client = boto3.client("s3", **AWS_OPTIONS)
    client.create_bucket(
        Bucket="shop-" + ORDER.replace(" ", "-"), CreateBucketConfiguration={"LocationConstraint": "eu-west-1"}
    )
    with suppress(client.exceptions.ClientError):
        client.get_object(Bucket="nowhere", Key=SECRET)
    with suppress(ParamValidationError):
        client.get_object(Name=SECRET)


def use_aws_services() -> None:
    sqs, sns, dynamodb = (boto3.client(name, **AWS_OPTIONS) for name in ("sqs", "sns", "dynamodb"))
    queue = sqs.create_queue(QueueName="orders")["QueueUrl"]
    sqs.send_message(QueueUrl=queue, MessageBody=SECRET)
    (message,) = sqs.receive_message(QueueUrl=queue)["Messages"]
    sqs.delete_message(QueueUrl=queue, ReceiptHandle=message["ReceiptHandle"])
    sns.publish(TopicArn=sns.create_topic(Name="sold")["TopicArn"], Message=SECRET)
    with suppress(dynamodb.exceptions.ClientError):
        key = {":key": {"S": SECRET}}
        dynamodb.query(
            TableName="nowhere", Limit=3, KeyConditionExpression="id = :key", ExpressionAttributeValues=key
        )


CASES = {
    "requests": use_requests,
    "urllib3": use_urllib3,
    "aiohttp": use_aiohttp,
    "asyncpg": use_asyncpg,
    "psycopg": use_psycopg,
    "psycopg async": use_psycopg_async,
    "sqlite3": use_sqlite3,
    "sqlalchemy psycopg": lambda: use_sqlalchemy(POSTGRES),
    "sqlalchemy sqlite3": lambda: use_sqlalchemy("sqlite://"),
    "sqlalchemy asyncpg": lambda: use_sqlalchemy_async(ASYNCPG),
    "sqlalchemy psycopg async": lambda: use_sqlalchemy_async(POSTGRES),
    "sqlalchemy aiosqlite": lambda: use_sqlalchemy_async("sqlite+aiosqlite://"),
    "grpc": use_grpc,
    "grpc aio": use_grpc_aio,
    "grpc server": use_grpc_server,
    "aiohttp server": use_aiohttp_server,
    "boto3": use_boto3,
    "boto3 services": use_aws_services,
}
if ORDER != "launcher":  # moto's server takes a second to load them
    del CASES["boto3 services"]

served: Future[str] = Future()
Thread(target=lambda: asyncio.run(serve_aiohttp(served)), daemon=True).start()

for name, use in CASES.items():
    if ONLY and name not in ONLY:
        continue
    with brain_otel.start_transaction(name, op="task"):
        made = use()
        if made is not None:
            asyncio.run(made)

assert brain_otel.flush(10)
print("done", file=sys.stderr)
