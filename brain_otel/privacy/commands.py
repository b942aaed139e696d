"""Masks secrets that command lines pass without a telling name: ``mysql -psecret``, ``curl -u a:b``."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from brain_otel.privacy.names import NameCheck, unquoted
from brain_otel.privacy.settings import FILTERED
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.named_tuple import NamedTuple
from brain_otel.runtime.text import word_set


class _Program(NamedTuple):
    """The arguments of a program that pass a secret. Options are one letter, or words with their dashes."""

    separate: str = ""
    """Options whose value is the next argument, or follows in the same one."""
    attached: str = ""
    """Options whose value follows in the same argument."""
    users: str = ""
    """Options whose value is ``user:password``, apart or attached."""
    words: tuple[str, ...] = ()
    """Longer options whose value is a secret."""
    pairs: tuple[str, ...] = ()
    """Longer options whose value is ``user:password``."""
    after: str = ""
    """Words, one of which must stand before the options, such as ``login``."""
    last: tuple[str, int] = ("", 0)
    """Words, one of which makes the argument of that place after it a secret."""
    batch: str = ""
    """The option that makes the last argument a secret."""
    sets: bool = False
    """Whether the argument after a sensitive name is its value: ``aws configure set aws_secret_access_key ...``."""


_USER_OPTIONS = frozenset({"-u", "-U", "--user", "--username"})
"""Options whose value may be the name of a program, as in ``sudo -u mysql mysqldump``."""

_SETS = _Program(sets=True, after="set config configure put put-parameter connect modify add")
_BY_NAMES = {
    "mysql mysqldump mysqladmin mysqlimport mysqlshow mysqlcheck mysqlbinlog": _Program(attached="p"),
    "mariadb mariadb-dump mariadb-admin 7z 7za unrar": _Program(attached="p"),
    "rar": _Program(attached="p", words=("-hp",)),
    "http https xh": _Program(users="ua", pairs=("--auth", "--user")),
    "curl": _Program(users="uUb", words=("--oauth2-bearer", "--pass"), pairs=("--proxy-user", "--user", "--cookie")),
    "redis-cli valkey-cli": _Program("a", last=("requirepass masterauth AUTH", 1)),
    "docker podman helm oras crane skopeo buildah nerdctl oc cf": _Program(
        "p", after="login", pairs=("--creds", "--src-creds", "--dest-creds")
    ),
    "mongo mongosh mongodump mongorestore mongoexport mongoimport cqlsh": _Program("p"),
    "sshpass twine useradd usermod": _Program("p"),
    "ldapsearch ldapmodify ldapadd ldapwhoami ldapdelete ldappasswd": _Program("w"),
    "sqlcmd bcp zip unzip ipmitool mosquitto_pub mosquitto_sub": _Program("P"),
    "smbclient": _Program(users="U"),
    "htpasswd": _Program(batch="b"),
    "openssl": _Program(words=("-k", "-K", "-pass", "-passin", "-passout"), last=("passwd", 1)),
    "rabbitmqctl": _Program(last=("add_user change_password authenticate_user", 2)),
    "az": _Program("p", after="login"),
    "lftp": _Program(users="u"),
    "ab": _Program(users="AP"),
    "etcdctl": _Program(pairs=("--user",)),
    "snmpget snmpwalk snmpset snmpbulkwalk": _Program("cAX"),
    "sqlplus": _Program(pairs=("",)),
    "mc": _Program(last=("alias", 5)),
    "vault": _Program(last=("login", 1)),
    "wpa_passphrase": _Program(last=("wpa_passphrase", 2)),
    "aws npm yarn pnpm poetry pulumi git composer nmcli pip conda bundle gcloud kubectl fly flyctl": _SETS,
    "wrangler vercel redis-sentinel": _SETS,
    "gh": _SETS._replace(words=("--body", "-b")),
}
"""By the programs' manuals."""

