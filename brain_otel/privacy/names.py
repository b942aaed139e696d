"""Decides by its name whether a value is a secret: ``X-Auth-Token`` names one, ``author`` does not."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from brain_otel.runtime.imports import late_module
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.safe_repr import safe_repr
from brain_otel.runtime.text import word_set

if TYPE_CHECKING:
    from brain_otel.privacy import remarks
else:
    # The first value under a sensitive name needs it.
    remarks = late_module("brain_otel.privacy.remarks")

_SENSITIVE = r"""
    authorization | auth | bearer | pwd | pw | passcode | jwt | creds? | credentials? | dsn | connection[-_.]?string
    | [a-z]{0,256} (?: password | passwd | passphrase | secret | token )          # authtoken, PGPASSWORD
    | [a-z]{0,256} (?: passwords | secrets | tokens | cookies ) $
    | [a-z]{0,256} (?: credentials? | sessionid )
    | [a-z]{0,256} (?: api | access | private | secret | encryption | signing | auth ) key          # GATESECRETKEY
    | (?: api | access | private | priv | secret | encryption | decryption | enc | signing | sign | master | account
        | ssh | license | subscription | hmac | auth | service | service[-_.]?account | client | app | application
        | consumer | admin | root | db | database | storage | cosmos | functions? | ingest(?:ion)? | write | deploy
        | instrumentation | integration | webhook | session | shared | pre[-_]?shared | fernet | aes | rsa | cipher
        | crypto | jwe | rsa[-_]?private | wif | vault | unseal | pgp | gpg | vapid | stripe | sendgrid | mailgun
        | twilio | openai | anthropic | datadog | github | aws | azure | pass ) [-_.]? key
    | (?: api | access | private | secret | ssh | fernet | encryption | signing | auth | unseal ) [-_.]? keys $
    | hmac (?: [-_]? sha[-_]?\d{1,3} )? | routing[-_.]?key
    | cookie | csrf(?:[-_]?token)? | xsrf | remember[-_]?me | (?:wpa[-_]?)? psk
    | session(?:[-_]?id)? | sid | (?:php|j)?sess(?:ion)?[-_]?id | signature | sig | otp | totp | pin | pin[-_]?code
    | ssn | social[-_.]?security(?:[-_.]?number)? | security[-_.]?(?:code|answer|pin) | captcha[-_.]?response
    | (?: re | h ) captcha[-_.]?response | requirepass | masterauth
    | (?: card | pan ) [-_.]? number | cvv | cvc2? | cvv2 | cvn | mnemonic | saml[-_]?(?:response|assertion)
    | (?: seed | recovery | backup | mnemonic ) [-_.]? (?: phrase | words? ) | (?: oauth | code ) [-_.]? verifier
    | client[-_.]?assertion | (?: magic | reset | login ) [-_.]? link
    | (?: recovery | backup | verification | mfa | 2fa | two[-_]?factor | sms | login | device | scratch
        | one[-_]?time | activation | authentication | pairing ) [-_.]? codes?
    | (?: ^ | (?: user | db | database | smtp | mail | ftp | redis | mysql | pg | ssh | ldap | proxy | admin | root
        | key | store | trust | login | default | sudo | become | vault | ansible | sasl | http | wifi | bind | master
        | src | dest | keystore | truststore ) [-_.]? | (?: src | dest )? (?: key | store ) ) pass $
    | (?: pass | password | pw ) [-_.]? hash | (?: bind | root | user | admin | db | login ) pw
    | (?: [a-zäöü]{0,256} (?: passwort | kennwort ) ) | contrase[ñn]as? | contrasenya | senha | mdp | heslo | has[łl]o
    | [a-z]{0,256} wachtwoord | mots?[-_ ]de[-_ ]passe | palavra[-_ ]passe | parola (?: [-_ ]d.?[-_ ]?ordine )?
    | lösenord | adgangskode | salasana | şifre | пароль | 密码 | パスワード | 비밀번호
    | (?: cl[eé]f? | clave | chiave | chave | schlüssel | sleutel | code | codice | código | codigo | phrase | jeton
        | token | frase ) [-_ ] (?: (?: de | di | da | do | d.? ) [-_ ]? )?
        (?: secr[eèé]te?s? | secret[ao] | segret[ao] | api | priv[ée]e | privada | privata | acc[eèé]s | acceso
        | acesso | accesso | sécurité | seguridad | segurança | sicurezza | vérification | verificación
        | verificação | verifica | confirmation | confirmación )
    | (?: geheime[rn]? | privater? | privé | api ) [-_ ] (?: schlüssel | sleutel ) | api[-_]?(?: sleutel | schlüssel )
    | (?: bestätigungs | sicherheits | zugangs | einmal | verificatie | toegangs | beveiligings | pin ) code
    | zugangsdaten | anmeldedaten | geheimnis                                             # in other languages
