"""What an application does with telemetry when it is imported: tried in a process of its own, judged here."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from brain_otel.doctor.findings import Finding
from brain_otel.doctor.sandbox import without_launcher

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from brain_otel.doctor.effective import Effective
    from brain_otel.doctor.findings import Level

GRACE = 5.0
"""Seconds beyond the bound after which the process is ended from outside: it could not do it itself."""

_DUPLICATES = {
    "FastAPIInstrumentor": "fault",
    "StarletteInstrumentor": "fault",
    "SQLAlchemyInstrumentor": "fault",
    "LoggingInstrumentor": "fault",
    "RedisInstrumentor": "warning",
    "HTTPXClientInstrumentor": "warning",
    "AsyncioInstrumentor": "warning",
}
"""Contrib's instrumentors of what brain_otel instruments; the last three would be turned on once in any case."""

_BELOW_SQLALCHEMY = ("AsyncPGInstrumentor", "PsycopgInstrumentor", "Psycopg2Instrumentor", "SQLite3Instrumentor")
_SENTRY_DUPLICATES = {"asyncpg", "fastapi", "httpx", "redis", "sqlalchemy", "starlette", "opentelemetry", "otlp"}
_MIDDLEWARE = {"OpenTelemetryMiddleware", "SentryAsgiMiddleware"}
_SETTINGS = {"HTTPXClientInstrumentor": "httpx", "StarletteInstrumentor": "fastapi"}
_NAMES_OF_MODE = {"default": "the old names", "http/dup": "both names", "database/dup": "both names"}

_WHERE_TO_SET_UP = (
    "Call brain_otel.setup() where the app is made, not in its lifespan; or start it with opentelemetry-instrument, "
    "and check it with: opentelemetry-instrument brain-otel doctor {app}"
)


def inspect(
    app: str, environ: Mapping[str, str], *, environment: str | None, config_file: Path | None, seconds: float
) -> dict[str, Any]:
    """The report of :mod:`brain_otel.doctor.inspection`: of ``app``, or of ``setup()`` alone where it is empty."""
    variables = dict(environ)
    if environment:
        variables["SENTRY_ENVIRONMENT"] = environment
    if config_file:
        variables["OTEL_CONFIG_FILE"] = str(config_file.absolute())
    launched = without_launcher(variables)
    with tempfile.TemporaryDirectory(prefix="brain-otel-doctor-") as folder:
        report, errors = Path(folder, "report.json"), Path(folder, "stderr")
        arguments = [str(report), f"{seconds:g}", app, "launched" if launched else ""]
        command = [sys.executable, "-m", "brain_otel.doctor.inspection", *arguments]
        with (
            errors.open("wb") as stderr,
            subprocess.Popen(  # noqa: S603 - our own module, and the name that the user gave
                command,
                env=variables,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=stderr,
                start_new_session=True,
            ) as process,
        ):
            try:
                process.wait(seconds + GRACE)
            except subprocess.TimeoutExpired:
                pass
            finally:
                _end(process)
        return _read(report, errors, process.returncode)


