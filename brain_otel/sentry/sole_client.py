"""Keeps brain_otel's client of sentry-sdk the global one.

A ``sentry_sdk.init()`` after ``setup()`` would replace it by a client with tracing of its own: each request would be
two transactions, and errors would lose their trace. It changes nothing, as a second ``setup()`` does.
"""

import logging
from typing import Any

import sentry_sdk

from brain_otel.runtime.guard import guarded
from brain_otel.runtime.patch import Original, Patches, replacement
from brain_otel.sentry.listener import LinkingIntegration

logger = logging.getLogger(__name__)

_patches = Patches()


_REMEDY = "remove it, and give its options in the configuration file"


def warn_of_client() -> None:
    """Say it if the application has initialized sentry-sdk before."""
    client = sentry_sdk.get_client()
    if client.is_active() and client.dsn and not _has_linking(client):
        logger.warning("brain_otel.setup() replaces the client of an earlier sentry_sdk.init(); %s", _REMEDY)


def keep_client() -> None:
    """Ignore clients that the application makes global from now on, but for None."""
    _patches.replace(sentry_sdk.Scope, "set_client", _keeping)


def release_client() -> None:
    """Let the application set the global client again."""
    _patches.undo()


@replacement
def _keeping(original: Original, scope: sentry_sdk.Scope, client: Any = None) -> None:
    if client is not None and _is_ours(scope) and not _has_linking(client):
        logger.warning("sentry_sdk.init() after brain_otel.setup() changes nothing; %s", _REMEDY)
        with guarded("closing a client of sentry-sdk"):
            client.close(timeout=0.0)
        return
    original(scope, client)


def _is_ours(scope: sentry_sdk.Scope) -> bool:
    """Whether ``scope`` is the global one, and has our client."""
    return scope is sentry_sdk.get_global_scope() and _has_linking(scope.client)


def _has_linking(client: Any) -> bool:
    return LinkingIntegration.identifier in (getattr(client, "integrations", None) or {})
