"""The shapes in which names and values are kept together, beside a mapping: pairs, bytes, texts in quotes."""

from __future__ import annotations

from typing import Any

from brain_otel.written import written_out


def plain_name(key: Any) -> str:
    """A name as text, without the marks of bytes and quotes."""
    if isinstance(key, bytes):
        return key.decode("latin-1")
    text = key if isinstance(key, str) else written_out(key, str)
    return text[2:-1] if text[:2] in ("b'", 'b"') else text.strip("'\"")


def are_pairs(value: Any) -> bool:
    """Whether ``value`` is a list of names with their values, as headers are kept."""
    return len(value) > 0 and all(
        isinstance(item, (list, tuple)) and type(item) in (list, tuple) and len(item) == 2
        and isinstance(item[0], (str, bytes))
        for item in value
    )  # fmt: skip
