"""The HTTP connections of OpenTelemetry's OTLP exporters, where a service is more than one process."""

from __future__ import annotations

import os
from typing import Any

import requests
from requests.adapters import HTTPAdapter


def create_session() -> requests.Session:
    """A session for an exporter; its certificate, if it has one, is the exporter's to set."""
    return _Session()


class _Session(requests.Session):
    """Does not share connections with the process it was forked from, and trusts the certificate it was given.

    Two processes that write to one connection read each other's answers. And requests lets ``REQUESTS_CA_BUNDLE``
    and ``CURL_CA_BUNDLE`` win over the certificate of the session (https://github.com/psf/requests/issues/3829).
    """

    def __init__(self) -> None:
        super().__init__()
        self._pid = os.getpid()

    def send(self, request: Any, **kwargs: Any) -> Any:
        """Send over a connection of this process."""
        if self._pid != os.getpid():
            self._pid = os.getpid()
            for prefix in ("https://", "http://"):
                self.mount(prefix, HTTPAdapter())
        return super().send(request, **kwargs)

    def merge_environment_settings(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Take proxies from the environment, and the certificate only if there is no other."""
        settings = super().merge_environment_settings(*args, **kwargs)
        if isinstance(self.verify, str):
            settings["verify"] = self.verify
        return settings
