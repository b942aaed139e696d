"""What can be set: frozen values by topic, each default written once.

:mod:`brain_otel.configuration.loading` makes them from a file and the environment; everything else only reads them.
"""

from __future__ import annotations

from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from brain_otel.privacy.settings import PrivacySettings

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from brain_otel.configuration.options import Options


MIN_BYTES = 2**20


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


def _shown(settings: SentrySettings | Settings, hidden: str) -> str:
    shown = (f"{name}={value!r}" for name, value in settings._asdict().items() if name != hidden)
    return f"{type(settings).__name__}({', '.join(shown)})"


SPOOL_BYTES = 256 * 2**20
"""What a spool may hold where nothing else is said."""


SPOOL_AGE = 24 * 3600.0
"""Seconds after which what waits is dropped where nothing else is said."""


CONNECTIONS = 4
"""Requests under way at once, where that much waits: an answer from far away takes its time."""


class SpoolSettings(NamedTuple):
    """The on-disk queue."""

    directory: Path
    max_bytes: int = SPOOL_BYTES
    """Bytes of all that waits; the oldest traces go first, errors last."""
    max_age: float = SPOOL_AGE
    """Seconds after which what waits is dropped."""


class DeliverySettings(NamedTuple):
    """How what is to be sent is kept until it is."""

    spool: SpoolSettings | None = None
    """None: what waits is in memory."""
    shipper: Literal["thread", "process", "external"] = "thread"
    """Who sends what is spooled: this process, one beside it that this one starts, or ``brain-otel ship``."""


_NONE: Mapping[str, Any] = MappingProxyType({})


class RuleSettings(NamedTuple):
    """For which requests, jobs and scripts another rate holds; what is not given matches everything."""

    route: str | None = None
    """A pattern for the route (``/missions/{mission_id}``) or the path (``/missions/7``)."""
    method: str | None = None
    environment: str | None = None
    """A pattern for the environment's name."""
    attributes: Mapping[str, str] = _NONE
    """Patterns for attributes that the root span has when it starts."""
    rate: float = 1.0
    """The share of the matching traces that is recorded, 0 to 1."""
    per_second: float | None = None
    """The most of them that is recorded in a second, in this process; None: as many as come."""


class TailSettings(NamedTuple):
    """Which local traces are kept although the head said no, and what waits for that at the most."""

    errors: bool = True
    """Keep one in which a span has the status error, or an exception was reported."""
    slower_than: float | None = None
    """Keep one that lasts longer than so many seconds; None: none for that reason."""
    max_traces: int = 10_000
    max_spans: int = 100_000
    max_bytes: int = 64_000_000
    """An estimate, rather too high than too low."""
    max_age: float = 120.0
    """Seconds that a local trace waits for its end."""


class SamplingSettings(NamedTuple):
    """What is recorded, beside the sampler that stands in OpenTelemetry's own place."""

    rules: tuple[RuleSettings, ...] = ()
    """The first that matches decides."""
    destinations: Mapping[str, float] = _NONE
    """The share of all traces that a destination gets, by its name; all that is recorded if it is not in here."""
    tail: TailSettings | None = None
    """None: only the head decides."""


class Settings(NamedTuple):
    """Everything that ``setup()`` needs to know."""

    environment: str
    source: str
    """The file that was read, for messages."""
    document: Mapping[str, Any]
    """The file's part that is OpenTelemetry's own, variables filled in, the destinations taken out."""
    simple_form: bool = False
    """Whether it asks for no more than :mod:`brain_otel.configuration.simple_form` describes."""
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
    fast_paths: bool = True
    """Whether this package's faster ways replace OpenTelemetry's and sentry-sdk's own."""
    send_default_pii: bool = False
    """Whether what tells a person apart, such as the client's address, may leave."""
    notices: tuple[str, ...] = ()
    """What ``setup()`` should tell the user in the log, one line each."""

    def __repr__(self) -> str:
        """Without the file, which may hold secrets in clear."""
        return _shown(self, "document")
