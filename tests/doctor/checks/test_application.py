"""``brain-otel doctor APP`` finds what an application does that telemetry cannot bear."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.doctor.checks.installed import install
from tests.doctor.command import KEY, PASSWORD, Findings, doctor
from tests.doctor.conftest import write_file
from tests.doctor.shop import APP, SETUP, Shop
from tests.support.hidden import hidden
from tests.support.tiers import quick_first

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.ingest import SentryIngest
    from tests.support.otlp import OtlpReceiver

ASK = """
import asyncio, httpx
async def ask():
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app=app), base_url="http://app.test") as client:
        await client.get("/")
asyncio.run(ask())
"""


@pytest.mark.parametrize("code", quick_first([SETUP + APP, APP + SETUP]))
def test_a_healthy_app_has_only_ok_lines(
    tmp_path: Path, healthy: dict[str, str], ingest: SentryIngest, receiver: OtlpReceiver, code: str
) -> None:
    """Whether it calls setup() before or after it makes the app; the one span and event are the doctor's own."""
    (tmp_path / "shop.py").write_text(code)
    findings = doctor("shop:app", cwd=tmp_path, env=healthy)
    assert findings.of("note", "warning", "fault") == []
    (finding,) = findings.about("application")
    assert finding.title == "shop:app sets up brain_otel, and nothing else does the same work"
    assert [span.name for span in receiver.spans] == ["brain_otel doctor"]
    assert len(ingest.events) == 1


def test_engines_made_before_setup_are_ok(shop: Shop) -> None:
    """brain_otel traces them, and the doctor says so."""
    code = "from sqlalchemy import create_engine\nengine = create_engine('sqlite://')\n" + APP + SETUP
    findings = shop.check(code)
    assert findings.problems == []
    assert any("1 SQLAlchemy engine was made before setup()" in each.title for each in findings)


def test_an_app_without_setup_is_a_fault(shop: Shop) -> None:
    """The remedy is setup() or the launcher."""
    fault = shop.check(APP).fault("does not call brain_otel.setup()")
    assert "opentelemetry-instrument brain-otel doctor shop:app" in fault.remedy


@pytest.mark.parametrize("code", quick_first([APP, SETUP + APP]))
def test_an_app_under_the_launcher_is_ok(tmp_path: Path, code: str) -> None:
    """With or without a call of setup()."""
    (tmp_path / "shop.py").write_text(code)
    env = {"OTEL_CONFIG_FILE": write_file(tmp_path, "console: {}")}
    assert doctor("shop:app", cwd=tmp_path, env=env, launcher=True).of("note", "warning", "fault") == []


def test_an_app_under_the_launcher_whose_set_up_fails_shows_why(tmp_path: Path) -> None:
    """The launcher only logs it, and the application runs without telemetry."""
    (tmp_path / "shop.py").write_text(APP)
    file = write_file(
        tmp_path, "console: {}", more="logger_provider: {processors: [{batch: {exporter: {nosuch: {}}}}]}"
    )
    findings = doctor("shop:app", cwd=tmp_path, env={"OTEL_CONFIG_FILE": file}, launcher=True)
    assert any("nosuch" in each.detail for each in findings.of("warning", "fault"))


def test_an_app_that_served_before_setup_is_a_fault(shop: Shop) -> None:
    """It has already built its middleware."""
    fault = shop.check(APP + ASK + SETUP).fault("'Shop' had built its middleware before brain_otel.setup()")
    assert fault.check == "application"


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

DUPLICATES = [
    (APP + FASTAPI + SETUP, "FastAPIInstrumentor", "shop.py:4"),
    (SETUP + APP + FASTAPI, "FastAPIInstrumentor", "shop.py:6"),
    (SENTRY + SETUP + APP, "sentry_sdk.init()", "shop.py:2"),
    (SETUP + SQLALCHEMY + APP, "SQLAlchemyInstrumentor", "shop.py:4"),
    (SETUP + LOGGING + APP, "LoggingInstrumentor", "shop.py:4"),
    (SETUP + APP + PROVIDER, "set_tracer_provider()", "shop.py:7"),
    (SETUP + APP + ASGI, "OpenTelemetryMiddleware", ""),
    (SETUP + APP + WRAPPED, "OpenTelemetryMiddleware", ""),
]


