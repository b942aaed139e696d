"""Reports the exception that ends the process to each destination; sentry-sdk reports it to Sentry alone."""

import sys
from typing import Any

from brain_otel.events.report import report_exception
from brain_otel.runtime.patch import Original, Patches, replacement


def patch_excepthook(patches: Patches) -> None:
    """Replace ``sys.excepthook``; sentry-sdk's, which is called next, then finds the exception reported."""
    patches.replace(sys, "excepthook", _reporting)


@replacement
def _reporting(original: Original, kind: Any, error: Any, where: Any) -> Any:
    is_interactive = hasattr(sys, "ps1")  # where every typo would be a failure
    if isinstance(error, Exception) and not is_interactive:
        report_exception(error, handled=False, mechanism="excepthook")
    return original(kind, error, where)
