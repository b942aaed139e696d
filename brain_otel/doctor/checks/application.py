"""Checks whether the application sets up telemetry when it is imported, and whether anything does the work twice."""

from collections.abc import Iterator
from functools import partial

from brain_otel.doctor.effective_configuration import EffectiveConfiguration
from brain_otel.doctor.finding import Finding, Level
from brain_otel.doctor.inspection_report import Apps, Call, InspectionReport, Setup

_DUPLICATES: dict[str, tuple[Level, str]] = {
    "FastAPIInstrumentor": ("fault", "fastapi"),
    "StarletteInstrumentor": ("fault", "fastapi"),
    "SQLAlchemyInstrumentor": ("fault", "sqlalchemy"),
    "LoggingInstrumentor": ("fault", "logging"),
    "RedisInstrumentor": ("warning", "redis"),
    "HTTPXClientInstrumentor": ("warning", "httpx"),
    "AsyncioInstrumentor": ("warning", "asyncio"),
}
"""Contrib's instrumentors of our libraries, with our setting. A second activation of the last three has no effect."""

_BELOW_SQLALCHEMY = {"AsyncPGInstrumentor", "PsycopgInstrumentor", "Psycopg2Instrumentor", "SQLite3Instrumentor"}
_SENTRY_DUPLICATES = {"asyncpg", "fastapi", "httpx", "redis", "sqlalchemy", "starlette", "opentelemetry", "otlp"}
_TRACING_MIDDLEWARE = {"OpenTelemetryMiddleware", "SentryAsgiMiddleware"}
_OLD_CONVENTIONS = {"default": "the old names", "http/dup": "old and new names", "database/dup": "old and new names"}

_finding = partial(Finding, "application")


def check_application(app: str, report: InspectionReport, effective: EffectiveConfiguration) -> Iterator[Finding]:
    """Check the report of the import of ``app``."""
    findings = [*check_import(app, report), *_check_calls(report)]
    if report.apps is not None:
        findings += _check_setup(app, report, effective)
        findings += _check_apps(app, report, report.apps)
        findings += _check_fastapi(report, report.apps, effective)
        findings += _check_conventions(report)
    findings += [
        _finding(
            "warning",
            "brain_otel logs a warning",
            line,
            "See the lines above, or the section Logs of docs/troubleshooting.md.",
        )
        for line in report.warnings
        if line not in effective.settings.notices and not any(call.name in line for call in report.calls)
    ]
    if not any(each.level in ("fault", "warning") for each in findings):
        findings.insert(0, _finding("ok", f"{app} sets up brain_otel, and nothing else does the same work"))
    yield from findings


def check_import(app: str, report: InspectionReport) -> Iterator[Finding]:
    """Yield a fault if the import of ``app`` did not finish."""
    if report.stuck_at:
        yield _finding(
            "fault",
            f"The import of {app} takes too long",
            f"The time ran out at {report.stuck_at}.",
            "Move what waits out of the import, or allow more seconds with --import-timeout.",
        )
    elif report.exit_status is not None:
        yield _finding(
            "fault",
            f"The import of {app} ended the process",
            f"status {report.exit_status}" + (f": {report.last_words}" if report.last_words else ""),
            "Run `python -X faulthandler -c 'import ...'` to see where.",
        )
    elif (failure := report.failure) is not None:
        yield _finding(
            "fault",
            f"{app} cannot be imported",
            f"{failure.type}: {failure.text}" + (f" ({failure.place})" if failure.place else ""),
            "Correct that line, or the name: give it as for uvicorn, module:attribute, from the same directory.",
        )


def _check_calls(report: InspectionReport) -> Iterator[Finding]:
    for call in report.calls:
        if call.name == "sentry_sdk.init":
            yield _second_sentry_client(call)
        elif call.name.startswith("set_") and call.name.endswith("_provider"):
            effect = "before brain_otel.setup(), which then fails" if call.before_setup else "without effect"
            yield _finding(
                "fault",
                f"The application calls {call.name}()",
                f"at {call.place}, {effect}",
                "Remove it: brain_otel.setup() creates the providers as the configuration file says.",
            )
        elif call.name in _DUPLICATES:
            level, setting = _DUPLICATES[call.name]
            yield _finding(
                level,
                f"The application uses {call.name}, but brain_otel does the same",
                f"at {call.place}",
                f"Remove it, or turn ours off with distribution.brain_otel.instrumentation.{setting}: false.",
            )
        elif call.name in _BELOW_SQLALCHEMY:
            yield _finding(
                "warning",
                f"{call.name} traces the driver below SQLAlchemy, so each statement has two spans",
                f"at {call.place}",
                "Remove it if all statements go through SQLAlchemy.",
            )


