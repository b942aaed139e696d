"""Tells which modules an instrumentor waits for, and whether its library has a version that it supports.

An instrumentor names its library only after its own import, which imports the library. So a table has the modules of
OpenTelemetry's, and the metadata of any other distribution names its libraries in the extras ``instruments`` and
``instruments-any``. A library may also bring an instrumentor of its own.
"""

from collections.abc import Iterator
from importlib.metadata import Distribution, EntryPoint, PackageNotFoundError, distribution

from brain_otel.configuration.instrumentors import MODULES, plain_name
from brain_otel.runtime.lazy_regex import expression

_EXTRA = r"\bextra\s*+==\s*+['\"]instruments(?:-any)?+['\"]"
_REQUIREMENT = expression(rf"\s*+([A-Za-z0-9][\w.-]*+)[^;]*+;(?:(?!{_EXTRA}).)*+{_EXTRA}")


def awaited_modules(entry_point: EntryPoint) -> tuple[str, ...] | None:
    """The modules after whose import the instrumentor begins.

    Returns:
        No module if it names no library, and begins at once; None if its library is not installed.
    """
    known = MODULES.get(plain_name(entry_point.name))
    if known is not None and entry_point.module.startswith("opentelemetry.instrumentation."):
        return known
    names = list(_instrumented_distributions(entry_point.dist))
    if not names and _is_a_library(entry_point.dist):
        return (entry_point.module.partition(".")[0],)
    modules = tuple(dict.fromkeys(module for name in names for module in _modules_of(name)))
    return modules if modules or not names else None


def conflict_of(entry_point: EntryPoint) -> str | None:
    """Why the instrumentor does not support the installed version of its library, and the command that helps."""
    from opentelemetry.instrumentation.dependencies import get_dist_dependency_conflicts

    conflict = entry_point.dist and get_dist_dependency_conflicts(entry_point.dist)
    if not conflict:
        return None
    wanted: list[str] = [
        str(each).partition(";")[0].strip() for each in conflict.required_any or [str(conflict.required)]
    ]
    found = ", ".join(conflict.found_any or [str(conflict.found)])
    of = entry_point.dist and f"{entry_point.dist.name} {entry_point.dist.version}"
    return f"{of} wants {' or '.join(wanted)} and finds {found}; pip install '{wanted[0].replace(' ', '')}'"


def _instrumented_distributions(dist: Distribution | None) -> Iterator[str]:
    """The names of the libraries that an instrumentor's distribution is for."""
    for requirement in (dist and dist.requires) or ():
        found = _REQUIREMENT.match(requirement)
        if found:
            yield found[1]


def _is_a_library(dist: Distribution | None) -> bool:
    """Whether the distribution is a library that brings its own instrumentor, and so can do without OpenTelemetry."""
    requirements = (dist and dist.requires) or ()
    return not any(each.startswith("opentelemetry-") and "extra" not in each for each in requirements)


def _modules_of(name: str) -> list[str]:
    """The top-level modules of the distribution ``name``; none if it is not installed."""
    try:
        found = distribution(name)
    except PackageNotFoundError:
        return []
    listed = (found.read_text("top_level.txt") or "").split()
    if not listed:
        tops = {str(file).partition("/")[0] for file in found.files or () if str(file).endswith((".py", ".so"))}
        listed = sorted(top.partition(".")[0] for top in tops if top != ".." and not top.endswith("-info"))
    return [module for module in dict.fromkeys(listed) if module.isidentifier() and not module.startswith("_")]
