"""Reads single values of a configuration file and rejects bad ones."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from brain_otel.configuration.options import BOOLEANS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from brain_otel.configuration.document import Document, Key


OURS = ("distribution", "brain_otel")


TRACES_RATE = ("tracer_provider", "sampler", "parent_based", "root", "trace_id_ratio_based", "ratio")


def resource_attribute(document: Document, name: str) -> str | None:
    """What the file gives the resource under ``name``; empty is nothing."""
    found = None
    for pair in str(document.get("resource", "attributes_list") or "").split(","):
        key, _, value = pair.partition("=")
        if key.strip() == name and value.strip():
            found = value.strip()
    for attribute in document.get("resource", "attributes") or ():
        if attribute.get("name") == name and attribute.get("value"):
            found = str(attribute["value"])
    return found


def reject_unknown(document: Document, place: Key, given: Any, known: tuple[str, ...]) -> None:
    """Refuse what is no mapping of ``known`` keys.

    Raises:
        ConfigurationError: it is not.
    """
    if not isinstance(given, dict):
        raise document.error(place, given, "a mapping with " + ", ".join(known))
    for key in given:
        if key not in known:
            raise document.error((*place, str(key)), given[key], "the keys " + ", ".join(known))


def read_boolean(document: Document, place: tuple[str, ...], defaults: Mapping[str, Any]) -> bool:
    """The boolean at ``place``, else the one that ``defaults`` has for it.

    Raises:
        ConfigurationError: it is not one of the words for a boolean.
    """
    value = document.get(*place)
    if value is None:
        return bool(defaults[place[-1]])
    word = str(value).strip().lower()
    if word not in BOOLEANS:
        raise document.error(place, value, ", ".join(BOOLEANS))
    return BOOLEANS[word]