"""
"""Sentry's denylist (``sentry_sdk.scrubber``), the keywords of detect-secrets and gitleaks, and their siblings."""

_PARTS = expression(
    r"s(?:ig|id|egr|ess|n|oci|ec[ru]|dat|aml|enh|lo|alas)|p(?:ass|w|in|sk|hr|an|arol|riv)|uth|beare|j(?:wt|eto)"
    r"|c(?:re[dt]|sr|v|od[ei]|a(?:ptcha|rd)|o(?:nnection.?s|nnecting|ntras)|lient|hav|le[f_ ])|k(?:e[ny]|ie|ode)|xsr"
    r"|m(?:nem|ember|ote.addr|dp|nis|eld|ac(?<=hmac))|otp|verif|l(?:ink|.ip|eut|ave)|w(?:ord|acht|arded)"
)
"""Each sensitive name in ASCII has one of these parts. They begin with few, rare letters, so the search is fast."""

_ABOUT_A_SECRET = expression(
    r"""
    ^ (?: has | is | needs | num | max | min | total | n | count | use ) _
    | (?: ^ | _ ) (?: stop | eos | bos | pad | unk | sep | cls | mask | start | end | special | prompt | completion
        | input | output | cached | reasoning ) _tokens? $                                    # of language models
    | _ (?: counts? | total | length | len | size | limit | usage | used | budget | type | kind | method | mode
        | scheme | status | state | age | ttl | expir(?:y|es|ed) | expire(?:_\w++)?
        | (?: expires | issued | changed | created | updated | rotated | revoked ) _ (?: at | in | on )
        | duration | timeout | changed | algorithm | alg | enabled | disabled | required | strength | version
        | provider | name | url | uri | endpoint | consent | policy | format | index | domain | path | secure
        | samesite | httponly | level | time | backends? | hashers? | scopes? | managers?
        | result | replay | loaded | minutes | hours
        | days | seconds | file | dir | field | column | issuer | audience | leeway | realm | server | service
        | region | arn | ref | factory | class | store | engine | rules? | notice | banner | valid | invalid
        | verified | present | missing | expired | revoked | rotat(?:ed|ion) | attempts? | score | channel | sent
        | rate | symbol | decimals | bucket | per_\w++ | latency ) $
    | (?: ^ | _ ) (?: key | token | credential | auth | cookie | signature ) _ids? $              # ids of them
    | (?: ^ | _ ) (?: existing | (?: image_)? pull ) _secrets? $              # names of Kubernetes' secrets
    | ^ (?: tokens | cookies | secrets | passwords | sessions ) _ (?: used | left | accepted )
    """,
    re.VERBOSE,
)
"""Names of facts about a secret: ``session_count``, ``token_type``, ``has_password``."""

