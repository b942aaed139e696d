"""``brain-otel doctor APP`` finds what an application does that telemetry cannot bear, and bears all the app does."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]  # ships no types
import pytest

from tests.doctor.command import KEY, PASSWORD, Run, doctor
from tests.doctor.conftest import write_file

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.ingest import SentryIngest
    from tests.support.otlp import OtlpReceiver

SETUP = "import brain_otel\nbrain_otel.setup()\n"
APP = "from fastapi import FastAPI\napp = FastAPI(title='Shop')\n"

ASK = """
import asyncio, httpx
async def ask():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app.test") as client:
        await client.get("/")
asyncio.run(ask())
"""


def look_at(folder: Path, code: str, *arguments: str, name: str = "shop:app", **how: Any) -> Run:
    """Check ``code`` as the module ``shop`` in ``folder``, with a destination that needs no network."""
    (folder / "shop.py").write_text(code)
    env = {"OTEL_CONFIG_FILE": write_file(folder, "console: {}"), **how.pop("env", {})}
    return doctor(name, *arguments, cwd=folder, env=env, **how)


@pytest.mark.parametrize("code", [SETUP + APP, APP + SETUP], ids=["setup first", "app first"])
def test_a_healthy_app_has_only_good_lines(
    tmp_path: Path, healthy: dict[str, str], ingest: SentryIngest, receiver: OtlpReceiver, code: str
) -> None:
    """Be setup() called before or after the app is made; the one span and event are the doctor's own."""
    (tmp_path / "shop.py").write_text(code)
    run = doctor("shop:app", cwd=tmp_path, env=healthy)
    assert run.of("note", "warning", "fault") == []
    assert run.returncode == 0
    assert [each["title"] for each in run.of("ok") if each["check"] == "application"] == [
        "shop:app sets brain_otel up, and nothing else does its work"
    ]
    assert [span.name for span in receiver.spans] == ["brain_otel doctor"]
    assert len(ingest.events) == 1


def test_engines_made_before_setup_are_well(tmp_path: Path) -> None:
    """They are traced all the same, and that is said."""
    code = "from sqlalchemy import create_engine\nengine = create_engine('sqlite://')\n" + APP + SETUP
    run = look_at(tmp_path, code)
    assert run.of("note", "warning", "fault") == []
    assert any("1 SQLAlchemy engine was made before setup()" in each["title"] for each in run.of("ok"))


def test_an_app_without_setup_is_a_fault(tmp_path: Path) -> None:
    """Unless the launcher does it, under which it is checked then."""
    fault = look_at(tmp_path, APP).fault("does not call brain_otel.setup()")
    assert "opentelemetry-instrument brain-otel doctor shop:app" in fault["remedy"]
    assert look_at(tmp_path, APP, launcher=True).of("note", "warning", "fault") == []
    assert look_at(tmp_path, SETUP + APP, launcher=True).of("note", "warning", "fault") == []


def test_an_app_that_served_before_setup_is_a_fault(tmp_path: Path) -> None:
    """Its middleware is built by then."""
    fault = look_at(tmp_path, APP + ASK + SETUP).fault("'Shop' had built its middleware before brain_otel.setup()")
    assert fault["check"] == "application"


SENTRY = "import sentry_sdk\nsentry_sdk.init(dsn='http://public@127.0.0.1:9/1')\n"
FASTAPI = (
    "from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor\nFastAPIInstrumentor.instrument_app(app)\n"
)
SQLALCHEMY = (
    "from opentelemetry.instrumentation.sqlalchemy import SQLAlchemyInstrumentor\n"
    "SQLAlchemyInstrumentor().instrument(skip_dep_check=True)\n"
)
LOGGING = (
    "from opentelemetry.instrumentation.logging import LoggingInstrumentor\nLoggingInstrumentor().instrument()\n"
)
PROVIDER = (
    "from opentelemetry.trace import set_tracer_provider\nfrom opentelemetry.sdk.trace import TracerProvider\n"
    "set_tracer_provider(TracerProvider())\n"
)
ASGI = (
    "from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware\n"
    "app.add_middleware(OpenTelemetryMiddleware)\n"
)
WRAPPED = (
    "from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware\napp = OpenTelemetryMiddleware(app)\n"
)

