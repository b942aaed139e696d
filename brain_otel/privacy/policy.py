"""The policy: what of a text, a value, a request or a span may leave the process, and what stands in its place.

A name decides first (:mod:`~brain_otel.privacy.names`), then the look of the value
(:mod:`~brain_otel.privacy.patterns`, :mod:`~brain_otel.privacy.assignments`). Nothing here changes what it is given.
"""

from __future__ import annotations

import logging
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_plus

from brain_otel.privacy.assignments import create_assignments
from brain_otel.privacy.names import are_pairs, create_check, plain_name
from brain_otel.privacy.patterns import MIN_LENGTH, create_patterns, is_card
from brain_otel.privacy.settings import FILTERED, PrivacySettings
from brain_otel.privacy.statements import error_without_input, error_without_parameters
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.text import MAX_TEXT

if TYPE_CHECKING:
    import re
    from collections.abc import Callable, Mapping

logger = logging.getLogger(__name__)

MAX_DEPTH = 8
"""Levels of mappings and lists that are looked into; what is deeper is masked as a whole."""

MAX_ITEMS = 5_000
"""Values within one value that are looked at; what is left is masked as a whole."""

_MAX_CACHED = 256
"""Characters of a text whose masked form is remembered."""

_MARGIN = 1_024
"""Characters beyond a cut that are looked at, so that half a secret does not stay."""

PERSONAL_HEADERS = frozenset(
    {"cookie", "set-cookie", "forwarded", "x-forwarded-for", "x-real-ip", "remote-addr", "true-client-ip"}
    | {"x-client-ip", "x-cluster-client-ip", "cf-connecting-ip", "fastly-client-ip", "proxy-authorization"}
)

_WORDS = expression(r"([\s,;&\"'<>]+)")
_PARTS = expression(r"([\s,;&\"'<>/?#]+)")
"""What stands between texts that were encoded: each of them as a whole, and its parts."""

_ENCODED = expression(r"%[0-9A-Fa-f]{2}")
_FRAME = expression(r'\s*File "[^"\n]*", line \d+')


