"""The file's block ``distribution.brain_otel.privacy``: what stands in it, and what is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from brain_otel.configuration.values import OURS, read_boolean, reject_unknown
from brain_otel.privacy.settings import PrivacySettings, Rules

if TYPE_CHECKING:
    from brain_otel.configuration.document import Document

_PLACE = (*OURS, "privacy")


def read_privacy(document: Document) -> PrivacySettings:
    """The policy that the file asks for.

    Raises:
        ConfigurationError: a value is wrong.
    """
    reject_unknown(document, _PLACE, document.get(*_PLACE) or {}, PrivacySettings._fields)
    place = (*_PLACE, "rules")
    rules = Rules._fields
    reject_unknown(document, place, document.get(*place) or {}, rules)
    return PrivacySettings(
        sensitive_names=_names(document, (*_PLACE, "sensitive_names")),
        safe_names=_names(document, (*_PLACE, "safe_names")),
        rules=Rules(**{name: read_boolean(document, (*place, name), Rules._field_defaults) for name in rules}),
    )


def _names(document: Document, place: tuple[str, ...]) -> tuple[str, ...]:
    value = document.get(*place)
    if value is None:
        return ()
    if not isinstance(value, list) or not all(
        isinstance(each, str) and any(map(str.isalnum, each)) for each in value
    ):
        raise document.error(place, value, "a list of names such as api_key")
    return tuple(value)
