"""One request to a receiver, bounded in time and size, and what its answer means."""

import re
from typing import Any, Literal, NamedTuple

import urllib3

from brain_otel.delivery.bounded_answers import beginning_of_body, bound_answers
from brain_otel.viewer.alerts.messages import Post

TIMEOUT = 10.0
"""Seconds of one request."""

MAX_WAIT = 3_600.0
"""Seconds for which a receiver may ask to be left alone."""

_TRANSIENT = frozenset({408, 425, 429, *range(500, 600)})
_CODE = re.compile(rb"[a-z_]{1,40}")
"""Slack's words for an error. Any other body may repeat the address, which is a secret."""

_SECONDS = re.compile(r"\d{1,7}", re.ASCII)


class Outcome(NamedTuple):
    """The result of one request."""

    result: Literal["sent", "later", "rejected"]
    reason: str = ""
    """For a log line: without address, body or secret."""
    wait: float = 0.0
    """Seconds for which the receiver wants no request."""


class Sender:
    """Sends requests, each over a connection of its own: a kept one may be closed by the time of the next alert."""

    def __init__(self) -> None:
        self._pool: Any = bound_answers(urllib3.PoolManager(maxsize=1, cert_reqs="CERT_REQUIRED", retries=False))

    def send(self, post: Post) -> Outcome:
        """Send the request; never raises, follows no redirect."""
        try:
            response = self._pool.request(
                "POST",
                post.url,
                body=post.body,
                headers=post.headers,
                redirect=False,
                preload_content=False,
                timeout=urllib3.Timeout(total=TIMEOUT),
            )
            body = beginning_of_body(response)
            self._pool.clear()
        except Exception as error:  # urllib3's own, and any that a name or a certificate causes
            cause = error.__cause__ or error
            detail = cause.strerror if isinstance(cause, OSError) else None
            return Outcome("later", f"{type(cause).__name__}{f': {detail}' if detail else ''}")
        if 200 <= response.status < 300:
            return Outcome("sent")
        code = f": {body.decode()}" if _CODE.fullmatch(body) else ""
        reason = f"HTTP {response.status}{code}"
        if response.status not in _TRANSIENT:
            return Outcome("rejected", reason)
        wait = (response.headers.get("Retry-After") or "").strip()
        return Outcome("later", reason, min(float(wait), MAX_WAIT) if _SECONDS.fullmatch(wait) else 0.0)

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()
