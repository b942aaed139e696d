"""What both protocols say in words of their own: kinds of operations, failures, levels."""

from collections.abc import Mapping
from typing import Any

from brain_otel.runtime.text import word_set

_LEVELS = {"trace": 1, "debug": 5, "info": 9, "warn": 13, "warning": 13, "error": 17, "fatal": 21, "critical": 21}
_NO_FAILURE = (None, "", "ok", "cancelled", "unset", "unknown")

CACHES = ("redis", "valkey", "memcached")


def kind_of(op: str, data: Mapping[str, Any]) -> str:
    """``cache``, ``db`` or ``http`` for a call to one of these, else empty."""
    system = str(data.get("db.system.name") or data.get("db.system") or "")
    if op.startswith("cache") or system in CACHES or op == "db.redis":
        return "cache"
    if op.startswith("db") or system:
        return "db"
    return "http" if op.startswith("http.client") else ""


def is_failed_status(status: Any) -> bool:
    """Whether Sentry's status of a span is a failure of the service."""
    return status not in _NO_FAILURE and str(status) not in _CLIENTS_FAULT


_CLIENTS_FAULT = word_set("""
    invalid_argument not_found already_exists permission_denied resource_exhausted failed_precondition
    unauthenticated
""")
"""Statuses of a 4xx answer: the caller's mistake, which is no failure of the service."""


def severity_of(level: str, number: Any = None) -> int:
    """OpenTelemetry's severity number."""
    return number if type(number) is int and 1 <= number <= 24 else _LEVELS.get(level.lower(), 9)


def level_of(severity: int) -> str:
    """The level of OpenTelemetry's severity number."""
    names = ("debug", "debug", "info", "warning", "error", "fatal")
    return names[min(max(severity - 1, 0) // 4, 5)] if severity else "info"