@pytest.mark.parametrize(("code", "words", "where"), quick_first(DUPLICATES))
def test_code_that_does_the_same_work_is_a_fault(shop: Shop, code: str, words: str, where: str) -> None:
    """The finding shows the line."""
    environ = {"PYTHONPATH": str(hidden(shop.folder))}
    assert where in shop.check(code, env=environ).fault(words).detail


def test_a_second_sentry_client_names_its_integrations(shop: Shop) -> None:
    """Those that report what brain_otel reports, and the line."""
    environ = {"PYTHONPATH": str(hidden(shop.folder))}
    detail = shop.check(SETUP + APP + SENTRY, env=environ).fault("sentry_sdk.init()").detail
    assert "shop.py:6" in detail
    assert "fastapi, httpx, redis, sqlalchemy, starlette report the same work twice" in detail


def test_a_separate_sentry_client_is_ok(shop: Shop) -> None:
    """A client that is not the global one takes nothing away."""
    code = SETUP + APP + "import sentry_sdk\nclient = sentry_sdk.Client(dsn=None, default_integrations=False)\n"
    assert shop.check(code).problems == []


def test_an_instrumentor_used_before_setup_keeps_the_old_names(shop: Shop) -> None:
    """The first instrumentor chooses the conventions; setup() logs a warning too, which is the last finding."""
    findings = shop.check(SQLALCHEMY + SETUP + APP)
    assert "SQLAlchemyInstrumentor" in findings.fault("shop.py:2").title
    assert [each.check for each in findings.of("warning")] == ["conventions", "conventions", "application"]


def test_a_provider_set_before_setup_is_a_fault_beside_the_error(shop: Shop) -> None:
    """setup() fails; the doctor shows the line to remove."""
    faults = shop.check(PROVIDER + SETUP + APP).of("fault")
    assert faults[0].title == "shop:app cannot be imported"
    assert "set_tracer_provider()" in faults[1].title
    assert "shop.py:3" in faults[1].detail


def check_fastapi(shop: Shop, kind: str, code: str, *processors: str, env: dict[str, str] | None = None) -> Findings:
    """Check ``code`` with the FastAPI instrumentation ``kind``."""
    more = f"    instrumentation: {{fastapi: {kind}}}"
    file = write_file(shop.folder, *(processors or ("console: {}",)), more=more)
    return shop.check(code, file=file, offline=True, env=env or {})


def test_native_telemetry_beside_contribs_instrumentor_is_a_fault(shop: Shop) -> None:
    """FastAPI's own telemetry, which the file chooses, has no effect then."""
    faults = check_fastapi(shop, "native", SETUP + APP + FASTAPI).of("fault")
    assert any("FastAPI's own telemetry and contrib's are both turned on" in each.title for each in faults)
    assert check_fastapi(shop, "native", SETUP + APP).problems == []


def test_native_options_beside_contrib_are_a_warning(shop: Shop) -> None:
    """FastAPI(telemetry=...) has no effect on spans, unless the file says native."""
    code = SETUP + APP.replace("title='Shop'", "title='Shop', telemetry={'operation_spans': False}")
    check_fastapi(shop, "contrib", code).warning("both turned on for the app 'Shop'")
    assert check_fastapi(shop, "native", code).problems == []


