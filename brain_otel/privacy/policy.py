"""The privacy policy of this process: decides which data may leave, and masks the rest. Read this first.

A :class:`Policy` masks texts, values and requests. A name decides first (:mod:`~brain_otel.privacy.names`): what
stands under ``password`` is masked, whatever it looks like. Then the value decides: it may look like a secret
(:mod:`~brain_otel.privacy.patterns`), or be a text that assigns a value to a sensitive name
(:mod:`~brain_otel.privacy.assignments`). The modules ``attributes``, ``spans`` and ``processors`` apply the policy.
"""

import logging
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from brain_otel.privacy.names import PERSONAL_HEADERS, create_name_check, is_fact
from brain_otel.privacy.settings import FILTERED, PrivacySettings
from brain_otel.runtime.guard import mask_log_lines, masked_traceback
from brain_otel.runtime.imports import late_module
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.limited_log import CountLog
from brain_otel.runtime.quiet import budget
from brain_otel.runtime.text import MAX_SHORT, MAX_TEXT, MIN_LONG, beginning, shortened

if TYPE_CHECKING:
    from brain_otel.privacy import all_rules as rules
else:
    # A tenth of all modules; a set-up masks no text.
    rules = late_module("brain_otel.privacy.all_rules")

logger = logging.getLogger(__name__)
_mask_log = CountLog(logger, "The application's mask failed; values are masked: %s", with_traceback=True)

MIN_LENGTH = 6
"""Characters of the shortest text that may look like a secret."""

_MAX_LINE = 1_024
"""Characters of a source line."""

_MAX_BEYOND = 16_384
"""Characters of all long texts together that are masked after the budget of their event is used up."""

_COLOUR = expression(r"\x1b\[[0-9;]{0,16}m")
_ENCODED_SIGN = expression(r"\\u00(2[27]|3[abcde])|\\x(2[27]|3[abcde])", re.IGNORECASE)
"""Signs that JSON and HTML write in another way, some encoders always."""

_WORDS_OF_PLACE = expression(r"[\w-]{1,128}+")
_TRACEBACK_FRAME = expression(r'\s*+File "[^"\n]*+", line \d')
_SOURCE = " " * 4
"""The indentation of source lines in a traceback; an exception's line in their place has none."""