FAULTY = [
    pytest.param(SETUP + APP + SENTRY, "sentry_sdk.init()", "shop.py:6", id="Sentry after"),
    pytest.param(SENTRY + SETUP + APP, "sentry_sdk.init()", "shop.py:2", id="Sentry before"),
    pytest.param(SETUP + APP + FASTAPI, "FastAPIInstrumentor", "shop.py:6", id="FastAPI after"),
    pytest.param(APP + FASTAPI + SETUP, "FastAPIInstrumentor", "shop.py:4", id="FastAPI before"),
    pytest.param(SETUP + SQLALCHEMY + APP, "SQLAlchemyInstrumentor", "shop.py:4", id="SQLAlchemy after"),
    pytest.param(SETUP + LOGGING + APP, "LoggingInstrumentor", "shop.py:4", id="logging"),
    pytest.param(SETUP + APP + PROVIDER, "set_tracer_provider()", "shop.py:7", id="provider after"),
    pytest.param(SETUP + APP + ASGI, "OpenTelemetryMiddleware", "", id="middleware"),
    pytest.param(SETUP + APP + WRAPPED, "OpenTelemetryMiddleware", "", id="wrapped"),
]


@pytest.mark.parametrize(("code", "words", "where"), FAULTY)
def test_what_does_the_same_work_twice_is_a_fault(tmp_path: Path, code: str, words: str, where: str) -> None:
    """With the line that does it."""
    assert where in look_at(tmp_path, code).fault(words)["detail"]


def test_sentrys_own_integrations_are_named(tmp_path: Path) -> None:
    """Those that report what brain_otel reports."""
    detail = look_at(tmp_path, SETUP + APP + SENTRY).fault("sentry_sdk.init()")["detail"]
    assert "fastapi, httpx, redis, sqlalchemy, starlette report the same work twice" in detail


def test_a_client_of_ones_own_beside_ours_is_well(tmp_path: Path) -> None:
    """One that is not made the global one takes nothing away."""
    code = SETUP + APP + "import sentry_sdk\nclient = sentry_sdk.Client(dsn=None, default_integrations=False)\n"
    assert look_at(tmp_path, code).of("warning", "fault") == []


def test_contribs_sqlalchemy_before_setup_is_a_fault_and_settles_the_old_names(tmp_path: Path) -> None:
    """The conventions are chosen when the first instrumentor is used."""
    run = look_at(tmp_path, SQLALCHEMY + SETUP + APP)
    assert "SQLAlchemyInstrumentor" in run.fault("shop.py:2")["title"]
    checks = [each["check"] for each in run.of("warning")]
    assert checks == ["conventions", "conventions", "application"]  # the last is what setup() itself logs


def test_a_provider_set_before_setup_is_told_beside_the_error(tmp_path: Path) -> None:
    """setup() refuses it, and the doctor says which line to remove."""
    run = look_at(tmp_path, PROVIDER + SETUP + APP)
    assert run.returncode == 1
    titles = [each["title"] for each in run.faults]
    assert titles[0] == "shop:app cannot be imported"
    assert "set_tracer_provider()" in titles[1]
    assert "shop.py:3" in run.faults[1]["detail"]


def native(folder: Path, kind: str, code: str, *processors: str, env: dict[str, str] | None = None) -> Run:
    (folder / "shop.py").write_text(code)
    file = write_file(folder, *(processors or ("console: {}",)), more=f"    instrumentation: {{fastapi: {kind}}}")
    return doctor("shop:app", "--config-file", file, "--offline", cwd=folder, env=env or {})


def test_native_telemetry_and_contribs_together_are_a_fault(tmp_path: Path) -> None:
    """FastAPI's stays silent, which the file asks for."""
    run = native(tmp_path, "native", SETUP + APP + FASTAPI)
    assert any("FastAPI's own telemetry and contrib's are both asked for" in each["title"] for each in run.faults)
    assert run.returncode == 1
    assert native(tmp_path, "native", SETUP + APP).of("fault", "warning") == []


def test_an_app_that_asks_for_native_telemetry_beside_contrib_is_warned(tmp_path: Path) -> None:
    """Its wishes have no effect."""
    code = SETUP + APP.replace("title='Shop'", "title='Shop', telemetry={'operation_spans': False}")
    native(tmp_path, "contrib", code).warning("both asked for in the app 'Shop'")
    assert native(tmp_path, "native", code).of("fault", "warning") == []


def test_fastapis_own_exporters_beside_ours_are_a_fault(tmp_path: Path, receiver: OtlpReceiver) -> None:
    """Everything would be sent twice."""
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
    automatic = {**env, "FASTAPI_OTEL_AUTO_CONFIGURE": "true"}
    assert native(tmp_path, "contrib", SETUP + APP, "otlp: {}", env=env).of("fault", "warning") == []
    native(tmp_path, "contrib", SETUP + APP, "otlp: {}", env=automatic).fault("sent twice")
    native(tmp_path, "contrib", SETUP + APP, env=automatic).warning("sent twice")


