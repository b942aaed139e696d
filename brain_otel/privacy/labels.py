"""Finds values whose names stand beside them: ``{"Name": "DbPassword", "Value": "..."}``.

Cloud SDKs, archives of HTTP, settings of containers and Java's XML files write a name and its value as two members.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from brain_otel.privacy.names import NameCheck, is_fact
from brain_otel.privacy.settings import FILTERED
from brain_otel.runtime.lazy_regex import expression

_NAMES = (
    r"(?:[a-z_-]{0,32}?(?:name|key|field|header|attribute|property|variable|option|param(?:eter)?|setting|label)|k)"
)
_VALUES = r"(?:[a-z_-]{0,32}?(?:values?|val|string|default|content)|v)"
_SIGNS = ("alue", "VALUE", 'variable "')
_IS_LABEL = expression(rf"{_NAMES}$", re.IGNORECASE)
_IS_VALUE = expression(rf"{_VALUES}$", re.IGNORECASE)
_MEMBER = expression(
    rf"(?i)(?<![\w.-])(?P<quote>\\{{0,7}}[\"']?){_NAMES}(?P=quote)[ \t]{{0,8}}(?::|=>?)\s{{0,8}}"
    r"(?P<string>\\{0,7}[\"']?)(?P<label>/?[\w./:-]{2,512}+)(?P=string)"
    r"|\bvariable[ ]{1,4}\"(?P<variable>[\w-]{2,128}+)\"[ ]{0,4}(?=\{)|(?P<open>[{(])|(?P<close>[})])"
)
_LOC = expression(r"loc\\{0,3}[\"']\s{0,4}:\s{0,4}([\[(][^\])]{0,512}+[\])]|\\{0,3}[\"'][\w.-]{1,128}+)")
_NAMES_OF_LOC = expression(r"[\w.-]{2,}+")
_KUBERNETES = expression(r"kind\\{0,7}[\"']\s{0,4}:\s{0,4}\\{0,7}[\"']Secret\b")
_LINE_BREAK = expression(r"\r?\n(?![ \t])")
_ELEMENT = expression(
    rf"(?i)(<(?:[\w.-]{{1,64}}+:)?({_NAMES}|string)>\s*+([\w./:-]{{2,512}}+)\s*+</(?:[\w.-]{{1,64}}+:)?\2>\s*+"
    rf"<(?:[\w.-]{{1,64}}+:)?(?:{_VALUES}|data)(?: [^<>]{{0,256}})?>)([^<>]++)(?=</)"
)
_YAML = expression(
    rf"(?im)^([ \t]*+(?:- )?){_NAMES}:[ \t]++['\"]?([\w./:-]{{2,512}}+)['\"]?[ \t]*+\r?\n"
    rf"([ \t]++{_VALUES}:[ \t]++)(\S[^\n]*+)"
)
_YAML_REVERSED = expression(
    rf"(?im)^([ \t]*+(?:- )?{_VALUES}:[ \t]++)(\S[^\n]*+)"
    rf"(?=\n[ \t]++{_NAMES}:[ \t]++['\"]?([\w./:-]{{2,512}}+))"
)


def secret_by_neighbours(text: str, is_sensitive: NameCheck, *, rejects_input: bool) -> tuple[str, ...]:
    """Quoted names that are sensitive because of others: a value that pydantic rejected, a log-in to MongoDB."""
    if "input" in text and "loc" in text and (places := _LOC.findall(text)):
        names = _NAMES_OF_LOC.findall(" ".join(places))
        return ("input",) if rejects_input or any(map(is_sensitive, names)) else ()
    if "Secret" in text and _KUBERNETES.search(text):
        return ("data", "stringData")
    return ("payload",) if "saslStart" in text or "saslContinue" in text else ()


def is_value_name(name: str) -> bool:
    """Whether ``name`` is that of a value whose own name stands beside it, such as ``ParameterValue``."""
    return _IS_VALUE.match(name) is not None


def is_label_name(name: str) -> bool:
    """Whether ``name`` is that of a member that names another one, such as ``ParameterKey``."""
    return _IS_LABEL.match(name) is not None


def label_of(members: Mapping[Any, Any]) -> str | None:
    """The name that a mapping gives to its value, as in ``{"Name": "token", "Value": ...}``; else None."""
    names = [name for name in members if isinstance(name, str)]
    if not any(map(is_value_name, names)):
        return None
    if members.get("type") == "password":
        return "password"
    labels = (members[name] for name in names if is_label_name(name))
    return next((label for label in labels if isinstance(label, str)), None)


def labelled_places(text: str, is_sensitive: NameCheck) -> Callable[[re.Match[str]], bool]:
    """Create the function that tells whether a member of ``text`` is the value of a sensitive name beside it.

    It is called with matches of names, in their order.
    """
    places = _places(text, is_sensitive) if any(map(text.__contains__, _SIGNS)) else []
    places.reverse()

    def is_labelled(match: re.Match[str]) -> bool:
        while places and places[-1][1] <= match.start():
            places.pop()
        return bool(places) and match.start() >= places[-1][0] and is_value_name(match["name"])

    return is_labelled


def _places(text: str, is_sensitive: NameCheck) -> list[tuple[int, int]]:
    """The objects of ``text`` that name a secret, or the lines if no bracket encloses them, in order."""
    places: list[tuple[int, int]] = []
    starts: list[int] = []
    secret: set[int] = set()  # where their objects begin
    for member in _MEMBER.finditer(text):
        if member["open"]:
            starts.append(member.start())
        elif member["close"]:
            start = starts.pop() if starts else -1
            if start in secret:
                places.append((start, member.start()))
        elif member["variable"]:  # Terraform's, before its block
            secret.update([member.end()] if is_sensitive(member["variable"]) else [])
        elif is_sensitive(member["label"]):
            if starts:
                secret.add(starts[-1])
            else:
                line = _LINE_BREAK.search(text, member.end())
                places.append((text.rfind("\n", 0, member.start()) + 1, line.start() if line else len(text)))
    places += [(start, len(text)) for start in starts if start in secret]
    return _disjoint(sorted(places))


def _disjoint(places: list[tuple[int, int]]) -> list[tuple[int, int]]:
    joined: list[tuple[int, int]] = []
    for start, end in places:
        if joined and start < joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def mask_labelled_elements(text: str, is_sensitive: NameCheck) -> str:
    """Mask the text of the element after one that names a secret: ``<name>token</name><value>...</value>``."""
    return _ELEMENT.sub(
        lambda found: f"{found[1]}{FILTERED}" if _is_secret(found[3], found[4], is_sensitive) else found[0], text
    )


def mask_labelled_lines(text: str, is_sensitive: NameCheck) -> str:
    """Mask values of YAML: ``- name: token``, and ``value: ...`` on the line after or before."""
    if "alue:" not in text and "VALUE:" not in text:
        return text

    def after(found: re.Match[str]) -> str:
        is_secret = _is_secret(found[2], found[4], is_sensitive)
        return f"{found[0][: found.start(4) - found.start()]}{FILTERED}" if is_secret else found[0]

    def before(found: re.Match[str]) -> str:
        return f"{found[1]}{FILTERED}" if _is_secret(found[3], found[2], is_sensitive) else found[0]

    return _YAML_REVERSED.sub(before, _YAML.sub(after, text))


def _is_secret(name: str, value: str, is_sensitive: NameCheck) -> bool:
    return is_sensitive(name) and not is_fact(name, value.strip())