class Policy:
    """Decides what is private in one service. Each method returns its input itself if there is nothing to mask."""

    def __init__(
        self,
        settings: PrivacySettings | None = None,
        *,
        send_default_pii: bool = False,
        mask: Callable[[str, Any], Any] | None = None,
    ) -> None:
        """Create the policy.

        Args:
            settings: Names and rules; the defaults if None.
            send_default_pii: Whether personal data, such as the client's address, may leave.
            mask: The application's own rule. It is called with the name of a value (empty for a free text) and the
                value as the built-in rules leave it, and returns what is sent. If it raises, the value is masked.
        """
        self.settings = settings or PrivacySettings()
        self.send_default_pii = send_default_pii
        self.mask = mask
        self.is_sensitive = create_name_check(
            self.settings.sensitive_names, self.settings.safe_names, hides_personal=not send_default_pii
        )
        """Whether the value of a name is a secret."""
        self._created_masks: rules.Masks | None = None
        self._mask_text_cached = lru_cache(maxsize=4_096)(self._mask_text)
        self._string_cached = lru_cache(maxsize=1_024)(self.string)

    def _masks(self) -> "rules.Masks":
        """The masks of this policy; two threads may create them, and one pair stays."""
        masks = self._created_masks
        if masks is None:
            masks = self._created_masks = rules.Masks(
                self.settings, self.is_sensitive, rejects_input=not self.send_default_pii
            )
        return masks

    def text(self, text: str, name: str = "") -> str:
        """Mask the secrets in a free text, such as a message. A long text is cut to its two ends first."""
        length = len(text)
        if length < MIN_LENGTH:
            masked = text
        elif length <= MAX_SHORT:
            masked = self._mask_text_cached(text)
        else:
            masked = self._mask_long(text)
        return masked if self.mask is None else str(self.apply_own_mask(name, masked))

    def key(self, key: str) -> str:
        """Mask the secrets in the name of a value. The application's own mask is not applied to names."""
        return (
            key if len(key) < MIN_LENGTH or key.isidentifier() else self._mask_text_cached(beginning(key, MAX_TEXT))
        )

    def value(self, value: Any, name: str = "") -> Any:
        """Mask a value of any type, nested ones included, by the names in it and by the look of its values.

        Under a sensitive ``name`` the whole value is masked, unless it is None or a boolean.
        """
        try:
            return rules.Walk(self).value(value, name)
        except Exception as error:  # the application's own mapping may raise anything
            trace = masked_traceback(error) if logger.isEnabledFor(logging.DEBUG) else ""
            logger.debug("A value of type %s could not be read and is masked:\n%s", type(value).__name__, trace)
            return FILTERED

    def stacktrace(self, text: str) -> str:
        """Mask a traceback as Python writes it; lines of source code by :meth:`source`."""
        parts: list[str] = []
        message: list[str] = []
        is_source = False
        for line in text.split("\n"):
            is_source = is_source and line.startswith(_SOURCE)  # frames of compiled modules have no source
            if not is_source and not _TRACEBACK_FRAME.match(line):
                message.append(line)
                continue
            if message:
                parts.append(self.text("\n".join(message)))
                message = []
            parts.append(self.source(line) if is_source else self.text(line))
            is_source = not is_source  # the source follows the line that names the frame
        if message:
            parts.append(self.text("\n".join(message)))
        return "\n".join(parts)

    def source(self, line: str) -> str:
        """Mask a line of source code: what looks like a secret, and a literal assigned to a sensitive name."""
        masks = self._masks()
        masked = masks.by_look(beginning(line, _MAX_LINE))
        if not masks.of_names or not any(map(masked.__contains__, "'\"#")):
            return masked
        return rules.mask_source_line(masked, self.is_sensitive, masks.assignments)

    def headers(self, headers: Mapping[str, str]) -> dict[str, str]:
        """Mask the headers of a request or response: secret ones, and personal ones if those may not leave."""
        return {name: self._header(name, value) for name, value in headers.items()}

    def _header(self, name: str, value: str) -> str:
        if (self.is_sensitive(name) and not is_fact(name, value)) or (
            not self.send_default_pii and name.lower() in PERSONAL_HEADERS
        ):
            return FILTERED
        if self.mask is None and len(name) + len(value) <= MAX_SHORT:
            return self._string_cached(value, name)
        return self.string(value, name)

    def string(self, value: str, name: str) -> str:
        """Mask a text that stands under ``name``, as an address if it is one."""
        if name[-8:].lower() == "protocol" and "websocket" in name.lower():
            return rules.mask_protocols(value)
        if "://" in value and "?" in value and not any(map(str.isspace, value)):
            return self.url(value)
        masked = self.text(value, name)
        return rules.mask_card_of(name, masked) if self.settings.rules.cards and masked[-2:-1].isdigit() else masked

    def query(self, query: str) -> str:
        """Mask the values of secret parameters in a query string. A long one is cut first."""
        return rules.mask_query(query, self.text, self._is_secret_parameter)

    def url(self, url: str) -> str:
        """Mask the credentials before the host of a URL, and the secrets in its path, query and fragment."""
        url = beginning(url, MAX_TEXT)
        if self.settings.rules.url_credentials:
            url = rules.mask_address_credentials(url)
        address, question_mark, query = url.partition("?")
        query, hash_mark, fragment = query.partition("#")
        tail = f"?{self.query(query)}{hash_mark}{self.query(fragment)}" if question_mark else ""
        return f"{self.text(address)}{tail}"

    def _mask_text(self, text: str) -> str:
        if rules.is_plain(text):
            return text
        if self.settings.rules.redis_values and (" of pipeline" in text or "args beginning with" in text):
            text = rules.redis_error_without_values(text)
        if self.settings.rules.sql_literals:
            text = rules.database_error_without_values(text)
        if "input_value=" in text or "On instance" in text:
            text = rules.validation_error_without_input(text, self._hides_input)
        if "\x1b[" in text and self._mask_plain(bare := _COLOUR.sub("", text)) != bare:
            text = bare  # a colour stands between a name and its value
        if "\\" in text or "&lt;" in text:
            bare = _decoded(text)
            text = bare if bare != text and self._mask_plain(bare) != bare else text
        return rules.mask_with_encoded(text, self._mask_plain)

    def _hides_input(self, place: str) -> bool:
        """Whether a value that a validator rejected at ``place``, such as ``body.password``, is masked."""
        return not self.send_default_pii or any(map(self.is_sensitive, _WORDS_OF_PLACE.findall(place)))

    def _mask_plain(self, text: str) -> str:
        masks = self._masks()
        text = masks.by_look(text)
        for mask in masks.of_names:
            text = mask(text)
        return text

    def _mask_long(self, text: str) -> str:
        """Mask a text that is not cached, within the budget of the event that it belongs to."""
        left = budget()
        masked = left.masked.get((self, text))
        if masked is None and left.characters < -_MAX_BEYOND:
            return FILTERED
        if masked is None:
            cut = shortened(text, min(MAX_TEXT, max(left.characters, MIN_LONG)))
            left.characters -= len(cut)
            masked = left.masked[self, text] = self._mask_text(cut)
            left.masked[self, masked] = masked  # it is masked again where it leaves
        return masked

    def _is_secret_parameter(self, name: str, value: str) -> bool:
        """Whether a parameter of a query is a secret by its name, or as a random code or a card beside its name."""
        if self.is_sensitive(name):
            return not is_fact(name, value)
        chosen = self.settings.rules
        return (chosen.url_credentials and rules.is_one_time(name, value)) or (
            chosen.cards and rules.mask_card_of(name, value) != value
        )

    def apply_own_mask(self, name: str, value: Any) -> Any:
        """Apply the application's own rule to a value that the built-in rules have masked."""
        try:
            return self.mask(name, value) if self.mask is not None else value
        except Exception:
            _mask_log.add(repr(name[:80]))
            return FILTERED


def _decoded(text: str) -> str:
    text = text.replace("&lt;", "<").replace("&gt;", ">")
    return _ENCODED_SIGN.sub(lambda found: chr(int(found[1] or found[2], 16)), text)


class _Current:
    policy = Policy()


def policy() -> Policy:
    """The policy of this process: the configured one, or the default before configuration."""
    return _Current.policy


def configure_privacy(policy: Policy | None) -> None:
    """Make ``policy`` the policy of this process; None restores the default."""
    _Current.policy = by = policy or Policy()
    # Without the application's own mask, because one of these lines reports its failure.
    mask_log_lines(Policy(by.settings, send_default_pii=by.send_default_pii).stacktrace)


def masked_url(url: str) -> str:
    """``url``, masked by the policy of this process."""
    return policy().url(url)
