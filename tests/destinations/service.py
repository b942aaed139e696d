"""Configuration files, services and tracer providers with the destinations of a test."""

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

from opentelemetry.sdk.trace import TracerProvider

from brain_otel.configuration.options import Options
from brain_otel.configuration.settings import Settings
from brain_otel.destinations.destination import create_destination
from brain_otel.destinations.isolation import IsolatedDestination
from tests.support import ROOT
from tests.support.process import Server, free_port, gunicorn_command, uvicorn_command
from tests.support.waiting import PATIENCE

APP = "tests.apps.destinations:app"

Components = Sequence[Mapping[str, Any]]


def write_config(
    folder: Path,
    *,
    traces: Components = (),
    logs: Components = (),
    metrics: Components = (),
    dsn: str = "",
    interval: int = 200,
) -> Path:
    """Write a file in which everything is sampled; metrics are exported every `interval` milliseconds."""
    data: dict[str, Any] = {
        "file_format": "1.1",
        "resource": {"attributes": [{"name": "service.name", "value": "shop"}]},
        "tracer_provider": {"processors": [*traces] or [{"memory": {}}]},
        "propagator": {"composite": [{"tracecontext": None}, {"baggage": None}]},
        "distribution": {
            "brain_otel": {
                "fast_paths": "${BRAIN_OTEL_FAST_PATHS:-true}",
                "sentry": {"dsn": dsn, "profiles_sample_rate": 0},
            }
        },
    }
    if logs:
        data["logger_provider"] = {"processors": list(logs)}
    if metrics:
        readers = [{"periodic": {"interval": interval, "exporter": exporter}} for exporter in metrics]
        data["meter_provider"] = {"readers": readers}
    path = folder / "telemetry.yaml"
    path.write_text(json.dumps(data))
    return path


def environment_of(config: Path, extra: Mapping[str, str] | None = None) -> dict[str, str]:
    return {"OTEL_CONFIG_FILE": str(config), "SENTRY_ENVIRONMENT": "test", **(extra or {})}


def serve(
    config: Path,
    *,
    env: Mapping[str, str] | None = None,
    pythonpath: Sequence[Path] = (),
    workers: int = 0,
) -> Server:
    """Serve the app with this file, by uvicorn, or by gunicorn with `workers` forked after the app was loaded."""
    port = free_port()
    command = gunicorn_command(APP, port, workers=workers, preload=True) if workers else uvicorn_command(APP, port)
    return Server(
        command,
        port,
        env=environment_of(config, env),
        pythonpath=[*pythonpath, ROOT],
        cwd=ROOT,
        ready_path="/nothing",
    )


def answers_of_both(
    server: Server, ask: Callable[[int], dict[str, Any]], timeout: float = PATIENCE
) -> list[dict[str, Any]]:
    """Call `ask` with 0, 1, ..., at least 20 times, until both workers have answered; the answers have the `pid`."""
    answers: list[dict[str, Any]] = []
    deadline = time.monotonic() + timeout
    while len(answers) < 20 or len({answer["pid"] for answer in answers}) < 2:
        assert time.monotonic() < deadline, f"one worker has given all of {len(answers)} answers:\n{server.output}"
        answers.append(ask(len(answers)))
    return answers


def settings(*, send_default_pii: bool = False) -> Settings:
    return Settings(environment="test", source="the test", document={}, send_default_pii=send_default_pii)


def options(name: str, signal: Literal["traces", "logs", "metrics"] = "traces", /, **values: Any) -> Options:
    return Options(values, name=name, signal=signal)


@contextmanager
def traced(*given: Options, **kwargs: Any) -> Iterator[tuple[TracerProvider, list[IsolatedDestination]]]:
    """Give a tracer provider whose spans go to these destinations, and shut them down at the end."""
    in_use = []
    for each in given:
        destination = create_destination(each, settings(**kwargs))
        assert destination is not None
        in_use.append(IsolatedDestination(destination))
    provider = TracerProvider(shutdown_on_exit=False)
    for one in in_use:
        if one.span_processor is not None:
            provider.add_span_processor(one.span_processor)
    try:
        yield provider, in_use
    finally:
        for one in in_use:
            one.shutdown(1.0)


def make_spans(provider: TracerProvider, number: int, name: str = "work", **attributes: Any) -> None:
    tracer = provider.get_tracer("test")
    for index in range(number):
        tracer.start_span(f"{name} {index}", attributes=attributes).end()


def in_child(work: Callable[[], object]) -> str:
    """Call `work` in a forked child and return its result or exception as text."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            answer = str(work())
        except BaseException as error:
            answer = f"{type(error).__name__}: {error}"
        os.write(writing, answer.encode())
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answers:
        answer = answers.read()
    os.waitpid(child, 0)
    return answer
