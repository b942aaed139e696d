"""Searches everything that left a process for many secrets at once, each in many encodings.

The search decodes nothing and shares no code with the canary of the package, which decodes.
"""

import base64
import html
import json
import re
import zlib
from collections.abc import Iterable, Iterator, Mapping
from urllib.parse import quote

SHORTEST = 6
"""Characters of the shortest text that is looked for; a shorter one stands in ids by chance."""

_WORD = re.compile(rb"[^\s\"'<>{}()\[\],\x00-\x1f]{%d,}" % SHORTEST)
_GZIP = b"\x1f\x8b\x08"


def encodings(text: str) -> dict[str, str]:
    """``text`` in each form in which it could leave, by the name of the form."""
    in_json, once, twice = json.dumps(text)[1:-1], quote(text, safe=""), quote(quote(text, safe=""), safe="")
    forms = {
        "plain": text,
        "JSON": in_json,
        "JSON twice": json.dumps(in_json)[1:-1],
        "escaped": "".join(f"\\u{ord(each):04x}" for each in text),
        "percent": once,
        "percent twice": twice,
        "HTML": html.escape(text),
        "HTML by numbers": "".join(f"&#{ord(each)};" for each in text),
        "hex": text.encode().hex(),
        "reversed": text[::-1],
    }
    for offset in range(3):
        encoded = base64.b64encode(b"\0" * offset + text.encode()).decode()
        core = encoded[(0, 2, 3)[offset] : len(encoded.rstrip("=")) // 4 * 4]
        forms[f"base64 {offset}"] = core
        forms[f"base64url {offset}"] = core.translate(str.maketrans("+/", "-_"))
    return {name: form for name, form in forms.items() if len(form) >= SHORTEST}


def unpacked(data: bytes) -> Iterator[bytes]:
    """``data``, and the content of everything in it that gzip compressed."""
    yield data
    for part in data.split(_GZIP)[1:]:
        yield zlib.decompressobj(31).decompress(_GZIP + part)


class Haystack:
    """Data in which many texts are looked for; it keeps what stands between quotes once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.strings = b'"'.join(set(data.split(b'"')))
        """Much less than the data."""

    def __contains__(self, text: bytes) -> bool:
        return text in (self._data if b'"' in text else self.strings)


class Search:
    """Finds which of many texts stand in data; reads the data once, whatever the number of texts."""

    def __init__(self, texts: Iterable[str]) -> None:
        self._forms: dict[bytes, list[tuple[str, str]]] = {}
        for text in set(texts):
            for name, form in encodings(text).items():
                self._forms.setdefault(form.lower().encode(), []).append((text, name))
        self._by_part: dict[bytes, list[bytes]] = {}
        for wanted in self._forms:
            longest = max(_WORD.findall(wanted), key=len, default=b"")
            self._by_part.setdefault(longest[:SHORTEST], []).append(wanted)  # b"" stands for forms of short words

    def found(self, data: bytes) -> Mapping[str, str]:
        """Each text that ``data`` holds, with the name of a form in which it does."""
        haystack = Haystack(data.lower())
        parts = self._by_part.keys()
        words = set(_WORD.findall(haystack.strings))
        joined = b" ".join(words)
        seen = {b"", *(part for word in words for part in _parts(word) & parts)}
        found: dict[str, str] = {}
        for form in (form for part in seen for form in self._by_part.get(part, ())):
            texts = [each for each in self._forms[form] if each[0] not in found]
            inside = _WORD.findall(form)
            if texts and all(word in joined for word in inside) and (inside == [form] or form in haystack):
                found.update(texts)
        return found


def _parts(word: bytes) -> set[bytes]:
    return {word[place : place + SHORTEST] for place in range(len(word) - SHORTEST + 1)}
