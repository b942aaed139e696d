"""Tells what is said about a secret from the secret: ``required``, ``Invalid token.``, ``SecretStr``, a JSON schema.

Validators answer a name with a sentence, and schemas with a type. All words of such a sentence belong to a small
vocabulary, so a passphrase is none.
"""

import re
from collections.abc import Callable
from typing import Any

from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.text import word_set

_ALONE = word_set("""
    required missing invalid expired incorrect wrong blank empty unknown mismatch revoked disabled enabled mandatory
    optional denied unauthorized forbidden unsupported rejected valid ok unset hidden undefined null none string
    integer boolean number object array bytes str int bool uuid true false requis obligatoire erforderlich requerido
    obligatorio obbligatorio verplicht obrigatório
""")
"""Words that say all by themselves."""

_OUTCOMES = _ALONE | word_set("""
    must cannot can't should short long weak common match matching numeric similar ensure least most accepted used
    changed ended found failed allowed permitted recognized verified exists varchar varchar2 nvarchar char
""")
"""Words of which a sentence has one."""

_VOCABULARY = _OUTCOMES | word_set("""
    this that the a an your you our its it is are isn't was wasn't were be been being may might not no of at more than
    fewer less or and but to too for from with without in on by as has have had can could do does doesn't don't did
    contain contains include includes character characters letter letters digit digits numbers symbol symbols lower
    uppercase lowercase upper case special one two minimum maximum min max length between exactly value values type
    types input given provided supplied entered enter please confirm confirmation check try again new old current
    previous password passwords passphrase token tokens secret secrets key keys api code username user name email
    address account login log signing sign session cookie signature credential credentials pin only entirely same
    different other personal information attribute attributes field fields already either any all before after yet
    error errors access refresh bearer csrf jwt otp well formed malformed server client request header body query
    parameter parameters argument form set expected got extra inputs there ce champ est dieses feld ist zwingend este
    campo es é questo è dit veld
""")
_SAID = _VOCABULARY | word_set(
    "see set reset via last next using stored read taken sent hashed encrypted scheme algorithm"
)
_OUTCOMES_OF_LOG_INS = _OUTCOMES | word_set(
    "command succeeded successful success done error timeout skipped pending started attempt ok"
)
_MEMBERS_OF_ERRORS = word_set("_errors errors error message messages msg code detail details string kind rule status")
_PUNCTUATION = str.maketrans('_-.,;:!?()"\u2019', "           '")
_MAX_REMARK = 256
"""Characters of the longest sentence."""

_SCHEMA = word_set("""
    type title format description minLength maxLength pattern writeOnly readOnly nullable deprecated required in name
    scheme bearerFormat flows minimum maximum items anyOf allOf oneOf $ref additionalProperties string
    openIdConnectUrl contentEncoding contentMediaType integer number boolean object array null http apiKey oauth2
    openIdConnect header query cookie bearer basic JWT password byte binary uuid uri email date-time default example
    examples const enum
""")
"""Words of JSON schemas and of OpenAPI."""

VALUES_OF_SCHEMAS = frozenset({"default", "example", "examples", "const", "enum"})
"""Members of a schema whose values are values of the name."""

_KINDS = word_set("string integer number boolean object array null http apiKey oauth2 openIdConnect")
_SCALARS = (str, int, float, bool, type(None))
_QUOTED = expression(r"\\{0,7}+\"([^\"\\]*+)\\{0,7}+\"|\\{0,7}+'([^'\\]*+)\\{0,7}+'")
_BETWEEN = expression(r"(?i)(?:[\s,:=\[\](){}]|[a-z_]\w{0,63}(?=[=(])|\b(?:\d{1,4}|true|false|null|none)\b)*+\Z")
_MAX_CODE = 10_000
_MAX_STRUCTURE = 2_048
"""Characters of the longest list or schema in a text."""

_CLASS = expression(
    r"(?:[A-Za-z_]++\.){0,4}+(?:[A-Z][a-z]++){0,5}(?:Str|String|Bytes|Fields?|Secret|Token|Password|Key|Type|Model|Schema|Hash"
    r"|Int|Any|Value|Column|Credentials?|Config|Settings|Error|Exception|Form|Input|Depends|Header|Provider|Hasher"
    r"|Manager|Service|Session|Cookie|Auth|Bearer|Text|Optional|Annotated|Validator|Generator|Factory)"
    r"[?!]?(?:\((?:[a-z_]{1,32}=\w{0,8}|\.\.\.|\d{0,5})?\)?)?$"
)