_CAMEL = expression(r"(?<=[a-z0-9])(?=[A-Z])")
_GAPS = expression(r"[-. ]++")
_COUNTABLE = expression(r"(?:[^s]s|(?:^|_)pass)$")
_COUNT = expression(r"(?:\w{1,32}=)?\d[\d.,]*+(?:/\d++)?$")
_MAX_COUNT, _MAX_PASSED = 7, 3
"""Digits of a number that counts: of tokens, and of tests that pass."""

_CUT_OFF = expression(r"'?\.\.\. [\d,]++ more'?\Z")
_NAME_ALONE = expression(r"'?[\w.-]{2,64}'?$")
_WORD_ALONE = expression(r"'?(?:[A-Z]?[a-z]*+(?:[_-][a-z]++)*+|[A-Z_]++)'?$")
_NOTHING = ("None", "True", "False")
_NAMED = expression(r"(?:^|_)(?:secret_ids?|routing_key)$")
_RANDOM_ID = expression(r"(?:[0-9a-z]{32}|[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12})$", re.IGNORECASE)
_FILE = expression(
    r"(?:[\w.~-]{0,128}/){0,32}[\w.~-]{1,128}(?<=\.)"
    r"(?:pem|key|crt|cer|der|p12|pfx|jks|sig|asc|txt|json|ya?ml|conf|cfg|ini|bin|pub)$"
)
"""The name of a file that holds the secret."""

_OF_FILES = expression(r"(?:key|signature|cookies?|credentials?)$", re.IGNORECASE)
"""Names of what is mostly kept in a file."""

_SIGNAL = expression(r"SIG[A-Z]{1,8}\d{0,2}$|S-1-\d{1,2}(?:-\d{1,10}){1,8}$")
"""A signal, and the id of an account of Windows."""

_DIRECTORY = expression(r"(?:/[\w.@+-]*+)++$|[A-Za-z]:\\")

NameCheck = Callable[[str], bool]
"""Tells by its name whether a value is a secret."""

PERSONAL_HEADERS = word_set("""
    cookie set-cookie forwarded x-forwarded-for x-real-ip remote-addr true-client-ip x-client-ip
    x-cluster-client-ip cf-connecting-ip fastly-client-ip proxy-authorization
""")

_PERSONAL_NAMES = frozenset(name.replace("-", "_") for name in PERSONAL_HEADERS if "-" in name)
"""Their normalised names anywhere, such as in a dict of headers; ``forwarded`` is a word of its own."""

_MAX_NAME = 256
"""Characters of a name that are checked; a longer one is checked at both ends."""


def create_name_check(
    sensitive: Iterable[str] = (), safe: Iterable[str] = (), *, hides_personal: bool = False
) -> NameCheck:
    """Create the function that returns whether a value with a given name is a secret.

    Args:
        sensitive: More names of secrets, as a whole name or as words of a longer one.
        safe: Names that are not sensitive although the built-in list says so.
        hides_personal: Whether the names of headers with a client's address count too.
    """
    added = [r"[-_. ]?".join(map(re.escape, _normalised(each).split("_"))) for each in sensitive]
    own = re.compile(rf"(?<![a-z])(?:{'|'.join(added)})(?![a-z])", re.IGNORECASE) if added else None
    built_in = expression(rf"(?<![a-z])(?:{_SENSITIVE})(?![a-z])", re.IGNORECASE | re.VERBOSE)
    allowed = {_normalised(each) for each in safe}

    @lru_cache(maxsize=4_096)
    def is_sensitive(name: str) -> bool:
        if len(name) > _MAX_NAME:
            name = f"{name[: _MAX_NAME // 2]} {name[-_MAX_NAME // 2 :]}"
        spaced = _spaced(name)
        if own is not None and own.search(spaced):
            return True
        normal = _normalised(name)
        is_personal = hides_personal and normal.removeprefix("http_") in _PERSONAL_NAMES
        if not is_personal and built_in.search(spaced) is None:
            return False
        if normal in allowed or (allowed and _normalised(name.rpartition(".")[2]) in allowed):
            return False
        return _ABOUT_A_SECRET.search(normal) is None

    return is_sensitive


