"""Runs the inspection of an application in a process of its own: in bounded time, and leaving nothing behind."""

import importlib.util
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from brain_otel.doctor.inspection_report import InspectionReport

GRACE = 5.0
"""Seconds that the process may exceed its own time limit before it is killed."""


def inspect(
    app: str, environ: Mapping[str, str], *, environment: str | None, config_file: Path | None, seconds: float
) -> InspectionReport:
    """Import ``app`` in a new process and return its report; an empty ``app`` only runs ``setup()``."""
    variables = dict(environ)
    if environment:
        variables["SENTRY_ENVIRONMENT"] = environment
    if config_file:
        variables["OTEL_CONFIG_FILE"] = str(config_file.absolute())
    by_launcher = _without_launcher(variables)
    with tempfile.TemporaryDirectory(prefix="brain-otel-doctor-") as folder:
        report, errors = Path(folder, "report.json"), Path(folder, "stderr")
        arguments = [str(report), f"{seconds:g}", app, "by_launcher" if by_launcher else ""]
        status = _run(arguments, variables, errors, seconds + GRACE)
        with suppress(OSError, ValueError):
            return InspectionReport.from_json(report.read_text(encoding="utf-8"))
        lines = errors.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        return InspectionReport(exit_status=status, last_words=lines[-1][:500] if lines else "")


def _run(arguments: list[str], environ: Mapping[str, str], errors: Path, timeout: float) -> int:
    """Run the inspection for up to ``timeout`` seconds, kill what remains, and return the exit status."""
    command = [sys.executable, "-m", "brain_otel.doctor.dry_run", *arguments]
    with (
        errors.open("wb") as stderr,
        subprocess.Popen(  # noqa: S603 - our own module, and the name that the user gave
            command,
            env=environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=stderr,
            start_new_session=True,
        ) as process,
    ):
        try:
            with suppress(subprocess.TimeoutExpired):
                process.wait(timeout)
        finally:
            _kill(process)
        return process.returncode


def _kill(process: subprocess.Popen[bytes]) -> None:
    """Kill the process and every process that it started."""
    with suppress(ProcessLookupError, PermissionError):
        if hasattr(os, "killpg"):
            os.killpg(process.pid, signal.SIGKILL)
        else:
            process.kill()
    process.wait()


def _without_launcher(variables: dict[str, str]) -> bool:
    """Remove the folder of ``opentelemetry-instrument`` from PYTHONPATH; return whether it was there.

    The folder's ``sitecustomize`` sets up when the interpreter starts, before the inspection can prevent sending. The
    inspection does the launcher's work itself instead.
    """
    found = importlib.util.find_spec("opentelemetry.instrumentation.auto_instrumentation")
    folder = Path(found.origin).parent if found is not None and found.origin else None
    paths = variables.get("PYTHONPATH", "").split(os.pathsep)
    others = [each for each in paths if not each or Path(each) != folder]
    if len(others) == len(paths):
        return False
    variables["PYTHONPATH"] = os.pathsep.join(others)
    return True
