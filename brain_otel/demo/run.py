"""Runs the demo: starts the services, sends requests, shows the traces, and says how to see them in Sentry."""

import os
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from http.client import HTTPConnection
from pathlib import Path
from queue import Empty, Queue

from brain_otel import telemetry
from brain_otel.configuration.error import ConfigurationError
from brain_otel.configuration.file_choice import packaged_files
from brain_otel.configuration.loading import read_settings
from brain_otel.configuration.options import Options
from brain_otel.configuration.settings import Settings
from brain_otel.demo.screen import Screen
from brain_otel.demo.servers import HOST, running_services
from brain_otel.destinations.console.destination import ConsoleSpanProcessor
from brain_otel.destinations.console.tree import FinishedTrace

PATIENCE = 10.0
"""Seconds to wait for the traces of one request."""

QUIET = 0.25
"""Seconds that ``--serve`` waits for another local trace before it prints, so that both services share a tree."""


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """One request and what it shows."""

    title: str
    remark: str
    method: str
    path: str
    traces: int = 1
    """How many local traces the request causes."""


SCENARIOS = (
    Scenario(
        title="A request",
        remark="a cache miss, then a database query; set_user_context() adds the user",
        method="GET",
        path="/missions/1",
    ),
    Scenario(
        title="Two services, one trace",
        remark="HTTPX propagates the trace to the LLM API, whose spans are in the same tree",
        method="POST",
        path="/missions/1/plan",
        traces=2,
    ),
    Scenario(
        title="A background task and a job",
        remark="the task belongs to its request; the job has a trace of its own",
        method="POST",
        path="/missions?name=Paint+the+fence",
        traces=3,
    ),
    Scenario(
        title="A slow query",
        remark="spans of 100 ms or more are highlighted",
        method="GET",
        path="/reports/usage",
    ),
    Scenario(
        title="A query in a loop",
        remark="one statement for each row is marked as N+1",
        method="GET",
        path="/missions",
    ),
    Scenario(
        title="An unhandled error",
        remark="one event, linked to its request",
        method="GET",
        path="/missions/1/budget",
    ),
    Scenario(
        title="A handled error",
        remark="the LLM API answers 429; capture_exception() reports it, and the request succeeds",
        method="POST",
        path="/missions/1/review",
        traces=2,
    ),
    Scenario(
        title="Not found",
        remark="a trace, but no error event: a 404 is the client's mistake",
        method="GET",
        path="/mission/1",
    ),
)


class TraceReceiver:
    """Receives finished local traces from the console destination."""

    def __init__(self, processor: ConsoleSpanProcessor) -> None:
        self._arrived: Queue[FinishedTrace] = Queue()
        processor.show = self._arrived.put

    def wait_for(self, count: int, seconds: float) -> list[FinishedTrace]:
        """``count`` local traces, or fewer after ``seconds``, with the events that belong to no local trace."""
        deadline = time.monotonic() + seconds
        found: list[FinishedTrace] = []
        while sum(each.collected is not None for each in found) < count:
            try:
                found.append(self._arrived.get(timeout=max(0.0, deadline - time.monotonic())))
            except Empty:
                break
        return found

    def next_trace(self) -> list[FinishedTrace]:
        """The next local traces, until none arrives for :data:`QUIET` seconds."""
        found = [self._arrived.get()]
        while more := self.wait_for(1, QUIET):
            found += more
        return found


def run(*, serve: bool = False, port: int | None = None, width: int | None = None, svg: Path | None = None) -> None:
    """Run the demo.

    Args:
        serve: Keep the services running afterwards, and print each trace, until Ctrl-C.
        port: The port of the demo's main service. By default a free one.
        width: Columns of the output. By default the terminal's.
        svg: A file in which to draw the output.

    Raises:
        ConfigurationError: a variable is wrong, or disables telemetry.
        ServiceError: a service did not start.
    """
    screen = Screen(width=width, draw=svg is not None)
    settings = demo_settings(os.environ)
    receiver = start(settings)
    try:
        with running_services(port) as core_port:
            screen.introduce()
            shown: list[FinishedTrace] = []
            for number, scenario in enumerate(SCENARIOS, 1):
                shown += _show(number, core_port, scenario, receiver, screen)
            screen.sum_up(shown)
            screen.say_what_next(settings, sent=telemetry.flush(5.0))
            if svg is not None:
                screen.save(svg)
            if serve:
                _serve(core_port, receiver, screen)
    finally:
        telemetry.shutdown()


def demo_settings(environ: Mapping[str, str]) -> Settings:
    """The packaged development settings: every trace goes to the console, and to Sentry if there is a DSN."""
    variables = {
        key: value
        for key, value in environ.items()
        if key not in ("OTEL_CONFIG_FILE", "OTEL_TRACES_EXPORTER", "OTEL_LOGS_EXPORTER", "OTEL_METRICS_EXPORTER")
    }
    variables = {"OTEL_SERVICE_NAME": "brain-otel-demo", **variables, "SENTRY_TRACES_SAMPLE_RATE": "1.0"}
    settings = read_settings(variables, config_file=packaged_files() / "development.yaml")
    if settings.disabled:
        raise ConfigurationError("OTEL_SDK_DISABLED is true; allowed: false, because the demo shows traces")
    console = Options(name="console")
    sentry = (each for each in settings.destinations if each.name == "sentry")
    return settings._replace(destinations=(console, *sentry))


def start(settings: Settings) -> TraceReceiver:
    """Set up telemetry, and receive the traces that the console would print."""
    processors = [each.span_processor for each in telemetry.start(settings)]
    return TraceReceiver(next(each for each in processors if isinstance(each, ConsoleSpanProcessor)))


def _show(number: int, port: int, scenario: Scenario, receiver: TraceReceiver, screen: Screen) -> list[FinishedTrace]:
    # HTTPX is instrumented in this process and would start the trace itself.
    connection = HTTPConnection(HOST, port, timeout=PATIENCE)
    try:
        connection.request(scenario.method, scenario.path)
        connection.getresponse().read()
    finally:
        connection.close()
    traces = receiver.wait_for(scenario.traces, PATIENCE)
    screen.show_scenario(number, scenario.title, scenario.remark, traces)
    return traces


def _serve(port: int, receiver: TraceReceiver, screen: Screen) -> None:
    """Print each trace until Ctrl-C."""
    screen.invite(f"http://{HOST}:{port}")
    try:
        while True:
            screen.show(receiver.next_trace())
    except KeyboardInterrupt:
        sys.stdout.write("\n")
