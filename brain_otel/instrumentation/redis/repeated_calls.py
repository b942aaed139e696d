"""Commands and pipelines that an instrumentation of the client itself traces already."""

from typing import Any

from opentelemetry.context import Context

from brain_otel.instrumentation.conflicts import call_around, warn_once
from brain_otel.instrumentation.redis.pipelines import batch_of
from brain_otel.privacy.statements import redis_without_values
from brain_otel.runtime.guard import caught

INSTRUMENTOR = "RedisInstrumentor"
"""For the line about it, whichever of its methods the application calls."""

_SCOPE = "opentelemetry.instrumentation.redis"


def is_traced_already(client: Any, args: tuple[Any, ...], context: Context) -> bool:
    """Whether the current span is that of the command in ``args``, or without one of the pipeline ``client``."""
    try:
        around = call_around(context, _SCOPE)
        if around and _text(client, args) in around:
            warn_once("Redis", INSTRUMENTOR)
            return True
    except Exception as error:
        caught("looking for a command's span", error)
    return False


def _text(client: Any, args: tuple[Any, ...]) -> str | None:
    if args:
        return redis_without_values(args, str)
    batch = batch_of(client)
    return batch.text if batch is not None else None
