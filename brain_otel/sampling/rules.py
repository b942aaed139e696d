"""Rules: another rate for the traces whose local root starts with certain attributes."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from brain_otel.configuration.sections.sampling import RuleSettings
from brain_otel.runtime.lazy_regex import expression
from brain_otel.sampling.decision import Grant
from brain_otel.sampling.rate_limit import RateLimit

_PIECE = expression(r"(\*|\?|\{[^{}]*\})")


class Rule:
    """One rule of the configuration."""

    def __init__(self, settings: RuleSettings) -> None:
        self.rate = settings.rate
        self._limit = RateLimit(settings.per_second) if settings.per_second is not None else None
        self._route = pattern(settings.route, route=True) if settings.route is not None else None
        self._method = settings.method.upper() if settings.method is not None else None
        self._attributes = tuple((name, pattern(text)) for name, text in settings.attributes.items())

    def matches(self, attributes: Mapping[str, Any]) -> bool:
        """Whether it applies to a root span with these attributes."""
        if self._method is not None and self._method != _method(attributes):
            return False
        if self._route is not None and not _matches_route(self._route, attributes):
            return False
        return all(_matches_value(expected, attributes.get(name)) for name, expected in self._attributes)

    def ask(self, rand: float) -> Grant:
        """The rate for one more trace, and whether the rule's limit allows the trace."""
        return Grant(self.rate) if self._limit is None else self._limit.ask(rand, self.rate)


def compiled(rules: Sequence[RuleSettings], environment: str) -> tuple[Rule, ...]:
    """The rules that can match in ``environment``."""
    here = [each for each in rules if each.environment is None or pattern(each.environment).fullmatch(environment)]
    return tuple(Rule(each) for each in here)


def pattern(text: str, *, route: bool = False) -> re.Pattern[str]:
    """Compile ``*`` (anything), ``?`` (one character) and, in a route, ``{name}`` (one part of a path)."""
    pieces = []
    for piece in _PIECE.split(text):
        if piece in ("*", "?"):
            pieces.append(".*" if piece == "*" else ".")
        elif route and piece.startswith("{"):
            pieces.append(".+" if piece.endswith(":path}") else "[^/]+")
        else:
            pieces.append(re.escape(piece))
    return re.compile("".join(pieces), re.DOTALL)


def _method(attributes: Mapping[str, Any]) -> str | None:
    method = attributes.get("http.request.method") or attributes.get("http.method")
    return str(method).upper() if method is not None else None


def _matches_route(expected: re.Pattern[str], attributes: Mapping[str, Any]) -> bool:
    """Whether the route or the path matches; a span of FastAPI's own has no route when it starts."""
    for name in ("http.route", "url.path", "http.target"):
        value = attributes.get(name)
        if value is not None and expected.fullmatch(str(value).partition("?")[0]):
            return True
    return False


def _matches_value(expected: re.Pattern[str], value: Any) -> bool:
    """Whether the text of ``value`` matches, or that of one of its items."""
    if isinstance(value, (list, tuple)):
        return any(_matches_value(expected, each) for each in value)
    if value is None:
        return False
    return expected.fullmatch(str(value).lower() if isinstance(value, bool) else str(value)) is not None
