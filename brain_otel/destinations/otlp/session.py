"""The HTTP connections of OpenTelemetry's OTLP exporters, where a service is more than one process."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import requests
from requests.adapters import HTTPAdapter

if TYPE_CHECKING:
    from collections.abc import Mapping

_STANDARD_HEADERS = frozenset(
    {"accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "user-agent"}
)


def create_session(headers: Mapping[str, str] | None = None) -> Session:
    """A session for an exporter, which sends ``headers`` and no others, beside what HTTP itself needs.

    Its certificate, if it has one, is the exporter's to set.
    """
    return Session(dict(headers or {}))


class Session(requests.Session):
    """Does not share connections with the process it was forked from, and trusts the certificate it was given.

    OpenTelemetry's exporters add the headers of ``OTEL_EXPORTER_OTLP_HEADERS`` to whatever they send: one vendor's
    key would go to the address of another. Two processes that write to one connection read each other's answers.
    And requests lets ``REQUESTS_CA_BUNDLE`` and ``CURL_CA_BUNDLE`` win over the certificate of the session
    (https://github.com/psf/requests/issues/3829).
    """

    def __init__(self, own_headers: dict[str, str]) -> None:
        super().__init__()
        self._own_headers = own_headers
        self._pid = os.getpid()

    def send(self, request: Any, **kwargs: Any) -> Any:
        """Send over a connection of this process."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            for prefix in ("https://", "http://"):
                self.mount(prefix, HTTPAdapter())
        for name in [name for name in request.headers if name.lower() not in _STANDARD_HEADERS]:
            del request.headers[name]
        request.headers.update(self._own_headers)
        return super().send(request, **kwargs)

    def merge_environment_settings(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Take proxies from the environment, and the certificate only if there is no other."""
        settings = super().merge_environment_settings(*args, **kwargs)
        if isinstance(self.verify, str):
            settings["verify"] = self.verify
        return settings
