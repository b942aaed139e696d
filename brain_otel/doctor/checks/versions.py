"""Compares the installed versions with the ranges that this package declares."""

import platform
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, distribution, version

from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

from brain_otel.doctor.finding import Finding

OURS = "brain-otel"

_SHOWN = ("opentelemetry-sdk", "sentry-sdk", "fastapi", "sqlalchemy", "redis", "httpx")


def check_versions() -> Iterator[Finding]:
    """Yield a fault for each package that is missing or unsupported; the packages of an extra may be missing."""
    python, supported = platform.python_version(), distribution(OURS).metadata["Requires-Python"]
    installed: dict[str, str] = {}
    faults = []
    if not _is_in(SpecifierSet(supported), python):
        faults.append(_fault(f"Python {python} is not supported", supported, f"Use Python {supported}."))
    for requirement, optional in _requirements():
        name, range_ = requirement.name, str(requirement.specifier)
        remedy = f"pip install '{name}{range_}'"
        found = installed_version(name)
        if found is None and not optional:
            faults.append(_fault(f"{name} is not installed", range_, remedy))
        if found is None:
            continue
        if name not in installed and not _is_in(requirement.specifier, found):
            faults.append(_fault(f"{name} {found} is not supported", range_, remedy))
        installed[name] = found
    yield from faults
    if not faults:
        title = f"{OURS} {version(OURS)} on Python {python}; {len(installed)} packages have supported versions"
        shown = ", ".join(f"{name} {installed[name]}" for name in _SHOWN if name in installed)
        yield Finding("versions", "ok", title, shown)


def _requirements() -> Iterator[tuple[Requirement, bool]]:
    """Each requirement that applies to this interpreter, and whether it belongs to an extra."""
    for text in distribution(OURS).requires or ():
        requirement = Requirement(text)
        optional = requirement.marker is not None and "extra" in str(requirement.marker)
        if requirement.marker is None or optional or requirement.marker.evaluate():
            yield requirement, optional


def installed_version(name: str) -> str | None:
    """The version of a package; None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _is_in(specifier: SpecifierSet, installed: str) -> bool:
    return specifier.contains(installed, prereleases=True)


def _fault(title: str, supported: str, remedy: str) -> Finding:
    return Finding("versions", "fault", title, f"supported versions: {supported}", remedy)
