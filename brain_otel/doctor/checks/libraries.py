"""Names installed libraries that nobody observes, although OpenTelemetry has an instrumentation of each."""

import re
from collections.abc import Iterator
from importlib.metadata import distribution

from opentelemetry.instrumentation.bootstrap_gen import libraries
from packaging.requirements import Requirement

from brain_otel.configuration.instrumentors import installed_instrumentors, plain_name
from brain_otel.doctor.checks.versions import OURS, installed_version
from brain_otel.doctor.finding import Finding
from brain_otel.instrumentation import LIBRARIES

_PARTS = frozenset({"asgiref", "click", "jinja2", "psutil", "pydantic", "starlette", "urllib3"})
"""Libraries that other packages, such as this one or FastAPI, install in every environment."""

_SAME = {"boto3": "botocore"}
"""Libraries that are observed if the one below is."""


def check_libraries() -> Iterator[Finding]:
    """Note what is not observed, with the line that installs what observes it."""
    found: dict[str, str] = {}
    known = [(Requirement(each["library"]).name, Requirement(each["instrumentation"]).name) for each in libraries]
    models = [(extra, name) for name, extra in _extras().items() if name.endswith(f"-genai-{extra}")]
    for library, instrumentation in (*known, *models):
        if library not in _PARTS and not _is_observed(library, instrumentation) and installed_version(library):
            found.setdefault(library, instrumentation)
    if not found:
        yield Finding("libraries", "ok", "every installed library that OpenTelemetry can observe is observed")
        return
    names = ", ".join(f"{library} {installed_version(library)}" for library in sorted(found))
    yield Finding("libraries", "note", f"installed and not observed: {names}", remedy=_line_for(found))


def _line_for(found: dict[str, str]) -> str:
    """The line that installs ``found``: library -> its instrumentation."""
    extras = _extras()
    ours = sorted({extras[name] for library, each in found.items() for name in (library, each) if name in extras})
    others = sorted(each for library, each in found.items() if library not in extras and each not in extras)
    wanted = ([f"'{OURS}[{','.join(ours)}]'"] if ours else []) + others
    return "pip install " + " ".join(wanted)


def _is_observed(library: str, instrumentation: str) -> bool:
    name = plain_name(_SAME.get(library, library))
    return name in LIBRARIES or name in installed_instrumentors() or installed_version(instrumentation) is not None


def _extras() -> dict[str, str]:
    """Instrumentations, and libraries that have the name of an extra -> that extra of this package."""
    found = {}
    for text in distribution(OURS).requires or ():
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", text)
        name = Requirement(text).name
        if extra and extra[1] not in ("all", "cli", "demo") and name.startswith("opentelemetry-instrumentation-"):
            found[name] = found[extra[1]] = extra[1]
    return found
