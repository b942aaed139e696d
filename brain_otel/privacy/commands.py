"""Masks secrets that command lines pass in options without a telling name: ``mysql -psecret``, ``curl -u a:b``."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from brain_otel.privacy.names import unquoted
from brain_otel.privacy.settings import FILTERED
from brain_otel.runtime.lazy_regex import expression

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


class _Program(NamedTuple):
    """The options of a program that pass a secret, each one letter."""

    separate: str = ""
    """Options whose value is the next argument, or follows in the same one."""
    attached: str = ""
    """Options whose value follows in the same argument."""
    users: str = ""
    """Options whose value is ``user:password``, apart or attached."""


_PROGRAMS = {
    **dict.fromkeys(
        ("mysql", "mysqldump", "mysqladmin", "mysqlimport", "mysqlshow", "mariadb"), _Program(attached="p")
    ),
    **dict.fromkeys(("mariadb-dump", "mariadb-admin", "mysqlcheck", "mysqlbinlog", "7z"), _Program(attached="p")),
    **dict.fromkeys(("curl", "http", "https", "xh"), _Program(users="ua")),
    "curl": _Program(users="uU"),
    "redis-cli": _Program("a"),
    "valkey-cli": _Program("a"),
    "sshpass": _Program("p"),
    "docker": _Program("p"),
    "podman": _Program("p"),
    **dict.fromkeys(("mongo", "mongosh", "mongodump", "mongorestore", "mongoexport"), _Program("p")),
    **dict.fromkeys(("ldapsearch", "ldapmodify", "ldapadd", "ldapwhoami", "ldapdelete"), _Program("w")),
    **dict.fromkeys(("sqlcmd", "bcp", "zip", "unzip"), _Program("P")),
    "smbclient": _Program(users="U"),
}
"""By the programs' manuals."""

_NAMES = "|".join(sorted(map(re.escape, _PROGRAMS), key=len, reverse=True))
_COMMAND = expression(rf"(?<![\w.-])(?:/?[\w.-]{{1,64}}/){{0,8}}({_NAMES})(?=[ \t])")
_WORD = expression(r"[ \t]++|[\n;|&]|(?:'[^'\n]*+'|\"[^\"\n]*+\"|[^\s'\";|&]++|['\"])")
_ENDS = frozenset("\n;|&'\"")
_USER = expression(r"\A(['\"]?(?!\d{1,10}+:\d{1,10}+$)[^:\s]{1,256}[:%])(?:.+)", re.DOTALL)
_LITERAL = expression(r"(?<=--from-literal[= ])([^\s=]{1,128}=)[^\s]+")
_MOST_WORDS = 100


def mask_commands(text: str) -> str:
    """Mask the secrets in the command lines that a text holds."""
    if "--from-literal" in text:
        text = _LITERAL.sub(rf"\1{FILTERED}", text)
    if " -" not in text:
        return text
    parts: list[str] = []
    done = 0
    for command in _COMMAND.finditer(text):
        if command.start() < done:
            continue
        places: list[tuple[int, int]] = []
        for number, word in enumerate(_WORD.finditer(text, command.end())):
            if word[0] in _ENDS or number > _MOST_WORDS:
                break
            if not word[0].isspace():
                places.append(word.span())
        words = [text[start:end] for start, end in places]
        for (start, end), given, masked in zip(places, words, _masked(command[1], words), strict=True):
            if masked != given:
                parts += [text[done:start], masked]
                done = end
    return "".join([*parts, text[done:]]) if parts else text


def masked_arguments(arguments: Iterable[Any], is_sensitive: Callable[[str], bool]) -> Iterable[Any]:
    """The arguments of a process, with the secrets in options masked; values that are no texts stay."""
    given = list(arguments)
    if not given or type(given[0]) is not str:
        return given
    words = [unquoted(each) if type(each) is str else "" for each in given]
    program = words[0].rpartition("/")[2]
    masked = [words[0], *_masked(program, words[1:])] if program in _PROGRAMS else list(words)
    flag = ""
    for place, word in enumerate(words):
        if flag and masked[place] == word:
            masked[place] = FILTERED
        flag = word if word.startswith("--") and "=" not in word and is_sensitive(word) else ""
    return [new if new != word else each for new, word, each in zip(masked, words, given, strict=True)]


def _masked(name: str, words: list[str]) -> list[str]:
    program = _PROGRAMS[name]
    if name in ("docker", "podman") and "login" not in words:
        return words
    masked = []
    pending = ""
    for word in words:
        if pending:
            masked.append(_USER.sub(rf"\1{FILTERED}", word) if pending == "user" else FILTERED)
            pending = ""
            continue
        shown, pending = _masked_option(program, word)
        masked.append(shown)
    return masked


def _masked_option(program: _Program, word: str) -> tuple[str, str]:
    """The option as it may be shown, and whether the next argument is a ``user`` with a password or a ``secret``."""
    if word == "--user" and program.users:
        return word, "user"
    if len(word) < 2 or word[0] != "-" or word[1] == "-":
        return word, ""
    for place, letter in enumerate(word[1:12], 1):
        rest = word[place + 1 :]
        if letter in program.users and program.users:
            return (word[: place + 1] + _USER.sub(rf"\1{FILTERED}", rest), "") if rest else (word, "user")
        if letter in program.separate and program.separate:
            return (word[: place + 1] + FILTERED, "") if rest else (word, "secret")
        if letter in program.attached and program.attached and place == 1 and rest:
            return word[:2] + FILTERED, ""
        if not letter.isalpha():
            break
    return word, ""
