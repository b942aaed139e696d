"""The packaged environments as they were parsed when they were packaged: reading them needs no YAML parser.

``known_files.json`` has each by the SHA-256 of its text, so a file that somebody has edited is parsed as any other.
``python -m tests.configuration.known_files`` writes it.
"""

import json
from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

from brain_otel.configuration.substitution import filled_in
from brain_otel.configuration.values import Key, Variables

TYPED, TEXT = "$", "$$"
"""Keys of a mapping that stands for a text with variables. The value of the first has the type that it looks like.

Under the key are the parts of the text: texts, and the name and default of each variable.
"""

_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **{word: True for name in ("yes", "true", "on") for word in (name, name.title(), name.upper())},
    **{word: False for name in ("no", "false", "off") for word in (name, name.title(), name.upper())},
}
"""The words to which YAML 1.1 gives a meaning."""

_ODD = frozenset("+-.0123456789<=!&*")
"""First characters of texts that may be no text: numbers, dates, YAML's own signs."""


class _OddValueError(Exception):
    """A variable has a value of which only a YAML parser knows what it is."""


def read(content: bytes, environ: Mapping[str, str]) -> tuple[dict[str, Any], Variables] | None:
    """The parsed ``content`` with its variables filled in; None if it is no known file, or a value is an odd one."""
    tree = _trees().get(sha256(content).hexdigest())
    if tree is None:
        return None
    names: dict[Key, tuple[str, ...]] = {}
    try:
        data = _filled(tree, environ, (), names)
    except _OddValueError:
        return None
    return data, lambda key: names.get(key, ())


def _trees() -> dict[str, Any]:
    trees: dict[str, Any] = json.loads(Path(__file__).with_suffix(".json").read_bytes())
    return trees


def _filled(value: Any, environ: Mapping[str, str], key: Key, names: dict[Key, tuple[str, ...]]) -> Any:
    if isinstance(value, list):
        return [_filled(each, environ, (*key, index), names) for index, each in enumerate(value)]
    if not isinstance(value, dict):
        return value
    for kind in (TYPED, TEXT):
        if kind in value:
            text, names[key] = filled_in(value[kind], environ)
            return _typed(text) if kind == TYPED else text
    return {name: _filled(each, environ, (*key, name), names) for name, each in value.items()}


def _typed(text: str) -> Any:
    """The value that YAML makes of ``text``: https://yaml.org/type/ for version 1.1."""
    if text in _WORDS:
        return _WORDS[text]
    if text[0] not in _ODD:
        return text
    whole, point, part = text.partition(".")
    digits = whole.isascii() and whole.isdecimal() and (len(whole) == 1 or whole[0] != "0")
    if digits and not point:
        return int(text)
    if digits and part.isascii() and part.isdecimal():
        return float(text)
    raise _OddValueError
