"""Delivery: finished request bodies are queued in memory or on disk, and sent.

::

    Record ──> Delivery ──┬─ Spool ──────> segments on disk ──> SpoolQueue ─┐
                          └─ MemoryQueue ───────────────────────────────────┴─> RetryLoop ──> HttpClient ──> network
                                                                                   │              ^
                                                                                   └─> HttpProcess ─> a process

Nothing here knows OpenTelemetry or sentry-sdk.
"""


class DeliveryError(Exception):
    """A probe was not delivered; the message says why."""


class PartialDelivery(Exception):  # noqa: N818 - a result, not an error
    """A probe was delivered, but the receiver does not accept everything; the message says what."""