@pytest.mark.parametrize("agent", ["logfire", "ddtrace", "newrelic", "elasticapm"])
def test_another_agent_in_the_process_is_a_warning(tmp_path: Path, agent: str) -> None:
    """It may trace the same."""
    (tmp_path / f"{agent}.py").write_text("")
    look_at(tmp_path, f"import {agent}\n" + SETUP + APP).warning(f"{agent} is in the process")


def test_a_second_setup_is_a_warning(tmp_path: Path) -> None:
    """It changes nothing."""
    look_at(tmp_path, SETUP + APP + SETUP).warning("set up already")


def test_setup_with_another_environment_is_a_warning(tmp_path: Path) -> None:
    """What is checked is not what is used."""
    code = "import brain_otel\nbrain_otel.setup(environment='test')\n" + APP
    assert "--environment test" in look_at(tmp_path, code).warning("another environment")["remedy"]


def test_a_module_without_an_app_is_a_warning(tmp_path: Path) -> None:
    """Perhaps the wrong one was named."""
    look_at(tmp_path, SETUP + "app = None\n").warning("makes no FastAPI app")


@pytest.mark.parametrize(
    ("code", "name", "words"),
    [
        pytest.param(SETUP + "import nosuchmodule\n", "shop:app", "nosuchmodule' (shop.py:3)", id="import"),
        pytest.param(SETUP + APP, "shop:application", "has no attribute 'application'", id="attribute"),
        pytest.param(SETUP + APP, "shopp:app", "No module named 'shopp'", id="module"),
        pytest.param("import sys\nsys.exit('enough')\n", "shop:app", "SystemExit: enough (shop.py:2)", id="exit"),
        pytest.param("def app(:\n", "shop:app", "SyntaxError", id="syntax"),
        pytest.param(
            f"import os\nraise OSError(os.environ['DATABASE_URL'])  # {PASSWORD}\n",
            "shop:app",
            "[Filtered]@db.example",
            id="secret",
        ),
    ],
)
def test_an_app_that_cannot_be_imported_is_a_fault(tmp_path: Path, code: str, name: str, words: str) -> None:
    """The error, and the line."""
    fault = look_at(tmp_path, code, name=name).fault(words)
    assert fault["title"] == f"{name} cannot be imported"


@pytest.mark.parametrize("code", ["import os\nos._exit(3)\n", "import os\nos.kill(os.getpid(), 9)\n"])
def test_an_app_that_ends_the_process_is_a_fault(tmp_path: Path, code: str) -> None:
    """The doctor lives."""
    look_at(tmp_path, SETUP + code).fault("ended the process")


HANGING = """
import os, subprocess, sys
print("chatter" * 1000); print("chatter", file=sys.stderr)
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
open("child", "w").write(str(child.pid))
import time
time.sleep(600)
"""


def test_an_app_that_hangs_is_a_fault_in_bounded_time(tmp_path: Path) -> None:
    """The line is told, what it printed is not, and no process of it stays behind."""
    started = time.monotonic()
    fault = look_at(tmp_path, SETUP + HANGING, "--import-timeout", "4").fault("shop.py:9")
    assert "was not imported in time" in fault["title"]
    assert time.monotonic() - started < 30
    child = int((tmp_path / "child").read_text())
    assert not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE


def test_what_an_app_prints_and_starts_is_no_matter(tmp_path: Path) -> None:
    """Threads that never end, output, exit handlers that hang."""
    code = (
        SETUP
        + APP
        + "import atexit, threading, time\nprint('chatter' * 100_000)\natexit.register(time.sleep, 600)\n"
        + "threading.Thread(target=time.sleep, args=(600,)).start()\n"
    )
    assert look_at(tmp_path, code).of("note", "warning", "fault") == []


def test_a_dsn_in_the_code_is_not_printed(tmp_path: Path) -> None:
    """Nor in an error that shows it."""
    code = f"raise ValueError('http://{KEY}@sentry.example/4 is bad')\n"
    assert "sentry.example" in look_at(tmp_path, code).fault("ValueError")["detail"]


def test_a_secret_of_the_environment_is_not_printed_wherever_it_turns_up(tmp_path: Path) -> None:
    """Alone, without the name or the address that would tell it."""
    code = "import os\nraise ValueError(os.environ['OTEL_EXPORTER_OTLP_HEADERS'].split(',')[0].split('=')[1])\n"
    assert "ValueError: (masked)" in look_at(tmp_path, code).fault("ValueError")["detail"]
