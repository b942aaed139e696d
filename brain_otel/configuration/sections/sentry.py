"""``distribution.brain_otel.sentry``: how the Sentry bridge behaves."""

from typing import Annotated, Any
from urllib.parse import urlsplit

from brain_otel.configuration.error import holds_credentials
from brain_otel.configuration.identity import Identity
from brain_otel.configuration.values import (
    BOOLEANS,
    BadValueError,
    Derived,
    list_of,
    number,
    read_fields,
    text,
)
from brain_otel.runtime.named_tuple import NamedTuple

DEFAULT_SPOTLIGHT = "http://localhost:8969/stream"
"""Where Spotlight listens, as in sentry-sdk."""


class Secret:
    """A string that hides itself: ``str()`` gives the value, ``repr()`` and logs a mask."""

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


def is_dsn(value: str) -> bool:
    """Whether ``value`` has the form of a `Sentry DSN <https://docs.sentry.io/concepts/key-terms/dsn-explainer/>`_."""
    if not is_address(value):
        return False
    parts = urlsplit(value)
    project = parts.path.rsplit("/", 1)[-1]
    return bool(parts.username) and project.isascii() and project.isdigit()


def is_address(value: str) -> bool:
    """Whether ``value`` is an address of a server by HTTP."""
    try:
        parts = urlsplit(value)
        return bool(parts.scheme in ("http", "https") and parts.hostname and parts.port != 0)
    except ValueError:
        return False


def _dsn(value: Any) -> Secret | None:
    if value != "" and not is_dsn(str(value)):
        raise BadValueError(value, "a DSN such as https://<key>@<host>/<project>")
    return Secret(str(value)) if value else None


def _release(value: Any) -> str | None:
    if isinstance(value, (dict, list)) or holds_credentials(str(value)):
        raise BadValueError(value, "a release's name such as shop@1.2.3")
    return str(value) or None


def _spotlight(value: Any) -> str | None:
    """The address of Spotlight, from an address or a boolean word."""
    word = str(value).strip()
    if word.lower() in BOOLEANS or not word:
        return DEFAULT_SPOTLIGHT if BOOLEANS.get(word.lower()) else None
    if isinstance(value, str) and is_address(word) and not holds_credentials(word):
        return word
    raise BadValueError(value, f"an address such as {DEFAULT_SPOTLIGHT}, {', '.join(BOOLEANS)}")


METHODS = ("CONNECT", "DELETE", "GET", "PATCH", "POST", "PUT", "TRACE")
"""sentry-sdk's default."""

_METHODS = list_of(
    text(lambda name: name.isascii() and name.isalpha() and name.isupper(), "a method such as GET, in upper case"),
    "a list of methods such as GET and HEAD",
)


class SentrySettings(NamedTuple):
    """How the Sentry bridge behaves."""

    dsn: Annotated[Secret | None, _dsn]
    """None: only Spotlight gets events."""
    environment: Derived[str]
    release: Annotated[str | None, _release] = None
    """None: the git commit, else the CI platform's, else the service version, else this package's."""
    identity: Derived[Identity] = Identity()
    traces_sample_rate: Derived[float] = 1.0
    """The share of all traces that Sentry gets if no rule applies, 0 to 1: the rate of the file's sampler."""
    profiles_sample_rate: Annotated[float, number(0, 1)] = 0.1
    """The share of sampled transactions that is profiled, 0 to 1."""
    send_default_pii: bool = False
    debug: bool = False
    standalone_spans: bool = False
    """Whether a call, message or statement outside of any request, job or transaction is a transaction of its own."""
    http_methods_to_capture: Annotated[tuple[str, ...], _METHODS] = METHODS
    """Methods whose requests are transactions, as in sentry-sdk."""
    spotlight: Annotated[str | None, _spotlight] = None
    """The address of a local `Spotlight <https://spotlightjs.com>`_ that gets everything too."""

    def __repr__(self) -> str:
        """Leave out ``spotlight``, which may hold credentials."""
        return shown_without(self, "spotlight")


def read_sentry(given: Any) -> SentrySettings:
    """Read the block; the caller fills in the derived fields."""
    return SentrySettings(**{"dsn": None, "environment": "", **read_fields(SentrySettings, given)})


def shown_without(settings: Any, hidden: str) -> str:
    """The ``repr()`` of a settings object without the field ``hidden``."""
    shown = (f"{name}={value!r}" for name, value in settings._asdict().items() if name != hidden)
    return f"{type(settings).__name__}({', '.join(shown)})"
