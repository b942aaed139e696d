"""The HTTP session of OpenTelemetry's OTLP exporters, safe for a service of several processes."""

import os
from collections import Counter
from collections.abc import Mapping
from io import BytesIO
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3.exceptions import HTTPError

from brain_otel.delivery.bounded_answers import beginning_of_body, bound_answers
from brain_otel.delivery.otlp_answer import is_page, partial_success
from brain_otel.destinations.outage_log import report_partial_success

_STANDARD_HEADERS = frozenset(
    {"accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "user-agent"}
)


_NOT_ACCEPTED = 400
"""The status that the exporter gets for a redirect or a page: it would take any below 400 for success."""


class _Adapter(HTTPAdapter):
    """Bounds what an answer may cost."""

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        bound_answers(self.poolmanager)

    def proxy_manager_for(self, proxy: Any, **kwargs: Any) -> Any:
        is_new = proxy not in self.proxy_manager
        manager = super().proxy_manager_for(proxy, **kwargs)
        return bound_answers(manager) if is_new else manager


class Session(requests.Session):
    """Sends only its own headers, shares no connection with a forked process, and trusts only its own certificate.

    It has no headers but its own, except those that HTTP itself needs. The exporter sets the certificate.

    OpenTelemetry's exporters add the headers of ``OTEL_EXPORTER_OTLP_HEADERS`` to every request, so one vendor's key
    would go to the address of another. Two processes that write to one connection read each other's answers.
    And requests prefers ``REQUESTS_CA_BUNDLE`` and ``CURL_CA_BUNDLE`` to the certificate of the session
    (https://github.com/psf/requests/issues/3829).
    """

    is_spooling = False
    """Whether requests go to the spool on disk."""

    def __init__(self, own_headers: Mapping[str, str] | None = None) -> None:
        super().__init__()
        self._own_headers = dict(own_headers or {})
        self._connect()

    def _connect(self) -> None:
        """Begin with no connections."""
        self._pid = os.getpid()
        for prefix in ("https://", "http://"):
            self.mount(prefix, _Adapter())

    def send(self, request: Any, **kwargs: Any) -> Any:
        """Send ``request`` over a connection of this process."""
        if self._pid != os.getpid():
            self._connect()
        for name in [name for name in request.headers if name.lower() not in _STANDARD_HEADERS]:
            del request.headers[name]
        request.headers.update({"Accept-Encoding": "identity", **self._own_headers})  # answers are not decoded
        response = super().send(request, **{**kwargs, "stream": True, "allow_redirects": False})
        return judged(response)

    def merge_environment_settings(self, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Take proxies from the environment, and the certificate only if the session has none."""
        settings = super().merge_environment_settings(*args, **kwargs)
        if isinstance(self.verify, str):
            settings["verify"] = self.verify
        return settings

    def wait(self, timeout: float) -> None:
        """Wait up to ``timeout`` seconds until this process has sent its spool; without a spool return at once."""

    def pause(self, left: Counter[str], timeout: float) -> None:
        """Wait for the answers in flight, since the process may end."""

    def end(self) -> None:
        """Start no more requests, since the process ends."""


def judged(response: Any, **_: Any) -> Any:
    """Make ``response`` a failure if no receiver of OTLP has accepted the request; report what it did not accept."""
    try:
        body = beginning_of_body(response.raw)
    except HTTPError as error:
        raise requests.ConnectionError(error) from error
    response.raw = BytesIO(body)
    status = response.status_code
    if status < 200:
        response.status_code, response.reason = _NOT_ACCEPTED, f"an interim answer ({status}), which is no result"
    elif 300 <= status < 400:
        response.status_code, response.reason = _NOT_ACCEPTED, f"a redirect ({status}), which is not followed"
    elif status < 300 and is_page(body):
        response.status_code, response.reason = _NOT_ACCEPTED, f"a page ({status}), not an answer of a collector"
    elif status < 300:
        report_partial_success(partial_success(response.headers.get("Content-Type", ""), body))
    return response
