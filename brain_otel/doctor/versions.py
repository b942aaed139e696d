"""What is installed: versions against the ranges that this package declares, and who else wants to be in charge."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, distribution, entry_points, version
from typing import TYPE_CHECKING

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from brain_otel.doctor.findings import Finding
from brain_otel.launcher import HOW_TO_CHOOSE

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

OURS = "brain-otel"

_SHOWN = ("opentelemetry-sdk", "sentry-sdk", "fastapi", "sqlalchemy", "redis", "httpx")

_LAUNCHER = {
    "opentelemetry_distro": ("OTEL_PYTHON_DISTRO", "distro"),
    "opentelemetry_configurator": ("OTEL_PYTHON_CONFIGURATOR", "configurator"),
}


def check_versions() -> Iterator[Finding]:
    """Compare what is installed with what our own metadata asks for; what an extra names may be absent."""
    ours = distribution(OURS)
    seen: dict[str, str] = {}
    wrong = False
    python = platform.python_version()
    if not _is_in(SpecifierSet(ours.metadata["Requires-Python"]), python):
        wrong = True
        yield _outside("Python", python, ours.metadata["Requires-Python"], "Use a Python of that range.")
    for text in ours.requires or ():
        requirement = Requirement(text)
        optional = requirement.marker is not None and "extra" in str(requirement.marker)
        if requirement.marker is not None and not optional and not requirement.marker.evaluate():
            continue
        name, range_ = requirement.name, str(requirement.specifier)
        try:
            installed = version(name)
        except PackageNotFoundError:
            if not optional:
                wrong = True
                yield _missing(name, range_)
            continue
        if name not in seen and not _is_in(requirement.specifier, installed):
            wrong = True
            yield _outside(name, installed, range_, f"pip install '{name}{range_}'")
        seen[name] = installed
    if not wrong:
        shown = ", ".join(f"{name} {seen[name]}" for name in _SHOWN if name in seen)
        yield Finding(
            check="versions",
            level="ok",
            title=f"{OURS} {ours.version} on Python {python}: {len(seen)} packages in their supported ranges",
            detail=shown,
        )


def check_launcher(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Look for another distro or configurator that ``opentelemetry-instrument`` might choose instead of ours."""
    in_charge, possible = [], []
    for group, (variable, noun) in _LAUNCHER.items():
        others = sorted({each.name for each in entry_points(group=group)} - {"brain_otel"})
        chosen = environ.get(variable, "")
        if chosen and chosen != "brain_otel":
            in_charge.append(f"{variable}={chosen}")
        elif others and not chosen:
            possible.append(f"the {noun} {', '.join(map(repr, others))}")
    remedy = f"S{HOW_TO_CHOOSE[1:]}, or uninstall the other one."
    if in_charge:
        title = f"Under opentelemetry-instrument another distro is in charge: {', '.join(in_charge)}"
        yield Finding(check="launcher", level="warning", title=title, remedy=remedy)
    if possible:
        yield Finding(
            check="launcher",
            level="warning",
            title=f"Under opentelemetry-instrument another distro may be in charge: {', '.join(possible)}",
            detail="It takes the first that it finds, in no certain order.",
            remedy=remedy,
        )
    if not in_charge and not possible:
        yield Finding(check="launcher", level="ok", title="No other distro takes brain_otel's place")


def _is_in(specifier: SpecifierSet, installed: str) -> bool:
    return specifier.contains(installed, prereleases=True)


def _missing(name: str, range_: str) -> Finding:
    return Finding(
        check="versions",
        level="fault",
        title=f"{name} is not installed",
        detail=f"{OURS} needs {name}{range_}",
        remedy=f"pip install '{name}{range_}'",
    )


def _outside(name: str, installed: str, range_: str, remedy: str) -> Finding:
    return Finding(
        check="versions",
        level="fault",
        title=f"{name} {installed} is not supported",
        detail=f"supported: {range_}",
        remedy=remedy,
    )