_PROGRAMS = {name: program for names, program in _BY_NAMES.items() for name in names.split()}
_NAMES = "|".join(sorted(map(re.escape, _PROGRAMS), key=len, reverse=True))
_COMMAND = expression(rf"(?<![\w.-])(?:{_NAMES})(?=[ \t])")
_WITHOUT_OPTIONS = word_set("""
    set config configure put put-parameter connect modify add add_user change_password authenticate_user passwd
    login alias wpa_passphrase sqlplus requirepass masterauth AUTH
""")
"""One of them stands in a command line with a secret that has no options."""

_LIST = expression(r"\[(?:'[^'\n]*+'|\"[^\"\n]*+\")(?:, (?:'[^'\n]*+'|\"[^\"\n]*+\")){1,200}+(?=[\],])")
_ITEM = expression(r"'[^'\n]*+'|\"[^\"\n]*+\"")
_WORD = expression(r"[ \t]++|[\n;|&]|(?:'[^'\n]*+'|\"[^\"\n]*+\"|[^\s'\";|&]++|['\"])")
_ENDS = frozenset("\n;|&'\"")
_USER = expression(r"\A(['\"]?(?!\d{1,10}+:\d{1,10}+$)[^:%,/=\s]++[:%,/=])(?:.+)", re.DOTALL)
_LITERAL = expression(r"(?<=--from-literal[= ])([^\s=]{1,128}=)[^\s]+")
_NET = expression(r"(\bnet (?:use (?:[*\w]:? )?\\{2}\S{1,256} |user \S{1,64} ))(?![/*])\S++")
_PIPED = expression(
    r"(\becho (?:-[ne] )?[\"']?(?:[^\s:|\"']{1,64}:)?)[^\s|\"']++"
    r"(?=[\"']? ?\| ?(?:sudo )?(?:sudo -S|chpasswd|passwd --stdin|docker login|cryptsetup|kinit))"
)


def create_command_mask(is_sensitive: NameCheck) -> Callable[[str], str]:
    """Create the function that masks the secrets in the command lines that a text holds."""

    def mask_commands(text: str) -> str:
        if "--from-literal" in text:
            text = _LITERAL.sub(rf"\1{FILTERED}", text)
        if "echo " in text and "|" in text:
            text = _PIPED.sub(rf"\1{FILTERED}", text)
        if "net us" in text:
            text = _NET.sub(rf"\1{FILTERED}", text)
        if "', '" in text or '", "' in text:
            text = _LIST.sub(lambda found: _mask_list(found[0], is_sensitive), text)
        if " -" not in text and _WITHOUT_OPTIONS.isdisjoint(text.split()):
            return text
        parts: list[str] = []
        done = position = 0
        while (command := _COMMAND.search(text, position)) is not None:
            places, position = _words(text, command.start())
            words = [text[start:end] for start, end in places]
            for (start, end), given, masked in zip(places, words, _masked(words, is_sensitive), strict=True):
                if masked != given:
                    parts += [text[done:start], masked]
                    done = end
        return "".join([*parts, text[done:]]) if parts else text

    return mask_commands


def _mask_list(text: str, is_sensitive: NameCheck) -> str:
    """Mask the ``repr`` of a list of arguments, up to its closing bracket."""
    items = _ITEM.findall(text)
    if _program_of(unquoted(items[0])) not in _PROGRAMS:
        return text
    words = _masked(list(map(unquoted, items)), is_sensitive)
    return "[" + ", ".join(f"{item[0]}{word}{item[0]}" for item, word in zip(items, words, strict=True))


def _words(text: str, start: int) -> tuple[list[tuple[int, int]], int]:
    """The places of the words of the command line at ``start``, and where it ends."""
    places: list[tuple[int, int]] = []
    for word in _WORD.finditer(text, start):
        if word[0] in _ENDS:
            return places, word.end()
        if not word[0].isspace():
            places.append(word.span())
    return places, len(text)


def masked_arguments(arguments: Iterable[Any], is_sensitive: NameCheck) -> Iterable[Any]:
    """The arguments of a process, with the secrets in options masked; values that are no texts stay."""
    given = list(arguments)
    if not given or type(given[0]) is not str:
        return given
    words = [unquoted(each) if type(each) is str else "" for each in given]
    masked = _masked(words, is_sensitive) if _program_of(words[0]) in _PROGRAMS else list(words)
    flag = ""
    for place, word in enumerate(words):
        if flag and masked[place] == word:
            masked[place] = FILTERED
        flag = word if word.startswith("--") and "=" not in word and is_sensitive(word) else ""
    return [new if new != word else each for new, word, each in zip(masked, words, given, strict=True)]


