"""Where records go: a URL, headers, and how to connect.

The spool keeps each target in a file that only its owner can read. The process that sends then needs neither the
application nor its configuration.
"""

from __future__ import annotations

import hashlib
import json
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["sentry", "otlp"]

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
        """The URL for log lines; secrets are in the headers."""
        return self.url.partition("?")[0]

    def to_json(self) -> str:
        """JSON that is equal for equal targets."""
        return json.dumps(self._asdict(), sort_keys=True, default=dict)

    @classmethod
    def from_json(cls, text: str) -> Target:
        """Read the output of :meth:`to_json`.

        Raises:
            ValueError: ``text`` is anything else.
        """
        try:
            given: dict[str, Any] = json.loads(text)
            target = cls(**given)
            if target.kind not in ("sentry", "otlp") or not target.url.startswith(("http://", "https://")):
                raise ValueError("neither Sentry nor OTLP")
        except (TypeError, AttributeError) as error:
            raise ValueError(str(error)) from error
        return target
