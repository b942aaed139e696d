"""OpenTelemetry's instrumentors of other libraries: which are installed, and which modules each of them waits for."""

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from importlib.machinery import PathFinder
from importlib.metadata import Distribution, EntryPoint, entry_points

GROUP = "opentelemetry_instrumentor"
"""The group of entry points by which ``opentelemetry-instrument`` finds instrumentors."""

DISABLED = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"
"""OpenTelemetry's variable: names to leave out, separated by commas; ``*`` stands for all."""

CHOSEN_NAMES = "OTEL_SEMCONV_STABILITY_OPT_IN"
"""OpenTelemetry's variable: the conventions whose stable names are used, separated by commas; ``/dup`` means both."""

_NAMED_AS_THEIR_MODULE = """
    aiobotocore aiokafka aiopg anthropic asyncclick asyncpg boto3 cassandra celery click confluent_kafka django
    elasticsearch falcon flask httpx2 jinja2 kafka langchain openai pika psycopg psycopg2 pymemcache pymongo pymssql
    pymysql pyramid remoulade requests sqlite3 starlette tornado urllib3 vertexai
"""

MODULES: dict[str, tuple[str, ...]] = {
    **{name: (name,) for name in _NAMED_AS_THEIR_MODULE.split()},
    "aio_pika": ("aio_pika",),
    "aiohttp_client": ("aiohttp",),
    "aiohttp_server": ("aiohttp.web",),
    "botocore": ("botocore.client",),
    "google_genai": ("google.genai",),
    "grpc_aio_client": ("grpc",),
    "grpc_aio_server": ("grpc",),
    "grpc_client": ("grpc",),
    "grpc_server": ("grpc",),
    "mysql": ("mysql.connector",),
    "mysqlclient": ("MySQLdb",),
    "openai_agents": ("agents",),
    "system_metrics": (),
    "tortoiseorm": ("tortoise",),
    "urllib": ("urllib.request",),
}
"""Instrumentor -> modules of its library; none if it observes the process. The metadata of others is read instead."""


_PYTHON = (os.path.dirname(os.__file__), os.path.join(os.path.dirname(os.__file__), "lib-dynload"))  # noqa: PTH118, PTH120
"""The folders of Python's own modules, in which no distribution is installed."""


def plain_name(name: str) -> str:
    """``name`` as this package compares it: ``aiohttp-client`` and ``aiohttp_client`` are the same."""
    return name.strip().lower().replace("-", "_")


def installed_instrumentors(is_wanted: Callable[[str], bool] = lambda _: True) -> dict[str, list[EntryPoint]]:
    """The installed instrumentors by their plain names, if ``is_wanted``; two packages may offer the same."""
    found: dict[str, list[EntryPoint]] = {}
    try:
        offered = list(_offered(is_wanted))
    except _OddPathError:
        offered = list(entry_points(group=GROUP))
    for each in offered:
        if is_wanted(name := plain_name(each.name)):
            found.setdefault(name, []).append(each)
    return found


class _OddPathError(Exception):
    """Distributions may be elsewhere than in the folders of ``sys.path``."""


def _offered(is_wanted: Callable[[str], bool]) -> Iterator[EntryPoint]:
    """Find entry points of packages with a wanted instrumentor; ``entry_points(group=GROUP)`` parses all packages.

    Raises:
        _OddPathError: A finder or an entry of ``sys.path`` is not Python's own kind, such as an archive.
    """
    if any(hasattr(each, "find_distributions") for each in sys.meta_path if each is not PathFinder):
        raise _OddPathError
    projects: set[str] = set()
    for folder in sys.path:
        for child in () if folder in _PYTHON else _children(folder):
            if child[-5:].lower() != "-info":
                continue
            name, _, kind = child.lower().rpartition(".")
            project = name.partition("-")[0].replace(".", "_")
            if kind in ("dist-info", "egg-info") and project not in projects:  # Python imports the first of two
                projects.add(project)
                metadata = os.path.join(folder or ".", child)  # noqa: PTH118 - pathlib's takes ten times as long
                lines = _entry_points_text(metadata).decode(errors="replace").partition(f"[{GROUP}]")[2].splitlines()
                if any(is_wanted(plain_name(line.partition("=")[0])) for line in lines if "=" in line):
                    yield from Distribution.at(metadata).entry_points.select(group=GROUP)


def _children(folder: str) -> list[str]:
    if folder.lower().endswith(".egg"):
        raise _OddPathError
    try:
        return os.listdir(folder or ".")  # noqa: PTH208 - as above
    except NotADirectoryError:
        raise _OddPathError from None
    except OSError:
        return []


def _entry_points_text(metadata: str) -> bytes:
    path = f"{metadata}/entry_points.txt"
    if not os.access(path, os.R_OK):  # most distributions have none, and an exception takes longer
        return b""
    try:
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - as above
            return file.read()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError):
        return b""


def is_known_instrumentor(name: str) -> bool:
    """Whether a file may name the instrumentor, installed or not."""
    return plain_name(name) in MODULES or plain_name(name) in installed_instrumentors()


def disabled_instrumentors(variables: Mapping[str, str]) -> tuple[str, ...]:
    """The plain names that :data:`DISABLED` has."""
    return tuple(plain_name(each) for each in variables.get(DISABLED, "").split(",") if each.strip())


def doubled_conventions(variables: Mapping[str, str]) -> tuple[str, ...]:
    """The semantic conventions, such as ``rpc``, of which :data:`CHOSEN_NAMES` wants the old names too."""
    chosen = (each.strip() for each in variables.get(CHOSEN_NAMES, "").split(","))
    return tuple(each.removesuffix("/dup") for each in chosen if each.endswith("/dup"))
