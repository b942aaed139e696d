"""Runs ``brain-otel config`` and ``brain-otel doctor``, and fails if they print a secret."""

from __future__ import annotations

import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest

from brain_otel.doctor import sandbox
from brain_otel.doctor.diagnosis import Request, diagnose
from brain_otel.doctor.finding import Finding, has_fault
from tests.support import forked
from tests.support.process import PROGRAMS, environment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

KEY = "k3yofthedsn0123456789abcdef012345"
TOKEN = "t0kenofheaders"
PASSWORD = "p4sswordofadatabase"
SECRETS = (KEY, TOKEN, PASSWORD)

PLANTED = {
    "OTEL_EXPORTER_OTLP_HEADERS": f"api-key={TOKEN},tenant=blue",
    "DATABASE_URL": f"postgresql://shop:{PASSWORD}@db.example/shop",
}
"""Secrets that are in the environment of every run."""

OURS_IN_CHARGE = {"OTEL_PYTHON_DISTRO": "brain_otel", "OTEL_PYTHON_CONFIGURATOR": "brain_otel"}
"""Without them the doctor warns of opentelemetry-distro, which the tests install."""

KNOWN_RELEASE = {"SENTRY_RELEASE": "shop@1"}
"""Without it the doctor warns where the directory is in no repository."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What a command wrote."""

    returncode: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        return json.loads(self.out)


class Findings(tuple[Finding, ...]):
    """The findings of one run."""

    def of(self, *levels: str) -> list[Finding]:
        return [each for each in self if each.level in levels]

    def about(self, check: str) -> list[Finding]:
        return [each for each in self if each.check == check]

    @property
    def problems(self) -> list[Finding]:
        return self.of("warning", "fault")

    def fault(self, words: str) -> Finding:
        """Return the one fault; fail unless it has these words and says what to do."""
        (fault,) = self.of("fault")
        return _checked(fault, words)

    def warning(self, words: str) -> Finding:
        """Return the one warning; fail if there is a fault, or unless it has these words and says what to do."""
        (warning,) = self.problems
        assert warning.level == "warning"
        return _checked(warning, words)


def _checked(finding: Finding, words: str) -> Finding:
    assert words in f"{finding.title} {finding.detail}", finding
    assert finding.remedy, finding
    return finding


def run_command(
    *arguments: str,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    pythonpath: Sequence[Path] = (),
    launcher: bool = False,
) -> Run:
    """Run ``brain-otel`` with these arguments to its end."""
    command = [str(PROGRAMS / "opentelemetry-instrument")] if launcher else []
    result = forked.run(
        [*command, str(PROGRAMS / "brain-otel"), *arguments],
        env=environment({**PLANTED, **OURS_IN_CHARGE, **(env or {})}, pythonpath=pythonpath),
        encoding="utf-8",
        timeout=90,
        cwd=cwd,
    )
    _assert_no_secret(result.stdout, result.stderr)
    assert "Traceback" not in result.stdout + result.stderr
    return Run(returncode=result.returncode, out=result.stdout, err=result.stderr)


def doctor(*arguments: str, **how: Any) -> Findings:
    """Run ``brain-otel doctor --json`` as a user does; it prints one object, and the exit code fits."""
    how["env"] = {**KNOWN_RELEASE, **how.get("env", {})}
    run = run_command("doctor", "--json", *arguments, **how)
    findings = Findings(Finding(**each) for each in run.data["findings"])
    assert run.data["healthy"] is not has_fault(findings)
    assert run.returncode == int(has_fault(findings))
    return findings


def diagnosed(
    env: Mapping[str, str] | None = None, *, config_file: str | Path | None = None, **request: Any
) -> Findings:
    """Run the checks in this process; only the import of an application, or ``setup()``, has one of its own.

    That one is forked; `doctor()` starts a new one, as users do.
    """
    variables = environment({**PLANTED, **OURS_IN_CHARGE, **KNOWN_RELEASE, **(env or {})})
    file = Path(config_file) if config_file else None
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sandbox, "subprocess", SimpleNamespace(**{**vars(subprocess), "Popen": forked.start}))
        findings = Findings(diagnose(Request(config_file=file, **request), variables).findings)
    _assert_no_secret(*map(str, findings))
    return findings


def _assert_no_secret(*texts: str) -> None:
    for secret in SECRETS:
        assert not any(secret in text for text in texts)
