"""Runs ``brain-otel config`` and ``brain-otel doctor`` as a user does, and sees to it that no secret is printed."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tests.support.process import PROGRAMS, environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

KEY = "k3yofthedsn0123456789abcdef012345"
TOKEN = "t0kenofheaders"
PASSWORD = "p4sswordofadatabase"
SECRETS = (KEY, TOKEN, PASSWORD)

PLANTED = {
    "OTEL_EXPORTER_OTLP_HEADERS": f"api-key={TOKEN},tenant=blue",
    "DATABASE_URL": f"postgresql://shop:{PASSWORD}@db.example/shop",
}
"""Secrets that are there in every run."""

OURS_IN_CHARGE = {"OTEL_PYTHON_DISTRO": "brain_otel", "OTEL_PYTHON_CONFIGURATOR": "brain_otel"}
"""opentelemetry-distro is installed for the tests."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a command wrote."""

    returncode: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)

    @property
    def findings(self) -> list[dict[str, str]]:
        found: list[dict[str, str]] = self.data["findings"]
        return found

    def of(self, *levels: str) -> list[dict[str, str]]:
        return [each for each in self.findings if each["level"] in levels]

    @property
    def faults(self) -> list[dict[str, str]]:
        return self.of("fault")

    def fault(self, words: str) -> dict[str, str]:
        """Return the one fault; fail unless it has these words and says what to do."""
        assert len(self.faults) == 1, self.out
        (fault,) = self.faults
        assert words in fault["title"] + " " + fault["detail"], fault
        assert fault["remedy"], fault
        assert self.returncode == 1
        assert self.data["healthy"] is False
        return fault

    def warning(self, words: str) -> dict[str, str]:
        """Return the one warning; fail unless it is all there is, has these words and says what to do."""
        assert self.faults == [], self.out
        assert len(self.of("warning")) == 1, self.out
        (warning,) = self.of("warning")
        assert words in warning["title"] + " " + warning["detail"], warning
        assert warning["remedy"], warning
        assert self.returncode == 0
        return warning


def run_command(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pythonpath: Sequence[Path] = (),
    launcher: bool = False,
) -> Run:
    """Run ``brain-otel`` with these arguments to its end."""
    command = [str(PROGRAMS / "opentelemetry-instrument")] if launcher else []
    result = subprocess.run(
        [*command, str(PROGRAMS / "brain-otel"), *arguments],
        env=environment({**PLANTED, **OURS_IN_CHARGE, **(env or {})}, pythonpath=pythonpath),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        encoding="utf-8",
        timeout=90,
        cwd=cwd,
        check=False,
    )
    for secret in SECRETS:
        assert secret not in result.stdout + result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    return Run(returncode=result.returncode, out=result.stdout, err=result.stderr)


def doctor(*arguments: str, **how: Any) -> Run:
    """Run ``brain-otel doctor --json``; nothing but the object is printed."""
    run = run_command("doctor", "--json", *arguments, **how)
    assert isinstance(run.data, dict)
    return run
