"""Requests that an instrumentation around HTTPX's transport traces already: of a client, or of a transport."""

from typing import Any

from opentelemetry.context import Context
from opentelemetry.util.http import redact_url

from brain_otel.instrumentation.conflicts import call_around, warn_once
from brain_otel.runtime.guard import caught

INSTRUMENTOR = "HTTPXClientInstrumentor"
"""For the line about it, whichever of its methods the application calls."""

_SCOPE = "opentelemetry.instrumentation.httpx"


def is_traced_already(args: tuple[Any, ...], context: Context) -> bool:
    """Whether the current span is that of the request in ``args``."""
    try:
        around = call_around(context, _SCOPE)
        if around and redact_url(str(args[0].url)) in around:
            warn_once("HTTPX", INSTRUMENTOR)
            return True
    except Exception as error:
        caught("looking for a request's span", error)
    return False
