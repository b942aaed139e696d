"""Where records of one kind go: an address, headers, and how the connection is made.

A target stands in a file of its own beside the records, readable by the owner alone: the process that sends them
needs neither the application nor its configuration.
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
    """An endpoint that takes request bodies by POST."""

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
        """Without what may hold credentials."""
        return f"Target({self.id}, {self.kind})"

    @property
    def id(self) -> str:
        """A name that is the same for the same target in every process."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    @property
    def address(self) -> str:
        """The URL for people to read; it holds no secret, those are in the headers."""
        return self.url.partition("?")[0]

    def to_json(self) -> str:
        """As text that is the same for the same target."""
        return json.dumps(self._asdict(), sort_keys=True, default=dict)

    @classmethod
    def from_json(cls, text: str) -> Target:
        """Read what :meth:`to_json` has written.

        Raises:
            ValueError: it is something else.
        """
        try:
            given: dict[str, Any] = json.loads(text)
            target = cls(**given)
            if target.kind not in ("sentry", "otlp") or not target.url.startswith(("http://", "https://")):
                raise ValueError("neither Sentry nor OTLP")
        except (TypeError, AttributeError) as error:
            raise ValueError(str(error)) from error
        return target