def test_fastapis_own_exporters_beside_ours_are_a_fault(shop: Shop, receiver: OtlpReceiver) -> None:
    """Everything is sent twice; without an exporter of ours it is a warning."""
    env = {"OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint}
    automatic = {**env, "FASTAPI_OTEL_AUTO_CONFIGURE": "true"}
    assert check_fastapi(shop, "contrib", SETUP + APP, "otlp: {}", env=env).problems == []
    check_fastapi(shop, "contrib", SETUP + APP, "otlp: {}", env=automatic).fault("sent twice")
    check_fastapi(shop, "contrib", SETUP + APP, env=automatic).warning("sent twice")


@pytest.mark.parametrize("agent", quick_first(["ddtrace", "newrelic", "elasticapm"]))
def test_another_agent_that_is_imported_is_a_warning(shop: Shop, agent: str) -> None:
    """It may trace the same work."""
    (shop.folder / f"{agent}.py").write_text("")
    shop.check(f"import {agent}\n" + SETUP + APP).warning(f"{agent} runs in the same process")


LOGFIRE = """
class Plugin:
    def new_schema_validator(self, *args): return None, None, None
plugin = Plugin()
def configure(): pass
open("imported", "w")
"""


@pytest.fixture
def logfire(shop: Shop) -> None:
    """Install a package that looks like logfire, whose plugin pydantic imports."""
    (shop.folder / "logfire.py").write_text(LOGFIRE)
    install(shop.folder, "logfire", "5.0", "[pydantic]\nlogfire-plugin = logfire:plugin\n")


@pytest.mark.usefixtures("logfire")
@pytest.mark.parametrize("code", quick_first(["import logfire\n" + SETUP + APP, SETUP + APP + "import logfire\n"]))
def test_logfire_is_a_warning_if_it_is_configured(shop: Shop, code: str) -> None:
    """Whether the application imports it before or after pydantic does."""
    shop.check(code + "logfire.configure()\n").warning("logfire runs in the same process")


@pytest.mark.usefixtures("logfire")
def test_logfire_is_ok_if_it_is_only_installed(shop: Shop) -> None:
    """Pydantic imports its plugin all the same."""
    assert shop.check(SETUP + APP).problems == []
    assert (shop.folder / "imported").exists()


def test_a_second_setup_is_a_warning(shop: Shop) -> None:
    """It changes nothing."""
    shop.check(SETUP + APP + SETUP).warning("set up already")


def test_setup_with_another_environment_is_a_warning(shop: Shop) -> None:
    """The doctor has checked another one than the application uses."""
    code = "import brain_otel\nbrain_otel.setup(environment='test')\n" + APP
    assert "--environment test" in shop.check(code).warning("another environment").remedy


def test_a_module_without_an_app_is_a_warning(shop: Shop) -> None:
    """The user may have named the wrong one."""
    shop.check(SETUP + "app = None\n").warning("creates no FastAPI app")


@pytest.mark.parametrize(
    ("code", "name", "words"),
    [
        pytest.param(SETUP + "import nosuchmodule\n", "shop:app", "nosuchmodule' (shop.py:3)", id="import"),
        pytest.param(SETUP + APP, "shop:application", "has no attribute 'application'", id="attribute"),
        pytest.param(SETUP + APP, "shopp:app", "ModuleNotFoundError: No module named 'shopp'", id="module"),
        pytest.param("import sys\nsys.exit('enough')\n", "shop:app", "SystemExit: enough (shop.py:2)", id="exit"),
        pytest.param("def app(:\n", "shop:app", "SyntaxError", id="syntax"),
        pytest.param(
            f"import os\nraise OSError(os.environ['DATABASE_URL'])  # {PASSWORD}\n",
            "shop:app",
            "[Filtered]@db.example",
            id="password of an address",
        ),
        pytest.param(
            f"raise ValueError('http://{KEY}@sentry.example/4 is bad')\n",
            "shop:app",
            "sentry.example",
            id="DSN in the code",
        ),
        pytest.param(
            "import os\nraise ValueError(os.environ['OTEL_EXPORTER_OTLP_HEADERS'].split(',')[0].split('=')[1])\n",
            "shop:app",
            "ValueError: (masked)",
            id="token alone",
        ),
    ],
)
def test_an_import_that_raises_is_a_fault(shop: Shop, code: str, name: str, words: str) -> None:
    """The finding shows the error and the line, without secrets; it has no line if the name is wrong."""
    fault = shop.check(code, name=name).fault(words)
    assert fault.title == f"{name} cannot be imported"
    assert ("(shop.py:" in fault.detail) == (name == "shop:app" and "SyntaxError" not in words)
