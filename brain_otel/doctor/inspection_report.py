"""What an application did while it was imported: the inspection writes it as JSON, the doctor reads it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field


@dataclass(kw_only=True)
class Call:
    """A call by which the application configures OpenTelemetry or Sentry itself."""

    name: str
    """The function's name, or the class of an OpenTelemetry instrumentor."""
    place: str
    """The application's file and line."""
    before_setup: bool
    integrations: list[str] = field(default_factory=list)
    """The integrations of ``sentry_sdk.init()``."""


@dataclass(kw_only=True)
class Failure:
    """The exception that ended the import."""

    type: str
    text: str
    place: str
    """The application's file and line, or empty."""


@dataclass(kw_only=True)
class Setup:
    """The set-up that the application or the launcher has run."""

    environment: str
    source: str
    """The configuration file."""
    fastapi: str
    """The FastAPI instrumentation: ``contrib``, ``native`` or ``off``."""


@dataclass(kw_only=True)
class Apps:
    """The FastAPI apps that exist after the import; lists of apps hold their titles."""

    count: int
    middleware: list[str]
    """The class names of middleware inside the apps and around the inspected one."""
    with_native_options: list[str]
    """Apps made with ``FastAPI(telemetry=...)``."""
    with_own_exporters: list[str]
    """Apps that add OTLP exporters of their own."""


@dataclass(kw_only=True)
class InspectionReport:
    """All that is known of the import."""

    calls: list[Call] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    """Log lines of this package, from level ``WARNING`` on."""
    setup: Setup | None = None
    served_before_setup: list[str] = field(default_factory=list)
    """Titles of the FastAPI apps that had built their middleware before ``setup()``."""
    engines_before_setup: int = 0
    """SQLAlchemy engines that existed before ``setup()``."""
    apps: Apps | None = None
    """None: the import did not finish."""
    agents: list[str] = field(default_factory=list)
    """Other observability SDKs in use."""
    conventions: dict[str, str] = field(default_factory=dict)
    """The mode of contrib's semantic conventions, by signal."""
    failure: Failure | None = None
    stuck_at: str = ""
    """The file and line at which the time ran out."""
    exit_status: int | None = None
    """The status of a process that ended without writing a report."""
    last_words: str = ""
    """The last line that such a process wrote to stderr."""

    def as_json(self) -> str:
        """Serialize the report."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> InspectionReport:
        """Parse what :meth:`as_json` returned."""
        data = json.loads(text)
        data["calls"] = [Call(**each) for each in data["calls"]]
        for name, kind in (("setup", Setup), ("apps", Apps), ("failure", Failure)):
            data[name] = data[name] and kind(**data[name])
        return cls(**data)
