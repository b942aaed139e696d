"""Who may ask: pages only under the machine's own names and from their own origin; SDKs from anywhere."""

from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")

HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",  # without a referrer, the origin of a form is null
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}

_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Private-Network": "true",
    "Access-Control-Max-Age": "86400",
}


def is_ingest(path: str) -> bool:
    """Whether an SDK sends to this path."""
    return path.startswith(("/api/", "/v1/")) or path == "/stream"


class SecurityMiddleware:
    """Refuses foreign hosts (DNS rebinding) and origins, and adds the headers that keep scripts out."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, or pass the request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        ingest = is_ingest(scope["path"])
        rejection = _preflight(scope) if ingest else _rejection(Headers(scope=scope))
        if rejection is not None:
            await rejection(scope, receive, send)
            return
        added = {**HEADERS, **(_CORS if ingest else {})}

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(added)
            await send(message)

        await self._app(scope, receive, send_with_headers)


def _preflight(scope: Scope) -> Response | None:
    return Response(status_code=204, headers=_CORS) if scope["method"] == "OPTIONS" else None


def _rejection(headers: Headers) -> Response | None:
    host = headers.get("host", "")
    if _name_of(f"//{host}") not in LOCAL_NAMES:
        return PlainTextResponse("foreign Host; allowed: localhost, 127.0.0.1, [::1]", 403)
    origin = headers.get("origin")
    if origin is not None and origin != f"http://{host}":
        return PlainTextResponse("foreign Origin; allowed: the viewer's own", 403)
    if headers.get("sec-fetch-site") == "cross-site" and headers.get("sec-fetch-mode") != "navigate":
        return PlainTextResponse("foreign site; allowed: links to a page", 403)
    return None


def _name_of(address: str) -> str | None:
    try:
        return urlsplit(address).hostname
    except ValueError:
        return None
