"""Runs the OpenTelemetry Collector that tests/collector/build makes, and reads the files it writes."""

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tests.support import ROOT
from tests.support.process import Server, free_port
from tests.support.waiting import PATIENCE

Json = dict[str, Any]
Signal = Literal["traces", "logs", "metrics"]

FOLDER = ROOT / "tests" / "collector"
AGENT = ROOT / "config" / "collector" / "agent.yaml"
GATEWAY = ROOT / "config" / "collector" / "gateway.yaml"
SINK = FOLDER / "sink.yaml"

# By default, each collector serves its own metrics on port 8888.
_QUIET = "yaml:service::telemetry::metrics::level: none"

# OTLP's levels: resources, scopes, and the items of a scope.
_LEVELS: dict[Signal, tuple[str, str, str]] = {
    "traces": ("resourceSpans", "scopeSpans", "spans"),
    "logs": ("resourceLogs", "scopeLogs", "logRecords"),
    "metrics": ("resourceMetrics", "scopeMetrics", "metrics"),
}


class CollectorMissingError(Exception):
    """There is no collector to run. The message says how to get one."""


def find_collector() -> Path:
    """Return the path in BRAIN_OTEL_COLLECTOR, else of the binary that tests/collector/build has built.

    Builds nothing. Raises CollectorMissingError if there is no executable file.
    """
    if named := os.environ.get("BRAIN_OTEL_COLLECTOR"):
        path, remedy = Path(named), "BRAIN_OTEL_COLLECTOR names it"
    else:
        path, remedy = _cache() / _key() / "otelcol", "build it with tests/collector/build"
    if not os.access(path, os.X_OK) or path.is_dir():
        raise CollectorMissingError(f"no OpenTelemetry Collector at {path}; {remedy}")
    return path


def _cache() -> Path:
    if cache := os.environ.get("BRAIN_OTEL_COLLECTOR_CACHE"):
        return Path(cache)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "brain-otel" / "collector"


def _key() -> str:
    content = b"".join((FOLDER / name).read_bytes() for name in ("builder.yaml", "build"))
    return hashlib.sha256(content).hexdigest()[:16]


class Collector(Server):
    """A running collector. `url` takes OTLP over HTTP, `grpc` takes OTLP over gRPC."""

    def __init__(self, config: Path, env: Mapping[str, str] | None = None) -> None:
        grpc, http = free_port(), free_port()
        self.grpc = f"127.0.0.1:{grpc}"
        addresses = {"COLLECTOR_GRPC": self.grpc, "COLLECTOR_HTTP": f"127.0.0.1:{http}"}
        command = [str(find_collector()), "--config", str(config), "--config", _QUIET]
        # The collector starts its receivers last, and HTTP after gRPC.
        super().__init__(command, http, env={**addresses, **(env or {})})


def start_collector(config: Path, env: Mapping[str, str] | None = None) -> Collector:
    """Run a collector on free ports until the `with` block ends. `env` holds the variables of its file."""
    return Collector(config, env)


@dataclass(frozen=True, kw_only=True)
class Record:
    """A span, log record or metric in OTLP JSON, with its resource and scope."""

    data: Json
    resource: Json
    scope: str

    @property
    def service(self) -> str:
        return str(self.resource["service.name"])

    @property
    def name(self) -> str:
        """The name of a span or metric."""
        return str(self.data["name"])

    @property
    def trace_id(self) -> str:
        """The trace id of a span or log record, or an empty string."""
        return str(self.data.get("traceId", ""))

    @property
    def span_id(self) -> str:
        return str(self.data.get("spanId", ""))

    @property
    def attributes(self) -> Json:
        return attributes(self.data)


def attributes(holder: Json) -> Json:
    """Read the attributes of a span, log record, data point, resource or event."""
    return {each["key"]: plain(each["value"]) for each in holder.get("attributes", [])}


def plain(value: Json) -> Any:
    """Read an AnyValue; 64-bit integers are strings in OTLP JSON."""
    if not value:
        return None
    ((kind, content),) = value.items()
    if kind == "intValue":
        return int(content)
    if kind == "arrayValue":
        return [plain(each) for each in content.get("values", [])]
    if kind == "kvlistValue":
        return {each["key"]: plain(each["value"]) for each in content.get("values", [])}
    return content


def read_requests(path: Path) -> list[Json]:
    """Parse a file of OTLP JSON lines. Skips a line that the collector is still writing."""
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_bytes().split(b"\n")[:-1]]


def read_records(path: Path, signal: Signal) -> list[Record]:
    """Return the items of the export requests in the file, in order of arrival."""
    resources, scopes, items = _LEVELS[signal]
    return [
        Record(data=item, resource=attributes(group["resource"]), scope=scope["scope"].get("name", ""))
        for request in read_requests(path)
        for group in request.get(resources, [])
        for scope in group[scopes]
        for item in scope[items]
    ]


Expected = int | Callable[[list[Record]], bool]


class Written:
    """The files that a collector with sink.yaml writes to its directory.

    `spans`, `log_records` and `metrics` wait for the expected number of records, or until the predicate holds
    for all records, and fail after `timeout` seconds.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def spans(self, expected: Expected = 1, *, timeout: float = PATIENCE) -> list[Record]:
        return self._wait("traces", expected, timeout)

    def log_records(self, expected: Expected = 1, *, timeout: float = PATIENCE) -> list[Record]:
        return self._wait("logs", expected, timeout)

    def metrics(self, expected: Expected = 1, *, timeout: float = PATIENCE) -> list[Record]:
        return self._wait("metrics", expected, timeout)

    def _wait(self, signal: Signal, expected: Expected, timeout: float) -> list[Record]:
        deadline = time.monotonic() + timeout
        while True:
            late = time.monotonic() > deadline
            records = read_records(self.directory / f"{signal}.jsonl", signal)
            if len(records) >= expected if isinstance(expected, int) else expected(records):
                return records
            if late:
                raise AssertionError(f"after {timeout:g} s {signal} has only {len(records)}: {records[:20]}")
            time.sleep(0.05)


class Sink(Collector):
    """A collector that writes everything it receives to files; read them in `written`."""

    def __init__(self, directory: Path) -> None:
        super().__init__(SINK, {"SINK_DIRECTORY": str(directory)})
        self.written = Written(directory)


@contextmanager
def start_sink() -> Iterator[Sink]:
    """Run a sink with its files in a temporary directory."""
    with tempfile.TemporaryDirectory(prefix="otelcol-") as directory, Sink(Path(directory)) as sink:
        yield sink