def _second_sentry_client(call: Call) -> Finding:
    twice = sorted(_SENTRY_DUPLICATES & set(call.integrations))
    return _finding(
        "fault",
        "The application calls sentry_sdk.init(), which replaces brain_otel's client",
        f"at {call.place}" + (f"; its integrations {', '.join(twice)} report the same work twice" if twice else ""),
        "Remove it; DSN, environment, release and rates come from SENTRY_* variables or the file.",
    )


def _check_setup(app: str, report: InspectionReport, effective: EffectiveConfiguration) -> Iterator[Finding]:
    if report.setup is None:
        yield _finding(
            "fault",
            f"{app} does not call brain_otel.setup(): it runs without telemetry",
            remedy="Call brain_otel.setup() where the app is made, not in its lifespan. Or start it with "
            f"opentelemetry-instrument, and check it with: opentelemetry-instrument brain-otel doctor {app}",
        )
        return
    for title in report.served_before_setup:
        yield _finding(
            "fault",
            f"The app {title!r} had built its middleware before brain_otel.setup()",
            "It has already served a request. Errors that its exception handlers turn into a 5xx are not reported.",
            "Call brain_otel.setup() where the app is made, before its first request.",
        )
    if count := report.engines_before_setup:
        engines = "1 SQLAlchemy engine was" if count == 1 else f"{count} SQLAlchemy engines were"
        yield _finding("ok", f"{engines} made before setup()", "brain_otel traces them as well.")
    yield from _check_other_configuration(app, report.setup, effective)


def _check_other_configuration(app: str, setup: Setup, effective: EffectiveConfiguration) -> Iterator[Finding]:
    if (setup.environment, setup.source) != (effective.choice.environment, effective.settings.source):
        yield _finding(
            "warning",
            "The application calls setup() with another environment or file than was checked here",
            f"{setup.environment}, {setup.source}",
            f"Check that one: brain-otel doctor {app} --environment {setup.environment} --config-file {setup.source}",
        )


def _check_apps(app: str, report: InspectionReport, apps: Apps) -> Iterator[Finding]:
    if not apps.count:
        yield _finding("warning", f"{app} creates no FastAPI app", remedy="Name the module that creates it.")
    for name in sorted(_TRACING_MIDDLEWARE & set(apps.middleware)):
        yield _finding(
            "fault", f"{name} makes a second span of each request", remedy="Remove it from the application."
        )
    for name in report.agents:
        yield _finding(
            "warning",
            f"{name} runs in the same process and may trace the same work",
            remedy=f"Remove {name}, or let only one of the two instrument each library.",
        )


def _check_fastapi(report: InspectionReport, apps: Apps, effective: EffectiveConfiguration) -> Iterator[Finding]:
    kind = report.setup.fastapi if report.setup is not None else ""
    if kind == "native" and any(call.name == "FastAPIInstrumentor" for call in report.calls):
        yield _finding(
            "fault",
            "FastAPI's own telemetry and contrib's are both turned on; FastAPI's has no effect",
            "The file says fastapi: native, and the application uses FastAPIInstrumentor.",
            "Remove FastAPIInstrumentor, or write fastapi: contrib in the file.",
        )
    for title in apps.with_native_options if kind == "contrib" else ():
        yield _finding(
            "warning",
            f"FastAPI's own telemetry and contrib's are both turned on for the app {title!r}",
            "FastAPI(telemetry=...) has no effect on spans: the file says fastapi: contrib.",
            "Write fastapi: native in the file, or remove telemetry=.",
        )
    sends_otlp = any(each.options.name == "otlp" and not each.is_off for each in effective.targets)
    for title in apps.with_own_exporters:
        yield _finding(
            "fault" if sends_otlp else "warning",
            f"FastAPI adds OTLP exporters to the app {title!r}: beside ours, everything is sent twice",
            "telemetry={'auto_configure': True}, or FASTAPI_OTEL_AUTO_CONFIGURE=true",
            "Turn it off: brain_otel's file says where telemetry goes.",
        )


def _check_conventions(report: InspectionReport) -> Iterator[Finding]:
    """Warn of old attribute names, which contrib chooses if it is used before ``setup()``."""
    for signal, mode in report.conventions.items() if report.setup is not None else ():
        if mode in _OLD_CONVENTIONS:
            yield Finding(
                "conventions",
                "warning",
                f"In the application, contrib's instrumentations use {_OLD_CONVENTIONS[mode]} for {signal}",
                "The first of them that is used decides, or OTEL_SEMCONV_STABILITY_OPT_IN.",
                "Call brain_otel.setup() before other instrumentations, and leave the variable unset.",
            )
