"""Reads the file with the rules and the receivers of alerts."""

import base64
import binascii
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from brain_otel.configuration.document import Document, read_document
from brain_otel.configuration.error import ConfigurationError, configuration_error
from brain_otel.configuration.values import BadValueError, Reader, list_of, mapping_of, number, read_fields, text

MAX_RECEIVERS, MAX_RULES = 20, 100
_SECRETS = ("webhook", "slack", "pagerduty", "url", "secret", "routing_key")
"""Keys whose values are secret as a whole: an incoming webhook's address is its password."""

_URL = re.compile(r"https?://[^\s/@?#]+(?:[/?][^\s#]*)?")
_KEY_FORMAT = "24 to 64 random bytes in base64, as `openssl rand -base64 32` prints"

_name = text(lambda value: len(value) <= 200, "a text of at most 200 characters")
_minutes = number(1, 1_440, whole=True)
_url = text(_URL.fullmatch, "an address that begins with https:// or http://, without a user")
_share = number(0, 1)
_count = number(1, whole=True)


def _is_key(value: str) -> bool:
    try:
        return 24 <= len(secret_key(value)) <= 64
    except binascii.Error:
        return False


def secret_key(secret: str) -> bytes:
    """The bytes of a webhook's secret, which is in base64, with or without the prefix ``whsec_``."""
    return base64.b64decode(secret.removeprefix("whsec_"), validate=True)


class Webhook(NamedTuple):
    """Gets JSON, signed as https://www.standardwebhooks.com says."""

    url: Annotated[str, _url]
    secret: Annotated[str, text(_is_key, _KEY_FORMAT)]


class Slack(NamedTuple):
    """An incoming webhook of Slack, or of what takes Slack's format."""

    url: Annotated[str, _url]


class PagerDuty(NamedTuple):
    """PagerDuty's Events API v2."""

    routing_key: Annotated[str, text(re.compile(r"[A-Za-z0-9]{32}").fullmatch, "the 32 characters of a routing key")]
    severity: Literal["critical", "error", "warning", "info"] = "error"
    url: Annotated[str, _url] = "https://events.pagerduty.com/v2/enqueue"


Receiver = Webhook | Slack | PagerDuty


class ErrorRate(NamedTuple):
    """The share of failed requests is above a threshold."""

    above: Annotated[float, _share]
    minutes: Annotated[int, _minutes] = 5
    at_least: Annotated[int, _count] = 20
    """Requests below which a share says nothing."""
    environment: Annotated[str, _name] = ""
    service: Annotated[str, _name] = ""
    route: Annotated[str, _name] = ""


class NewError(NamedTuple):
    """An issue is seen for the first time."""

    quiet: Annotated[int, _minutes] = 60
    """Minutes without an event after which the alert ends."""
    environment: Annotated[str, _name] = ""
    service: Annotated[str, _name] = ""
    route: Annotated[str, _name] = ""


class CameBack(NamedTuple):
    """A resolved issue has another event."""

    quiet: Annotated[int, _minutes] = 60
    environment: Annotated[str, _name] = ""
    service: Annotated[str, _name] = ""
    route: Annotated[str, _name] = ""


class SlowRoute(NamedTuple):
    """A route's p95 is above that of the hour before, or of the release before."""

    against: Literal["hour", "release"] = "hour"
    times: Annotated[float, number(above=1, high=1_000)] = 1.5
    minutes: Annotated[int, _minutes] = 10
    at_least: Annotated[int, _count] = 20
    above_ms: Annotated[float, number(0)] = 0
    """Milliseconds; a route whose p95 is not above them is fast enough."""
    environment: Annotated[str, _name] = ""
    service: Annotated[str, _name] = ""
    route: Annotated[str, _name] = ""


class Feedback(NamedTuple):
    """A user has submitted feedback, which belongs to no route."""

    quiet: Annotated[int, _minutes] = 60
    environment: Annotated[str, _name] = ""
    service: Annotated[str, _name] = ""


Condition = ErrorRate | NewError | CameBack | SlowRoute | Feedback
KINDS: Mapping[str, Any] = {
    "error_rate": ErrorRate,
    "new_error": NewError,
    "came_back": CameBack,
    "slow_route": SlowRoute,
    "feedback": Feedback,
}
RECEIVERS: Mapping[str, Any] = {"webhook": Webhook, "slack": Slack, "pagerduty": PagerDuty}