def _program_of(word: str) -> str:
    return word.rpartition("/")[2]


class _Line:
    """One walk over the words of a command line; a program in it, as behind ``sudo``, is the one from there on."""

    def __init__(self, is_sensitive: NameCheck) -> None:
        self._is_sensitive = is_sensitive
        self._program = _Program()
        self._pending = ""
        """What the next word is: a ``secret``, ``user:password``, or the name that a ``label`` gives to a value."""
        self._countdown = 0
        """Words up to the one that is a secret by its place; 0 if there is none."""
        self._is_active = self._names_secret = self._names_user = self.ends_with_secret = False

    def shown(self, word: str) -> str:
        """The word as it may be shown."""
        bare = unquoted(word)
        name = _program_of(bare)
        is_user, self._names_user = self._names_user, bare in _USER_OPTIONS
        if name in _PROGRAMS and not self._pending and self._countdown != 1 and not is_user:
            self._program = _PROGRAMS[name]
            self._is_active = not self._program.after
            self._countdown = self._program.last[1] if name in self._program.last[0].split() else 0
            return word
        pending, self._pending = self._pending, ""
        if pending == "user":
            return _USER.sub(rf"\1{FILTERED}", word)
        if pending == "label":
            self._names_secret = self._is_sensitive(bare)
            return word
        if pending == "secret" and not (self._program.sets and word[:2] == "--"):
            return FILTERED
        self._is_active = self._is_active or bare in self._program.after.split()
        if word[:1] != "-" or len(word) < 2:
            return self._argument(word, bare)
        return self._option(word)

    def _argument(self, word: str, bare: str) -> str:
        if self._countdown:
            self._countdown -= 1
            if self._countdown == 0:
                return FILTERED
        elif bare in self._program.last[0].split():
            self._countdown = self._program.last[1]
        if self._program.pairs == ("",) and "/" in bare[1:]:
            return _USER.sub(rf"\1{FILTERED}", word)
        if self._program.sets and self._is_active and "=" not in bare and self._is_setting(bare):
            self._pending = "secret"
        return word

    def _is_setting(self, name: str) -> bool:
        if name.startswith("http-basic."):  # of poetry and composer: user and password
            self._countdown = 2
        return self._is_sensitive(name)

    def _option(self, word: str) -> str:
        program = self._program
        if program.sets and word in ("--name", "--value"):
            self._pending = "label" if word == "--name" else "secret" if self._names_secret else ""
            return word
        name, equals, value = word.partition("=")
        if name in program.words or name in program.pairs:
            is_user = name in program.pairs
            if not equals:
                self._pending = "user" if is_user else "secret"
                return word
            shown = _USER.sub(rf"\1{FILTERED}", value) if is_user else FILTERED
            return f"{name}={shown}"
        attached = next((each for each in program.words if len(each) == 3 and word.startswith(each)), "")
        if attached:
            return attached + FILTERED
        if word[1] == "-" or not self._is_active:
            return word
        return self._letters(word)

    def _letters(self, word: str) -> str:
        program = self._program
        for place, letter in enumerate(word[1:12], 1):
            rest = word[place + 1 :]
            if letter == program.batch:
                self.ends_with_secret = True
            elif letter in program.users and program.users:
                self._pending = "" if rest else "user"
                return word[: place + 1] + _USER.sub(rf"\1{FILTERED}", rest)
            elif letter in program.separate and program.separate:
                self._pending = "" if rest else "secret"
                return word[: place + 1] + (FILTERED if rest else "")
            elif letter in program.attached and place == 1 and rest:
                return word[:2] + FILTERED
            if not letter.isalpha():
                break
        return word


def _masked(words: list[str], is_sensitive: NameCheck) -> list[str]:
    line = _Line(is_sensitive)
    masked = [line.shown(word) for word in words]
    return [*masked[:-1], FILTERED] if line.ends_with_secret and words[-1][:1] != "-" else masked