class Policy:
    """What is private in one service. Its methods give what they were given where there is nothing to mask."""

    def __init__(
        self,
        settings: PrivacySettings | None = None,
        *,
        send_default_pii: bool = False,
        mask: Callable[[str, Any], Any] | None = None,
    ) -> None:
        """Make the policy.

        Args:
            settings: Names and rules; the default ones if None.
            send_default_pii: Whether what tells a person apart, such as the client's address, may leave.
            mask: The application's own rule, called with the name a value goes under (empty for a free text) and
                the value as the built-in rules leave it; what it returns is sent. If it raises, the value is masked.
        """
        self.settings = settings or PrivacySettings()
        self.send_default_pii = send_default_pii
        self.mask = mask
        self.is_sensitive = create_check(self.settings.sensitive_names, self.settings.safe_names)
        self.patterns = create_patterns(self.settings.rules)
        """Masks what is a secret by its look alone; for source code, in which names are given everything."""
        rules = self.settings.rules
        self._assignments = create_assignments(self.is_sensitive) if rules.assignments else None
        self._remembered = lru_cache(maxsize=4_096)(self._masked)

    # -- texts -----------------------------------------------------------------------------------------------

    def text(self, text: str, name: str = "") -> str:
        """A free text, such as a message, without the secrets in it; of one that is too long both ends."""
        length = len(text)
        if length < MIN_LENGTH:
            masked = text
        elif length <= _MAX_CACHED:
            masked = self._remembered(text)
        elif length <= MAX_TEXT:
            masked = self._masked(text)
        else:
            masked = self._cut(text)
        return masked if self.mask is None else str(self._own(name, masked))

    def _masked(self, text: str) -> str:
        if self.settings.rules.sql_literals:
            text = error_without_parameters(text)
        if not self.send_default_pii and "input_value=" in text:
            text = error_without_input(text)
        text = self._shown(text)
        return self._decoded(self._decoded(text, _PARTS), _WORDS) if "%" in text else text

    def _shown(self, text: str) -> str:
        text = self.patterns(text)
        return self._assignments(text) if self._assignments is not None else text

    def _decoded(self, text: str, separators: re.Pattern[str]) -> str:
        """``text`` without what is a secret once its percent signs are decoded, as in a header or a path."""
        parts = separators.split(text)
        for place, part in enumerate(parts):
            if "%" not in part or _ENCODED.search(part) is None:
                continue
            name, equals, value = part.partition("=")
            whole, decoded = unquote_plus(part), unquote_plus(value)
            if equals and self._shown(decoded) != decoded:
                parts[place] = f"{name}={FILTERED}"
            elif self._shown(whole) != whole:
                parts[place] = FILTERED
        return "".join(parts)

    def _cut(self, text: str) -> str:
        half = MAX_TEXT // 2
        left_out = len(text) - 2 * half
        begin, end = self._masked(text[: half + _MARGIN]), self._masked(text[-half - _MARGIN :])
        return f"{begin[:half]} ... {left_out} characters left out ... {end[-half:]}"

    def stacktrace(self, text: str) -> str:
        """A traceback as Python writes it; its lines of source code keep what they give to names."""
        lines = text.split("\n")
        message: list[str] = []
        parts: list[str] = []
        source = False
        for line in lines:
            if _FRAME.match(line) or source:
                if message:
                    parts.append(self.text("\n".join(message)))
                    message = []
                source = not source
                parts.append(self.patterns(line[:MAX_TEXT]))
            else:
                message.append(line)
        if message:
            parts.append(self.text("\n".join(message)))
        return "\n".join(parts)

    # -- values ----------------------------------------------------------------------------------------------

    def value(self, value: Any, name: str = "") -> Any:
        """A value of any form, with what is in it masked by the names within and by the look of the values.

        ``name`` is what it goes under; under a sensitive one it is masked as a whole, unless it is None or a bool.
        """
        try:
            return self._value(value, name, 0, [MAX_ITEMS])
        except Exception:  # the application's own mapping may fail in any way
            logger.debug("a value of type %s could not be looked at", type(value).__name__, exc_info=True)
            return FILTERED

    def _value(self, value: Any, name: str, depth: int, left: list[int]) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if name and self.is_sensitive(name):
            return FILTERED
        left[0] -= 1
        if left[0] < 0:
            return FILTERED
        if isinstance(value, str):
            return self._string(value, name)
        if isinstance(value, dict):
            return self._mapping(value, depth, left) if depth < MAX_DEPTH else FILTERED
        if isinstance(value, (list, tuple, set, frozenset)):
            return self._items(value, name, depth, left) if depth < MAX_DEPTH else FILTERED
        return self._scalar(value, name)

    def _string(self, value: str, name: str) -> str:
        if "://" in value and "?" in value and not any(map(str.isspace, value)):
            return self.url(value)
        return self.text(value, name)

    def _scalar(self, value: Any, name: str) -> Any:
        if isinstance(value, int):
            if self.settings.rules.cards and value >= 10**12 and is_card(str(value)):
                return FILTERED
        elif isinstance(value, (bytes, bytearray)):
            text = bytes(value).decode("utf-8", "surrogateescape")
            masked = self.text(text, name)
            return value if masked == text else masked.encode("utf-8", "surrogateescape")
        return value if self.mask is None else self._own(name, value)

    def _mapping(self, value: dict[Any, Any], depth: int, left: list[int]) -> dict[Any, Any]:
        labelled = value.get("name", value.get("key")) if "value" in value else None
        masked: dict[Any, Any] = {}
        personal = not self.send_default_pii and "asgi" in value  # a scope, with the client's address
        for key, item in value.items():
            name = key if isinstance(key, str) else plain_name(key)
            if left[0] <= 0:
                masked["..."] = FILTERED
                break
            if key == "value" and isinstance(labelled, str):
                name = labelled
            elif personal and name.strip("'") == "client":
                masked[key] = FILTERED
                continue
            kept = self.text(key) if isinstance(key, str) else key
            masked[kept] = self._value(item, name, depth + 1, left)
        return masked

    def _items(self, value: Any, name: str, depth: int, left: list[int]) -> Any:
        items = []
        flag = ""
        pairs = are_pairs(value)
        for item in value:
            if left[0] <= 0:
                items.append(FILTERED)
                break
            if pairs:
                label = plain_name(item[0])
                items.append(type(item)((item[0], self._header(label, item[1], depth, left))))
            else:
                items.append(self._value(item, flag or name, depth + 1, left))
            is_flag = isinstance(item, str) and item.startswith("--") and "=" not in item
            flag = item if is_flag and self.is_sensitive(item) else ""
        return tuple(items) if type(value) is tuple else items

    def _header(self, name: str, value: Any, depth: int, left: list[int]) -> Any:
        if not self.send_default_pii and name.lower() in PERSONAL_HEADERS:
            return FILTERED
        return self._value(value, name, depth + 2, left)

    def _own(self, name: str, value: Any) -> Any:
        """What the application's own rule makes of ``value``."""
        try:
            return self.mask(name, value) if self.mask is not None else value
        except Exception:
            logger.warning("The application's mask failed; the value of %r is masked", name[:80], exc_info=True)
            return FILTERED

    # -- requests --------------------------------------------------------------------------------------------

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """The headers of a request or response; who sent it, and cookies, only if that may leave."""
        return {
            name: FILTERED
            if self.is_sensitive(name) or (not self.send_default_pii and name.lower() in PERSONAL_HEADERS)
            else self._string(value, name)
            for name, value in headers.items()
        }

    def query(self, query: str) -> str:
        """A query string with the values of secret parameters masked, and otherwise as it was."""
        if not query:
            return query
        parts = []
        for part in query.split("&"):
            name, equals, value = part.partition("=")
            if equals and not self._may_leave(unquote_plus(name), value):
                part = f"{self.text(name)}={FILTERED}"
            elif self.text(whole := unquote_plus(part)) != whole:
                part = FILTERED
            parts.append(part)
        return "&".join(parts)

    def _may_leave(self, name: str, value: str) -> bool:
        if self.is_sensitive(name):
            return False
        decoded = unquote_plus(value)
        again = unquote_plus(decoded)
        return self.text(decoded, name) == decoded and (again == decoded or self.text(again, name) == again)

    def url(self, url: str) -> str:
        """A URL without the user before its host, and without the secrets of its path, query and fragment."""
        address, mark, query = url[:MAX_TEXT].partition("?")
        scheme, separator, rest = address.partition("://")
        host, slash, path = rest.partition("/")
        if separator and "@" in host and self.settings.rules.url_credentials:
            address = f"{scheme}://{FILTERED}@{host.rpartition('@')[2]}{slash}{path}"
        query, hash_mark, fragment = query.partition("#")
        tail = f"?{self.query(query)}{hash_mark}{self.query(fragment)}" if mark else ""
        return f"{self.text(address)}{tail}"


class _Current:
    policy = Policy()


def policy() -> Policy:
    """The policy of this process: the one that was configured, else the default one."""
    return _Current.policy


def configure_privacy(policy: Policy | None) -> None:
    """Make ``policy`` this process's, the default one for None."""
    _Current.policy = policy or Policy()


def masked_url(url: str) -> str:
    """A URL of this process's own configuration, for a log line or a page."""
    return policy().url(url)
