"""The demo's course: start the services, send traffic, show what was traced, say what to do for Sentry."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from http.client import HTTPConnection
from queue import Empty, Queue
from typing import TYPE_CHECKING

from brain_otel import telemetry
from brain_otel.configuration.error import ConfigurationError
from brain_otel.configuration.file_choice import packaged_files
from brain_otel.configuration.loading import read_settings
from brain_otel.configuration.options import Options
from brain_otel.demo.screen import Screen
from brain_otel.demo.servers import HOST, running_services
from brain_otel.destinations.console.destination import ConsoleSpanProcessor

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from brain_otel.configuration.settings import Settings
    from brain_otel.destinations.console.tree import FinishedTrace

PATIENCE = 10.0
"""Seconds to wait for the traces of one request."""

QUIET = 0.25
"""Seconds without news of a trace after which ``--serve`` prints it, so that both services are in one tree."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One request and what it is to show."""

    title: str
    remark: str
    method: str
    path: str
    traces: int = 1
    """How many local traces come of it."""


SCENARIOS = (
    Scenario(
        title="A request",
        remark="the cache misses, the database answers; set_user_context() names the user",
        method="GET",
        path="/missions/1",
    ),
    Scenario(
        title="Two services, one trace",
        remark="HTTPX carries the trace to the LLM API, whose spans are in the tree",
        method="POST",
        path="/missions/1/plan",
        traces=2,
    ),
    Scenario(
        title="A background task and a job",
        remark="the task is part of its request, the job a trace of its own",
        method="POST",
        path="/missions?name=Paint+the+fence",
        traces=3,
    ),
    Scenario(
        title="A slow query",
        remark="what takes 100 ms or more stands out",
        method="GET",
        path="/reports/usage",
    ),
    Scenario(
        title="A query in a loop",
        remark="the same statement for each row: N+1",
        method="GET",
        path="/missions",
    ),
    Scenario(
        title="An unhandled error",
        remark="one event, under the request in which it happened",
        method="GET",
        path="/missions/1/budget",
    ),
    Scenario(
        title="A handled error",
        remark="the LLM API answers 429; capture_exception() reports it, the request goes on",
        method="POST",
        path="/missions/1/review",
        traces=2,
    ),
    Scenario(
        title="Not found",
        remark="a trace, but no error event: a 404 is the client's affair",
        method="GET",
        path="/mission/1",
    ),
)


class Gathering:
    """The local traces as they come in, from the console destination."""

    def __init__(self, processor: ConsoleSpanProcessor) -> None:
        self._arrived: Queue[FinishedTrace] = Queue()
        processor.show = self._arrived.put

    def wait_for(self, count: int, seconds: float) -> list[FinishedTrace]:
        """``count`` local traces, or fewer if they do not come within so many seconds."""
        deadline = time.monotonic() + seconds
        found: list[FinishedTrace] = []
        while sum(each.collected is not None for each in found) < count:
            try:
                found.append(self._arrived.get(timeout=max(0.0, deadline - time.monotonic())))
            except Empty:
                break
        return found

    def next_trace(self) -> list[FinishedTrace]:
        """What comes in until nothing more does for a moment."""
        found = [self._arrived.get()]
        while more := self.wait_for(1, QUIET):
            found += more
        return found


def run(*, serve: bool = False, port: int | None = None, width: int | None = None, svg: Path | None = None) -> None:
    """Run the demo.

    Args:
        serve: Leave the services up afterwards, printing each trace, until Ctrl-C.
        port: BRAiN Core's port, else a free one.
        width: Columns of the output, else the terminal's.
        svg: A file to draw the output in.

    Raises:
        ConfigurationError: the environment does not allow for it.
        ServiceError: a service could not be started.
    """
    screen = Screen(width=width, draw=svg is not None)
    settings = demo_settings(os.environ)
    gathering = start(settings)
    try:
        with running_services(port) as core_port:
            screen.introduce()
            shown: list[FinishedTrace] = []
            for number, scenario in enumerate(SCENARIOS, 1):
                shown += _show(number, core_port, scenario, gathering, screen)
            screen.sum_up(shown)
            screen.say_what_next(settings, sent=telemetry.flush(5.0))
            if svg is not None:
                screen.save(svg)
            if serve:
                _serve(core_port, gathering, screen)
    finally:
        telemetry.shutdown()


def demo_settings(environ: Mapping[str, str]) -> Settings:
    """The settings of the packaged development file: every trace on the console, and in Sentry if a DSN is set."""
    variables = {
        key: value
        for key, value in environ.items()
        if key not in ("OTEL_CONFIG_FILE", "OTEL_TRACES_EXPORTER", "OTEL_LOGS_EXPORTER", "OTEL_METRICS_EXPORTER")
    }
    variables = {"OTEL_SERVICE_NAME": "brain-otel-demo", **variables, "SENTRY_TRACES_SAMPLE_RATE": "1.0"}
    settings = read_settings(variables, config_file=packaged_files() / "development.yaml")
    if settings.disabled:
        raise ConfigurationError("OTEL_SDK_DISABLED is true; allowed: false, since the demo shows what is traced")
    console = Options(name="console")
    sentry = (each for each in settings.destinations if each.name == "sentry")
    return settings._replace(destinations=(console, *sentry))


def start(settings: Settings) -> Gathering:
    """Set tracing up, with what the console would print kept for the demo to show."""
    processors = [each.span_processor for each in telemetry.start(settings)]
    return Gathering(next(each for each in processors if isinstance(each, ConsoleSpanProcessor)))


def _show(number: int, port: int, scenario: Scenario, gathering: Gathering, screen: Screen) -> list[FinishedTrace]:
    # Not HTTPX, which is traced here and would begin the trace.
    connection = HTTPConnection(HOST, port, timeout=PATIENCE)
    try:
        connection.request(scenario.method, scenario.path)
        connection.getresponse().read()
    finally:
        connection.close()
    traces = gathering.wait_for(scenario.traces, PATIENCE)
    screen.show_scenario(number, scenario.title, scenario.remark, traces)
    return traces


def _serve(port: int, gathering: Gathering, screen: Screen) -> None:
    """Print each trace until Ctrl-C."""
    screen.invite(f"http://{HOST}:{port}")
    try:
        while True:
            screen.show(gathering.next_trace())
    except KeyboardInterrupt:
        sys.stdout.write("\n")
