"""Keeps what sentry-sdk would send in memory, for tests to read."""

import contextlib
import json
from collections.abc import Iterator
from typing import Any

import sentry_sdk
from sentry_sdk.envelope import Envelope
from sentry_sdk.transport import Transport

from brain_otel.sentry.envelopes import masked_envelope
from brain_otel.sentry.event_size import fit


class MemoryTransport(Transport):
    """Keeps the headers of every envelope, and the payload of each item by its type."""

    def __init__(self, options: dict[str, Any] | None = None) -> None:
        super().__init__(options)
        self.items: list[tuple[str, dict[str, Any]]] = []
        self.headers: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Envelope) -> None:
        """Keep the envelope's items as plain data, as Sentry would read them; an attachment with its file's name."""
        self.headers.append(dict(envelope.headers))
        envelope = masked_envelope(envelope)
        fit(envelope)
        for item in envelope.items:
            data = item.get_bytes()
            if item.type == "attachment":
                self.items.append((item.type, {"filename": item.headers.get("filename"), "data": data}))
            elif item.type is not None:
                self.items.append((item.type, json.loads(data or b"{}")))


def captured(item_type: str) -> list[dict[str, Any]]:
    """The payloads of this type that the current client has kept; empty with another transport."""
    transport = sentry_sdk.get_client().transport
    if not isinstance(transport, MemoryTransport):
        return []
    return [payload for kind, payload in transport.items if kind == item_type]


@contextlib.contextmanager
def isolated() -> Iterator[None]:
    """Discard the tags and users that the block sets outside of any request."""
    with sentry_sdk.isolation_scope() as scope:
        scope.clear()
        yield
