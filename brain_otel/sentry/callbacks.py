"""Functions that sentry-sdk calls before it sends an item or keeps a breadcrumb; the first call loads the masks."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from brain_otel.runtime.guard import guarded
from brain_otel.runtime.imports import late_module
from brain_otel.runtime.quiet import is_looking

if TYPE_CHECKING:
    from brain_otel.sentry import before_send as masks
    from brain_otel.sentry import breadcrumbs, masked_items
else:
    masks = late_module("brain_otel.sentry.before_send")
    masked_items = late_module("brain_otel.sentry.masked_items")
    breadcrumbs = late_module("brain_otel.sentry.breadcrumbs")


def before_send(event: Any, hint: Any) -> Any:
    """An error or message as it is sent; None, which sentry-sdk counts as discarded, if it cannot be masked."""
    with guarded("masking an event"):
        return masks.before_send(event, hint)
    return None


def before_send_transaction(event: Any, hint: Any) -> Any:
    """A transaction as it is sent; None, which sentry-sdk counts as discarded, if it cannot be masked."""
    with guarded("masking an event"):
        return masks.before_send_transaction(event, hint)
    return None


def before_send_telemetry(item: Any, hint: Any) -> Any:
    """A log or metric as it is sent; sentry-sdk discards it if this raises."""
    return masked_items.before_send_telemetry(item, hint)


def unless_looking(own: Callable[[Any, Any], Any] | None) -> Callable[[Any, Any], Any]:
    """``before_breadcrumb`` with the application's own; no breadcrumbs of a ``repr()`` that we called.

    Long texts are cut: a scope keeps 100 breadcrumbs.
    """

    def before_breadcrumb(crumb: Any, hint: Any) -> Any:
        kept = None if is_looking() else crumb if own is None else own(crumb, hint)
        with guarded("cutting a breadcrumb"):
            breadcrumbs.bound(kept)
        return kept

    return before_breadcrumb
