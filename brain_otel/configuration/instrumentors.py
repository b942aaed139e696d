"""OpenTelemetry's instrumentors of other libraries: which are installed, and which modules each of them waits for."""

from collections.abc import Mapping
from importlib.metadata import EntryPoint

try:  # private: it caches what is installed, which OpenTelemetry's API looks up anyway
    from opentelemetry.util._importlib_metadata import entry_points as entry_points
except ImportError:
    from importlib.metadata import entry_points as entry_points  # type: ignore[assignment]  # takes the same

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


def plain_name(name: str) -> str:
    """``name`` as this package compares it: ``aiohttp-client`` and ``aiohttp_client`` are the same."""
    return name.strip().lower().replace("-", "_")


def installed_instrumentors() -> dict[str, list[EntryPoint]]:
    """The installed instrumentors by their plain names; two packages may offer the same."""
    found: dict[str, list[EntryPoint]] = {}
    for each in entry_points(group=GROUP):
        found.setdefault(plain_name(each.name), []).append(each)
    return found


def known_instrumentors() -> set[str]:
    """The plain name of each instrumentor that a file may name, installed or not."""
    return MODULES.keys() | installed_instrumentors().keys()


def disabled_instrumentors(variables: Mapping[str, str]) -> tuple[str, ...]:
    """The plain names that :data:`DISABLED` has."""
    return tuple(plain_name(each) for each in variables.get(DISABLED, "").split(",") if each.strip())


def doubled_conventions(variables: Mapping[str, str]) -> tuple[str, ...]:
    """The semantic conventions, such as ``rpc``, of which :data:`CHOSEN_NAMES` wants the old names too."""
    chosen = (each.strip() for each in variables.get(CHOSEN_NAMES, "").split(","))
    return tuple(each.removesuffix("/dup") for each in chosen if each.endswith("/dup"))
