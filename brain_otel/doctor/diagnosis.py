"""Runs every check of ``brain-otel doctor``, in order."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from brain_otel.configuration.error import ConfigurationError
from brain_otel.doctor.checks.application import check_application
from brain_otel.doctor.checks.configuration import check_configuration, check_setup, invalid_configuration
from brain_otel.doctor.checks.conventions import OPT_IN, check_conventions
from brain_otel.doctor.checks.destinations import check_destinations, unused_files_removed
from brain_otel.doctor.checks.launcher import check_launcher
from brain_otel.doctor.checks.libraries import check_libraries
from brain_otel.doctor.checks.versions import check_versions
from brain_otel.doctor.effective_configuration import EffectiveConfiguration, read_effective_configuration
from brain_otel.doctor.finding import Check, Finding
from brain_otel.doctor.masking import Mask
from brain_otel.doctor.sandbox import inspect

_ORDER = get_args(Check)


@dataclass(frozen=True, kw_only=True)
class Request:
    """What to check."""

    app: str = ""
    """The application as ``module:attribute``; empty: only the set-up."""
    environment: str | None = None
    config_file: Path | None = None
    timeout: float = 5.0
    """Seconds for each destination."""
    import_timeout: float = 30.0
    """Seconds for the application's import."""
    offline: bool = False
    """Send nothing to the destinations."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """The findings; ``effective`` is None if the configuration cannot be read."""

    effective: EffectiveConfiguration | None
    findings: tuple[Finding, ...]


def diagnose(request: Request, environ: Mapping[str, str]) -> Diagnosis:
    """Run every check, as far as the configuration can be read."""
    effective: EffectiveConfiguration | None = None
    findings: list[Finding] = []
    try:
        effective = read_effective_configuration(
            environ, environment=request.environment, config_file=request.config_file
        )
        findings += check_configuration(effective)
    except ConfigurationError as error:
        findings.append(invalid_configuration(str(error)))
    findings += check_versions()
    findings += check_libraries()
    findings += check_launcher(environ)
    findings += check_conventions(environ)
    if effective is not None:
        findings += sorted(_check_by_running(request, environ, effective), key=lambda each: _ORDER.index(each.check))
    mask = effective.mask if effective is not None else Mask(environ)
    return Diagnosis(effective=effective, findings=tuple(each.masked(mask) for each in findings))


def _check_by_running(
    request: Request, environ: Mapping[str, str], effective: EffectiveConfiguration
) -> Iterator[Finding]:
    """Run ``setup()`` or import the application, then probe the destinations."""
    with unused_files_removed(*effective.targets):
        report = inspect(
            request.app,
            environ,
            environment=request.environment,
            config_file=request.config_file,
            seconds=request.import_timeout,
        )
    known = {invalid_configuration(target.error).detail for target in effective.targets if target.error}
    for finding in check_application(request.app, report, effective) if request.app else check_setup(report):
        is_known = finding.detail in known or (finding.check == "conventions" and environ.get(OPT_IN))
        if not is_known:
            yield finding
    yield from check_destinations(effective, timeout=request.timeout, offline=request.offline)
