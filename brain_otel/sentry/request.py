"""A request's facts as Sentry's request interface.

https://develop.sentry.dev/sdk/event-payloads/request/
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brain_otel.privacy import policy
from brain_otel.privacy.attributes import without_parameters

if TYPE_CHECKING:
    from brain_otel.local_trace import Request


def request_interface(request: Request, route: str | None = None) -> dict[str, Any]:
    """The request interface; the client's address and cookies only where the policy allows them."""
    interface: dict[str, Any] = {
        "method": request.method,
        "url": without_parameters(policy(), route, request.url) if route else request.url,
        "query_string": policy().query(request.query_string),
        "headers": policy().headers(request.headers),
    }
    if policy().send_default_pii and request.client_address:
        interface["env"] = {"REMOTE_ADDR": request.client_address}
    return interface
