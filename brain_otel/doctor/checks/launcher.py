"""Checks whether ``opentelemetry-instrument`` might choose another distro or configurator instead of ours."""

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points

from brain_otel.doctor.finding import Finding
from brain_otel.launcher import HOW_TO_CHOOSE

_VARIABLES = {"distro": "OTEL_PYTHON_DISTRO", "configurator": "OTEL_PYTHON_CONFIGURATOR"}


def check_launcher(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Warn of each distro and configurator that is chosen instead of ours, or may be."""
    chosen, possible = [], []
    for kind, variable in _VARIABLES.items():
        others = sorted({each.name for each in entry_points(group=f"opentelemetry_{kind}")} - {"brain_otel"})
        choice = environ.get(variable, "")
        if choice and choice != "brain_otel":
            chosen.append(f"{variable}={choice}")
        elif others and not choice:
            possible.append(f"the {kind} {', '.join(map(repr, others))}")
    remedy = f"S{HOW_TO_CHOOSE[1:]}, or uninstall the other package."
    if chosen:
        title = f"opentelemetry-instrument uses another package instead of brain_otel: {', '.join(chosen)}"
        yield Finding("launcher", "warning", title, remedy=remedy)
    if possible:
        title = f"opentelemetry-instrument may choose another package instead of brain_otel: {', '.join(possible)}"
        detail = "It takes the first one that it finds; the order is not defined."
        yield Finding("launcher", "warning", title, detail, remedy)
    if not chosen and not possible:
        yield Finding("launcher", "ok", "opentelemetry-instrument uses brain_otel")