class Rule(NamedTuple):
    """The rules to watch and the receivers to notify."""

    name: str
    kind: str
    """A key of :data:`KINDS`."""
    condition: Any
    to: tuple[str, ...]


class AlertSettings(NamedTuple):
    """The file's content."""

    rules: tuple[Rule, ...]
    receivers: Mapping[str, Receiver]
    every: float = 15.0
    """Seconds between two looks."""
    link: str = ""
    """The viewer's address in messages; by default the one that it has."""


def read_alerts(path: Path, environ: Mapping[str, str] | None = None) -> AlertSettings:
    """Read the file at ``path``; ``${VAR}`` in it is a variable.

    Raises:
        ConfigurationError: a value is wrong; the message names the place, the value and what is allowed.
    """
    document = read_document(path, os.environ if environ is None else environ, path_from="--alerts")
    try:
        settings = _read(document.data)
    except BadValueError as error:
        raise _error(document, error) from None
    return settings


def _error(document: Document, error: BadValueError) -> ConfigurationError:
    last = next((part for part in reversed(error.path) if isinstance(part, str)), "")
    is_secret = not isinstance(error.value, dict) and (last in _SECRETS or error.path[:1] == ("receivers",))
    return configuration_error(document.place(error.path), error.value, error.allowed, secret=is_secret)


def _read(data: Any) -> AlertSettings:
    readers = {
        "receivers": mapping_of(_one_of(RECEIVERS), "a mapping of names to receivers"),
        "rules": mapping_of(_read_rule, "a mapping of names to rules"),
        "every": number(1, 3_600, unit="seconds"),
        "link": _url,
    }
    top = _read_keys(data, readers, "receivers", "rules")
    receivers = {name: receiver for name, (_, receiver) in top.pop("receivers").items()}
    rules = tuple(rule._replace(name=name) for name, rule in top.pop("rules").items())
    for given, most, key in ((receivers, MAX_RECEIVERS, "receivers"), (rules, MAX_RULES, "rules")):
        if not 1 <= len(given) <= most:
            raise BadValueError(dict.fromkeys(range(len(given))) or None, f"1 to {most} {key}", key)
    for rule in rules:
        for place, name in enumerate(rule.to):
            if name not in receivers:
                raise BadValueError(name, ", ".join(receivers), "rules", rule.name, "to", place)
    return AlertSettings(rules=rules, receivers=receivers, **top)


class _Keys(NamedTuple):
    """The keys of a mapping, all of which have a reader of their own."""


def _read_keys(given: Any, readers: Mapping[str, Reader], *needed: str) -> dict[str, Any]:
    """Read a mapping; ``needed`` are the keys that must be there."""
    found = read_fields(_Keys, given, readers)
    for name in needed:
        if name not in found:
            raise BadValueError(None, f"a mapping with {', '.join(needed)}", name)
    return found


def _whole(kind: Any) -> Reader:
    """Read a settings class, all of whose fields without a default must be there."""

    def read(given: Any) -> Any:
        found = read_fields(kind, {} if given is None else given)
        for name in kind._fields:
            if name not in found and name not in kind._field_defaults:
                raise BadValueError(None, "a value, which may be a variable that is set", name)
        return kind(**found)

    return read


def _one_of(kinds: Mapping[str, Any]) -> Reader:
    """Read a mapping with one key, which names a kind."""

    def read(given: Any) -> tuple[str, Any]:
        if not isinstance(given, dict) or len(given) != 1 or not kinds.keys() >= given.keys():
            raise BadValueError(given, f"a mapping with exactly one of {', '.join(kinds)}")
        ((name, value),) = given.items()
        try:
            return name, _whole(kinds[name])(value)
        except BadValueError as error:
            raise BadValueError(error.value, error.allowed, name, *error.path) from None

    return read


def _read_rule(given: Any) -> Rule:
    if not isinstance(given, dict):
        raise BadValueError(given, f"a mapping with to and one of {', '.join(KINDS)}")
    names = list_of(text(bool, "the name of a receiver"), "a list of receivers' names")
    to = _read_keys({"to": given.get("to")}, {"to": names}, "to")["to"]
    if not to:
        raise BadValueError([], "a list of at least one receiver's name", "to")
    kind, condition = _one_of(KINDS)({name: value for name, value in given.items() if name != "to"})
    return Rule("", kind, condition, tuple(dict.fromkeys(to)))
