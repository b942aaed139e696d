"""Calls a target of `propagation.targets` and a host that is none with each client; prints the headers that they saw.

ORDER says whether set-up happens `first` or `after imports`. The server answers to both names.
"""

import asyncio
import json
import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any
from urllib.request import Request, urlopen

import brain_otel

if os.environ["ORDER"] == "first":
    brain_otel.setup()

import aiohttp
import boto3
import grpc  # type: ignore[import-untyped]  # ships no types
import httpx
import httpx2
import requests
import urllib3
from opentelemetry import baggage, context, propagate
from opentelemetry import trace as otel_trace
from opentelemetry.trace import SpanKind

if os.environ["ORDER"] == "after imports":
    brain_otel.setup()

HEADERS = ("traceparent", "tracestate", "sentry-trace", "baggage", "x-amzn-trace-id")
TARGET, OTHER = "127.0.0.1", "localhost"
OWN = {"traceparent": "00-" + "a" * 32 + "-" + "b" * 16 + "-01", "baggage": "own=1"}

seen: list[tuple[str, dict[str, str]]] = []


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        host = self.headers["host"].partition(":")[0]
        seen.append((host, {name: self.headers[name] for name in HEADERS if name in self.headers}))
        other = {"/there": OTHER, "/back": TARGET}.get(self.path)
        self.send_response(302 if other else 200)
        if other:
            self.send_header("location", f"http://{other}:{port}/")
        self.send_header("content-length", "0")
        self.end_headers()

    def do_HEAD(self) -> None:
        self.do_GET()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the name of the base class
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
port = server.server_port
Thread(target=server.serve_forever, daemon=True).start()

URLS: list[tuple[str, dict[str, str]]] = [
    (f"http://{host}:{port}/{path}", headers)
    for headers in ({}, OWN)
    for host, path in ((TARGET, ""), (OTHER, ""), (TARGET, "there"), (OTHER, "back"))
]


def use_requests() -> None:
    for url, headers in URLS:
        requests.get(url, headers=headers, timeout=5)


def use_headers_of_your_own() -> None:
    """What the application puts into a request stays there, even if it has asked us for it."""
    for host in (TARGET, OTHER):
        requests.get(f"http://{host}:{port}/", headers=brain_otel.trace_headers(), timeout=5)


def use_requests_step_by_step() -> None:
    with requests.Session() as session:
        answer = session.get(f"http://{TARGET}:{port}/there", allow_redirects=False, timeout=5)
        assert answer.next is not None
        session.send(answer.next)


def use_urllib3() -> None:
    with urllib3.PoolManager() as pool:
        for url, headers in URLS:
            pool.request("GET", url, headers=dict(headers))


async def use_aiohttp() -> None:
    async with aiohttp.ClientSession() as session:
        for url, headers in URLS:
            async with session.get(url, headers=headers) as answer:
                assert answer.status == 200


def use_httpx() -> None:
    with httpx.Client(follow_redirects=True, trust_env=False) as client:
        for url, headers in URLS:
            client.get(url, headers=headers)


def use_httpx2() -> None:
    with httpx2.Client(follow_redirects=True) as client:
        for url, headers in URLS:
            client.get(url, headers=headers)


async def use_httpx2_async() -> None:
    async with httpx2.AsyncClient(follow_redirects=True) as client:
        for url, headers in URLS:
            await client.get(url, headers=headers)


def use_urllib() -> None:
    """As OpenTelemetry's instrumentor does it, which is not installed here."""
    for url, headers in URLS:
        request = Request(url, headers=headers)
        given = {"url.full": request.full_url}
        with otel_trace.get_tracer("own").start_as_current_span("GET", kind=SpanKind.CLIENT, attributes=given):
            request.headers = {name.lower(): value for name, value in request.headers.items()}
            propagate.inject(request.headers)
            urlopen(request, timeout=5).close()


def use_boto3() -> None:
    given = {"aws_access_key_id": "AKIAIOSFODNN7EXAMPLE", "aws_secret_access_key": "x", "region_name": "eu-west-1"}
    for host in (TARGET, OTHER):
        boto3.client("s3", endpoint_url=f"http://{host}:{port}", **given).head_bucket(Bucket="shop")


