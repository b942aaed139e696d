"""Rules: for which traces another rate holds, by what is known when the local root starts."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from brain_otel.sampling.rate_limit import RateLimit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from brain_otel.configuration.settings import RuleSettings

_PIECE = re.compile(r"(\*|\?|\{[^{}]*\})")


class Rule:
    """One rule of the configuration, ready to match."""

    def __init__(self, settings: RuleSettings) -> None:
        self.rate = settings.rate
        self._limit = RateLimit(settings.per_second) if settings.per_second is not None else None
        self._route = pattern(settings.route, route=True) if settings.route is not None else None
        self._method = settings.method.upper() if settings.method is not None else None
        self._attributes = tuple((name, pattern(text)) for name, text in settings.attributes.items())

    def matches(self, attributes: Mapping[str, Any]) -> bool:
        """Whether it holds for a root span with these attributes."""
        if self._method is not None and self._method != _method(attributes):
            return False
        if self._route is not None and not _is_at(self._route, attributes):
            return False
        return all(_is_like(expected, attributes.get(name)) for name, expected in self._attributes)

    def ask(self, rand: float) -> tuple[float, float, bool]:
        """The rate to compare ``rand`` with, the share of it that a limit lets pass, whether it lets this one."""
        return (self.rate, 1.0, True) if self._limit is None else self._limit.ask(rand, self.rate)


def compiled(rules: Sequence[RuleSettings], environment: str) -> tuple[Rule, ...]:
    """The rules that can match in ``environment``."""
    here = [each for each in rules if each.environment is None or pattern(each.environment).fullmatch(environment)]
    return tuple(Rule(each) for each in here)


def pattern(text: str, *, route: bool = False) -> re.Pattern[str]:
    """``*`` stands for anything, ``?`` for one character and, in a route, ``{name}`` for what is between slashes."""
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


def _is_at(expected: re.Pattern[str], attributes: Mapping[str, Any]) -> bool:
    """Whether the route or the path matches; FastAPI's own spans do not know the route when they start."""
    for name in ("http.route", "url.path", "http.target"):
        value = attributes.get(name)
        if value is not None and expected.fullmatch(str(value).partition("?")[0]):
            return True
    return False


def _is_like(expected: re.Pattern[str], value: Any) -> bool:
    """Whether the value, or one of several, matches as text."""
    if isinstance(value, (list, tuple)):
        return any(_is_like(expected, each) for each in value)
    if value is None:
        return False
    return expected.fullmatch(str(value).lower() if isinstance(value, bool) else str(value)) is not None