HIDDEN = r"(?:redacted|filtered|masked|hidden|removed|scrubbed|omitted)"
_PLACEHOLDER = expression(
    rf"""(?: none | null | nil | true | false | undefined | \*++ | \?++ | x{{3,}}+ | %s | %\(\w++\)s | \$\d++ | :\w++
    | (?: [HREP]S | SHA-? ) (?: 1 | 224 | 256 | 384 | 512 ) | EdDSA | argon2[id]{{0,2}} | md5      # of algorithms
    | pbkdf2(?:[-_]\w{{1,16}}+)? | base(?:32|58|64) | oauth-?[12](?:\.\d)? | http[23]
    | \d{{4}}-\d\d-\d\d[T\d:.]*+
    | \{{[\w.]*+\}} | \$\{{[\w.:-]*+\}}? | \{{\{{[ ]?[\w.]*+[ ]?\}}\}} | <\w*+>?
    | \.{{3}} | [\[(<]?{HIDDEN}[\])>]? ) $""",
    re.IGNORECASE | re.VERBOSE,
)
_VARIABLE = expression(r"\$(\w++)$")
_WORD = expression(
    r"(?:[A-Za-z_.]++\[[A-Za-z_.|\[]*+|(?:[A-Z]?[a-z]++(?:'[a-z]++)?|[A-Z]++)(?:[_-](?:[a-z]++|[A-Z]++))*+|\d{1,3})[.!?]*+"
)
"""A word, also a code such as ``too_short``, and the beginning of a type such as ``Optional[str]``."""


def is_remark(text: str) -> bool:
    """Whether ``text`` says something about a secret: ``This field is required.``, ``too_short``, ``string``."""
    if len(text) > _MAX_REMARK:
        return False
    words = text.lower().translate(_PUNCTUATION).split()
    if len(words) == 1:
        return words[0] in _ALONE
    return not _OUTCOMES.isdisjoint(words) and all(
        word in _VOCABULARY or (word.isdigit() and len(word) < 4) for word in words
    )


def is_outcome(word: str) -> bool:
    """Whether one word says how something went: ``failed``, ``required``, ``succeeded``."""
    return word.lower().strip(".,:!?") in _OUTCOMES_OF_LOG_INS


def says_something(words: list[str]) -> bool:
    """Whether one of several words belongs to a sentence about a secret, such as ``must`` and ``changed``."""
    return not _SAID.isdisjoint(word.lower().strip(".,:!?") for word in words)


def is_error(value: Any, is_fact: Callable[[Any], bool]) -> bool:
    """Whether a mapping is what a validator says about a value: ``{"message": "Required", "code": 400}``."""
    return (
        type(value) is dict
        and len(value) > 0
        and all(
            type(key) is str
            and key in _MEMBERS_OF_ERRORS
            and (is_fact(each) or (type(each) is int and each < _MAX_CODE))
            for key, each in value.items()
        )
    )


def is_class(text: str) -> bool:
    """Whether ``text`` is the name of a class, as behind ``password:`` in a declaration."""
    return _CLASS.match(text) is not None


def is_structure_of_remarks(text: str) -> bool:
    """Whether a list or mapping in a text holds remarks alone, or is a schema without values."""
    if len(text) > _MAX_STRUCTURE or _BETWEEN.match(_QUOTED.sub("", text)) is None:
        return False
    words = [first or second for first, second in _QUOTED.findall(text)]
    is_schema = "type" in words or "$ref" in words
    return words != [] and all(
        is_remark(word)
        or word in _MEMBERS_OF_ERRORS
        or (is_schema and word in _SCHEMA and word not in VALUES_OF_SCHEMAS)
        or word[:2] == "#/"
        for word in words
    )


def is_schema(value: Any) -> bool:
    """Whether ``value`` is the schema of a value, as in OpenAPI's documents; it may hold examples."""
    if type(value) is not dict or not ("$ref" in value or "anyOf" in value or str(value.get("type")) in _KINDS):
        return False
    return all(
        type(key) is str and key in _SCHEMA and (key in VALUES_OF_SCHEMAS or _is_part(each))
        for key, each in value.items()
    )


def _is_part(value: Any) -> bool:
    return type(value) in _SCALARS or is_schema(value) or (type(value) is list and all(map(_is_part, value)))


def is_placeholder(value: str, name: str) -> bool:
    """Whether ``value`` stands for another one, such as ``%s`` and ``$password``."""
    if (variable := _VARIABLE.match(value)) is not None:
        word = variable[1]
        return word.lower() in name.lower() or (word.isupper() and "_" in word) or word.isdigit()
    return _PLACEHOLDER.match(value) is not None


def is_word(value: str) -> bool:
    """Whether ``value`` is a plain word, a code such as ``too_short``, or the name of a class."""
    return _WORD.fullmatch(value) is not None or is_class(value)
