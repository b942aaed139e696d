"""What a screen is: an address, a question to the store, a template."""

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from brain_otel.viewer.rows import Json
from brain_otel.viewer.store.queries.filters import FilterError, Filters


@dataclass(frozen=True, kw_only=True)
class Query:
    """What a browser asked for."""

    connection: sqlite3.Connection
    filters: Filters
    parameters: Mapping[str, str]
    place: Mapping[str, Any]
    """What the address itself names."""
    apdex: int
    """Apdex's threshold in microseconds."""

    def choice(self, name: str, allowed: Mapping[str, Any] | tuple[str, ...], default: str) -> str:
        """The parameter ``name``, which is one of ``allowed``.

        Raises:
            FilterError: it is not.
        """
        value = self.parameters.get(name, default)
        if value not in allowed:
            raise FilterError(f"{name} is {value!r:.50}; allowed: {', '.join(filter(None, allowed))}")
        return value

    def text(self, name: str) -> str:
        """The parameter ``name``, as free text."""
        return self.parameters.get(name, "").strip()[:1_000]

    def number(self, name: str) -> float:
        """The parameter ``name``, 0 by default.

        Raises:
            FilterError: it is no number from 0 to 10^12.
        """
        text = self.parameters.get(name) or "0"
        try:
            value = float(text)
        except ValueError:
            value = -1.0
        if not 0 <= value <= 1e12:
            raise FilterError(f"{name} is {text!r:.50}; allowed: a number from 0 to 10^12")
        return value


@dataclass(frozen=True, kw_only=True)
class Screen:
    """One page with its twins in JSON and Markdown."""

    path: str
    template: str
    section: str
    """The entry of the navigation that is marked."""
    title: str
    read: Callable[[Query], Json | None]
    """The data of the page; None if there is no such page."""
