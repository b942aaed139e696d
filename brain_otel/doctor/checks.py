"""All of the doctor's checks, in their order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, get_args

from brain_otel.configuration.error import ConfigurationError
from brain_otel.doctor.application import check_app, check_setup, inspect
from brain_otel.doctor.deliveries import check_deliveries, left_as_found
from brain_otel.doctor.effective import read_effective
from brain_otel.doctor.findings import Check, Finding, masked
from brain_otel.doctor.masking import Mask
from brain_otel.doctor.versions import check_launcher, check_versions

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from brain_otel.doctor.effective import Effective

_ORDER = get_args(Check)
_CONVENTIONS = "OTEL_SEMCONV_STABILITY_OPT_IN"


@dataclass(frozen=True, kw_only=True)
class Request:
    """What is to be checked."""

    app: str = ""
    environment: str | None = None
    config_file: Path | None = None
    timeout: float = 5.0
    """Seconds for each destination."""
    import_timeout: float = 30.0
    """Seconds for the application's import."""
    offline: bool = False


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """What was found; ``effective`` is None where the configuration cannot be read."""

    effective: Effective | None
    findings: tuple[Finding, ...]


def diagnose(request: Request, environ: Mapping[str, str]) -> Diagnosis:
    """Run every check that can be run."""
    effective: Effective | None = None
    findings: list[Finding] = []
    try:
        effective = read_effective(environ, environment=request.environment, config_file=request.config_file)
    except ConfigurationError as error:
        findings.append(_refused(str(error)))
    if effective is not None:
        findings += _check_configuration(effective)
    findings += check_versions()
    findings += check_launcher(environ)
    findings += _check_conventions(environ)
    if effective is not None:
        findings += sorted(_check_in_use(request, environ, effective), key=lambda each: _ORDER.index(each.check))
    mask = effective.mask if effective is not None else Mask(environ)
    return Diagnosis(effective=effective, findings=tuple(masked(each, mask) for each in findings))


def _check_in_use(request: Request, environ: Mapping[str, str], effective: Effective) -> Iterator[Finding]:
    with left_as_found(*effective.targets):
        report = inspect(
            request.app,
            environ,
            environment=request.environment,
            config_file=request.config_file,
            seconds=request.import_timeout,
        )
    judged = check_app(request.app, report, effective) if request.app else check_setup(report)
    refused = {each.detail for each in map(_refused, (target.refused for target in effective.targets)) if each.detail}
    chosen = bool(environ.get(_CONVENTIONS))  # by the user: that has been told
    yield from (
        each for each in judged if each.detail not in refused and not (chosen and each.check == "conventions")
    )
    yield from check_deliveries(effective, timeout=request.timeout, offline=request.offline)


def _refused(message: str) -> Finding:
    detail, _, allowed = message.partition("; allowed: ")
    remedy = f"Allowed: {allowed}" if allowed else "Correct it there."
    return Finding(
        check="configuration", level="fault", title="The configuration is refused", detail=detail, remedy=remedy
    )


def _check_configuration(effective: Effective) -> Iterator[Finding]:
    choice, settings = effective.choice, effective.settings
    yield Finding(
        check="configuration",
        level="ok",
        title=f"{choice.path}, {len(effective.leaves)} values",
        detail=f"environment {choice.environment} from {effective.environment_from}, file from {effective.path_from}",
    )
    for target in effective.targets:
        if target.refused:
            yield _refused(target.refused)
    for notice in settings.notices:
        remedy = "Unset the variable, or say in the file what it should." if "is ignored" in notice else ""
        if "There is no file" in notice:
            remedy = f"Put {choice.environment}.yaml into a folder and name that in BRAIN_OTEL_CONFIG_DIR."
        yield Finding(check="configuration", level="warning", title=notice, remedy=remedy)
    if settings.disabled:
        yield Finding(
            check="configuration",
            level="warning",
            title="Telemetry is disabled: setup() does nothing",
            remedy="Unset OTEL_SDK_DISABLED, or set `disabled: false` in the file.",
        )


def _check_conventions(environ: Mapping[str, str]) -> Iterator[Finding]:
    """What the user's own choice means; ours is the stable names alone."""
    chosen = {word.strip() for word in environ.get(_CONVENTIONS, "").split(",") if word.strip()}
    wrong = []
    for kind in ("http", "database") if chosen else ():
        if f"{kind}/dup" in chosen:
            wrong.append(f"{kind}: old and new names, each value twice")
        elif kind not in chosen:
            wrong.append(f"{kind}: the old names")
    if not wrong:
        yield Finding(check="conventions", level="ok", title="Stable semantic conventions for HTTP and databases")
        return
    yield Finding(
        check="conventions",
        level="warning",
        title=f"Mixed semantic conventions, {'; '.join(wrong)}",
        detail=f"{_CONVENTIONS}={environ[_CONVENTIONS]}",
        remedy=f"Unset {_CONVENTIONS} (brain_otel uses http,database), unless a dashboard still needs the old names.",
    )
