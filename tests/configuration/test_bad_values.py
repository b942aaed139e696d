"""Tests of wrong configurations: `setup()` raises an error; the launcher logs it and the application runs.

Every case of `CASES` goes through `setup()` and through the launcher's configurator, all of them in one process;
some go through real launches beside it.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from brain_otel.configuration.error import masked
from brain_otel.configuration.file_choice import packaged_files
from tests.support import ROOT
from tests.support.bad_configurations import CASES, DSN, KEY, TOP, Bad
from tests.support.process import PROGRAMS, Server, free_port, run_python, uvicorn_command
from tests.support.tiers import quick_first

RUN_ALL = """
import json, logging, os, sys, traceback

from opentelemetry import trace
from opentelemetry.util._once import Once

import brain_otel
from brain_otel import telemetry
from brain_otel.launcher import BrainOtelConfigurator

lines = []


class Lines(logging.Handler):
    def emit(self, record):
        lines.append(self.format(record))


logging.getLogger().addHandler(Lines())
logging.getLogger().setLevel(logging.INFO)


def start(environ):
    if telemetry.is_set_up():
        telemetry.shutdown()
        telemetry.forget()
    os.environ.clear()
    os.environ.update(environ)
    # Some are rejected only when the tracer provider is set.
    trace._TRACER_PROVIDER, trace._TRACER_PROVIDER_SET_ONCE = None, Once()
    lines.clear()


outcomes = {}
with open(sys.argv[1], encoding="utf-8") as file:
    cases = json.load(file)
for name, environ in cases.items():
    start(environ)
    outcome = outcomes[name] = {}
    try:
        brain_otel.setup()
    except Exception as error:
        outcome.update(kind=type(error).__name__, message=str(error), trace=traceback.format_exc(), lines=list(lines))
    start(environ)
    BrainOtelConfigurator().configure()
    outcome.update(log=list(lines), set_up=telemetry.is_set_up())
print(json.dumps(outcomes))
"""


def fill_in(text: str, folder: Path, file: Path) -> str:
    places = {"{folder}": str(folder), "{file}": str(file), "{packaged}": str(packaged_files())}
    for word, place in places.items():
        text = text.replace(word, place)
    return text


def prepare(case: Bad, folder: Path) -> tuple[dict[str, str], Path]:
    """Write the file of a case; return its variables and the file."""
    file = folder / f"{CASES.index(case)}.yaml"
    environ = {name: fill_in(value, folder, file) for name, value in case.environ.items()}
    if case.text is not None:
        file.write_bytes(case.text if isinstance(case.text, bytes) else (TOP + case.text).encode())
        environ["OTEL_CONFIG_FILE"] = str(file)
    return environ, file


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("bad")
    os.mkfifo(made / "pipe")
    return made


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> dict[str, Any]:
    """Run `setup()` and the launcher's configurator with every case, in one process; return what happened."""
    environs = {case.name: prepare(case, folder)[0] for case in CASES}
    assert len(environs) == len(CASES)
    cases = folder / "cases.json"
    cases.write_text(json.dumps(environs))
    done = run_python(RUN_ALL, arguments=[str(cases)], timeout=110.0, cwd=folder)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


BY_NAME = pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)


@BY_NAME
def test_the_error_names_the_place_the_value_and_what_is_allowed(
    case: Bad, outcomes: dict[str, Any], folder: Path
) -> None:
    """It has one line. Neither it nor the application's traceback shows a secret."""
    outcome = outcomes[case.name]
    assert outcome.get("kind") == "ConfigurationError", outcome
    message: str = outcome["message"]
    begins = fill_in(case.begins, folder, prepare(case, folder)[1])
    assert message.startswith(begins)
    assert case.allowed in message.partition("; allowed: ")[2]
    assert "; allowed: " in message
    assert "\n" not in message
    assert case.secret not in outcome["trace"]
    assert not any(case.secret in line for line in outcome["lines"])


@BY_NAME
def test_the_launcher_logs_the_same_text_in_one_line(case: Bad, outcomes: dict[str, Any]) -> None:
    """It logs an error without a traceback, and sets nothing up."""
    outcome = outcomes[case.name]
    expected = f"brain_otel is not set up, the application runs without telemetry: {outcome['message']}"
    assert outcome["log"].count(expected) == 1
    assert not any("Traceback" in line or case.secret in line for line in outcome["log"])
    assert not outcome["set_up"]


APP = """
import asyncio, httpx
from fastapi import FastAPI

app = FastAPI()


@app.get("/items/{item_id}")
async def item(item_id: int) -> dict[str, int]:
    return {"item": item_id}


async def main():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://app") as client:
        answer = await client.get("/items/7")
        print(answer.status_code, answer.text)


if __name__ == "__main__":
    asyncio.run(main())
"""

LAUNCHED = (
    "unknown block",
    "misspelt dsn",
    "misspelt schedule",
    "unknown for traces",
    "sentry both ways",
    "sentry option's value",
    "otlp certificate",
    "batch above its queue",
    "unknown propagator",
    "plugin of metrics in OpenTelemetry's",
    "dsn with no project",
    "dsn on a line that is no YAML",
    "binary file",
    "alias in itself",
    "very deep nesting",
    "missing file",
    "environment 'a/b'",
    "SENTRY_TRACES_SAMPLE_RATE 1.01",
    "unknown exporter of logs",
    "empty variable",
)


