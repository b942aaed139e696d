"""How what is to be sent gets sent: a queue in memory or a spool on disk, and the sending itself.

::

    record ──> Delivery ──┬─ Spool ─> segments on disk ─> SpoolQueue ─┐
                          └─ MemoryQueue ────────────────────────────┴─> RetryLoop ─> Sender ─> the network

Nothing here knows OpenTelemetry or Sentry's SDK: a record is a finished request body.
"""


class DeliveryError(Exception):
    """Something that was sent did not arrive; the message says why."""
