"""Masks the texts that a line of Python's source gives to sensitive names: ``password: str = "..."``.

The line is read token by token, since a traceback shows parts of statements. A text is masked where a value stands:
after ``=``, ``==`` and ``:`` behind a sensitive name, as the default beside a sensitive key, and as the argument of
what only wraps it. A key, as in ``os.environ["PASSWORD"]``, stays.
"""

import re
from collections.abc import Callable

from brain_otel.privacy.literals import Quote, quote_end
from brain_otel.privacy.settings import FILTERED
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.text import word_set

_TOKEN = expression(
    r"""\s++ | (?P<comment>\#) | (?P<prefix>[bBrRuUfFtT]{0,2})(?P<quote>\"\"\"|'''|[\"'])
    | (?P<name>[^\W\d][\w.]*+) | (?P<sign>==|!=|:=|->|=|:|,) | (?P<open>[(\[{]) | (?P<close>[)\]}])
    | \d[\w.]*+ | .""",
    re.VERBOSE | re.DOTALL,
)
_SIGNS = frozenset({"=", ":=", "==", "!="})
_WORDS_WITHIN = frozenset({"or", "and", "else", "if", "not", "await", "in", "is", "lambda"})
_WRAPPERS = word_set("""
    Secret SecretStr SecretBytes str bytes fromhex bytearray b64decode b64encode unquote urlsafe_b64decode
    urlsafe_b64encode unhexlify quote Fernet Field field cast make_password
""")
"""Calls that give back their text, or keep it."""

_GETTERS = word_set("get getenv pop setdefault getattr config env environ Column mapped_column")
"""Calls whose first text is a key, and whose others are the value or the default."""

_SETTERS = expression(
    r"(?:(?:set|check|verify|hash|change|update|reset)_?(?:password|passphrase|secret|token|api_?key)"
    r"|Secret(?:Str|Bytes)?)$"
)
_PAIRS = word_set("get getenv pop setdefault setenv putenv setattr config env set add_header header")
"""Calls with a key and its value."""

_SECRET_ARGUMENTS = {
    **dict.fromkeys(("HTTPBasicAuth", "BasicAuth", "HTTPDigestAuth", "DigestAuth", "ProxyAuth", "basic_auth"), 1),
    **dict.fromkeys(("login", "authenticate", "simple_bind_s", "simple_bind", "check_password_hash", "log_in"), 1),
    **dict.fromkeys(("jwt.encode", "jwt.decode", "jws.sign", "pbkdf2_hmac", "load_pem_private_key"), 1),
    **dict.fromkeys(("hmac.new", "hmac.digest", "Signer", "TimestampSigner", "URLSafeTimedSerializer", "HMAC"), 0),
    **dict.fromkeys(("URLSafeSerializer", "hashpw", "checkpw", "generate_password_hash", "AES.new", "scrypt"), 0),
    **dict.fromkeys(("TOTP", "HOTP", "setpassword", "hash_password", "AESGCM", "ChaCha20Poly1305"), 0),
    "load_cert_chain": 2,
}
"""Calls with an argument that is a secret, by its place; with the object where the function's name is common."""

_LOCATORS = word_set("locator find_element get_by_label get_by_placeholder get_by_test_id querySelector find get")
_TYPING = word_set("fill type send_keys press_sequentially set_value input_text fill_in insert_text")
"""Calls of browsers' drivers: the first text is a place on the page, what follows is typed there."""

_DEFAULTS = frozenset({"default", "value", "fallback"})
_HEADER = expression(r"(?:^|-)(?:authorization|cookie|token|key)$", re.IGNORECASE)
_KEY = expression(r"[\w.-]{2,128}$")
_SELECTOR = expression(r"[\w-]{2,128}+")
_PLACE = expression(r"[\w .#\[\]='\"@/*:>-]{2,128}$")
_AFTER = expression(r"\s*+(?:(==|!=)\s*+([^\W\d][\w.]*+)(?!\()|(:))?")
_EMBEDDED = expression(r"\{[^{}]*+\}")
_SCHEME = expression(r"\s*+(?:[A-Za-z]++\s++)?$|[%{]")


class _Level:
    """The state of the reader within one pair of brackets.

    Args:
        inherited: Whether the values in the brackets belong to a sensitive name before them.
    """

    def __init__(self, opening: str = "", callee: str = "", *, inherited: bool = False) -> None:
        self.opening, self.callee, self.inherited = opening, callee, inherited
        self.secret = inherited
        """Whether a text that stands here now is a value of a sensitive name."""
        self.names: list[str] = []
        """Names since the last sign."""
        self.annotated = ""
        self.key = ""
        """The first text in the brackets, if it is a name."""
        self.arguments = 0
        self.secret_argument = -1
        """The place of an argument that is a secret; -1 if there is none."""


