"""Objects that hold a secret: some hide it in their ``repr`` and show it to whoever takes them apart."""

import argparse
import collections
import dataclasses
import email.message
import enum
import functools
import http.cookies
import inspect
import types
import urllib.parse
from typing import Any, NamedTuple

import attrs
import httpx
import pydantic
import sqlalchemy
import starlette.datastructures

from tests.privacy.corpora import Secret
from tests.privacy.corpora.planting import built


class Login(NamedTuple):
    """A named tuple with a password."""

    user: str
    password: str


@dataclasses.dataclass
class Settings:
    """A dataclass whose ``repr`` shows its key."""

    region: str
    api_key: str


@dataclasses.dataclass(slots=True)
class HiddenSettings:
    """A dataclass that leaves its key out of its ``repr``."""

    region: str
    signing: str = dataclasses.field(repr=False)


@attrs.define
class Credentials:
    """An attrs object with a field that its ``repr`` shows."""

    user: str
    client_secret: str


@attrs.frozen
class HiddenCredentials:
    """An attrs object with a field that its ``repr`` hides."""

    user: str
    client_secret: str = attrs.field(repr=False)


class Account(pydantic.BaseModel):
    """A pydantic model with a plain password."""

    name: str
    password: str


class SafeAccount(pydantic.BaseModel):
    """A pydantic model that holds its password as a secret, and one field that its ``repr`` hides."""

    name: str
    password: pydantic.SecretStr
    answer: str = pydantic.Field(repr=False, default="")


class Slots:
    """A plain object with slots and a careful ``repr``."""

    __slots__ = ("token", "user")

    def __init__(self, user: str, token: str) -> None:
        self.user, self.token = user, token

    def __repr__(self) -> str:
        return f"Slots(user={self.user!r}, token=***)"


def _login(user: str, password: str) -> tuple[str, str]:
    return user, password


def _cookie(value: str) -> http.cookies.SimpleCookie:
    cookie = http.cookies.SimpleCookie()
    cookie["sessionid"] = value
    return cookie


def _message(value: str) -> email.message.Message:
    message = email.message.Message()
    message["X-Api-Key"] = value
    return message


def _database(value: str) -> sqlalchemy.URL:
    return sqlalchemy.make_url(f"postgresql://app:{value}@db.internal/shop")


_KIND = "object whose parts show"
_WEB = "https://anna:{}@shop.example/items"

_MAKERS: tuple[tuple[str, str, Any], ...] = (
    ("local variable", "sqlalchemy url", lambda word: {"url": _database(word)}),
    ("local variable", "sqlalchemy url in a list", lambda word: {"urls": [_database(word)]}),
    ("log argument", "sqlalchemy url", _database),
    ("context", "sqlalchemy url", lambda word: {"database": {"where": _database(word)}}),
    ("local variable", "named tuple", lambda word: {"login": Login("anna", word)}),
    ("log argument", "named tuple in a dict", lambda word: {"who": [Login("anna", word)]}),
    ("local variable", "dataclass", lambda word: {"settings": Settings("eu", word)}),
    ("log argument", "dataclass", lambda word: Settings("eu", word)),
    ("local variable", "dataclass that hides", lambda word: {"settings": HiddenSettings("eu", word)}),
    ("local variable", "attrs", lambda word: {"it": Credentials("anna", word)}),
    ("context", "attrs that hides", lambda word: {"it": {"inner": HiddenCredentials("anna", word)}}),
    ("local variable", "pydantic", lambda word: {"account": Account(name="anna", password=word)}),
    ("log argument", "pydantic secret", lambda word: SafeAccount(name="anna", password=pydantic.SecretStr(word))),
    (
        "local variable",
        "pydantic hidden field",
        lambda word: {"a": SafeAccount(name="anna", password=pydantic.SecretStr("x"), answer=word)},
    ),
    ("local variable", "secret string alone", lambda word: {"value": pydantic.SecretStr(word)}),
    ("local variable", "slots", lambda word: {"it": Slots("anna", word)}),
    ("local variable", "simple namespace", lambda word: {"it": types.SimpleNamespace(user="anna", password=word)}),
    ("local variable", "argparse", lambda word: {"args": argparse.Namespace(user="anna", token=word)}),
    ("local variable", "partial", lambda word: {"call": functools.partial(_login, "anna", password=word)}),
    ("local variable", "bound arguments", lambda word: {"it": inspect.signature(_login).bind("anna", word)}),
    ("local variable", "split url", lambda word: {"parts": urllib.parse.urlsplit(_WEB.format(word))}),
    ("log argument", "parsed url", lambda word: urllib.parse.urlparse(_WEB.format(word))),
    ("local variable", "httpx url", lambda word: {"url": httpx.URL(_WEB.format(word))}),
    ("local variable", "httpx headers", lambda word: {"sent": httpx.Headers({"x-api-key": word, "accept": "*/*"})}),
    ("log argument", "httpx query", lambda word: httpx.QueryParams({"access_token": word, "page": "2"})),
    (
        "local variable",
        "starlette headers",
        lambda word: {"got": starlette.datastructures.Headers({"authorization": f"Bearer {word}"})},
    ),
    ("local variable", "starlette secret", lambda word: {"it": starlette.datastructures.Secret(word)}),
    ("local variable", "starlette url", lambda word: {"url": starlette.datastructures.URL(_WEB.format(word))}),
    ("local variable", "cookie", lambda word: {"jar": _cookie(word)}),
    ("local variable", "mail message", lambda word: {"message": _message(word)}),
    ("local variable", "mapping proxy", lambda word: {"it": types.MappingProxyType({"password": word})}),
    ("local variable", "chain map", lambda word: {"it": collections.ChainMap({"password": word}, {"a": 1})}),
    ("local variable", "deque", lambda word: {"it": collections.deque([{"password": word}])}),
    ("local variable", "enumeration", lambda word: {"it": enum.Enum("Keys", {"API_KEY": word}).API_KEY}),  # type: ignore[attr-defined]
    ("local variable", "bytes and memory", lambda word: {"it": [memoryview(f"password={word}".encode())]}),
    ("local variable", "bytes", lambda word: {"secret": word.encode()}),
    (
        "local variable",
        "headers in bytes",
        lambda word: {"headers": [(b"host", b"a"), (b"x-api-key", word.encode())]},
    ),
    ("local variable", "scope", lambda word: {"scope": {"query_string": b"token=" + word.encode()}}),
    ("exception argument", "exception in an argument", lambda word: [ValueError({"password": word})]),
    ("log argument", "dict in text", lambda word: str({"a": {"password": word}})),
    ("local variable", "key of a dict", lambda word: {"seen": {f"token={word}": 1}}),
)

OBJECTS: tuple[Secret, ...] = tuple(built(_KIND, where, title, make) for where, title, make in _MAKERS)
"""One case for each object."""
