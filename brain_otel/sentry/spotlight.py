"""Sends every envelope to Spotlight, Sentry's local viewer, on a thread of its own.

sentry-sdk posts to it on the thread that captures, which would block the event loop.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import urllib3
from opentelemetry.instrumentation.utils import suppress_instrumentation

from brain_otel.delivery.bounded_answers import bound_answers
from brain_otel.runtime.work_queue import WorkQueue
from brain_otel.sentry.envelopes import masked_envelope

if TYPE_CHECKING:
    from sentry_sdk.envelope import Envelope
    from sentry_sdk.spotlight import SpotlightClient


_TIMEOUT = 5.0
"""Seconds for one envelope; sentry-sdk's client has no bound."""


class QueuedSpotlight:
    """Replaces sentry-sdk's Spotlight client and calls it on another thread."""

    def __init__(self, inner: SpotlightClient) -> None:
        self.url = inner.url
        inner.http = bound_answers(urllib3.PoolManager(timeout=_TIMEOUT, retries=False))
        self._inner = inner
        self._queue: WorkQueue[Envelope] = WorkQueue("brain_otel.spotlight", self._send, drop=lambda _: None)

    def capture_envelope(self, envelope: Envelope) -> None:
        """Queue the envelope."""
        self._queue.put(envelope)

    def flush(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds until everything is sent; whether it was."""
        return self._queue.flush(timeout)

    def close(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds until everything is sent, then take nothing more."""
        self._queue.flush(timeout)
        self._queue.stop()

    def _send(self, envelope: Envelope) -> None:
        with suppress_instrumentation():
            self._inner.capture_envelope(masked_envelope(envelope))


def queue_spotlight(client: Any) -> None:
    """Put a queue in front of the Spotlight client of ``client``, if it has one."""
    if client.spotlight is not None:
        client.spotlight = QueuedSpotlight(client.spotlight)


def flush_spotlight(client: Any, timeout: float) -> bool:
    """Send what waits for the Spotlight of ``client``, if it has one; whether everything was sent."""
    spotlight = getattr(client, "spotlight", None)
    return spotlight.flush(timeout) if isinstance(spotlight, QueuedSpotlight) else True


def close_spotlight(client: Any, timeout: float) -> None:
    """Send what waits for the Spotlight of ``client``, if it has one, then take nothing more."""
    spotlight = getattr(client, "spotlight", None)
    if isinstance(spotlight, QueuedSpotlight):
        spotlight.close(timeout)
