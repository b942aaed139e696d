"""Recognizes texts in which no rule of the policy can find anything, such as a path or the name of a browser.

Most texts that are masked for the first time are of that kind. The check takes a few passes in C over the whole text,
so it costs less than a single rule.
"""

from brain_otel.runtime.lazy_regex import expression

_LONGEST = 12
"""Characters of the longest word; a key or token is longer."""

_LONGEST_GROUP, _MOST_GROUPS = 3, 2
"""Digits and numbers that a text may have: the number of a card has more."""

_TELLING = frozenset(
    b"token key pin net bearer basic auth machine is was to pass login identify code use enter insert type"
    b" contains password passwd passphrase pwd aws git http https htpasswd openssl rabbitmqctl npm pnpm yarn"
    b" poetry vault mc wpa_passphrase wpaapassphrase nmcli composer pulumi pip conda bundle gcloud kubectl fly"
    b" flyctl wrangler vercel gh echo env arg setenv requirepass masterauth bindpw rootpw secret redisacli"
    b" valkeyacli sqlplus card cards xh ya29 passwort kennwort senha wachtwoord passcode"
    b" passe ordine contrasena pw psw pswd passw otp totp mfa 2fa cvv cvv2 cvc cvc2 credential credentials creds"
    b" credenciales credenziali".split()
)
"""Words that give a meaning to the one after them."""


def _table() -> bytes:
    """Translates separators to spaces, what joins words to a letter, and all other signs to a colon."""
    table = bytearray(b":" * 256)
    for code in map(ord, "abcdefghijklmnopqrstuvwxyz0123456789"):
        table[code] = table[ord(chr(code).upper())] = code
    for code in b"/.,;()+! ":
        table[code] = ord(" ")
    for code in b"_-":
        table[code] = ord("a")
    return bytes(table)


_TABLE = _table()
_FLAG = expression(r"-(?:(?<=[/.,;()+! ]-)|(?<=^-))")
"""A dash that begins a word, as of an option of a command."""

_ID = expression(r"(?<![\w-])[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}(?![\w-])")


def is_plain(text: str) -> bool:
    """Whether no rule can find anything in ``text``. The answer is no if a rule would have to look."""
    if not text.isascii() or "eyJ" in text or ("-" in text and _FLAG.search(text) is not None):
        return False
    words = text.replace("; rv:", " ").encode().translate(_TABLE).split()
    if not b"".join(words).isalnum():
        return False
    if max(map(len, words)) > _LONGEST:
        words = _ID.sub("id", text).encode().translate(_TABLE).split()
        if max(map(len, words)) > _LONGEST:
            return False
    if " " in text and not _TELLING.isdisjoint(words):
        return False
    numbers = [word for word in words if len(word) > _LONGEST_GROUP and word[2:].isdigit()]
    return len(numbers) <= _MOST_GROUPS and all(map(bytes.isdigit, numbers))
