"""Turns a request's facts into Sentry's request interface.

See https://develop.sentry.dev/sdk/event-payloads/request/.
"""

import json
from collections.abc import Iterable
from email import message_from_bytes
from email.message import Message
from itertools import islice
from typing import Any
from urllib.parse import parse_qsl

from brain_otel.privacy import FILTERED, policy
from brain_otel.privacy.attributes import url_without_route_secrets
from brain_otel.runtime.guard import guarded
from brain_otel.traces.local_trace import Request

MAX_FIELDS = 200
"""Fields of a form, cookies and headers that are read."""


def request_interface(request: Request, route: str | None = None) -> dict[str, Any]:
    """The request interface, masked; client address, cookies and body only with ``send_default_pii``."""
    interface: dict[str, Any] = {
        "method": request.method,
        "url": policy().text(url_without_route_secrets(policy(), route, request.url) if route else request.url),
        "query_string": policy().text(policy().query(request.query_string)) or None,
        "headers": policy().headers(dict(islice(request.headers.items(), MAX_FIELDS))),
    }
    if len(request.headers) > MAX_FIELDS:
        interface["headers"]["..."] = f"{len(request.headers) - MAX_FIELDS:,} more"
    if not policy().send_default_pii:
        return interface
    if request.client_address:
        interface["env"] = {"REMOTE_ADDR": request.client_address}
    names = {name.lower(): value for name, value in request.headers.items()}
    if names.get("cookie"):
        interface["cookies"] = policy().value(dict(islice(_cookies(names["cookie"]), MAX_FIELDS)))
    if request.body:
        with guarded("reading a request's body"):
            data = body_data(names.get("content-type", ""), request.body)
            if data is not None:
                interface["data"] = policy().value(data)
    return interface


def body_data(content_type: str, body: bytes) -> Any:
    """The content of a JSON document or a form; None for other types and malformed bodies.

    Other content has no names to mask by, so it is not sent.
    """
    header = Message()
    header["content-type"] = content_type.encode("ascii", "replace").decode()
    kind = header.get_content_type()
    if kind == "application/json" or kind.endswith("+json"):
        try:
            found = json.loads(body)
        except (ValueError, RecursionError):
            return None
        return found if isinstance(found, (dict, list)) else None
    if kind == "application/x-www-form-urlencoded":
        text = body.decode("utf-8", "replace")
        return _fields(parse_qsl(text, keep_blank_values=True)) if text.count("&") < MAX_FIELDS else None
    return _fields(_parts(header["content-type"], body)) if kind == "multipart/form-data" else None


def _fields(pairs: Iterable[tuple[str, str]]) -> dict[str, Any]:
    """Values by name; a list where a name occurs more than once."""
    fields: dict[str, Any] = {}
    for number, (name, value) in enumerate(pairs):
        if number >= MAX_FIELDS:
            fields["..."] = FILTERED
            break
        known = fields.get(name)
        fields[name] = value if known is None else [*(known if isinstance(known, list) else [known]), value]
    return fields


def _cookies(header: str) -> Iterable[tuple[str, str]]:
    for part in header.split(";"):
        name, equals, value = part.strip().partition("=")
        if equals:
            yield name, value.strip('"')


def _parts(content_type: str, body: bytes) -> Iterable[tuple[str, str]]:
    """The fields of a multipart form; for a file the number of its bytes."""
    parsed = message_from_bytes(b"content-type: " + content_type.encode() + b"\r\n\r\n" + body)
    for part in parsed.get_payload() if parsed.is_multipart() else ():
        if not isinstance(part, Message):
            continue
        name = part.get_param("name", header="content-disposition")
        content = part.get_payload(decode=True)
        if isinstance(name, str) and isinstance(content, bytes):
            is_file = part.get_filename() is not None
            yield name, f"<{len(content)} bytes>" if is_file else content.decode("utf-8", "replace")
