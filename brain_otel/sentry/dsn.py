"""What a DSN says: the addresses behind it, the header that authenticates, and whether an event gets through."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.consts import VERSION, EndpointType
from sentry_sdk.utils import Dsn

from brain_otel.delivery import DeliveryError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brain_otel.configuration.settings import SentrySettings


def otlp_address(dsn: str) -> tuple[str, dict[str, str]]:
    """The OTLP endpoint for traces of the DSN's project, and the header that Sentry wants there."""
    auth = Dsn(dsn).to_auth(f"sentry.python/{VERSION}")
    return auth.get_api_url(EndpointType.OTLP_TRACES), {"X-Sentry-Auth": auth.to_header()}


def envelope_address(dsn: str) -> str:
    """The address to which events and transactions go."""
    return Dsn(dsn).to_auth(f"sentry.python/{VERSION}").get_api_url()


_CONNECTION = (
    "http_proxy", "https_proxy", "proxy_headers", "ca_certs", "cert_file", "key_file", "socket_options", "keep_alive"
)  # fmt: skip
"""The options of sentry-sdk that say how Sentry is reached."""


def probe_event(sentry: SentrySettings, timeout: float, options: Mapping[str, Any] | None = None) -> str:
    """Send one test event within ``timeout`` seconds, connected as sentry-sdk's ``options`` say; what was delivered.

    Raises:
        DeliveryError: it was not.
    """
    answers: list[str] = []
    answered = threading.Event()

    from brain_otel.sentry.transport import ExcludedTransport

    class Probe(ExcludedTransport):
        def _request(self, *args: Any, **kwargs: Any) -> Any:
            try:
                response = super()._request(*args, **kwargs)
            except Exception as error:
                answers.append(f"{type(error).__name__}: {error}")
                raise
            else:
                answers.append(_objection(response))
                return response
            finally:
                answered.set()

    client = sentry_sdk.Client(
        dsn=str(sentry.dsn),
        environment=sentry.environment,
        transport=Probe,
        default_integrations=False,
        spotlight=False,
        auto_session_tracking=False,
        send_client_reports=False,
        **{name: value for name, value in (options or {}).items() if name in _CONNECTION},
    )
    client.capture_event({"message": "brain_otel doctor: a test event", "level": "info"})
    answered.wait(timeout)
    client.close(timeout=0.1)
    if not answers:
        raise DeliveryError(f"no answer within {timeout:g} s")
    if answers[0]:
        raise DeliveryError(answers[0])
    return "an event delivered"


def _objection(response: Any) -> str:
    """Why Sentry, going by its answer, does not keep the event; empty if it does.

    A used-up quota may come with 200: https://develop.sentry.dev/sdk/expected-features/rate-limiting/.
    """
    if response.status >= 300:
        return f"the answer was HTTP {response.status}"
    limits = str(response.headers.get("X-Sentry-Rate-Limits") or "")
    for limit in limits.split(","):
        _, _, rest = limit.strip().partition(":")
        if limit.strip() and {"", "error"} & set(rest.partition(":")[0].split(";")):
            return f"Sentry keeps no errors at the moment (rate limit {limit.strip()})"
    return ""
