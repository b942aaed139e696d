"""Delivery: finished request bodies are queued in memory or on disk, and sent.

::

    Record ──> Delivery ──┬─ Spool ──────> segments on disk ──> SpoolQueue ─┐
                          └─ MemoryQueue ───────────────────────────────────┴─> RetryLoop ──> HttpClient ──> network

Nothing here knows OpenTelemetry or sentry-sdk.
"""


class DeliveryError(Exception):
    """A probe was not delivered; the message says why."""