def answer(body: bytes, call: Any) -> bytes:
    metadata = dict(call.invocation_metadata())
    seen.append((body.decode(), {name: metadata[name] for name in HEADERS if name in metadata}))
    return body


def answer_all(body: bytes, call: Any) -> Iterator[bytes]:
    yield answer(body, call)


handlers = {
    "Buy": grpc.unary_unary_rpc_method_handler(answer),
    "List": grpc.unary_stream_rpc_method_handler(answer_all),
}
grpc_server = grpc.server(ThreadPoolExecutor(2))
grpc_server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Shop", handlers),))
grpc_port = grpc_server.add_insecure_port("127.0.0.1:0")
grpc_server.start()


def use_grpc() -> None:
    for host in (TARGET, OTHER):
        with grpc.insecure_channel(f"{host}:{grpc_port}") as channel:
            buy, listed = channel.unary_unary("/shop.Shop/Buy"), channel.unary_stream("/shop.Shop/List")
            buy(host.encode(), timeout=5)
            buy(host.encode(), timeout=5, metadata=tuple(OWN.items()))
            buy.future(host.encode(), timeout=5).result()
            assert list(listed(host.encode(), timeout=5))


async def use_grpc_aio() -> None:
    for host in (TARGET, OTHER):
        async with grpc.aio.insecure_channel(f"dns:///{host}:{grpc_port}") as channel:
            await channel.unary_unary("/shop.Shop/Buy")(host.encode(), timeout=5)
            async for _ in channel.unary_stream("/shop.Shop/List")(host.encode(), timeout=5):
                pass


def use_spans_of_your_own() -> None:
    tracer = otel_trace.get_tracer("own")
    calls: list[tuple[str, SpanKind, dict[str, Any]]] = [
        (TARGET, SpanKind.CLIENT, {"url.full": f"https://user:pass@{TARGET}/x"}),
        (TARGET, SpanKind.CLIENT, {"http.url": f"http://{TARGET}./x"}),
        (TARGET, SpanKind.CLIENT, {"server.address": TARGET, "server.port": 8080}),
        (TARGET, SpanKind.CLIENT, {"net.peer.name": TARGET, "url.scheme": "https"}),
        (OTHER, SpanKind.CLIENT, {"url.full": f"https://{TARGET}@{OTHER}/"}),
        (OTHER, SpanKind.CLIENT, {"url.full": f"https://{TARGET}.{OTHER}/"}),
        (OTHER, SpanKind.CLIENT, {"server.address": OTHER}),
        (OTHER, SpanKind.CLIENT, {"url.full": "https://[broken/"}),
        (OTHER, SpanKind.CLIENT, {}),
        (TARGET, SpanKind.PRODUCER, {"server.address": OTHER}),
        (TARGET, SpanKind.INTERNAL, {}),
    ]
    for host, kind, attributes in calls:
        with tracer.start_as_current_span("own", kind=kind, attributes=attributes):
            carrier: dict[str, str] = {}
            propagate.inject(carrier)
            seen.append((host, carrier))


@contextmanager
def collected(name: str) -> Iterator[None]:
    seen.clear()
    with brain_otel.start_transaction(name, op="task"):
        yield
    found[name] = list(seen)


CASES: dict[str, Callable[[], Any]] = {
    "requests": use_requests,
    "requests step by step": use_requests_step_by_step,
    "urllib3": use_urllib3,
    "aiohttp": use_aiohttp,
    "httpx": use_httpx,
    "httpx2": use_httpx2,
    "httpx2 async": use_httpx2_async,
    "urllib": use_urllib,
    "own headers": use_headers_of_your_own,
    "boto3": use_boto3,
    "grpc": use_grpc,
    "grpc aio": use_grpc_aio,
    "own": use_spans_of_your_own,
}

found: dict[str, list[tuple[str, dict[str, str]]]] = {}
context.attach(baggage.set_baggage("tenant", "acme"))
for case, use in CASES.items():
    with collected(case):
        made = use()
        if made is not None:
            asyncio.run(made)
grpc_server.stop(None).wait()
print(json.dumps(found))
