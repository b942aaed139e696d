"""Checks the configuration: whether it can be read, what of it has no effect, and whether ``setup()`` accepts it."""

from collections.abc import Iterator

from brain_otel.doctor.checks.application import check_import
from brain_otel.doctor.effective_configuration import (
    FAST_PATHS_NOTICE,
    RELEASE_NOTICE,
    SERVICE_NOTICE,
    EffectiveConfiguration,
)
from brain_otel.doctor.finding import Finding
from brain_otel.doctor.inspection_report import InspectionReport

_REMEDIES = {
    FAST_PATHS_NOTICE: "Set distribution.brain_otel.fast_paths to true, unless an upstream release breaks one.",
    RELEASE_NOTICE: "Set SENTRY_RELEASE where you deploy, for example to the commit.",
    SERVICE_NOTICE: "Set OTEL_SERVICE_NAME, and let the file read it as the packaged files do.",
}


def check_configuration(effective: EffectiveConfiguration) -> Iterator[Finding]:
    """Name the file; yield a fault for each wrong option of a destination, and a warning for each notice."""
    choice = effective.choice
    yield Finding(
        "configuration",
        "ok",
        f"{choice.path} has {len(effective.leaves)} values",
        f"environment {choice.environment} from {effective.environment_from}, file from {effective.path_from}",
    )
    version = effective.version
    yield Finding(
        "configuration",
        "ok",
        f"release {effective.release.value}, service {effective.service.value}",
        f"release from {effective.release.origin}, service from {effective.service.origin}, "
        + (f"service.version {version.value} from {version.origin}" if version else "no service.version"),
    )
    for target in effective.targets:
        if target.error:
            yield invalid_configuration(target.error)
    for notice in effective.notices:
        yield Finding("configuration", "warning", notice, remedy=_remedy(notice, effective))
    if effective.settings.disabled:
        yield Finding(
            "configuration",
            "warning",
            "Telemetry is disabled: setup() does nothing",
            remedy="Unset OTEL_SDK_DISABLED, or write `disabled: false` in the file.",
        )


def check_setup(report: InspectionReport) -> Iterator[Finding]:
    """Check the report of ``setup()`` without an application."""
    failure = report.failure
    if failure is not None and failure.type == "ConfigurationError":
        yield invalid_configuration(failure.text)
        return
    broken = list(check_import("brain_otel.setup()", report))
    yield from broken or [Finding("configuration", "ok", "setup() succeeds")]


def invalid_configuration(message: str) -> Finding:
    """The fault for the message of a ``ConfigurationError``."""
    detail, _, allowed = message.partition("; allowed: ")
    remedy = f"Allowed: {allowed}" if allowed else "Correct it, and see the result with `brain-otel config`."
    return Finding("configuration", "fault", "The configuration is invalid", detail, remedy)


def _remedy(notice: str, effective: EffectiveConfiguration) -> str:
    if notice in _REMEDIES:
        return _REMEDIES[notice]
    if notice in effective.choice.notices:
        return f"Put a file {effective.choice.environment}.yaml into the folder that BRAIN_OTEL_CONFIG_DIR names."
    return "Unset the variable, or write its value into the file." if "is ignored" in notice else ""