def _end(process: subprocess.Popen[bytes]) -> None:
    """End the process and what it has started."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _read(report: Path, errors: Path, status: int) -> dict[str, Any]:
    with suppress(OSError, ValueError):
        data: dict[str, Any] = json.loads(report.read_text(encoding="utf-8"))
        return data
    said = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    return {"ended": status, "said": said[-1][:500] if said else ""}


def check_setup(report: Mapping[str, Any]) -> Iterator[Finding]:
    """Judge a report of ``setup()`` alone."""
    error = report.get("error")
    if error and error["type"] == "ConfigurationError":
        detail, _, allowed = str(error["text"]).partition("; allowed: ")
        yield Finding(
            check="configuration",
            level="fault",
            title="setup() refuses the configuration",
            detail=detail,
            remedy=f"Allowed: {allowed}"
            if allowed
            else "Correct it; brain-otel config shows where each value is from.",
        )
    elif error or "ended" in report or report.get("hangs"):
        yield from _broken("brain_otel.setup()", report)
    else:
        yield Finding(check="configuration", level="ok", title="setup() succeeds")


def check_app(app: str, report: Mapping[str, Any], effective: Effective) -> Iterator[Finding]:
    """Judge the report of ``app``."""
    findings = [*_broken(app, report), *_judged_calls(report)]
    if "apps" in report:
        findings += [*_judged_setup(app, report, effective), *_judged_app(app, report)]
        findings += [*_judged_native(report, effective), *_judged_names(report)]
    told = {"instrumented already", "is ignored:", "There is no file for the environment"}
    findings += [
        _made("warning", "brain_otel warns", line, "See above, or docs/ for this line.")
        for line in report.get("warnings", ())
        if not any(words in line for words in told)
    ]
    if not any(each.level in ("fault", "warning") for each in findings):
        findings.insert(0, _made("ok", f"{app} sets brain_otel up, and nothing else does its work"))
    yield from findings


def _broken(app: str, report: Mapping[str, Any]) -> Iterator[Finding]:
    error = report.get("error")
    if report.get("hangs"):
        yield _made(
            "fault",
            f"{app} was not imported in time",
            f"It was at {report['hangs']}.",
            "Move what waits out of the import, or allow more seconds with --import-timeout.",
        )
    elif "ended" in report:
        said = f": {report['said']}" if report.get("said") else ""
        yield _made(
            "fault",
            f"{app} ended the process while it was imported",
            f"status {report['ended']}{said}",
            "Run python -X faulthandler -c 'import ...' to see where.",
        )
    elif error:
        at = f" ({error['where']})" if error.get("where") else ""
        yield _made(
            "fault",
            f"{app} cannot be imported",
            f"{error['type']}: {error['text']}{at}",
            "Correct that line; the name is given as for uvicorn, module:attribute, from the directory it is run in.",
        )


def _judged_calls(report: Mapping[str, Any]) -> Iterator[Finding]:
    for call in report.get("calls", ()):
        what, where = call["what"], f"at {call['where']}"
        if what == "sentry_sdk.init":
            yield _sentry(call, where)
        elif what.startswith("set_") and what.endswith("_provider"):
            yield _made(
                "fault",
                f"The application calls {what}() itself",
                f"{where}, {'before brain_otel.setup(), which then refuses' if call['before_setup'] else 'in vain'}",
                "Remove it: brain_otel.setup() makes the providers; what they are to do stands in the file.",
            )
        elif what in _DUPLICATES:
            level: Level = "fault" if _DUPLICATES[what] == "fault" else "warning"
            setting = _SETTINGS.get(what, what.removesuffix("Instrumentor").lower())
            yield _made(
                level,
                f"The application uses {what} beside brain_otel, which does the same",
                where,
                f"Remove it, or turn ours off (distribution.brain_otel.instrumentation.{setting}: false).",
            )
        elif what in _BELOW_SQLALCHEMY:
            yield _made(
                "warning",
                f"{what} traces below SQLAlchemy: such a statement is two spans",
                where,
                "Remove it where all statements go through SQLAlchemy.",
            )


def _sentry(call: Mapping[str, Any], where: str) -> Finding:
    twice = sorted(_SENTRY_DUPLICATES & set(call["integrations"]))
    again = f"; its integrations {', '.join(twice)} report the same work twice" if twice else ""
    return _made(
        "fault",
        "The application calls sentry_sdk.init() itself: a second client takes the place of brain_otel's",
        where + again,
        "Remove it; DSN, environment, release and rates come from SENTRY_* variables or the file.",
    )


def _judged_setup(app: str, report: Mapping[str, Any], effective: Effective) -> Iterator[Finding]:
    setup = report["setup"]
    if setup is None:
        if not report["launcher"]:
            remedy = _WHERE_TO_SET_UP.format(app=app)
            yield _made("fault", f"{app} does not call brain_otel.setup(): it runs without telemetry", "", remedy)
        return
    for title in setup["built"]:
        yield _made(
            "fault",
            f"The app {title!r} had built its middleware before brain_otel.setup()",
            "It has served a request already: errors that its exception handlers answer with a 5xx are not reported.",
            "Call brain_otel.setup() where the app is made, before anything is asked of it.",
        )
    if setup["engines"]:
        engines = setup["engines"]
        yield _made(
            "ok",
            f"{engines} SQLAlchemy engine{'s were' if engines > 1 else ' was'} made before setup()",
            "They are traced all the same.",
        )
    if setup["environment"] != effective.choice.environment or setup["source"] != effective.settings.source:
        yield _made(
            "warning",
            "setup() is called with another environment or file than was checked here",
            f"{setup['environment']}, {setup['source']}",
            f"Check that one: brain-otel doctor {app} --environment {setup['environment']}"
            f" --config-file {setup['source']}",
        )


def _judged_app(app: str, report: Mapping[str, Any]) -> Iterator[Finding]:
    if not report["apps"]:
        yield _made(
            "warning", f"{app} makes no FastAPI app when it is imported", "", "Give the module that makes it."
        )
    outer = {report.get("app", "").rpartition(".")[2], *report["middleware"]} & _MIDDLEWARE
    for name in sorted(outer):
        yield _made(
            "fault", f"{name} around the app makes a second span of each request", "", "Remove it from the app."
        )
    for name in report["agents"]:
        yield _made(
            "warning",
            f"{name} is in the process as well: it may trace the same work",
            "",
            f"Do without {name}, or turn off in one of the two what both instrument.",
        )


def _judged_native(report: Mapping[str, Any], effective: Effective) -> Iterator[Finding]:
    kind = (report["setup"] or {}).get("fastapi")
    by_app = any(call["what"] == "FastAPIInstrumentor" for call in report["calls"])
    if kind == "native" and by_app:
        yield _made(
            "fault",
            "FastAPI's own telemetry and contrib's are both asked for: FastAPI's stays silent",
            "the file says fastapi: native, and the application uses FastAPIInstrumentor",
            "Remove FastAPIInstrumentor, or write fastapi: contrib.",
        )
    for title in report["native"] if kind == "contrib" else ():
        yield _made(
            "warning",
            f"FastAPI's own telemetry and contrib's are both asked for in the app {title!r}",
            "FastAPI(telemetry=...) has no effect on spans: the file says fastapi: contrib.",
            "Write fastapi: native in the file, or leave telemetry= out.",
        )
    twice = any(each.options.name == "otlp" and not each.is_off for each in effective.targets)
    for title in report["automatic"]:
        yield _made(
            "fault" if twice else "warning",
            f"FastAPI adds OTLP exporters of its own for the app {title!r}: with ours, everything is sent twice",
            "telemetry={'auto_configure': True}, or FASTAPI_OTEL_AUTO_CONFIGURE=true",
            "Leave it out: brain_otel's file says where telemetry goes.",
        )


def _judged_names(report: Mapping[str, Any]) -> Iterator[Finding]:
    """The names that contrib settled for when the application first used one of its instrumentations."""
    for kind, mode in report["conventions"].items() if report["setup"] is not None else ():
        if mode in _NAMES_OF_MODE:
            yield Finding(
                check="conventions",
                level="warning",
                title=f"In the application, contrib's instrumentations write {_NAMES_OF_MODE[mode]} for {kind}",
                detail="It is decided when the first of them is used, or by OTEL_SEMCONV_STABILITY_OPT_IN.",
                remedy="Call brain_otel.setup() before other instrumentations, with the variable unset.",
            )


def _made(level: Level, title: str, detail: str = "", remedy: str = "") -> Finding:
    return Finding(check="application", level=level, title=title, detail=detail, remedy=remedy)
