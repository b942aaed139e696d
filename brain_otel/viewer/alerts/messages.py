"""Formats the start and the end of an alert for each kind of receiver."""

import base64
import hashlib
import hmac
import json
from datetime import UTC, datetime
from typing import NamedTuple

from brain_otel.viewer.alerts.rules import PagerDuty, Receiver, Slack, Webhook, secret_key
from brain_otel.viewer.rows import Json

MAX_SUMMARY = 1_024
"""Characters of PagerDuty's summary."""

MAX_SLACK = 2_900
"""Characters of a section; Slack takes 3,000."""


class Post(NamedTuple):
    """One request."""

    url: str
    headers: dict[str, str]
    body: bytes


def post_of(receiver: Receiver, message: Json, link: str, now: float) -> Post:
    """The request that tells ``receiver``; ``link`` is the viewer's address, ``now`` seconds since 1970."""
    match receiver:
        case Slack():
            return _post(receiver.url, _slack(message, link))
        case PagerDuty():
            return _post(receiver.url, _pagerduty(receiver, message, link))
        case Webhook():
            return _signed(receiver, message["id"], _post(receiver.url, _json(message, link)), int(now))


def _post(url: str, body: Json) -> Post:
    return Post(url, {"Content-Type": "application/json"}, json.dumps(body).encode())


def signature(secret: str, name: str, timestamp: int, body: bytes) -> str:
    """The header ``webhook-signature``: https://www.standardwebhooks.com, with a symmetric key."""
    signed = hmac.digest(secret_key(secret), f"{name}.{timestamp}.".encode() + body, hashlib.sha256)
    return f"v1,{base64.b64encode(signed).decode()}"


def _signed(receiver: Webhook, name: str, post: Post, timestamp: int) -> Post:
    added = {
        "webhook-id": name,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": signature(receiver.secret, name, timestamp, post.body),
    }
    return post._replace(headers={**post.headers, **added})


def _json(message: Json, link: str) -> Json:
    ended = message["ended_at"]
    return {
        "type": "alert.started" if ended is None else "alert.ended",
        "timestamp": _moment(message["started_at"] if ended is None else ended),
        "data": {
            **{name: message[name] for name in ("alert", "rule", "kind", "title", "labels", "value", "bound")},
            "started_at": _moment(message["started_at"]),
            "ended_at": ended and _moment(ended),
            "link": link + message["path"],
            "test": message["test"],
        },
    }


def _slack(message: Json, link: str) -> Json:
    text = f"*{_escaped(_headline(message))}*\n{_escaped(message['title'])}"[:MAX_SLACK]
    text += f"\n<{link}{message['path'].replace('|', '%7C').replace('>', '%3E')}|Open it>"
    return {"text": text, "blocks": [{"type": "section", "text": {"type": "mrkdwn", "text": text[:3_000]}}]}


def _escaped(text: str) -> str:
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _pagerduty(receiver: PagerDuty, message: Json, link: str) -> Json:
    event = {"routing_key": receiver.routing_key, "dedup_key": message["alert"]}
    if message["ended_at"] is not None:
        return {**event, "event_action": "resolve"}
    labels = message["labels"]
    return {
        **event,
        "event_action": "trigger",
        "client": "brain-otel view",
        "links": [{"href": link + message["path"], "text": "brain-otel view"}],
        "payload": {
            "summary": f"{_headline(message)}: {message['title']}"[:MAX_SUMMARY],
            "source": labels.get("service") or "brain-otel view",
            "severity": receiver.severity,
            "timestamp": _moment(message["started_at"]),
            "class": message["kind"],
            "custom_details": {**labels, "value": message["value"], "bound": message["bound"]},
        },
    }


def _headline(message: Json) -> str:
    mark = "TEST: " if message["test"] else ""
    return f"{mark}{message['rule']}" + (" has ended" if message["ended_at"] is not None else "")


def _moment(at: int) -> str:
    return datetime.fromtimestamp(at / 1e6, UTC).isoformat(timespec="milliseconds")