def launched(name: str, folder: Path) -> tuple[Bad, dict[str, str]]:
    case = next(each for each in CASES if each.name == name)
    return case, {**prepare(case, folder)[0], "PYTHONWARNINGS": "error"}


def check_log(case: Bad, text: str, message: str) -> None:
    """Check the log of a launched application: the message in one line, and no traceback of ours."""
    lines = [line for line in text.splitlines() if "brain_otel is not set up" in line]
    assert [line.partition("without telemetry: ")[2] for line in lines] == [message]
    assert "Traceback" not in text
    assert 'File "' not in text
    assert case.secret not in text


@pytest.mark.parametrize("name", quick_first(LAUNCHED))
def test_a_launched_application_runs_and_answers(name: str, outcomes: dict[str, Any], folder: Path) -> None:
    """Under `opentelemetry-instrument`, the text of the error is one line of the log."""
    case, env = launched(name, folder)
    script = folder / "app.py"
    script.write_text(APP)
    launcher = PROGRAMS / "opentelemetry-instrument"
    done = run_python(launcher, env, arguments=[sys.executable, str(script)], pythonpath=[ROOT], cwd=folder)
    assert (done.returncode, done.stdout) == (0, '200 {"item":7}\n'), done.stderr
    check_log(case, done.stderr, outcomes[name]["message"])


@pytest.mark.parametrize("name", quick_first(["misspelt dsn", "dsn with no project"]))
def test_a_launched_server_runs_and_answers(name: str, outcomes: dict[str, Any], folder: Path) -> None:
    """The server answers requests that another service traces, and one that is invalid."""
    case, env = launched(name, folder)
    (folder / "served.py").write_text(APP)
    port = free_port()
    command = uvicorn_command("served:app", port, launcher=True)
    with Server(command, port, env=env, cwd=folder, pythonpath=[folder, ROOT]) as server:
        trace = {"traceparent": f"00-{'1' * 32}-{'2' * 16}-01"}
        assert server.get("/items/7", headers=trace).json() == {"item": 7}
        assert server.get("/items/x").status_code == 422
        server.terminate()
        check_log(case, server.output, outcomes[name]["message"])


@pytest.mark.parametrize("name", ["misspelt dsn", "dsn on a line that is no YAML", "unknown propagator"])
def test_an_application_that_calls_setup_prints_the_text(name: str, outcomes: dict[str, Any], folder: Path) -> None:
    """The uncaught error ends the process. Its traceback shows no secret."""
    case, env = launched(name, folder)
    done = run_python("import brain_otel\nbrain_otel.setup()\nprint('not reached')", env, cwd=folder)
    assert (done.returncode, done.stdout) == (1, "")
    expected = f"brain_otel.ConfigurationError: {outcomes[name]['message']}"
    assert done.stderr.splitlines()[-1] == expected
    assert case.secret not in done.stderr


def test_an_application_may_catch_the_error_and_go_on(outcomes: dict[str, Any], folder: Path) -> None:
    """The helpers do nothing, and a corrected `setup()` works in the same process."""
    code = """
import os
import brain_otel
try:
    brain_otel.setup()
except brain_otel.ConfigurationError as error:
    print(error)
with brain_otel.start_span("work"):
    brain_otel.capture_message("still here")
del os.environ["OTEL_CONFIG_FILE"]
os.environ["SENTRY_ENVIRONMENT"] = "test"
brain_otel.setup()
from brain_otel.destinations.memory import MEMORY
with brain_otel.start_span("seen"):
    pass
print([span.name for span in MEMORY.spans])
"""
    for name in ("otlp compression", "batch above its queue", "unknown propagator", "attribute not of its type"):
        done = run_python(code, launched(name, folder)[1], cwd=folder)
        assert done.stdout.splitlines() == [outcomes[name]["message"], "['seen']"], done.stderr


@pytest.mark.parametrize("secret", [
    DSN, f"Bearer {KEY}", "Basic aHVudGVyMjpodW50ZXIy", "http://shop:hunter2@collector:4318/v1/traces", KEY,
    "eyJhbGciOiJIUzI1NiJ9.e30.abc", "123e4567-e89b-42d3-a456-426614174000", "sk-proj-hunter2hunter2",
    "password=hunter2",
    "postgresql://hunter2@db/shop", "api_key: hunter2",
])  # fmt: skip
def test_text_that_looks_like_a_secret_is_masked(secret: str) -> None:
    """It is masked alone and within other text."""
    for text in (secret, f"before {secret} after", f"['{secret}']"):
        assert "(masked)" in masked(text)
        for part in ("hunter2", KEY, "aHVudGVy", "e30", "426614174000"):
            assert part not in masked(text)


@pytest.mark.parametrize("text", [
    "http://localhost:4318/v1/traces", "/var/lib/shop/telemetry-2026/spans.jsonl", "parentbased_traceidratio", "1.5",
    "service.name=shop,service.version=1.2.3", "2026-11-03T10:00:00", "staging", "shop@1.2.3", "otlp,console",
])  # fmt: skip
def test_text_that_is_no_secret_is_shown(text: str) -> None:
    """The value makes the message more useful."""
    assert masked(text) == text
