"""Masks the values that documents give to sensitive names: YAML, XML, HTML, forms, ``.netrc``, tables.

The names are those of the policy. What stands on one line with its name, as in JSON and ``key=value``, is the work of
:mod:`~brain_otel.privacy.assignments`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from brain_otel.privacy.labels import mask_labelled_elements, mask_labelled_lines
from brain_otel.privacy.names import NameCheck, is_fact
from brain_otel.privacy.remarks import is_word
from brain_otel.privacy.settings import FILTERED
from brain_otel.privacy.tables import mask_tables
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.text import word_set

_BLOCK = expression(r"(?m)^([ \t-]*+)['\"]?([\w.-]{2,512}+)['\"]?:[ \t]*+[|>][+-]?\d?[ \t]*+$")
_KUBERNETES = expression(r"(?m)^kind:[ \t]*+['\"]?Secret\b")
_DATA = expression(r"(?m)^(data|stringData):[ \t]*+\n((?:[ \t]++[^\n]*+(?:\n|\Z))++)")
_LINE_VALUE = expression(r"(?m)^([ \t]++[^:\n]{1,253}:[ \t]*+)\S[^\n]*+$")
_ELEMENT = expression(r"<(?:[\w.-]{1,64}+:)?([\w.-]{2,512}+)((?: [^<>]*+)?)>([^<>]*+)(?=</)")
_NAME_OF_TEXT = expression(r"(?i)[ ](?:name|key)=([\"'])([^\"'<>]++)\1")
_SETTINGS = expression(
    r"(?i)(?:init-|context-)?(?:property|prop|entry|param|parameter|setting|option|item|field|string|arg|argument"
    r"|attribute|variable|env)$"
)
"""Elements with a name as an attribute and a value as their text: ``<property name="password">...</property>``."""

_SETTING = expression(
    r"(?i)<(?:setting|property|param|parameter|entry|option|item|field|variable|data|add)[ ]([^<>]++)>\s{0,64}+"
    r"<(?:value|string|text)(?:[ ][^<>]{0,256}+)?>([^<>]*+)(?=</)"
)
"""An element with a name as an attribute and a value as an element: ``<setting name="Password"><value>...``."""

_CDATA = expression(r"<(?:[\w.-]{1,64}+:)?([\w.-]{2,512}+)(?: [^<>]*+)?><!\[CDATA\[")
_TAG = expression(r"<[A-Za-z][\w:.-]{0,64}+ [^<>]++>")
_NAMED = expression(r"(?i)\b(?:name|key|id|type)=([\"'])([^\"'<>]++)\1")
_VALUE = expression(r"(?i)(\b(?:value|content|default)=)([\"'])([^\"'<>]*+)\2")
_FORM = expression(r"form-data; name=\"([^\"\r\n]++)\"")
_FORM_BEGIN, _FORM_END = expression(r"(?:\r?\n){2}"), expression(r"\r?\n--")
_NETRC = expression(r"(\bmachine [ \t]*+\S{1,255}+\s++login \S{1,255}+\s++password )(\S++)")
_CONFIGURATION = expression(
    r"(?m)^[ \t]*+(?:(?:ENV|ARG|setenv)[ \t]++([\w.-]{2,128}+)"
    r"|(requirepass|masterauth|bindpw|rootpw|password|passwd|secret))"
    r"[ \t]++(?![=:(\[<{])(?=[A-Za-z.!?]*+[^\sA-Za-z.!?])(\S++)[ \t]*+$"
)
"""A line of Docker's or of a server's configuration: a name and a value that is no plain word."""

_CONFIGURATION_WORDS = word_set("ENV ARG setenv requirepass masterauth bindpw rootpw password passwd secret")
_HASH = expression(r"\$(?:1|2[abxy]?|5|6|7|y|gy|apr1|argon2\w{1,2}|scrypt|pbkdf2[\w-]{0,16})\$[\w./+=,$-]{12,}+")
_DJANGO_HASH = expression(r"\b(?:pbkdf2_sha\d{1,3}|bcrypt_sha256|argon2|scrypt)\$[\w./+=,$-]{16,}+")
_JSON_WEB_KEY = expression(r"([\"'](?:d|p|q|dp|dq|qi|k)[\"']\s{0,4}:\s{0,4}[\"'])[\w+/=-]++")


def create_document_mask(is_sensitive: NameCheck) -> Callable[[str], str]:
    """Create the function that masks the values of sensitive names in a text that is, or holds, a document."""

    def mask_documents(text: str) -> str:
        if "\n" in text:
            text = _mask_lines(text, is_sensitive)
        elif "\\n" in text:  # a text within a ``repr`` or JSON
            lines = text.replace("\\r\\n", "\r\n").replace("\\n", "\n")
            masked = _mask_lines(lines, is_sensitive)
            text = text if masked == lines else masked.replace("\r\n", "\\r\\n").replace("\n", "\\n")
        if "<" in text and ">" in text:
            text = _mask_elements(text, is_sensitive)
        if "$" in text:
            text = _DJANGO_HASH.sub(FILTERED, _HASH.sub(FILTERED, text))
        if "kty" in text:
            text = _JSON_WEB_KEY.sub(rf"\1{FILTERED}", text)
        if not _CONFIGURATION_WORDS.isdisjoint(text.split()):
            text = _CONFIGURATION.sub(lambda found: _without(found, 3, found[1] or found[2], is_sensitive), text)
        if "machine" in text:
            text = _NETRC.sub(rf"\1{FILTERED}", text)
        return text

    return mask_documents


def _mask_lines(text: str, is_sensitive: NameCheck) -> str:
    if ":" in text:
        text = mask_labelled_lines(text, is_sensitive)
        if "|" in text or ">" in text:
            text = _mask_blocks(text, is_sensitive)
        if "Secret" in text and _KUBERNETES.search(text):
            text = _DATA.sub(lambda found: f"{found[1]}:\n" + _LINE_VALUE.sub(rf"\1{FILTERED}", found[2]), text)
    if "form-data" in text:
        text = _mask_forms(text, is_sensitive)
    return mask_tables(text, is_sensitive) if any(map(text.__contains__, ",;\t|")) else text


def _mask_blocks(text: str, is_sensitive: NameCheck) -> str:
    """Mask block scalars of YAML: the lines that are indented more than their name."""
    parts: list[str] = []
    done = 0
    for block in _BLOCK.finditer(text):
        if block.start() < done or not is_sensitive(block[2]):
            continue
        indent = len(block[1])
        end = block.end()
        while end < len(text):
            line_end = text.find("\n", end + 1)
            line = text[end + 1 : line_end if line_end >= 0 else len(text)]
            if line.strip() and len(line) - len(line.lstrip()) <= indent:
                break
            end = line_end if line_end >= 0 else len(text)
        parts += [text[done : block.end()], f"\n{' ' * (indent + 2)}{FILTERED}"]
        done = end
    return "".join([*parts, text[done:]])


def _mask_elements(text: str, is_sensitive: NameCheck) -> str:
    """Mask the text of XML elements, and ``value`` beside a ``name``, ``key``, ``id`` or ``type``."""
    if "</" in text:
        text = _ELEMENT.sub(lambda found: _without(found, 3, _name_of_text(found), is_sensitive), text)
        text = mask_labelled_elements(text, is_sensitive)
        text = _SETTING.sub(lambda found: _without(found, 2, _name_in(found[1]), is_sensitive), text)
        if "<![CDATA[" in text:
            text = _mask_cdata(text, is_sensitive)
    return _TAG.sub(lambda found: _mask_tag(found[0], is_sensitive), text) if "=" in text else text


def _name_of_text(element: re.Match[str]) -> str:
    """The name of an element's text: its own, or of a setting; a text of an interface has spaces or is a word."""
    own, attributes, value = str(element[1]), element[2], element[3].strip()
    is_shown = " " in value or (own == "string" and is_word(value))
    if not attributes or is_shown or _SETTINGS.match(own) is None:
        return own
    name = _NAME_OF_TEXT.search(attributes)
    return name[2] if name is not None else own


