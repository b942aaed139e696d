"""Runs the demo: starts the services, sends requests, shows the traces, and says how to see them in Sentry."""

import os
import sys
import time
from collections.abc import Mapping
from http.client import HTTPConnection
from pathlib import Path
from queue import Empty, Queue
from typing import NamedTuple

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


class Scenario(NamedTuple):
    """One request and what it shows."""

    request: str
    """Method and path."""
    title: str
    remark: str
    traces: int = 1
    """How many local traces the request causes."""


SCENARIOS = (
    Scenario("GET /missions/1", "A request", "a cache miss, then a database query; set_user_context() adds the user"),
    Scenario(
        "POST /missions/1/plan",
        "Two services, one trace",
        "HTTPX propagates the trace to the LLM API, whose spans are in the same tree",
        traces=2,
    ),
    Scenario(
        "POST /missions?name=Paint+the+fence",
        "A background task and a job",
        "the task belongs to its request; the job has a trace of its own",
        traces=3,
    ),
    Scenario("GET /reports/usage", "A slow query", "spans of 100 ms or more are highlighted"),
    Scenario("GET /missions", "A query in a loop", "one statement for each row is marked as N+1"),
    Scenario("GET /missions/1/budget", "An unhandled error", "one event, linked to its request"),
    Scenario(
        "POST /missions/1/review",
        "A handled error",
        "the LLM API answers 429; capture_exception() reports it, and the request succeeds",
        traces=2,
    ),
    Scenario("GET /mission/1", "Not found", "a trace, but no error event: a 404 is the client's mistake"),
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


def run(
    *,
    serve: bool = False,
    port: int | None = None,
    width: int | None = None,
    svg: Path | None = None,
    viewer: str | None = None,
) -> None:
    """Run the demo; the parameters are the options of the command, and the address of a running viewer.

    Raises:
        ConfigurationError: a variable is wrong, or disables telemetry.
        ServiceError: a service did not start.
    """
    screen = Screen(width=width, draw=svg is not None)
    settings = demo_settings(os.environ if viewer is None else {**os.environ, "SENTRY_SPOTLIGHT": f"{viewer}/stream"})
    receiver = start(settings)
    try:
        with running_services(port) as core_port:
            screen.introduce()
            shown: list[FinishedTrace] = []
            for number, scenario in enumerate(SCENARIOS, 1):
                shown += _show(number, core_port, scenario, receiver, screen)
            screen.sum_up(shown)
            sent = telemetry.flush(5.0)
            if viewer is None or (settings.sentry is not None and settings.sentry.dsn):
                screen.say_what_next(settings, sent=sent)
            if viewer is not None:
                screen.say([(f"All of it, in a browser: {viewer}", "bold")], [])
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
        method, path = scenario.request.split()
        connection.request(method, path)
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
