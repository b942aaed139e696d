"""Reports the exception that ends the process to each destination; sentry-sdk reports it to Sentry alone."""

import functools
import sys
from collections.abc import Callable
from typing import Any

from brain_otel.events.report import report_exception
from brain_otel.runtime.patch import Patch, Patches


def patch_excepthook(patches: Patches) -> None:
    """Replace ``sys.excepthook``; sentry-sdk's, which is called next, then finds the exception reported."""
    patches.replace(sys, "excepthook", _reporting)


def _reporting(patch: Patch) -> Callable[..., Any]:
    @functools.wraps(patch.original)
    def excepthook(kind: Any, error: Any, where: Any) -> Any:
        is_interactive = hasattr(sys, "ps1")  # where every typo would be a failure
        if patch.active and isinstance(error, Exception) and not is_interactive:
            report_exception(error, handled=False, mechanism="excepthook")
        return patch.original(kind, error, where)

    return excepthook