def _name_in(attributes: str) -> str:
    name = _NAME_OF_TEXT.search(f" {attributes}")
    return name[2] if name is not None else ""


def _mask_cdata(text: str, is_sensitive: NameCheck) -> str:
    parts: list[str] = []
    done = 0
    for element in _CDATA.finditer(text):
        if element.start() < done or not is_sensitive(element[1]):
            continue
        end = text.find("]]>", element.end())
        parts += [text[done : element.end()], FILTERED]
        done = end if end >= 0 else len(text)
    return "".join([*parts, text[done:]])


def _mask_tag(tag: str, is_sensitive: NameCheck) -> str:
    if not any(is_sensitive(name[2]) for name in _NAMED.finditer(tag)):
        return tag
    return _VALUE.sub(lambda value: f"{value[1]}{value[2]}{FILTERED}{value[2]}" if value[3] else value[0], tag)


def _mask_forms(text: str, is_sensitive: NameCheck) -> str:
    """Mask the parts of a multipart form."""
    parts: list[str] = []
    done = 0
    for field in _FORM.finditer(text):
        if field.start() < done or not is_sensitive(field[1]):
            continue
        begin = _FORM_BEGIN.search(text, field.end())
        if begin is None:
            break
        end = _FORM_END.search(text, begin.end())
        parts += [text[done : begin.end()], FILTERED]
        done = end.start() if end is not None else len(text)
    return "".join([*parts, text[done:]])


def _without(match: re.Match[str], group: int, name: str, is_sensitive: NameCheck) -> str:
    """The match with its ``group`` masked, if ``name`` is sensitive and the group is no fact and not empty."""
    value = match[group]
    if not value.strip() or not is_sensitive(name) or is_fact(name, value.strip()) or value == FILTERED:
        return match[0]
    start, end = match.start(group) - match.start(), match.end(group) - match.start()
    return f"{match[0][:start]}{FILTERED}{match[0][end:]}"
