"""Reads an envelope for display, whole or cut off, and masks its items as they are masked before they are sent.

See https://develop.sentry.dev/sdk/data-model/envelopes/.
"""

import json
from itertools import zip_longest
from typing import Any

from brain_otel.privacy import Policy
from brain_otel.runtime.text import CHUNK, in_chunks


def parsed(text: str | bytes) -> Any:
    """The JSON document in ``text``; None if there is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def is_event(document: dict[str, Any]) -> bool:
    """Whether ``document`` is an event of Sentry's."""
    return "event_id" in document and ("exception" in document or "contexts" in document)


def read_envelope(data: bytes) -> list[Any] | None:
    """The headers of an envelope, then the headers and the content of each item; None for other data.

    The content is a JSON document or a text; the number of bytes stands for other content. The end may be missing.
    """
    first, _, rest = data.partition(b"\n")
    if not _is_headers(parsed(first)) or _headers_of_item(rest) is None:
        return None
    parts: list[Any] = [parsed(first)]
    while rest := rest.lstrip(b"\n"):
        line, _, rest = rest.partition(b"\n")
        headers = _headers_of_item(line)
        if headers is None:
            return [*parts, _content(line + b"\n" + rest)]
        length = headers.get("length")
        content, _, after = rest.partition(b"\n")
        if isinstance(length, int) and not isinstance(length, bool) and length >= 0:
            content, after = rest[:length], rest[length:]
        parts += [headers, _content(content)]
        rest = after
    return parts


def _is_headers(document: Any) -> bool:
    return isinstance(document, dict) and not is_event(document) and "type" not in document


def _headers_of_item(data: bytes) -> dict[str, Any] | None:
    headers = parsed(data.lstrip(b"\n").partition(b"\n")[0])
    return headers if isinstance(headers, dict) and isinstance(headers.get("type"), str) else None


def _content(data: bytes) -> Any:
    document = parsed(data)
    if isinstance(document, (dict, list)):
        return document
    try:
        return data.decode()
    except UnicodeDecodeError:
        return f"<{len(data)} bytes>"


def masked_parts(parts: list[Any], by: Policy) -> list[Any]:
    """The parts of an envelope as they would leave."""
    masked = [by.value(parts[0])]
    for headers, content in zip_longest(parts[1::2], parts[2::2], fillvalue=b""):
        if isinstance(headers, dict) and "type" in headers:
            masked += [by.value(headers), _masked_content(headers["type"], content, by)]
        else:  # what follows a cut
            masked.append(_masked_content("", headers, by))
    return masked


def _masked_content(kind: str, content: Any, by: Policy) -> Any:
    from brain_otel.sentry.envelopes import masked_content

    if isinstance(content, str):  # cut off, or an attachment
        return "".join(map(by.text, in_chunks(content, CHUNK)))
    try:
        return masked_content(kind, content, by)
    except Exception:  # it is not what its type says
        return by.value(content)


def masked_event(event: dict[str, Any], by: Policy) -> Any:
    """An event as it would leave."""
    return _masked_content("event", event, by)
