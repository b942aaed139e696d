"""Masks values that a text gives to a sensitive name: ``password=...`` in a message, ``"token": "..."`` in JSON.

The names are those for attributes. After ``=`` any value is masked. After a colon and a space a plain word stays, as
in ``token: expired``. Where a value begins and ends is known by :mod:`~brain_otel.privacy.assigned_values`.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from brain_otel.privacy.assigned_values import Given, find_value
from brain_otel.privacy.bounded_matches import MAX_NAMES, MAX_PARTIAL_NAMES
from brain_otel.privacy.labels import labelled_places, secret_by_neighbours
from brain_otel.privacy.one_time_codes import mask_one_time_codes
from brain_otel.privacy.sentences import mask_sentences
from brain_otel.privacy.settings import FILTERED
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.text import word_set

_NAME = expression(
    r"""(?<![\w.-]) (?P<name>(?P<flag>--?)?+[\w.-]{2,}+)
    (?P<close>(?:(?:[ \t]|\\{1,7}+[tnr]){1,4}+(?=\\{0,7}["'][ ]?[,:=)]))?+ \\{0,7}+["']
      | &(?:quot|apos|\#34|\#39|\#x27);)?+ \]?+ \\{0,4}+ [ \t]*+
    (?: (?P<sign>=>|:=|->|[→⇒](?![ \t])|=(?!=)|:(?![:/=])) [ \t]*+
      | (?P<verb>(?<=[ \t])
         (?:is|was|ist|war|lautet|est|es|è|é
          |(?:(?:is|was|has[ ]been)[ ])?(?:set|changed|reset|updated|rotated)[ \t]to|to|TO)
         [ \t](?=["']|[^\s\d]{0,64}+\d[^\s]|[^\s\d]{3,64}+\d))
      | (?P<pair>,) \s{0,64}+ (?=\(?b?\\{0,7}["'])
      | (?P<beside>(?<=[ \t])(?=\\{0,7}["']))
      | (?(flag)(?:(?<=[ \t])|\r?\n)|(?!))
      | (?P<apart>(?<=[ \t])(?:--?|[\u2013\u2014→⇒|│]|::|\.{2,8}+)[ \t]++|(?<=\t)|(?<=[ ][ ]))(?=\S)
      | (?P<told>(?<=[ ])(?=(?=\S{6})(?:[^\s\d]{3,64}+\d|\d{1,8}+[A-Za-z]{2}|(?=[\w-]{16})\D{0,3}\d))) )
    """,
    re.VERBOSE,
)
_BEHIND_NAME = expression(r"[=:,\d\"'|\t\u2013\u2014→⇒│-]|\.\.|[ ]{2}")
"""A sign that stands behind each such name: without any, the text has none."""

_SECOND_WORDS = frozenset({"key", "keys", "code", "codes", "phrase", "number", "string", "answer", "word", "words"})
"""Words of names that a text writes with a space: ``API key``, ``verification code``."""

_LAST_WORDS = word_set("""
    passe ordine api schlüssel sleutel secreta secrète secreto segreta segreto secret privée privada privata
    acceso accès acesso accesso sécurité seguridad segurança sicurezza vérification verificación verificação
    verifica confirmation confirmación
""")
"""Last words of names in languages that say the kind of a key behind it: ``mot de passe``, ``clave de acceso``."""

_ABOUT_THE_VALUE = frozenset({"is", "was", "provided", "given", "received", "supplied", "used", "value"})
"""Words between a name and its sign: ``Invalid API key provided: ...``, ``parameter SecretString, value: ...``."""
_PARTIAL_NAMES = _SECOND_WORDS | _LAST_WORDS | _ABOUT_THE_VALUE
_WORD_BEFORE = expression(r"[\w.-]{2,20}+(?= $)")
_PHRASE_BEFORE = expression(r"(?:[\w.-]{2,20}+ )?(?:[\w.-]{2,20}+ |d['\u2019])$")
_WORDS_BEFORE = expression(r"(?<![\w.-])(?:[\w.-]{2,20}+ )?[\w.-]{2,20}+(?=,? $)")


def create_assignment_mask(
    is_sensitive: Callable[[str], bool], may_hold_names: Callable[[str], bool], *, rejects_input: bool
) -> Callable[[str], str]:
    """Create the function that masks the values of sensitive names in a text.

    Args:
        is_sensitive: Whether the value of a name is a secret.
        may_hold_names: Whether a text may hold a sensitive name.
        rejects_input: Whether the values that pydantic rejected are masked, whatever their names.
    """

    def mask_assignments(text: str) -> str:
        if _BEHIND_NAME.search(text) is None or not (may_hold_names(text) or _may_be_labelled(text)):
            return text
        text = mask_sentences(mask_one_time_codes(text), is_sensitive)
        others = secret_by_neighbours(text, is_sensitive, rejects_input=rejects_input)
        is_labelled = labelled_places(text, is_sensitive)
        parts: list[str] = []
        done = position = count = partial = 0
        while (match := _NAME.search(text, position)) is not None:
            position = match.end("name" if match["sign"] is None and match["pair"] is None else 0)
            name = match["name"]
            if text[match.start() - 1 : match.start()] == "\\" and name[0] in "nrt":  # of an escaped line break
                name = name[1:]
            partial += (is_partial := name.lower() in _PARTIAL_NAMES)
            name = _whole_name(text, match) if is_partial else name
            is_secret = is_sensitive(name) or (match["close"] and name in others) or is_labelled(match)
            if not is_secret and partial <= MAX_PARTIAL_NAMES:
                position = match.end("name") if match["sign"] is None else position
                continue
            if (count := count + 1) > MAX_NAMES or partial > MAX_PARTIAL_NAMES:
                return "".join([*parts, text[done : match.start()], FILTERED])
            start, end = find_value(text, Given(name, match))
            if start < end:
                parts += [text[done:start], FILTERED]
                done = end
            position = max(position, end)
        return "".join([*parts, text[done:]]) if parts else text

    return mask_assignments


def _may_be_labelled(text: str) -> bool:
    """Whether a secret may stand in ``text`` whose name is said by its neighbours or by its statement."""
    return ("input" in text and "loc" in text) or "sasl" in text or " to log " in text


def _whole_name(text: str, match: re.Match[str]) -> str:
    """The name, with the words before it; or the words before it, if it is a word about the value."""
    name, start = match["name"], match.start()
    if text[start - 1 : start] not in (" ", "'", "\u2019"):
        return name
    if name.lower() in _LAST_WORDS:
        before = _PHRASE_BEFORE.search(text, max(0, start - 44), start)
        return f"{before[0]}{name}".replace(" ", "_") if before is not None else name
    if name.lower() in _ABOUT_THE_VALUE:
        before = _WORDS_BEFORE.search(text, max(0, start - 44), start) if match["sign"] == ":" else None
        return before[0].replace(" ", "_") if before is not None else name
    before = _WORD_BEFORE.search(text, max(0, start - 24), start)
    return f"{before[0]}_{name}" if before is not None else name
