"""Checks which attribute names the user has chosen: the stable semantic conventions, the old ones, or both."""

from collections.abc import Iterator, Mapping

from brain_otel.doctor.finding import Finding

OPT_IN = "OTEL_SEMCONV_STABILITY_OPT_IN"
"""The variable that chooses; ``setup()`` sets it to ``http,database`` unless the user has set it."""


def check_conventions(environ: Mapping[str, str]) -> Iterator[Finding]:
    """Warn where the user's choice keeps an old attribute name."""
    chosen = {word.strip() for word in environ.get(OPT_IN, "").split(",") if word.strip()}
    old = []
    for signal in ("http", "database", "rpc", "messaging") if chosen else ():
        if f"{signal}/dup" in chosen:
            old.append(f"{signal} has old and new names, each value twice")
        elif signal not in chosen and signal in ("http", "database"):
            old.append(f"{signal} has the old names")
    if not old:
        yield Finding("conventions", "ok", "HTTP and database spans use the stable semantic conventions")
        return
    yield Finding(
        "conventions",
        "warning",
        f"Mixed semantic conventions: {'; '.join(old)}",
        f"{OPT_IN}={environ[OPT_IN]}",
        f"Unset {OPT_IN} (brain_otel uses http,database), unless a dashboard still needs the old names.",
    )
