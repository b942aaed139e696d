"""Masks secrets in sentences where other words stand between a name and its value: ``Password for ida: kettle77``.

What an abbreviation such as ``pass`` names is a secret only in the place and with the look of one, since it is a verb
as well.
"""

import re
from collections.abc import Callable

from brain_otel.privacy.bounded_matches import sub_first
from brain_otel.privacy.remarks import is_outcome, is_placeholder, is_remark, is_word, says_something
from brain_otel.privacy.settings import FILTERED
from brain_otel.privacy.typed_passwords import find_words, is_typed
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.text import word_set

_PERSON = (
    r"(?:(?:the|user|account|role|key|login|host|den|die|das|benutzer|konto|l'utilisateur|usuario)[ ]){0,2}"
    r"(?:'[^'\n]{1,128}+'|\"[^\"\n]{1,128}+\"|[^\s'\"]{0,128}[^\s'\":])"
)
_PROMPT = expression(
    r"(?i)(?<![\w.-])(pass(?:word|phrase|code|wd)|pwd|pin|passwort|kennwort|mot[ ]de[ ]passe|contrase[ñn]a|senha"
    rf"|wachtwoord)[ ](?:for|of|from|für|von|de|para|per|pour|voor)[ ]{_PERSON}:[ ]{{1,4}}"
    r"([\"']?)([^\s,;\"'<>|)\]}\\]++)(?:[ ][\w!?#$%&*+.@^~-]{1,64}+){0,7}+"
)
_ABBREVIATED = expression(
    r"(?i)(?<![\w.$/-])(pass|pw|psw|pswd|passw)[ ]([^\s,;:\"'()<>\[\]{}|\\=]{6,64}+)(?=([ ]\S{1,16})?)"
)
_BEFORE_PASS = expression(
    r"(?i)(?:^|[\n,;:(\[|\"'&] ?|\b(?:with|using|and|the|wrong|bad|invalid|old|new|mit|und|falsches|avec|con)[ ]"
    r"|\b(?:user(?:name)?|login|account|benutzer|email)[ =:]{1,2}[^\s,;]{1,64}[ ])$"
)
_OUTCOME = expression(r"(?i)(?:abgelehnt|falsch|ungültig|refusé|incorrect[oa]|rechazad[oa]|rifiutat[oa])")
_ENDS = expression(r"[,;)\]\"'|}\n.]|$")
_NO_VALUE_OF_PASS = expression(
    r"(?i)(?:test|rate|run|arg|args|case|round|phase|number|file|data|token|value|input)s?\d++$"
)
_CREDENTIALS = expression(
    r"(?i)(?<![\w.-])(?:credentials?|creds|credenciales|credenziali)"
    r"(?:[ ](?:are|were|was|is|for|of|used|tried|für|de)){0,2}[ ]([^\s,;:/\"'=<>()]{1,64}+)"
    r"(?:[ ]{1,2}|[ ]?[/:|][ ]?)([^\s,;:/\"'()=<>]{6,64}+)"
)
_KINDS_OF_CREDENTIALS = word_set("""
    provider file backend type store helper process chain source manager cache plugin version service server
    profile format api schema table field id from in on at with by via and or to not module client grant flow
""")
_PARAMETER = expression(
    r"\bInvalid (type|length|range) for parameter ([\w.\[\]-]{1,128}+), value: ((?:(?!, (?:valid|type)\b)[^\n])++)"
)
"""Errors of botocore's ``ParamValidator``; of a text's length, the value is a number."""


def mask_sentences(text: str, is_sensitive: Callable[[str], bool]) -> str:
    """Mask what ``text`` tells of a secret that is named before."""
    lower = text.lower()
    if "pass" in lower or any(
        map(lower.__contains__, ("kennwort", "contrase", "senha", "wachtwoord", "pin ", "pwd "))
    ):
        text = sub_first(_PROMPT, _without_answer, text)
    if "pass" in lower or "pw " in lower or "psw" in lower:
        text = sub_first(_ABBREVIATED, _without_password, text)
    if "cred" in lower:
        text = sub_first(_CREDENTIALS, _without_second, text)
    if ", value: " in text:
        text = sub_first(_PARAMETER, lambda found: _without_parameter(found, is_sensitive), text)
    return text


def _masked(found: re.Match[str], group: int) -> str:
    """The match without one of its groups."""
    start, end = found.start(group) - found.start(), found.end(group) - found.start()
    return f"{found[0][:start]}{FILTERED}{found[0][end:]}"


def _without_answer(found: re.Match[str]) -> str:
    value = found[3]
    if is_placeholder(value, found[1]) or value == FILTERED or (is_remark(value) if found[2] else is_word(value)):
        words = find_words(found.string, found.start(3), "password")
        if words is None:
            return found[0]
        start, end = words[0] - found.start(), words[1] - found.start()
        return f"{found[0][:start]}{FILTERED}{found[0][end:]}"
    return _masked(found, 3)


def _without_password(found: re.Match[str]) -> str:
    value = found[2].rstrip(".!?")
    if not is_typed(value) or is_placeholder(value, found[1]) or _NO_VALUE_OF_PASS.match(value):
        return found[0]
    if found[1].lower() == "pass":
        next_word = (found[3] or "").strip()
        is_last = _ENDS.match(found.string, found.end(2)) or is_outcome(next_word) or _OUTCOME.match(next_word)
        if not is_last or _BEFORE_PASS.search(found.string[max(0, found.start() - 80) : found.start()]) is None:
            return found[0]
    return _masked(found, 2)


def _without_second(found: re.Match[str]) -> str:
    is_person = found[1].lower() not in _KINDS_OF_CREDENTIALS and not says_something([found[1]])
    return _masked(found, 2) if is_person and is_typed(found[2].rstrip(".!?")) else found[0]


def _without_parameter(found: re.Match[str], is_sensitive: Callable[[str], bool]) -> str:
    is_length = found[1] == "length" and found[3].isdigit()
    return found[0] if is_length or not is_sensitive(found[2]) else _masked(found, 3)
