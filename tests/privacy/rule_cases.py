"""What each rule must mask and what it must leave, as strategies: one row for each row of the page's tables.

A form has ``{}`` where the generated text stands. In ``catches`` that is a secret, in ``leaves`` a harmless text.
"""

import string
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from brain_otel.privacy import Policy
from brain_otel.privacy.cards import is_card
from brain_otel.privacy.sql import sql_without_literals
from brain_otel.privacy.statements import json_without_values, redis_without_values
from tests.privacy.corpora.api_keys import FORMS
from tests.privacy.corpora.planting import fill, made, web_token

POLICY = Policy()
Texts = SearchStrategy[str]

MARK = "Zq7"
_ALNUM = string.ascii_letters + string.digits
SECRET: Texts = st.text(_ALNUM + "!#$%^*_+~", min_size=5, max_size=30).map(f"{MARK}{{}}k".format)
"""A password with a mark: no part of it may stay."""

TYPED: Texts = st.from_regex(r"[a-z]{5,12}[0-9]{1,4}", fullmatch=True).map("Vq{}".format)
"""A password as people make them up."""

ALNUM: Texts = st.text(_ALNUM, min_size=13, max_size=40).map(f"{MARK}{{}}k8".format)
PHRASE: Texts = st.lists(SECRET, min_size=1, max_size=3).map(" ".join)
CODE: Texts = st.integers(10_000, 99_999_999).map(str)
HARMLESS: Texts = st.sampled_from(["tram", "stop", "depot", "line", "seven", "ticket", "late", "green"])
NUMBER: Texts = st.integers(0, 999).map(str)
REMARK: Texts = st.sampled_from(
    [
        "expired",
        "required",
        "too_short",
        "Invalid token.",
        "must contain 8 characters",
        "null",
        "This field is required.",
    ]
)
UUID: Texts = st.uuids().map(str)
ROOM: Texts = st.text(string.printable, max_size=30)
"""Arbitrary text around a secret."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """A rule as its author promises it."""

    catches: tuple[str, ...] = ()
    secret: Texts = SECRET
    leaves: tuple[str, ...]
    harmless: Texts = HARMLESS
    mask: Callable[[str], Any] = field(default=POLICY.text)
    modules: tuple[str, ...] = ()
    """Modules of the package whose work this is."""


def _card(prefix: str) -> str:
    return next(number for digit in "0123456789" if is_card(number := prefix + digit))


def _grouped(number: str, sign: str) -> str:
    return sign.join(number[place : place + 4] for place in range(0, 16, 4))


_CARDS = st.integers(10**10, 10**11 - 1).map(lambda number: _card(f"4000{number}"))
_CARD = st.builds(_grouped, _CARDS, st.sampled_from(" -."))


def _iban(body: str) -> str:
    """A German account number with the check digits of ISO 13616."""
    return f"DE{98 - int(body + '131400') % 97:02d}{body}"


def _key(form: tuple[str, str, str], seed: int) -> str:
    return str(fill(form[1], str(seed), []))


def _statement(text: str) -> str:
    return sql_without_literals.__wrapped__(text, "postgresql")


def _command(text: str) -> str:
    return redis_without_values(text.split(), POLICY.text)


_LINES = ("password:\n{}", "Client secret:\r\n{}\r\n", "tokens:\n  - {}\nx: y", "Passphrase:\n\n{}")

MASKED: dict[str, Row] = {
    "`Bearer` and `Basic` credentials": Row(
        catches=("sent Bearer {}", "bearer {}, then", "Authorization: Bearer {}"),
        secret=ALNUM,
        leaves=("the bearer {} said", "a basic {} of it", 'Bearer realm="{}"'),
        modules=("patterns",),
    ),
    "`Digest` credentials": Row(
        catches=('Digest username="{}", response="6629fae4"', 'Digest username="joe", response="{}"'),
        leaves=("a digest of {}", "Digest {} mail"),
    ),
    "log-ins of SMTP, Redis, IMAP, POP3 and FTP": Row(
        catches=(
            "AUTH {}",
            "AUTH default {}",
            "6379> AUTH {}",
            '[0 10.0.0.1:60866] "AUTH" "{}"',
            "> PASS {}",
            "a1 LOGIN joe {}",
        ),
        leaves=("AUTH failed for {}", "redis: AUTH required {}", "AUTH {} started", "PASS {}"),
    ),
    "JSON web tokens, also broken over lines or encoded once more": Row(
        catches=("got {}", "a={}&b", "'{}'"),
        secret=st.text().map(lambda seed: ".".join(web_token(seed))),
        leaves=("{} eyJ is how they begin", "eyJa {}"),
    ),
    "private keys in PEM, whole, cut off, in pieces of one value, or in base64": Row(
        catches=(
            "-----BEGIN PRIVATE KEY----- {}",
            "-----BEGIN RSA PRIVATE KEY-----\n{}\n-----END RSA PRIVATE KEY-----",
        ),
        leaves=("-----BEGIN CERTIFICATE----- {}", "-----BEGIN PUBLIC KEY-----\n{}"),
    ),
    "card numbers that pass Luhn's check, in groups, after a word such as `card`, or under such a name": Row(
        catches=("{} declined", "card {}", "paid by {}."),
        secret=_CARD,
        leaves=("order {} shipped", "card {} of 12"),
        harmless=NUMBER,
        modules=("cards",),
    ),
    "account numbers (IBAN) with the right length and checksum": Row(
        catches=("pay to {}", "{} is the account"),
        secret=st.integers(10**17, 10**18 - 1).map(str).map(_iban),
        leaves=("DE00{} is none", "DE {}"),
        harmless=NUMBER,
    ),
    "credentials before the host of an address, `#`, `?`, `/` and `@` in them included": Row(
        catches=(
            "postgresql://app:{}@db/shop",
            "https://joe:a#{}@host:8080/x",
            "amqp://joe:a@{}@mq//",
            "redis://:{}@cache",
        ),
        leaves=("https://host:8080/{}", "ssh://git@host/{}.git", "mail@host/{}", "redis://cache:6379/{}"),
        modules=("addresses",),
    ),
    "one-time codes in a query: random ones, and any with a digit after a path such as `/verify`": Row(
        catches=("GET /verify?code={}", "/reset/now?page=2&otp={} 200", "https://host/login?c={}"),
        secret=st.integers(100_000, 99_999_999).map(str),
        leaves=("GET /orders?page={}", "/stops?code={}&state=open"),
        harmless=NUMBER,
    ),
    "random parts of a path: 16 characters after a word such as `reset`, 32 elsewhere": Row(
        catches=("GET /magic/{}", "/reset-password/{}/confirm"),
        secret=st.integers().map(lambda seed: f"{MARK}{made('alnum 24', str(seed))}"),
        leaves=("/orders/{}", "/reset/{}", "/magic/{}"),
        harmless=UUID,
    ),
    "keys in the documented formats of about 90 vendors": Row(
        catches=("using {}", "'{}'", "key is\n{}\n", "({})"),
        secret=st.builds(_key, st.sampled_from([form for form in FORMS if "~" not in form[1]]), st.integers()),
        leaves=("ghp_{}", "sk-{}", "AKIA {}", "glpat-{} is their prefix"),
        modules=("api_keys",),
    ),
    "values that a text gives to a sensitive name, also in JSON, YAML, XML, HTML, forms, tables and source code": Row(
        catches=(
            "login failed, password={}",
            '{{"user": "joe", "api_key": "{}"}}',
            "auth:\n  token: {}\n",
            "<password>{}</password>",
            '<property name="db.password">{}</property>',
            '<input name="csrf_token" value="{}">',
            '<setting name="Password" serializeAs="String"><value>{}</value></setting>',
            "the password was '{}'",
            "parameter SecretString, value: {}",
            "password→{}",
        ),
        leaves=(
            "author={}",
            '{{"town": "{}"}}',
            "<town>{}</town>",
            '<label for="password">{}</label>',
            '<string name="password_hint">your {} here</string>',
            "parameter Bucket, value: {}",
            "login→password→{}",
        ),
        modules=("assignments", "assigned_values", "documents", "names", "values", "attributes"),
    ),
    "quoted values whole, whatever they hold": Row(
        catches=("password='{}', a=b", 'token="x {} y"', "password='it''s {}', a=b", '"pwd": "a\\"{}"'),
        secret=PHRASE,
        leaves=("town='{}', a=b", "password='', a={}", "password='${{{}}}'"),
        modules=("literals",),
    ),
    "unquoted values up to a space or the next pair": Row(
        catches=("PASSWORD={} c=d", "PASSWORD=a,b){}", "token: {}\n"),
        leaves=("password: {}", "token: {}, next", "tokens: 512 {}"),
    ),
    "values behind a dash, a bar, a tab or a gap, unless they are plain words": Row(
        catches=("password -- {}", "| password | {} |", "token\t{}", "secret   = {}", "password — {}"),
        leaves=("password -- {}", "| token | {} |", "session -- {}"),
    ),
    "texts that a declaration assigns": Row(
        catches=('password: str = "{}"', "api_key: str | None = '{}'", 'token: Optional[str] = b"{}"'),
        leaves=('town: str = "{}"', "password: SecretStr", "token: Optional[str] = None  {}"),
    ),
    "one-time codes in a sentence": Row(
        catches=("Your code is {}", "my security code is {}", "{} is your Tram code", "Dein Code lautet {}"),
        secret=CODE,
        leaves=("Your order code is {}", "exit code is {}", "my {} code"),
        harmless=st.integers(0, 255).map(str),
        modules=("one_time_codes",),
    ),
    "passwords behind their name or in several words, if one has a digit": Row(
        catches=("passwort {}", "the password {} was rejected", "password: correct horse {}", "mot de passe {}"),
        secret=TYPED,
        leaves=(
            "passwort {}",
            "password field7 {}",
            "password: changed {} days ago2",
            "password: must contain {} and digit1",
            "token {}12 expired",
        ),
        modules=("typed_passwords",),
    ),
    "passwords behind a prompt, and behind `pass` and `pw` where no verb stands": Row(
        catches=(
            "Password for ida: {}",
            "passphrase for key '/home/ida/.ssh/id': {}",
            "Passwort für den Benutzer ida: {}",
            "pass {}",
            "user ida pass {}, host db",
            "pw {} rejected",
        ),
        secret=TYPED,
        leaves=(
            "Password for ida: {}",
            "pass the {}",
            "to pass {}77 on",
            "pw {}",
            "passport for ida: {}77",
        ),
        modules=("sentences",),
    ),
    "passwords beside a user, and values that botocore rejects": Row(
        catches=(
            "credentials ida {}",
            "creds were ida / {}",
            "Invalid length for parameter Password, value: {}",
            "Invalid type for parameter Tags[0].SecretValue, value: {}, type: <class 'int'>",
        ),
        secret=TYPED,
        leaves=(
            "credentials {} missing",
            "credentials provider {}77",
            "credentials of {}",
            "Invalid length for parameter Bucket, value: {}77",
        ),
    ),
    "codes that a text accepts or rejects": Row(
        catches=("PIN {} abgelehnt", "otp {} rejected", "invalid mfa code {}", "CVV {} was declined"),
        secret=st.integers(1_000, 99_999_999).map(str),
        leaves=("pin {} of the chip", "order {} rejected", "gpio pin {}", "PIN 56{}01"),
        harmless=st.integers(10, 99).map(str),
    ),
    "values whose name stands beside them": Row(
        catches=(
            '{{"Name": "DbPassword", "Value": "{}"}}',
            "- name: API_TOKEN\n  value: {}\n",
            "{{'loc': ('pin',), 'input': '{}'}}",
        ),
        leaves=('{{"Name": "Town", "Value": "{}"}}', "- name: STOP\n  value: {}\n"),
        modules=("labels",),
    ),
    "calls around a value": Row(
        catches=("User(password=SecretStr('{}'))", "token=Hash(value='{}', salt='a)b')"),
        leaves=("User(town=Name('{}'))", "password: SecretStr {}"),
    ),
    "options and arguments of command lines": Row(
        catches=(
            "mysql -uapp -p{} shop",
            "redis-cli -h cache -a {} ping",
            "aws configure set aws_secret_access_key {}",
            "deploy --api-token {} --now",
            "echo {} | docker login -u ci --password-stdin",
        ),
        secret=st.text(_ALNUM, min_size=5, max_size=30).map(f"{MARK}{{}}k".format),
        leaves=(
            "mysql -h db -P 3306 {}",
            "redis-cli -h {} ping",
            "deploy --region {}",
        ),
        modules=("commands",),
    ),
    "hashes of passwords": Row(
        catches=("app:$apr1$CXl4tHiW${}", "hash $2b$12${}"),
        secret=ALNUM,
        leaves=("app:$1 {}", "cost $12 {}"),
    ),
    "quoted literals and comments in SQL, by the grammar of the database; in a span's statement, numbers too": Row(
        catches=("query failed: SELECT a FROM t WHERE b='{}'", "INSERT INTO people VALUES(7,'{}')"),
        leaves=("SELECT a FROM {} WHERE b = $1", "select one of ('{}')"),
        modules=("sql", "sql_text"),
    ),
    "passwords of roles, and MySQL's double quotes": Row(
        catches=("ALTER ROLE app PASSWORD '{}'", 'SELECT a FROM t WHERE b="{}" LIMIT 1'),
        secret=ALNUM,
        leaves=("ALTER ROLE app {}", 'SELECT "{}" FROM t'),
    ),
    "values in errors of PostgreSQL, MySQL, SQLite and SQLAlchemy": Row(
        catches=(
            "Key (email)=({}) already exists.",
            "Failing row contains (7, {}, null).",
            "(1062, \"Duplicate entry '{}' for key 'users.token'\")",
            "[SQL: INSERT INTO t VALUES (?)]\n[parameters: ('{}',)]",
            'invalid input syntax for type integer: "{}"',
        ),
        leaves=('relation "{}" does not exist', "UNIQUE constraint failed: {}", "duplicate key value of {}"),
        modules=("errors",),
    ),
    "arguments after the key of a command (they become `?`); all arguments of `AUTH`, `HELLO`, `CONFIG SET`, `EVAL` and the like; errors of redis-py's pipelines": Row(  # noqa: E501  the text of the page
        catches=(
            "Command # 1 (SET k {}) of pipeline caused error: OOM",
            "Command # 2 (AUTH {}) of pipeline caused error: x",
        ),
        leaves=("Command # 1 (GET {}) of pipeline caused error: OOM",),
        modules=("statements",),
    ),
}
"""Each row of the table "By look" -> what it promises."""

ELSEWHERE: dict[str, Row] = {
    "a value on the line after its name": Row(
        catches=_LINES, leaves=("password:\n{}", "town:\n{}", "tokens:\n  - {}")
    ),
    "columns of tables": Row(
        catches=("name,password\njoe,{}\n", "Name | Token\n-----|------\njoe | {}\n", "a;api_key;b\n1;{};2\n"),
        leaves=("name,town\njoe,{}\n", "| stop | line |\n|------|------|\n| {} | 7 |\n"),
        modules=("tables",),
    ),
    "percent-encoded texts": Row(
        catches=(
            *("note=password%3D{} x", "/a/token%3a%20{}/b", "%7B%22secret%22%3A%22{}%22%7D"),
            *("https://shop.example/in?next=%252Fpay%253Ftoken%253D{}&page=2", "to=a%25253Fpassword%25253D{}"),
        ),
        secret=SECRET.map(lambda secret: quote(secret, safe="")),
        leaves=("note=town%3D{}", "/a/stop%20{}/b", "100%25 {}", "?next=%252Fpay%253Ftown%253D{}&page=2"),
        modules=("percent_encoded",),
    ),
    "what validators say": Row(
        catches=('{{"password": ["{}"]}}', "{{'token': {{'message': '{}'}}}}"),
        leaves=(
            '{{"password": ["{}"]}}',
            "{{'token': {{'message': '{}', 'code': 400}}}}",
            '{{"errors": {{"pin": ["{}"]}}}}',
        ),
        harmless=REMARK,
        modules=("remarks",),
    ),
    "lines of source code": Row(
        catches=(
            'password = "{}"',
            "login(joe, password='{}')",
            'if token == "{}":',
            'os.environ.get("API_KEY", "{}")',
        ),
        leaves=('town = "{}"', "login(joe, password=password)  # {}", 'page.click("#{}")'),
        mask=POLICY.source,
        modules=("source_lines",),
    ),
    "statements of SQL in spans": Row(
        catches=("SELECT a FROM t WHERE b='{}'", "SELECT 1 -- {}", "SELECT $x${}$x$", "SELECT LIKE'{}'"),
        leaves=("SELECT {} FROM t WHERE a = $1", 'SELECT "{}" FROM t'),
        secret=ALNUM,
        mask=_statement,
    ),
    "commands of Redis in spans": Row(
        catches=("SET k {}", "AUTH joe {}", "HSET k f {}", "CONFIG SET requirepass {}"),
        leaves=("GET {}", "MGET a {}"),
        mask=_command,
    ),
    "queries in JSON": Row(
        catches=('{{"find": "t", "filter": {{"a": "{}"}}}}', '{{"a": ["{}", {{"b": "{}"}}]}}'),
        leaves=('{{"{}": {{"$exists": true}}}}',),
        secret=ALNUM,
        mask=json_without_values,
    ),
    "parameters of a query": Row(
        catches=("page=2&token={}", "api_key={}", "next=%2Fa%3Fpassword%3D{}"),
        secret=ALNUM,
        leaves=("page={}&line=7", "state={}"),
        mask=POLICY.query,
        modules=("queries",),
    ),
}
"""What the page promises beside its table."""

NOT_MASKED: dict[str, Row] = {
    "a secret in a text with nothing to recognize it by": Row(leaves=("rejected {}7",)),
    "a secret under a name that tells nothing, such as a call's parameter `p`": Row(leaves=("p={}7", "x: {}7")),
    "a plain word after a colon, even if it is a password; also with `_` or `-`": Row(
        leaves=("token: {}", "password: {}_{}", "secret: {}-{}")
    ),
    "several plain words after a colon, and words about a password": Row(
        leaves=("password: {} {} {}", "password: {} must have 2 digits1", "passwort {} {}")
    ),
    "what follows `pass` as a verb, plain words after a prompt, digits after `pin` alone": Row(
        leaves=("to pass {}77 on", "Password for ida: {}", "PIN 4829 {}")
    ),
    "a plain word after `AUTH`, outside of a session of Redis": Row(
        leaves=("AUTH {}", "service AUTH {}", "AUTH {} {}")
    ),
    "a number that passes Luhn's check by chance, without groups of digits or a word such as `card` near it": Row(
        leaves=("order {} shipped", "height {}"), harmless=_CARDS
    ),
    "ids in a path: UUID, ULID, hash, slug": Row(leaves=("/orders/{}", "/reset/{}"), harmless=UUID),
    "short codes and states in a query": Row(leaves=("code={}&state=open", "GET /a?code={}"), harmless=NUMBER),
    "the user of an address without a password": Row(leaves=("ssh://git@{}/shop.git", "https://{}@host/")),
    "the name or id of a secret": Row(
        leaves=(
            "secret_id=shop/{} access_key_id: key-7",
            "arn:aws:secretsmanager:eu-central-1:123456789012:secret:{}-db-Ab1CdE",
        )
    ),
    "a placeholder": Row(leaves=("password: ${{{}}}", "token: <{}>", "password=%({})s")),
    "counts": Row(leaves=("pass={} fail=0", "cookies={}", "tokens: {}"), harmless=NUMBER),
    "certificates and public keys": Row(leaves=("-----BEGIN CERTIFICATE----- {}",)),
}
"""Each row of the table "What is not masked" whose example is a text."""
