"""Runs ``brain-otel view`` in a process of its own, and speaks its protocols."""

import json
import time
import uuid
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.process import PROGRAMS, Server, free_port
from tests.support.waiting import PATIENCE

Json = dict[str, Any]


class RunningViewer:
    """A viewer with a file in ``folder``, until the ``with`` block ends."""

    def __init__(
        self, folder: Path, *arguments: str, port: int | None = None, file: str = "view.db", fresh: bool = False
    ) -> None:
        """`fresh` as in `forked.start`: a process whose memory is its own."""
        self.path = folder / file
        self.port = port or free_port()
        command = [str(PROGRAMS / "brain-otel"), "view", "--port", str(self.port), "--file", str(self.path)]
        self.server = Server([*command, *arguments], self.port, fresh=fresh)
        self.url = self.server.url

    def __enter__(self) -> Self:
        self.server.__enter__()
        self._client = httpx.Client(base_url=self.url, timeout=PATIENCE, trust_env=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.close()
        self.server.__exit__(kind, error, trace)

    def get(self, path: str, **options: Any) -> httpx.Response:
        return self._client.get(path, **options)

    def post(self, path: str, **options: Any) -> httpx.Response:
        return self._client.post(path, **options)

    def json(self, path: str, **parameters: Any) -> Any:
        """The JSON twin of a page."""
        return self.get(f"{path}.json", params=parameters).raise_for_status().json()

    def send(self, *items: tuple[str, Any], header: Json | None = None) -> httpx.Response:
        """Send one envelope; the answer comes when its rows are in the file."""
        return self.post("/api/1/envelope/", content=envelope(items, header)).raise_for_status()


def envelope(items: Iterable[tuple[str, Any]], header: Json | None = None) -> bytes:
    """An envelope of items, each a type and a payload."""
    lines = [json.dumps(header or {}).encode()]
    for kind, payload in items:
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        lines += [json.dumps({"type": kind, "length": len(body)}).encode(), body]
    return b"\n".join(lines) + b"\n"


def new_id(digits: int = 32) -> str:
    return uuid.uuid4().hex[:digits]


def error(kind: str = "ValueError", value: str = "no", *, at: float | None = None, **more: Any) -> Json:
    """An error event with one frame."""
    frame = {"filename": "app/main.py", "function": more.pop("function", "work"), "lineno": 7, "in_app": True}
    exception = {"type": kind, "value": value, "stacktrace": {"frames": [frame]}}
    return {
        "event_id": new_id(),
        "timestamp": time.time() if at is None else at,
        "exception": {"values": [exception]},
        "environment": "test",
        **more,
    }


def transaction(
    name: str = "GET /", *, seconds: float = 0.1, at: float | None = None, spans: Iterable[Json] = (), **more: Any
) -> Json:
    """A transaction; ``trace`` and ``span`` are its ids, ``status`` its status."""
    start = time.time() - seconds if at is None else at
    trace = {"trace_id": more.pop("trace", new_id()), "span_id": more.pop("span", new_id(16)), "op": "http.server"}
    trace["status"] = more.pop("status", "ok")
    return {
        "type": "transaction",
        "event_id": new_id(),
        "transaction": name,
        "start_timestamp": start,
        "timestamp": start + seconds,
        "contexts": {"trace": trace},
        "spans": list(spans),
        "environment": "test",
        **more,
    }


def span(transaction: Mapping[str, Any], description: str, *, op: str = "db", seconds: float = 0.01) -> Json:
    """A child of the transaction's root, from its start."""
    trace, start = transaction["contexts"]["trace"], transaction["start_timestamp"]
    return {
        "trace_id": trace["trace_id"],
        "span_id": new_id(16),
        "parent_span_id": trace["span_id"],
        "op": op,
        "description": description,
        "start_timestamp": start,
        "timestamp": start + seconds,
    }


def profile(
    transaction: Mapping[str, Any],
    calls: Iterable[Iterable[str]],
    *,
    gap: float = 0.01,
    thread: str = "1",
    **more: Any,
) -> Json:
    """A profile with a sample every ``gap`` seconds; each of ``calls`` is functions, the outermost first."""
    paths = [tuple(each) for each in calls]
    functions = sorted({function for path in paths for function in path})
    known = sorted(set(paths))
    frames = [{"function": each, "filename": "app/work.py", "lineno": 3, "in_app": True} for each in functions]
    samples = [
        {"elapsed_since_start_ns": str(round(number * gap * 1e9)), "stack_id": known.index(path), "thread_id": thread}
        for number, path in enumerate(paths)
    ]
    trace = transaction["contexts"]["trace"]
    sampled = {
        "frames": frames,
        "stacks": [[functions.index(each) for each in reversed(path)] for path in known],
        "samples": samples,
        "thread_metadata": {thread: {"name": "MainThread"}},
    }
    return {
        "event_id": new_id(),
        "version": "1",
        "platform": "python",
        "timestamp": transaction["start_timestamp"],
        "transactions": [
            {
                "id": transaction["event_id"],
                "name": transaction["transaction"],
                "trace_id": trace["trace_id"],
                "active_thread_id": thread,
            }
        ],
        "profile": {**sampled, **more},
    }


def otlp_span(
    name: str, *, trace: str, span: str, parent: str = "", kind: int = 1, start: float, seconds: float, **more: Any
) -> Json:
    """A span of OTLP's JSON."""
    return {
        "traceId": trace,
        "spanId": span,
        "parentSpanId": parent,
        "name": name,
        "kind": kind,
        "startTimeUnixNano": str(int(start * 1e9)),
        "endTimeUnixNano": str(int((start + seconds) * 1e9)),
        **more,
    }


def otlp_traces(spans: Iterable[Json], **resource: str) -> Json:
    """A request to ``/v1/traces``."""
    scopes = [{"scope": {"name": "test"}, "spans": list(spans)}]
    return {"resourceSpans": [{"resource": {"attributes": attributes(resource)}, "scopeSpans": scopes}]}


def attributes(values: Mapping[str, Any]) -> list[Json]:
    """Attributes of OTLP's JSON."""
    return [{"key": key.replace("__", "."), "value": {"stringValue": str(value)}} for key, value in values.items()]
