"""Where records of one kind go: an address, headers, and how the connection is made.

A target stands in a file of its own beside the records, readable by the owner alone: the process that sends them
needs neither the application nor its configuration.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Kind = Literal["sentry", "otlp"]


@dataclass(frozen=True, kw_only=True)
class Target:
    """An endpoint that takes request bodies by POST."""

    kind: Kind
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    proxy: str | None = field(default=None, repr=False)
    proxy_headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    ca_certs: str | None = None
    cert_file: str | None = None
    key_file: str | None = None
    timeout: float = 30.0
    """Seconds for one request."""
    compress: bool = True

    @cached_property
    def id(self) -> str:
        """A name that is the same for the same target in every process."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    @property
    def address(self) -> str:
        """The URL for people to read; it holds no secret, those are in the headers."""
        return self.url.partition("?")[0]

    def to_json(self) -> str:
        """As text that is the same for the same target."""
        return json.dumps(asdict(self), sort_keys=True)

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
