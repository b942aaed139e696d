"""Shows what of a text, an envelope or OTLP JSON would leave the process, and which rule masked each value."""

import json
from collections.abc import Iterator
from itertools import zip_longest
from typing import Any, BinaryIO

from brain_otel.configuration.settings import Settings
from brain_otel.doctor.envelope_parts import is_event, masked_event, masked_parts
from brain_otel.doctor.otlp_json import is_otlp, masked_otlp
from brain_otel.doctor.preview_input import Document, Envelope, Input, Text
from brain_otel.privacy import Policy
from brain_otel.privacy.settings import Rules

MAX_PLACES = 20
"""Places of a rule that are shown."""

NAMES = "names"
"""Stands among the rules for values that are masked because of their name."""

LENGTH = "length"
"""Stands among the rules for lines that are cut."""

_NO_RULES = Rules(**dict.fromkeys(Rules._fields, False))
_MAX_LINES_OF_KEY = 1_000


class Places:
    """Where a rule acted: ``line 3``, or a path such as ``extra.api_key``."""

    def __init__(self) -> None:
        self.count = 0
        self.first: list[str] = []
        """At most :data:`MAX_PLACES` of them."""

    def add(self, found: list[str]) -> None:
        """Count the places."""
        self.count += len(found)
        self.first += found[: MAX_PLACES - len(self.first)]

    def __str__(self) -> str:
        more = f" and {self.count - len(self.first)} more" if self.count > len(self.first) else ""
        return f"{', '.join(self.first)}{more}"


class Preview:
    """Masks an input, which gzip may have compressed, piece by piece by the policy of ``settings``.

    Items of an envelope are masked as for Sentry, OTLP JSON as spans, log records and metrics are, other JSON by its
    names and texts, and anything else as a text.
    """

    def __init__(self, source: BinaryIO, settings: Settings) -> None:
        self._input = Input(source)
        privacy, pii = settings.privacy, settings.send_default_pii
        self._whole = Policy(privacy, send_default_pii=pii)
        self._without_rules = Policy(privacy._replace(rules=_NO_RULES), send_default_pii=pii)
        self._alone = {
            rule: Policy(privacy._replace(rules=_NO_RULES._replace(**{rule: True})), send_default_pii=pii)
            for rule in Rules._fields
            if getattr(privacy.rules, rule)
        }
        self._places = {name: Places() for name in (NAMES, LENGTH, *self._alone)}

    @property
    def places(self) -> dict[str, Places]:
        """The rules that acted, and where they did; complete once everything is read."""
        return {rule: places for rule, places in self._places.items() if places.count}

    @property
    def is_cut_off(self) -> bool:
        """Whether the compressed input ends too early, so that something is missing."""
        return self._input.is_cut_off

    def __iter__(self) -> Iterator[str]:
        """The lines that would leave.

        Raises:
            InputError: The input cannot be read.
        """
        line = 0
        for each in self._input:
            original = each.text.splitlines() if isinstance(each, Text) else each[0]
            masked = _masked(each, self._whole)
            if masked != original:
                self._find_places(each, line)
            if isinstance(each, Text) and each.is_cut:
                self._places[LENGTH].add([f"line {line + 1}"])
            yield from _written(each, masked)
            line += len(original) if isinstance(each, Text) else 1

    def _find_places(self, each: Text | Document | Envelope, line: int) -> None:
        without_rules = LENGTH if isinstance(each, Text) else NAMES
        by_name = _places(each, _masked(each, self._without_rules), line)
        self._places[without_rules].add(by_name)
        for rule, alone in self._alone.items():
            found = _places(each, _masked(each, alone), line)
            self._places[rule].add([place for place in found if place not in by_name])


def _masked(each: Text | Document | Envelope, by: Policy) -> Any:
    match each:
        case Text(text):
            return by.text(text).splitlines()
        case Envelope(parts):
            return masked_parts(parts, by)
        case Document(data):
            return _masked_document(data, by)


def _written(each: Text | Document | Envelope, masked: Any) -> list[str]:
    """The lines of ``masked``, which ``each`` has become."""
    match each:
        case Text():
            return list(masked)
        case Envelope():
            return [part if isinstance(part, str) else json.dumps(part) for part in masked]
        case Document():
            return [json.dumps(masked, indent=2 if each.is_alone else None)]


def _places(each: Text | Document | Envelope, masked: Any, line: int) -> list[str]:
    """The places at which ``masked`` differs from ``each``, which has ``line`` lines before it."""
    match each:
        case Text(text):
            return _changed_lines(text.splitlines(), masked, line)
        case Envelope(parts):
            return _changed(parts, masked)
        case Document(data):
            return _changed(data, masked, "" if each.is_alone else f".{line}")


def _masked_document(document: Any, by: Policy) -> Any:
    if isinstance(document, dict):
        if is_otlp(document):
            return masked_otlp(document, by)
        if is_event(document):
            return masked_event(document, by)
    return by.value(document)


def _changed(original: Any, masked: Any, place: str = "") -> list[str]:
    """The places at which ``masked`` differs from ``original``."""
    if original is masked or original == masked:
        return []
    if isinstance(original, dict) and isinstance(masked, dict):
        return [
            found for key, each in original.items() for found in _changed(each, masked.get(key), f"{place}.{key}")
        ]
    if isinstance(original, list) and isinstance(masked, list):
        if original and all(isinstance(each, dict) and "key" in each and "value" in each for each in original):
            return _changed(_by_key(original), _by_key(masked), place)
        if len(original) == len(masked):
            pairs = enumerate(zip(original, masked, strict=True))
            return [found for index, (one, other) in pairs for found in _changed(one, other, f"{place}.{index}")]
    return [place.lstrip(".")]


def _by_key(pairs: list[Any]) -> dict[Any, Any]:
    return {pair["key"]: pair["value"] for pair in pairs}


def _changed_lines(original: list[str], masked: list[str], before: int) -> list[str]:
    """The lines that changed, with ``before`` others before them; a private key becomes one line."""
    if len(original) == len(masked):
        numbers = [number for number, line in enumerate(original) if masked[number] != line]
    else:
        numbers = []
        place = 0
        for line, following in zip_longest(masked, masked[1:]):
            if original[place : place + 1] == [line]:
                place += 1
            else:
                end = _place_of(following, original, place + 1)
                numbers += range(place, end)
                place = end
    return [f"line {before + number + 1}" for number in numbers]


def _place_of(line: str | None, lines: list[str], start: int) -> int:
    """Where ``line`` is among ``lines``, some of which a key leaves out; the end for None, ``start`` if nowhere."""
    if line is None:
        return len(lines)
    near = range(start, min(len(lines), start + _MAX_LINES_OF_KEY))
    return next((place for place in near if lines[place] == line), min(start, len(lines)))
