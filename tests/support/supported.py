"""Makes the tables of ``docs/supported.md`` from what is installed, declared and tested.

``python -m tests.support.supported`` writes them; ``test_supported.py`` fails where the page says something else.
"""

import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import version
from typing import Any, NamedTuple

from packaging.requirements import Requirement

from brain_otel.instrumentation import LIBRARIES
from tests.instrumentation.others.test_libraries import EXTRAS
from tests.support import ROOT

PAGE = ROOT / "docs" / "supported.md"

BEGIN, END = "<!-- {} -->", "<!-- /{} -->"


class Library(NamedTuple):
    """A library with an instrumentation of this package.

    ``{name>=}`` stands for the lowest version of a distribution, ``{name}`` for the tested one.
    """

    title: str
    supported: str
    tested: str


class Extra(NamedTuple):
    """What an extra observes; ``{name}`` is the tested version of a distribution."""

    observed: str
    tested: str
    against: str


INSTRUMENTATION = "opentelemetry-instrumentation"

STANDARD_LIBRARY = ("logging", "asyncio", "threading")

OWN = {
    "fastapi": Library(
        "FastAPI", "{fastapi>=} or later; `fastapi: native` needs 0.142", "{fastapi}, with Starlette {starlette}"
    ),
    "sqlalchemy": Library(
        "SQLAlchemy",
        "2.0 and 2.1, sync and async",
        "{sqlalchemy} with `sqlite3`, `psycopg` 3, `aiosqlite` and `asyncpg`; 2.0 with `sqlite3` and `aiosqlite`",
    ),
    "redis": Library(
        "redis-py", "{redis>=} or later, sync and async, cluster clients too", "{redis}, against a Valkey 9 server"
    ),
    "httpx": Library("HTTPX", "{httpx>=} or later, sync and async", "{httpx}"),
    "celery": Library(
        "Celery", "{celery>=} or later; the pools prefork, threads and solo", "{celery}, with a Valkey 9 server"
    ),
    "arq": Library("arq", "{arq>=} or later", "{arq}, with redis-py {redis} and a Valkey 9 server"),
    "taskiq": Library(
        "taskiq", "{taskiq>=} or later", "{taskiq}, with taskiq-redis {taskiq-redis} and a Valkey 9 server"
    ),
}

OTHERS = {
    "requests": Extra("requests, also over urllib3", "{requests}", "an HTTP server"),
    "aiohttp": Extra("aiohttp, client and server", "{aiohttp}", "an HTTP server"),
    "anthropic": Extra(
        "anthropic, sync and async ([LLM calls](llm.md))", "{anthropic}", "a server that speaks its API"
    ),
    "asyncpg": Extra("asyncpg, also under SQLAlchemy", "{asyncpg}", "PostgreSQL"),
    "psycopg": Extra("psycopg 3, sync and async, also under SQLAlchemy", "{psycopg}", "PostgreSQL"),
    "grpc-client": Extra("grpcio, sync client and server, async client", "{grpcio}", "a gRPC server"),
    "boto3": Extra("boto3 and botocore", "{boto3}", "moto's server"),
    "openai": Extra("openai, sync and async ([LLM calls](llm.md))", "{openai}", "a server that speaks its API"),
    "system": Extra(
        "[the process](destinations.md#the-process-and-its-event-loop), by psutil", "{psutil}", "this process"
    ),
    "urllib3": Extra(
        "urllib3; not part of `all`, because brain_otel imports it at each start", "{urllib3}", "an HTTP server"
    ),
}

TOOLS = {"celery", "cli", "grpc", "demo", "view", "all"}
"""Extras that install no instrumentation of OpenTelemetry's."""

TESTED_ELSEWHERE = {"anthropic", "openai", "system"}
"""Extras that ``test_llm_apis.py``, ``test_llm.py`` and ``test_process_metrics.py`` test."""


def write() -> None:
    """Write the tables into the page."""
    text = PAGE.read_text()
    for name, table in tables().items():
        before, begin, rest = text.partition(BEGIN.format(name))
        _, end, after = rest.partition(END.format(name))
        assert end and begin, f"{PAGE} has no table {name}"  # noqa: PT018 - one fault
        text = f"{before}{begin}\n{table}\n{end}{after}"
    PAGE.write_text(text)


def tables() -> dict[str, str]:
    """Each table by its name, in Markdown."""
    return {
        "libraries": _markdown(("library", "supported", "tested with"), _libraries()),
        "instrumentations": _markdown(("extra", "library", "instrumentation", "tested with", "against"), _extras()),
        "packages": _markdown(("package", "range"), _packages()),
    }


def _libraries() -> Iterator[tuple[str, ...]]:
    assert OWN.keys() | set(STANDARD_LIBRARY) == LIBRARIES.keys(), "a library has no row, or a row no library"
    for each in OWN.values():
        yield each.title, _filled(each.supported), _filled(each.tested)
    modules = [*STANDARD_LIBRARY, "concurrent.futures", "multiprocessing.pool.ThreadPool"]
    yield ", ".join(f"`{each}`" for each in modules), "the standard library's", "every tested Python"


def _extras() -> Iterator[tuple[str, ...]]:
    declared = _declared_extras()
    assert OTHERS.keys() == declared.keys() - TOOLS, "an extra has no row, or a row no extra"
    assert OTHERS.keys() == EXTRAS.keys() | TESTED_ELSEWHERE, "an extra has no test"
    for extra, row in OTHERS.items():
        names = [Requirement(each).name.removeprefix(INSTRUMENTATION) for each in declared[extra]]
        instrumentation = ", ".join(f"`{each}`" for each in names)
        yield f"`brain-otel[{extra}]`", row.observed, instrumentation, _filled(row.tested), row.against


def _packages() -> Iterator[tuple[str, str]]:
    """What OpenTelemetry, sentry-sdk and urllib3 may be; packages with the same range share a row."""
    rows: dict[str, list[str]] = {}
    declared = _declared_extras()
    for text in (
        *_pyproject()["project"]["dependencies"],
        *declared["grpc"],
        *(each for name in OTHERS for each in declared[name]),
    ):
        requirement = Requirement(text)
        if requirement.name.startswith(("opentelemetry-", "sentry-sdk", "urllib3")):
            rows.setdefault(text.removeprefix(requirement.name), []).append(requirement.name)
    for range_, names in rows.items():
        observing = [each for each in names if each.startswith(INSTRUMENTATION)]
        shown = [each for each in names if each not in observing]
        shown += [each.removeprefix(INSTRUMENTATION) if number else each for number, each in enumerate(observing)]
        yield ", ".join(f"`{each}`" for each in shown), f"`{range_}`"


def _filled(text: str) -> str:
    return re.sub(r"\{([\w-]+)(>=)?\}", lambda found: (_lowest if found[2] else _tested)(found[1]), text)


def _tested(name: str) -> str:
    return ".".join(version(name).split(".")[:2])


def _lowest(name: str) -> str:
    groups = (*_declared_extras().values(), _pyproject()["dependency-groups"]["dev"])
    requirements = [Requirement(each) for group in groups for each in group]
    (lowest,) = {str(each.specifier) for each in requirements if each.name == name and each.specifier}
    return lowest.removeprefix(">=")


@cache
def _pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def _declared_extras() -> dict[str, list[str]]:
    extras: dict[str, list[str]] = _pyproject()["project"]["optional-dependencies"]
    return extras


def _markdown(titles: tuple[str, ...], rows: Iterator[tuple[str, ...]]) -> str:
    lines = [titles, ("---",) * len(titles), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    write()
