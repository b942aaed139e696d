"""Walks nested values for the policy: names decide in mappings, objects, pairs and command lines, then the look."""

from collections.abc import Callable
from typing import Any, Protocol

from brain_otel.privacy.cards import SMALLEST_CARD, is_card, is_card_name
from brain_otel.privacy.commands import masked_arguments
from brain_otel.privacy.labels import is_value_name, label_of
from brain_otel.privacy.names import PERSONAL_HEADERS, are_pairs, is_fact, is_pair, plain_name, unquoted
from brain_otel.privacy.remarks import VALUES_OF_SCHEMAS, is_schema
from brain_otel.privacy.settings import FILTERED, PrivacySettings
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.object_view import Shown

MAX_DEPTH = 8
"""Levels of nested mappings and lists; a deeper one is masked as a whole."""

MAX_ITEMS = 5_000
"""Values within one value; the rest is masked as a whole."""

_JSON_WEB_KEY = frozenset({"d", "p", "q", "dp", "dq", "qi", "k", "oth"})
"""Private members of a key (RFC 7518, section 6)."""

_KEY_BEGINS = expression(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY")
_KEY_ENDS = expression(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY")
_KEY_GOES_ON = expression(r"\s*+(?:[\w-]{1,32}: [^\n]{0,128}|[A-Za-z0-9+/=]{16,}+|[A-Za-z0-9+/]{1,15}+==?)?\s*+$")
_TOKEN_BEGINS = expression(r"eyJ[\w-]{8,}+(?:\.(?:eyJ[\w-]{8,}+)?)?$")
_TOKEN_GOES_ON = expression(r"[\w-]{16,}+$")


class _Policy(Protocol):
    """The part of a policy that the walk uses."""

    settings: PrivacySettings
    send_default_pii: bool
    mask: Callable[[str, Any], Any] | None
    is_sensitive: Callable[[str], bool]

    def text(self, text: str, name: str = "") -> str: ...
    def string(self, value: str, name: str) -> str: ...
    def url(self, url: str) -> str: ...
    def apply_own_mask(self, name: str, value: Any) -> Any: ...


class Walk:
    """One walk through a value, which may be broken into pieces: a private key is a secret up to its last line."""

    def __init__(self, policy: _Policy) -> None:
        self._policy = policy
        self._left = MAX_ITEMS
        self._in_key = self._in_token = False

    def value(self, value: Any, name: str, depth: int = 0) -> Any:
        """Mask ``value``, which is ``depth`` levels deep and stands under ``name``."""
        if value is None or value is True or value is False:
            return value
        if name and self._policy.is_sensitive(name):
            if is_schema(value) and depth < MAX_DEPTH:
                return self._mapping(value, "", depth, VALUES_OF_SCHEMAS)
            return value if is_fact(name, value) else FILTERED
        self._left -= 1
        if self._left < 0:
            return FILTERED
        kind = type(value)  # `isinstance()` would ask an object for its `__class__`, which may load something
        if issubclass(kind, str):
            masked = self._string(value, name)
            return Shown(masked) if kind is Shown else masked
        if issubclass(kind, dict):
            return self._mapping(value, name, depth) if depth < MAX_DEPTH else FILTERED
        if issubclass(kind, tuple) and type(fields := getattr(kind, "_fields", None)) is tuple:  # a named tuple
            return self.value(dict(zip(fields, tuple(value), strict=False)), name, depth)
        if issubclass(kind, (list, tuple, set, frozenset)):
            return self._items(value, name, depth) if depth < MAX_DEPTH else FILTERED
        return self._scalar(value, name)

    def _string(self, value: str, name: str) -> str:
        bare = unquoted(value)
        if self._in_key:
            self._in_key = _KEY_GOES_ON.match(bare) is not None
            if self._in_key:
                return FILTERED
            if (end := _KEY_ENDS.search(value)) is not None:
                self._in_key = self._begins_key(value, end.end())
                return FILTERED
        if "-----BEGIN" in value:
            self._in_key = self._begins_key(value, 0)
        if self._in_token and _TOKEN_GOES_ON.match(bare):
            return FILTERED
        self._in_token = bare.startswith("eyJ") and _TOKEN_BEGINS.match(bare) is not None
        if name == "netloc" and "@" in value:  # of a split address
            return self._policy.url(f"https://{value}").removeprefix("https://")
        return self._policy.string(value, name)

    def _begins_key(self, text: str, start: int) -> bool:
        """Whether a private key begins in ``text`` and ends elsewhere."""
        begin = next(reversed(list(_KEY_BEGINS.finditer(text, start))), None)
        return begin is not None and _KEY_ENDS.search(text, begin.end()) is None

    def _scalar(self, value: Any, name: str) -> Any:
        policy, kind = self._policy, type(value)
        if issubclass(kind, int):
            if value >= SMALLEST_CARD and is_card_name(name) and policy.settings.rules.cards and is_card(str(value)):
                return FILTERED
        elif issubclass(kind, (bytes, bytearray)):
            text = bytes(value).decode("utf-8", "surrogateescape")
            masked = policy.text(text, name)
            return value if masked == text else masked.encode("utf-8", "surrogateescape")
        return value if policy.mask is None else policy.apply_own_mask(name, value)

    def _mapping(
        self, value: dict[Any, Any], parent: str, depth: int, secret: frozenset[str] = frozenset()
    ) -> dict[Any, Any]:
        """Mask the members of a mapping, and those that are ``secret`` whatever they hold."""
        label = None if secret else label_of(value)
        secret = secret or self._secret_members(value)
        masked: dict[Any, Any] = {}
        for key, item in value.items():
            name = key if isinstance(key, str) else plain_name(key)
            if self._left <= 0:
                masked["..."] = FILTERED
                break
            if secret and name.strip("'") in secret and not _is_empty(item):
                masked[key] = FILTERED
                continue
            if label is not None and is_value_name(name) and self._policy.is_sensitive(label):
                name = label
            elif is_card_name(parent) and not is_card_name(name):
                name = f"{parent}.{name}"
            masked_key = self._policy.text(key) if isinstance(key, str) else key
            masked[masked_key] = self.value(item, name, depth + 1)
        return masked

    def _secret_members(self, value: dict[Any, Any]) -> frozenset[str]:
        """The names of members that are secret because of others, whatever their names say."""
        policy = self._policy
        if "asgi" in value and not policy.send_default_pii:  # an ASGI scope has the client's address
            return frozenset({"client"})
        if "loc" in value and "input" in value:  # a value that pydantic rejected
            where = value["loc"] if type(value["loc"]) in (list, tuple) else (value["loc"],)
            is_secret = not policy.send_default_pii or any(map(policy.is_sensitive, map(str, where)))
            return frozenset({"input"} if is_secret else ())
        if "kty" in value:
            return _JSON_WEB_KEY
        if "saslStart" in value or "saslContinue" in value:  # MongoDB's
            return frozenset({"payload"})
        return frozenset({"data", "stringData"} if value.get("kind") == "Secret" else ())  # Kubernetes'

    def _items(self, value: Any, name: str, depth: int) -> Any:
        if is_pair(value) and self._policy.is_sensitive(value[0]):
            return type(value)((value[0], self.value(value[1], value[0], depth + 1)))
        items = []
        has_pairs = are_pairs(value)
        for item in value if has_pairs else masked_arguments(value, self._policy.is_sensitive):
            if self._left <= 0:
                items.append(FILTERED)
                break
            if has_pairs and type(item) in (list, tuple):
                items.append(type(item)((item[0], self._header(plain_name(item[0]), item[1], depth))))
            else:
                items.append(self.value(item, name, depth + 1))
        return tuple(items) if type(value) is tuple else items

    def _header(self, name: str, value: Any, depth: int) -> Any:
        if not self._policy.send_default_pii and name.lower() in PERSONAL_HEADERS:
            return FILTERED
        return self.value(value, name, depth + 2)


def _is_empty(value: Any) -> bool:
    return value is None or value is True or value is False or (type(value) in (dict, list, tuple, str) and not value)
