"""What can be set: frozen values by topic, each default written once.

:mod:`brain_otel.configuration` makes them from a file and the environment; everything else only reads them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from brain_otel.delivery_settings import DeliverySettings
from brain_otel.privacy.settings import PrivacySettings
from brain_otel.sampling_settings import SamplingSettings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brain_otel.options import Options


class Secret:
    """A string that does not show itself: ``str()`` gives the value, ``repr()`` and logs a mask."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def __str__(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret('**********')"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash(self._value)


class SentrySettings(NamedTuple):
    """How the Sentry bridge behaves."""

    dsn: Secret | None
    """None: there is Spotlight only."""
    environment: str
    release: str | None = None
    """None: the git commit, else the CI platform's, else the service version, else this package's."""
    service_version: str | None = None
    traces_sample_rate: float = 1.0
    """The share of all traces that Sentry gets where no rule says otherwise, 0 to 1."""
    profiles_sample_rate: float = 0.1
    """Share of the sampled transactions that are profiled, 0 to 1."""
    send_default_pii: bool = False
    debug: bool = False
    spotlight: str | None = None
    """The address of a local `Spotlight <https://spotlightjs.com>`_ that gets everything as well."""

    def __repr__(self) -> str:
        """Without what may hold credentials."""
        return _shown(self, "spotlight")


class ErrorSettings(NamedTuple):
    """Which errors are events."""

    failed_statuses: tuple[tuple[int, int], ...] = ((500, 599),)
    """Ranges of response statuses, both ends included, that are failures of this service."""
    ignored_exceptions: tuple[str, ...] = ()
    """Classes, as ``module.Class`` or a built-in's name, that are no event whatever became of them."""
    reported_exceptions: tuple[str, ...] = ()
    """Classes that are an event even where one that they derive from is ignored, or the status is no failure."""
    ignored_loggers: tuple[str, ...] = ()
    """Loggers whose lines, and those of loggers below them, are neither events nor breadcrumbs."""


class InstrumentationSettings(NamedTuple):
    """Which libraries are instrumented and how."""

    fastapi: Literal["contrib", "native", "off"] = "contrib"
    """``contrib``: OpenTelemetry's instrumentation; ``native``: FastAPI's own spans (FastAPI 0.142 on)."""
    health_checks: tuple[str, ...] = (
        "/health",
        "/health/live",
        "/health/ready",
        "/healthz",
        "/livez",
        "/readyz",
        "/metrics",
    )
    """Paths, as they are asked for, of requests that are not traced."""
    sqlalchemy: bool = True
    sqlalchemy_connect_spans: bool = False
    """A span for each connection taken from a pool."""
    redis: bool = True
    httpx: bool = True
    logging: bool = True
    """Trace ids on every log record, and log records to the destinations that the file gives for logs."""
    asyncio: bool = True
    """Report what a child task raised and nobody retrieved, linked to the request that started it."""


class Settings(NamedTuple):
    """Everything that ``setup()`` needs to know."""

    environment: str
    source: str
    """The file that was read, for messages."""
    document: Mapping[str, Any]
    """The file's part that is OpenTelemetry's own, variables filled in, the destinations taken out."""
    usual: bool = False
    """Whether it asks for no more than :mod:`brain_otel.usual_document` describes."""
    destinations: tuple[Options, ...] = ()
    """Each destination that the file names, once for each signal, with the options given there."""
    sentry: SentrySettings | None = None
    """None: no DSN, so Sentry is off."""
    instrumentation: InstrumentationSettings = InstrumentationSettings()
    errors: ErrorSettings = ErrorSettings()
    sampling: SamplingSettings = SamplingSettings()
    delivery: DeliverySettings = DeliverySettings()
    disabled: bool = False
    privacy: PrivacySettings = PrivacySettings()
    send_default_pii: bool = False
    """Whether what tells a person apart, such as the client's address, may leave."""
    notices: tuple[str, ...] = ()
    """What ``setup()`` should tell the user in the log, one line each."""

    def __repr__(self) -> str:
        """Without the file, which may hold secrets in clear."""
        return _shown(self, "document")


def _shown(settings: SentrySettings | Settings, hidden: str) -> str:
    shown = (f"{name}={value!r}" for name, value in settings._asdict().items() if name != hidden)
    return f"{type(settings).__name__}({', '.join(shown)})"
