"""Two corpora that say what must not leave an application, and what must leave it unchanged.

Who wrote them, and from what: a reader who knew the kinds of secrets that issue 15 names and how it is judged, and
who had read neither the policy's rules nor its tests nor its page. The secrets are what a stranger would plant in a
running FastAPI application; the look-alikes are what an engineer would be annoyed to find masked. Formats of keys
come from vendors' documentation and from maintained lists of secret formats; the source stands beside each one.

For authors of rules: a case is not edited to pass. A case that is wrong (no secret at all, or not harmless after all)
is removed, and a line that says why goes into the list ``REMOVED`` at the end of its file.

How to read a case: ``where`` is one of :data:`PLACES`. In a place of :data:`NAMED_PLACES` the text is a ``dict`` from
name to value, since the name is half of what is known there (an attribute, a header, a field, a local variable). In
every other place the text is the whole text, or the whole Python or JSON value. No real secret stands here: the
random parts are made in code, from a seed (:mod:`tests.privacy.corpora.planting`).
"""

from dataclasses import dataclass
from typing import Any

NAMED_PLACES = frozenset(
    {
        "breadcrumb data",
        "context",
        "cookie header",
        "driver statement",
        "environment",
        "event attribute",
        "form field",
        "grpc metadata",
        "json body",
        "link attribute",
        "local variable",
        "location header",
        "log extra",
        "metric attribute",
        "multipart file name",
        "path parameter",
        "process.command_args",
        "request header",
        "resource attribute",
        "response header",
        "set-cookie header",
        "span attribute",
        "tag",
        "task keyword",
        "user",
        "user extra",
    }
)
"""Places where a value stands beside its name; a case there gives a dict from name to value."""

TEXT_PLACES = frozenset(
    {
        "breadcrumb message",
        "called url",
        "captured message",
        "command line",
        "connection string",
        "csv row",
        "database error",
        "environment dump",
        "event name",
        "exception message",
        "exception note",
        "feedback",
        "fragment",
        "graphql document",
        "html",
        "http dump",
        "ini file",
        "llm message",
        "log message",
        "measurement",
        "mongodb command",
        "monitor error",
        "query string",
        "doubly encoded query string",
        "path segment",
        "redis command",
        "source line",
        "span name",
        "span status",
        "sql comment",
        "sql statement",
        "sqlalchemy error",
        "task error",
        "task name",
        "thread name",
        "traceback text",
        "transaction name",
        "url",
        "validation error",
        "validation json",
        "websocket query",
        "xml element",
        "yaml block",
    }
)
"""Places that hold one text."""

VALUE_PLACES = frozenset(
    {"exception argument", "log argument", "log template", "sql parameters", "task argument", "validation errors"}
)
"""Places that hold one value of any type."""

PLACES = NAMED_PLACES | TEXT_PLACES | VALUE_PLACES
"""Every kind of place that the corpora plant something in."""


@dataclass(frozen=True)
class Secret:
    """Something secret and the place it is planted in.

    :ivar kind: the kind of leak, in words
    :ivar text: the whole text or value in which the secret stands
    :ivar secret: the part of it that must never leave
    :ivar where: the place, one of :data:`PLACES`
    :ivar also: further parts that must not leave either, such as the other lines of a secret broken over lines
    """

    kind: str
    text: Any
    secret: str
    where: str
    also: tuple[str, ...] = ()

    @property
    def parts(self) -> tuple[str, ...]:
        """Everything of this case that must not leave."""
        return (self.secret, *self.also)


@dataclass(frozen=True)
class LookAlike:
    """Something harmless that resembles a secret and must leave unchanged.

    :ivar kind: what it is, in words
    :ivar text: the whole text or value
    :ivar where: the place, one of :data:`PLACES`
    """

    kind: str
    text: Any
    where: str
