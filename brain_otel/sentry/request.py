"""A request's facts as Sentry's request interface.

https://develop.sentry.dev/sdk/event-payloads/request/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brain_otel.privacy import masked_headers, masked_query

if TYPE_CHECKING:
    from brain_otel.local_trace import Request


def request_interface(request: Request, *, send_default_pii: bool) -> dict[str, Any]:
    """The request interface; the client's address and cookies only where ``send_default_pii`` allows them."""
    interface: dict[str, Any] = {
        "method": request.method,
        "url": request.url,
        "query_string": masked_query(request.query_string),
        "headers": masked_headers(request.headers, send_default_pii=send_default_pii),
    }
    if send_default_pii and request.client_address:
        interface["env"] = {"REMOTE_ADDR": request.client_address}
    return interface
