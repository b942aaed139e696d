"""Sends a test event, span, log record or metric to each destination, all at once and in bounded time."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from brain_otel.configuration.destination_registry import load_module
from brain_otel.configuration.settings import Settings
from brain_otel.delivery import DeliveryError, PartialDelivery
from brain_otel.doctor.effective_configuration import EffectiveConfiguration, Target
from brain_otel.doctor.finding import Finding
from brain_otel.runtime.thread_pool import side_by_side

Result = str | Exception | None

GRACE = 2.0
"""Seconds that a probe may exceed its timeout, to close what it opened."""

_REASON = re.compile(r"\[Errno -?\d+\] ([^'\")\\]+)")
_ADDRESS = {
    "sentry": "SENTRY_DSN",
    "sentry_otlp": "SENTRY_DSN",
    "otlp": "OTEL_EXPORTER_OTLP_ENDPOINT",
    "file": "the file's path",
}
_KEY = {"sentry": "SENTRY_DSN", "sentry_otlp": "SENTRY_DSN", "otlp": "OTEL_EXPORTER_OTLP_HEADERS"}

_finding = partial(Finding, "destinations")


def check_destinations(effective: EffectiveConfiguration, *, timeout: float, offline: bool) -> Iterator[Finding]:
    """Probe every destination, unless ``offline``; together they take little more than ``timeout`` seconds."""
    valid = [each for each in effective.targets if not each.error]
    sending = [each for each in valid if not each.is_off]
    settings = effective.settings
    if not sending and len(valid) == len(effective.targets) and not settings.disabled and not _is_pulled(settings):
        yield _finding(
            "warning",
            "Telemetry goes nowhere: every destination is off",
            remedy="Set SENTRY_DSN or OTEL_EXPORTER_OTLP_ENDPOINT, or OTEL_TRACES_EXPORTER=console to see traces.",
        )
    why_not = "telemetry is disabled" if settings.disabled else "--offline" if offline else ""
    results = {} if why_not else _probe_all(sending, settings, timeout)
    for target in valid:
        name = f"{target.options.name}, {target.options.signal}"
        if target.is_off:
            yield _finding("note", f"{name}: off", target.address.removeprefix("off:").strip())
        elif why_not:
            yield _finding("note", f"{name}: not tried ({why_not})", target.address)
        else:
            result = results.get(id(target), DeliveryError(f"no answer within {timeout:g} s"))
            yield _judge(name, target, result)


def _is_pulled(settings: Settings) -> bool:
    """Whether a reader is pulled, as Prometheus does it; the reader is no destination of ours."""
    readers = (settings.document.get("meter_provider") or {}).get("readers") or ()
    return any("pull" in reader for reader in readers)


def _probe_all(targets: Sequence[Target], settings: Settings, timeout: float) -> dict[int, Result]:
    """What each probe returned or raised in time, by ``id()`` of its target."""
    results: dict[int, Result] = {}

    def probe(target: Target, _: float) -> None:
        try:
            with unused_files_removed(target):
                module = load_module(target.options)
                send = getattr(module, "probe", None)
                results[id(target)] = None if send is None else send(target.options, settings, timeout)
        except Exception as error:  # any exception is a finding
            results[id(target)] = error

    side_by_side([("probing a destination", partial(probe, each)) for each in targets], timeout, grace=GRACE)
    return dict(results)


@contextmanager
def unused_files_removed(*targets: Target) -> Iterator[None]:
    """On exit, remove files and folders that file destinations created meanwhile, if they are empty."""
    paths: list[Path] = []
    for target in targets:
        path = target.options.text("path") if target.options.name == "file" else ""
        if path:
            files = (Path(path), Path(f"{path}.lock"))
            paths += [each for each in (*files, *Path(path).parents) if not each.exists()]
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
        return  # it was not created, or somebody uses it by now


def _judge(name: str, target: Target, result: Result) -> Finding:
    if not isinstance(result, Exception):
        return _finding("ok", f"{name}: {result or 'nothing to try'}", target.address)
    if isinstance(result, PartialDelivery):
        return _finding("warning", f"{name}: {result}", target.address)
    message = str(result) if isinstance(result, DeliveryError) else f"{type(result).__name__}: {result}"
    remedy = _remedy(target.options.name, message)
    return _finding("fault", f"{name}: not delivered, {_reason(message)}", target.address, remedy)


def _reason(message: str) -> str:
    """The operating system's reason within a long line of urllib3, else the line, shortened."""
    found = _REASON.search(message)
    if found is not None:
        return found[1].strip()
    return message if len(message) <= 200 else f"{message[:197]}..."


def _remedy(name: str, message: str) -> str:
    address = _ADDRESS.get(name, "the destination's address")
    if re.search(r"\b(401|403)\b|[Uu]nauthorized|[Ff]orbidden", message):
        return f"The server rejects the key: check it in {_KEY.get(name, address)}, and that it is still valid."
    if re.search(r"\b404\b", message):
        return f"Another server answers: check the path and, for Sentry, the project in {address}."
    if re.search(r"\b429\b", message):
        return "The server accepts no more for now: check its quota and rate limits."
    if re.search(r"\b5\d\d\b", message):
        return "The server fails: look into its log."
    if name == "file":
        return "Give a path in a directory that this user may write to."
    if "no answer" in message or "timed out" in message.lower():
        return f"Check {address}, the firewall and the proxy, or allow more seconds with --timeout."
    return f"Check {address}, and that its server runs and can be reached from this machine."