class _Reader:
    """Reads one line."""

    def __init__(self, line: str, is_sensitive: Callable[[str], bool], mask_text: Callable[[str], str]) -> None:
        self._line = line
        self._is_sensitive = is_sensitive
        self._mask_text = mask_text
        self._levels = [_Level()]
        self._is_after_value = False
        """Whether a bracket here is a call or a subscript."""

    def masked(self) -> str:
        parts: list[str] = []
        position = 0
        while (token := _TOKEN.match(self._line, position)) is not None:
            start, position = position, token.end()
            if token["quote"]:
                end = quote_end(self._line, position, Quote(token["quote"], 0))
                end = len(self._line) if end < 0 else end
                parts += [token[0], self._text(token["prefix"], self._line[position:end], end + len(token["quote"]))]
                position = end
                parts.append(self._line[position : position + len(token["quote"])])
                position += len(token["quote"])
            elif token["comment"]:
                return "".join([*parts, self._mask_text(self._line[start:])])
            else:
                self._sign(token)
                parts.append(token[0])
        return "".join(parts)

    def _sign(self, token: re.Match[str]) -> None:
        level = self._levels[-1]
        if name := token["name"]:
            self._is_after_value = name not in _WORDS_WITHIN
            if name == "in":
                level.secret = level.secret or any(map(self._is_sensitive, level.names[-1:]))
            elif name not in _WORDS_WITHIN:
                level.names.append(name)
        elif token["open"]:
            self._open(token["open"])
        elif token["close"]:
            if len(self._levels) > 1:
                closed = self._levels.pop()
                if closed.callee and (closed.opening == "[" or closed.callee in _GETTERS | _LOCATORS):
                    self._levels[-1].names.append(closed.key)
            self._is_after_value = True
        elif token["sign"]:
            self._assign(level, token["sign"])
            self._is_after_value = False
        elif not token[0].isspace():
            self._is_after_value = False

    def _assign(self, level: _Level, sign: str) -> None:
        if sign == ",":
            level.arguments += 1
            if level.opening:
                level.secret = level.inherited or self._is_value_of_key(level)
                level.names.clear()
                level.annotated = ""
        elif sign in _SIGNS:
            is_target = sign == "=" and not level.opening  # of several names
            names = [level.annotated] if level.annotated else level.names if is_target else level.names[-1:]
            is_key = level.secret_argument >= 0 and names[-1:] in (["key"], ["secret"])
            by_default = level.opening == "(" and names[-1:] and names[-1] in _DEFAULTS
            level.secret = (
                is_key
                or any(map(self._is_sensitive, names))
                or bool(by_default and (level.inherited or self._is_sensitive(level.key)))
            )
            level.names = []
            level.annotated = ""
        elif sign == ":" and level.names:
            level.annotated = level.names[-1]
            level.secret = level.opening != "(" and (level.inherited or self._is_sensitive(level.annotated))
            level.names = []

    def _open(self, opening: str) -> None:
        outer = self._levels[-1]
        last = outer.names[-1].rpartition(".")[2] if outer.names else "?"
        callee = last if self._is_after_value and opening != "{" else ""
        if not callee:
            inherited = outer.secret
        elif opening == "[":
            inherited = False
        else:
            is_typed = callee in _TYPING and any(map(self._is_sensitive, outer.names[-2:-1]))
            inherited = (outer.secret and callee in _WRAPPERS) or is_typed or _SETTERS.match(callee) is not None
        level = _Level(opening, callee, inherited=inherited)
        if callee and opening == "(":
            level.secret_argument = next(
                (_SECRET_ARGUMENTS[name] for name in (callee, *outer.names[-1:]) if name in _SECRET_ARGUMENTS), -1
            )
            level.secret = inherited or level.secret_argument == 0
        if callee and opening == "(" and outer.secret and callee in _GETTERS:
            level.inherited = True  # what follows the key
        self._levels.append(level)
        self._is_after_value = False

    def _is_value_of_key(self, level: _Level) -> bool:
        if level.secret_argument >= 0:
            return level.arguments == level.secret_argument
        if level.opening != "(" or level.arguments == 0 or not self._is_sensitive(level.key):
            return False
        return bool(level.callee in _PAIRS | _TYPING if level.callee else _HEADER.search(level.key))

    def _text(self, prefix: str, text: str, end: int) -> str:
        """A text of the line, which ends before ``end``, as it may be shown."""
        level = self._levels[-1]
        self._is_after_value = True
        after = _AFTER.match(self._line, end)
        is_key = (
            after is not None and after[3] is not None and (level.opening == "{" or vars(level) == vars(_Level()))
        )
        if is_key or (level.opening == "[" and level.callee):
            level.key = text if _KEY.match(text) else ""
            level.names = [level.key]
            return text
        is_compared = after is not None and after[2] is not None and self._is_sensitive(after[2])
        if level.secret or is_compared:
            return text if self._stays(prefix, text) else FILTERED
        if level.arguments == 0 or not level.key:
            level.key = text if _KEY.match(text) else self._name_in_place(level.callee, text) or level.key
        return self._mask_text(text)

    def _name_in_place(self, callee: str, text: str) -> str:
        """The sensitive name in a place on a page, such as ``#password`` and ``input[name=password]``."""
        if callee not in _TYPING | _LOCATORS or _PLACE.match(text) is None:
            return ""
        return next(filter(self._is_sensitive, _SELECTOR.findall(text)), "")

    def _stays(self, prefix: str, text: str) -> bool:
        if not text.strip():
            return True
        bare = _EMBEDDED.sub("", text) if prefix.lower().strip("rb") else text
        return bare != text and _SCHEME.match(bare) is not None


def mask_source_line(line: str, is_sensitive: Callable[[str], bool], mask_text: Callable[[str], str]) -> str:
    """``line`` without the texts that it gives to sensitive names.

    Args:
        line: A line of source, which may be a part of a statement.
        is_sensitive: Whether the value of a name is a secret.
        mask_text: Masks a text within a text or comment of the line.
    """
    return _Reader(line, is_sensitive, mask_text).masked()
