"""Where records go: a URL, headers, and how to connect.

The spool keeps each target in a file that only its owner can read. The process that sends then needs neither the
application nor its configuration.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Literal

from brain_otel.runtime.named_tuple import NamedTuple
from brain_otel.runtime.text import printable

Kind = Literal["sentry", "otlp"]

MAX_TIMEOUT = 3600.0
"""Seconds of the longest request."""

_NONE: Mapping[str, str] = MappingProxyType({})


class Target(NamedTuple):
    """An endpoint that accepts request bodies by POST."""

    kind: Kind
    url: str
    headers: Mapping[str, str] = _NONE
    proxy: str | None = None
    proxy_headers: Mapping[str, str] = _NONE
    ca_certs: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    timeout: float = 30.0
    """Seconds for one request."""
    compress: bool = True

    def __repr__(self) -> str:
        """Leaves out everything that may hold credentials."""
        return f"Target({self.id}, {self.kind})"

    @property
    def id(self) -> str:
        """Equal for equal targets, in every process."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    @property
    def address(self) -> str:
        """The URL for log lines, without user, password and query; secrets are in the headers."""
        scheme, separator, rest = self.url.partition("?")[0].partition("://")
        host, slash, path = rest.partition("/")
        return printable(scheme + separator + host.rpartition("@")[2] + slash + path)

    def to_json(self) -> str:
        """JSON that is equal for equal targets."""
        return json.dumps(self._asdict(), sort_keys=True, default=dict)

    @classmethod
    def from_data(cls, given: Any) -> Target:
        """Read the output of :meth:`to_json`, parsed.

        Raises:
            ValueError: ``given`` is anything else.
        """
        if not isinstance(given, dict):
            raise ValueError("not a mapping")
        for name, value in given.items():
            if name not in _IS_VALID or not _IS_VALID[name](value):
                raise ValueError(f"the value of {printable(name[:100])} is not understood")
        if not {"kind", "url"} <= given.keys():
            raise ValueError("kind or url is missing")
        return cls(**given)


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_path(value: object) -> bool:
    return value is None or (isinstance(value, str) and "\0" not in value)


def _is_headers(value: object) -> bool:
    return isinstance(value, dict) and all(map(_is_text, value.values()))


_IS_VALID: Mapping[str, Callable[[Any], bool]] = {
    "kind": lambda value: value in ("sentry", "otlp"),
    "url": lambda value: isinstance(value, str) and value.startswith(("http://", "https://")),
    "headers": _is_headers,
    "proxy": lambda value: value is None or _is_text(value),
    "proxy_headers": _is_headers,
    "ca_certs": _is_path,
    "cert_file": _is_path,
    "key_file": _is_path,
    "timeout": lambda value: type(value) in (int, float) and 0 < value <= MAX_TIMEOUT,
    "compress": lambda value: isinstance(value, bool),
}
