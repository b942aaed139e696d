"""Finds a value in captured telemetry, in every encoding in which it could have left."""

import base64
import html
import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote, quote_plus

MIN_LENGTH = 4
"""Characters of the shortest value that is searched for; a shorter one stands in harmless texts."""


def places_of(value: str, data: Any, place: str = "") -> Iterator[str]:
    """The places in ``data`` that hold ``value``, such as ``events.0.extra.note (base64)``, keys included.

    Raises:
        ValueError: ``value`` is shorter than 4 characters.
    """
    if len(value) < MIN_LENGTH:
        raise ValueError(f"{value!r} is too short to be searched for; allowed: {MIN_LENGTH} or more characters")
    yield from _places(_encodings(value), data, place)


def _encodings(value: str) -> dict[str, str]:
    """The forms of ``value`` by their names, each folded to lower case."""
    once = quote(value, safe="")
    forms = {
        "plain": value,
        "repr": repr(value)[1:-1],
        "JSON": json.dumps(value)[1:-1],
        "HTML": html.escape(value),
        "percent-encoded": once,
        "form": quote_plus(value),
        "percent-encoded twice": quote(once, safe=""),
        "hexadecimal": value.encode().hex(),
        "reversed": value[::-1],
    }
    for offset in range(3):  # where the value begins within the three bytes that become four characters
        encoded = base64.b64encode(b"\0" * offset + value.encode()).decode()
        core = encoded[(0, 2, 3)[offset] : len(encoded.rstrip("=")) // 4 * 4]
        if len(core) >= MIN_LENGTH:
            forms[f"base64 {offset}"] = core
            forms[f"base64url {offset}"] = core.translate(str.maketrans("+/", "-_"))
    return {name: form.lower() for name, form in forms.items()}


def _places(forms: dict[str, str], data: Any, place: str) -> Iterator[str]:
    if isinstance(data, dict):
        for key, each in data.items():
            yield from _places(forms, str(key), f"{place}.{key} as a key")
            yield from _places(forms, each, f"{place}.{key}")
    elif isinstance(data, (list, tuple, set, frozenset)):
        for index, each in enumerate(data):
            yield from _places(forms, each, f"{place}.{index}")
    else:
        text = (data.decode("latin-1") if isinstance(data, bytes) else str(data)).lower()
        found = next((name for name, form in forms.items() if form in text), None)
        if found is not None:
            yield f"{place.lstrip('.')} ({found.partition(' ')[0] if found.startswith('base') else found})"
