"""Tests that the lines about the set-up are seen, once, wherever and whenever logging is configured."""

import logging
import textwrap
from collections.abc import Iterator
from pathlib import Path

import pytest

from brain_otel.runtime.announcements import announce, announce_again, forget_announcements
from tests.support.process import Server, free_port, uvicorn_command
from tests.support.tiers import quick_one_in
from tests.support.waiting import until

LINE = "Sentry initialized | environment=production, traces_sample_rate=0.1"
OFF = "otlp is off: no endpoint (OTEL_EXPORTER_OTLP_ENDPOINT)"

APP = """
import logging, logging.config
from contextlib import asynccontextmanager
from fastapi import FastAPI
import brain_otel
{before}
@asynccontextmanager
async def lifespan(app):
    {start}
    yield
app = FastAPI(lifespan=lifespan)
{setup}
{after}
@app.get("/")
def home(): return {{}}
"""

BASIC = "logging.basicConfig(level=logging.INFO, format='app: %(message)s')"
DICT = (
    "logging.config.dictConfig({'version': 1, 'disable_existing_loggers': %s, 'root': {'level': 'INFO', "
    "'handlers': ['h']}, 'formatters': {'f': {'format': 'app: %%(message)s'}}, "
    "'handlers': {'h': {'class': 'logging.StreamHandler', 'formatter': 'f'}}})"
)

CASES: dict[str, tuple[dict[str, str], str, tuple[str, ...]]] = {
    "no logging": ({}, "INFO:     ", ()),
    "logging before": ({"before": BASIC}, "app: ", ()),
    "logging after": ({"after": BASIC}, "app: ", ()),
    "logging in the lifespan": ({"start": BASIC}, "app: ", ()),
    "logging of warnings": ({"before": "logging.basicConfig(level=logging.WARNING)"}, "INFO:     ", ()),
    "a configuration after": ({"after": DICT % False}, "app: ", ()),
    "a configuration that disables loggers": ({"after": DICT % True}, "app: ", ()),
    "no lifespan": ({}, "INFO:     ", ("--lifespan", "off")),
    "no lifespan, logging after": ({"after": BASIC}, "app: ", ("--lifespan", "off")),
    "the lifespan fails": ({"start": "raise ValueError()"}, "INFO:     ", ()),
    "two workers": ({}, "INFO:     ", ("--workers", "2")),
    "setup() by the launcher": ({"setup": ""}, "INFO:     ", ("launcher",)),
    "setup() by the launcher and logging": ({"setup": "", "before": BASIC}, "app: ", ("launcher",)),
}


@pytest.mark.parametrize("case", quick_one_in(3, CASES))
def test_the_set_up_is_seen_under_uvicorn(tmp_path: Path, case: str) -> None:
    """Once in each process, in the application's format if its logging shows it, else in the server's."""
    parts, prefix, options = CASES[case]
    given = {"before": "", "after": "", "start": "pass", "setup": "brain_otel.setup(app)", **parts}
    (tmp_path / "shown.py").write_text(textwrap.dedent(APP).format(**given))
    port = free_port()
    command = uvicorn_command("shown:app", port, launcher="launcher" in options)
    env = {"SENTRY_DSN": "http://key@127.0.0.1:9/1", "ENVIRONMENT": "production"}
    command += [each for each in options if each != "launcher"]
    fails = "fails" in case
    if fails:
        server = Server(
            ["sh", "-c", f'"$@"; exec {_sleeper(port)}', "sh", *command], port, env=env, pythonpath=[tmp_path]
        )
    else:
        server = Server(command, port, env=env, pythonpath=[tmp_path])
    processes = 2 if "--workers" in options else 1
    with server:
        if not fails:
            assert server.request("GET", "/").status_code == 200
        if processes > 1:  # the other one may start later
            until(lambda: server.output.count("Application startup complete") == processes)
        lines = server.output.splitlines()  # what has started, failed or answered has been announced
    assert lines.count(f"{prefix}{LINE}") == processes, server.output
    assert lines.count(f"{prefix}{OFF}") == processes, server.output


def _sleeper(port: int) -> str:
    """A server that answers in place of one that has failed."""
    return f"python3 -m http.server {port} --bind 127.0.0.1"


# -- without a server ---------------------------------------------------------------------------------------


@pytest.fixture
def logger() -> Iterator[logging.Logger]:
    """Give a logger without pytest's handlers."""
    yield logging.Manager(logging.RootLogger(logging.WARNING)).getLogger("brain_otel.announced")
    forget_announcements()


class Kept(logging.Handler):
    def __init__(self, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def test_a_script_sees_the_line_at_once(logger: logging.Logger) -> None:
    """And not again."""
    handler = Kept()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    announce(logger, "%s is ready", "it")
    assert handler.lines == ["it is ready"]
    announce_again()
    assert handler.lines == ["it is ready"]


@pytest.mark.parametrize("blind", ["no handler", "a handler of warnings", "a null handler", "the level of warnings"])
def test_a_line_that_nobody_has_seen_comes_once(logger: logging.Logger, blind: str) -> None:
    """When a handler shows it."""
    logger.setLevel(logging.WARNING if blind == "the level of warnings" else logging.INFO)
    if blind == "a handler of warnings":
        logger.addHandler(Kept(logging.WARNING))
    if blind == "a null handler":
        logger.addHandler(logging.NullHandler())
    announce(logger, "%s is ready", "it")
    handler = Kept()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    announce_again()
    announce_again()
    assert handler.lines == ["it is ready"]


def test_a_handler_for_telemetry_shows_nothing_to_people(logger: logging.Logger) -> None:
    """OpenTelemetry's and ours take every record, and print nothing."""

    class Exporting(Kept):
        __module__ = "opentelemetry.sdk._logs"

    logger.setLevel(logging.INFO)
    logger.addHandler(Exporting())
    announce(logger, "ready")
    server = logging.getLogger("hypercorn.error")
    handler = Kept()
    server.addHandler(handler)
    server.setLevel(logging.INFO)
    try:
        announce_again()
    finally:
        server.handlers.clear()
        server.setLevel(logging.NOTSET)
    assert handler.lines == ["ready"]