def create_text_check(sensitive: Iterable[str] = ()) -> Callable[[str], bool]:
    """Create the function that returns whether a text may hold a sensitive name: no is certain, and costs little.

    Args:
        sensitive: More names of secrets.
    """
    added = tuple(_normalised(each).partition("_")[0] for each in sensitive)

    def may_hold_names(text: str) -> bool:
        lower = text.lower()
        return _PARTS.search(lower) is not None or not text.isascii() or any(map(lower.__contains__, added))

    return may_hold_names


def _spaced(name: str) -> str:
    """``userPassword`` as ``user_Password``."""
    return name if name.islower() else _CAMEL.sub("_", name)


def _normalised(name: str) -> str:
    """``User-Password`` and ``user.password`` as ``user_password``."""
    return _GAPS.sub("_", _spaced(name.lstrip("-"))).lower()


def is_fact(name: str, value: Any) -> bool:
    """Whether ``value``, under a sensitive name, is no secret: a number of ``cookies``, the directory in ``PWD``.

    Texts may be quoted, as local variables are.
    """
    kind = type(value)
    if kind in (list, tuple):
        return len(value) > 0 and all(is_fact(name, each) for each in value)
    if kind is dict:
        return remarks.is_error(value, lambda each: is_fact(name, each))
    if kind in (int, float):
        return _COUNTABLE.search(_normalised(name)) is not None and len(str(value)) <= _most_digits(name)
    if kind is not str:
        return False
    bare = unquoted(value)
    if _COUNT.match(bare) and _COUNTABLE.search(_normalised(name)):
        return sum(map(str.isdigit, bare.partition("/")[0])) <= _most_digits(name)
    if bare in _NOTHING or remarks.is_remark(bare) or (_FILE.match(bare) and _OF_FILES.search(name)):
        return True
    if name[-3:].lower() in ("_id", "-id", "tid", "key") and _NAMED.search(_normalised(name)):
        return _RANDOM_ID.match(bare) is None  # Vault's and PagerDuty's are secrets, others are names
    if name[-3:].lower() in ("sig", "sid"):
        return _SIGNAL.match(bare) is not None
    return name.lower() in ("pwd", "oldpwd") and _DIRECTORY.match(bare) is not None


def _most_digits(name: str) -> int:
    return _MAX_PASSED if _normalised(name).endswith("pass") else _MAX_COUNT


def unquoted(text: str) -> str:
    """``text`` without the quotes of its ``repr``."""
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"" else text


is_sensitive = create_name_check()
"""Whether a value with this name is a secret by the built-in list."""


def plain_name(key: Any) -> str:
    """A key as text, without the quotes and the ``b`` of a ``repr``."""
    if isinstance(key, bytes):
        return key.decode("latin-1")
    text = key if isinstance(key, str) else safe_repr(key, str)
    return text[2:-1] if text[:2] in ("b'", 'b"') else text.strip("'\"")


def are_pairs(value: Any) -> bool:
    """Whether ``value`` is a list of pairs of a name and a value, as headers are; its end may be cut off."""
    items = list(value)
    if len(items) > 1 and isinstance(items[-1], str) and _CUT_OFF.match(items[-1]) is not None:
        del items[-1]
    return len(items) > 0 and all(
        type(item) in (list, tuple) and len(item) == 2
        and isinstance(item[0], (str, bytes))
        for item in items
    )  # fmt: skip


def is_pair(value: Any) -> bool:
    """Whether ``value`` is a name and its value, and not two names or words: ``("password", "x7")``."""
    if type(value) not in (list, tuple) or len(value) != 2 or type(value[0]) is not str or type(value[1]) is not str:
        return False
    return _NAME_ALONE.match(value[0]) is not None and _WORD_ALONE.match(value[1]) is None
