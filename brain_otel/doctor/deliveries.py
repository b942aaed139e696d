"""Whether each destination is reached: a real test event, span, log record or metric, all at once, in bound time."""

from __future__ import annotations

import re
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from brain_otel.configuration.destination_registry import load_module
from brain_otel.delivery import DeliveryError
from brain_otel.doctor.findings import Finding

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from brain_otel.configuration.settings import Settings
    from brain_otel.doctor.effective import Effective, Target
    from brain_otel.doctor.findings import Level

    Result = str | Exception | None

GRACE = 2.0
"""Seconds that a probe may take beyond its timeout, to close what it opened."""

_REASON = re.compile(r"\[Errno -?\d+\] ([^'\")\\]+)")
_ADDRESS = {
    "sentry": "SENTRY_DSN",
    "sentry_otlp": "SENTRY_DSN",
    "otlp": "OTEL_EXPORTER_OTLP_ENDPOINT",
    "file": "the file's path",
}
_KEY = {"sentry": "SENTRY_DSN", "sentry_otlp": "SENTRY_DSN", "otlp": "OTEL_EXPORTER_OTLP_HEADERS"}


def check_deliveries(effective: Effective, *, timeout: float, offline: bool) -> Iterator[Finding]:
    """Probe every destination at once; each has ``timeout`` seconds, all of them little more."""
    targets = [each for each in effective.targets if not each.refused]
    sending = [each for each in targets if not each.is_off]
    is_quiet = effective.settings.disabled or _pulled(effective)
    if not sending and len(targets) == len(effective.targets) and not is_quiet:
        yield Finding(
            check="destinations",
            level="warning",
            title="Telemetry goes nowhere: every destination is off",
            remedy="Set SENTRY_DSN or OTEL_EXPORTER_OTLP_ENDPOINT, or OTEL_TRACES_EXPORTER=console to see traces.",
        )
    untried = "telemetry is disabled" if effective.settings.disabled else "--offline" if offline else ""
    results = _probed(sending, effective.settings, timeout) if not untried else {}
    for target in targets:
        yield _finding(target, results, timeout, untried)


def _pulled(effective: Effective) -> bool:
    """Whether metrics are fetched, as Prometheus does it: that is OpenTelemetry's affair, and no destination."""
    readers = (effective.settings.document.get("meter_provider") or {}).get("readers") or ()
    return any("pull" in reader for reader in readers)


def _probed(targets: Sequence[Target], settings: Settings, timeout: float) -> dict[int, Result]:
    """What each probe returned or raised, by the target's identity; nothing for one that is not back in time."""
    results: dict[int, Result] = {}

    def probe(target: Target) -> None:
        try:
            with left_as_found(target):
                module = load_module(target.options)
                send = getattr(module, "probe", None)
                results[id(target)] = None if send is None else send(target.options, settings, timeout)
        except Exception as error:  # whatever it is, it is a finding
            results[id(target)] = error

    threads = [threading.Thread(target=probe, args=(each,), daemon=True) for each in targets]
    for thread in threads:
        thread.start()
    deadline = time.monotonic() + timeout + GRACE
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(results)


@contextmanager
def left_as_found(*targets: Target) -> Iterator[None]:
    """Take away what a file destination creates when it is tried, if nothing has been written to it."""
    paths: list[Path] = []
    for target in targets:
        path = target.options.text("path") if target.options.name == "file" else ""
        if path:
            parents = [each for each in Path(path).parents if not each.exists()]
            files = [each for each in (Path(path), Path(f"{path}.lock")) if not each.exists()]
            paths += [*files, *parents]
    try:
        yield
    finally:
        for each in paths:
            _remove_if_empty(each)


def _remove_if_empty(path: Path) -> None:
    try:
        if path.is_dir():
            path.rmdir()
        elif path.stat().st_size == 0:
            path.unlink()
    except OSError:
        return  # it was not made, or it is somebody's by now


def _finding(target: Target, results: dict[int, Result], timeout: float, untried: str) -> Finding:
    name = f"{target.options.name}, {target.options.signal}"
    if target.is_off:
        return _made("note", f"{name}: off", target.address.removeprefix("off:").strip())
    if untried:
        return _made("note", f"{name}: not tried ({untried})", target.address)
    result = results.get(id(target), DeliveryError(f"no answer within {timeout:g} s"))
    if not isinstance(result, Exception):
        return _made("ok", f"{name}: {result or 'nothing to try'}", target.address)
    words = str(result) if isinstance(result, DeliveryError) else f"{type(result).__name__}: {result}"
    reason = _short(words)
    return _made("fault", f"{name}: not delivered, {reason}", target.address, _remedy(target.options.name, words))


def _made(level: Level, title: str, detail: str, remedy: str = "") -> Finding:
    return Finding(check="destinations", level=level, title=title, detail=detail, remedy=remedy)


def _short(words: str) -> str:
    """The reason at the heart of a long line of urllib3's."""
    found = _REASON.search(words)
    if found is not None:
        return found[1].strip()
    return words if len(words) <= 200 else f"{words[:197]}..."


def _remedy(name: str, words: str) -> str:
    address = _ADDRESS.get(name, "the destination's address")
    if re.search(r"\b(401|403)\b|[Uu]nauthorized|[Ff]orbidden", words):
        return (
            f"It is reached and refuses: check the key in {_KEY.get(name, address)}, and whether it is still valid."
        )
    if re.search(r"\b404\b", words):
        return f"Something else answers there: check the path and, for Sentry, the project in {address}."
    if re.search(r"\b429\b", words):
        return "It is reached and takes no more for now: check the quota and rate limits there."
    if re.search(r"\b5\d\d\b", words):
        return "It is reached and fails: look into the log of what answers there."
    if name == "file":
        return "Give a path in a directory that this user may write to."
    if "no answer" in words or "timed out" in words.lower():
        return f"Check {address}, the firewall and the proxy between here and there; --timeout allows more seconds."
    return f"Check {address}, and that what is to listen there runs and can be reached from this machine."
