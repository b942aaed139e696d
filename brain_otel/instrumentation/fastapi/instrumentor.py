"""FastAPI: one server span and one local trace for each request.

The spans are contrib's (``fastapi: contrib``) or FastAPI's own (``native``). Every request of every app passes
through ``FastAPI.__call__``, which is replaced here to add:

- the local trace, which keeps the request's user, tags and errors until its background tasks are done;
- one report, linked to the request, for each exception that is unhandled or became a 5xx response;
- mounted apps as part of their parent's request: no second server span, and the name joins the routes of both.

Contrib replaces the class ``fastapi.FastAPI``, which an app whose class was imported before does not notice. This
module replaces methods of the class, so the import order does not matter, and contrib traces each app from its first
request on.

What serves requests (:mod:`.serving`) is loaded with the first one, which is a server's lifespan, together with
contrib's modules.
"""

import functools
import threading
from collections.abc import Awaitable, Callable
from types import ModuleType
from typing import TYPE_CHECKING

import wrapt
from fastapi.applications import FastAPI  # contrib may have replaced `fastapi.FastAPI`
from starlette.types import ASGIApp, Receive, Scope, Send

from brain_otel.configuration.sections.instrumentation import InstrumentationSettings
from brain_otel.instrumentation.first_use import importing_contrib
from brain_otel.runtime.fork import reset_in_child
from brain_otel.runtime.guard import guarded
from brain_otel.runtime.imports import is_being_imported, late_module
from brain_otel.runtime.patch import Original, Patch, Patches, replacement

_SERVING = "brain_otel.instrumentation.fastapi.serving"

if TYPE_CHECKING:
    from brain_otel.instrumentation.fastapi import serving
else:
    # A process that serves no request needs none of it.
    serving = late_module(_SERVING)

_FASTAPI, _ASGI = "opentelemetry.instrumentation.fastapi", "opentelemetry.instrumentation.asgi"
"""Contrib's modules. An application that imports one may use its middleware in other apps, which is shielded too."""


class FastAPIInstrumentation:
    """Traces every request of every app."""

    def __init__(self) -> None:
        self._patches = Patches()
        self._settings: InstrumentationSettings | None = None
        self._serving: serving.Serving | None = None
        self._call: Callable[..., Awaitable[None]] | None = None
        self._reset()
        reset_in_child(self)

    def _reset(self) -> None:
        """Replace the lock: another thread of the parent may have held it."""
        self._lock = threading.RLock()

    def instrument(self, settings: InstrumentationSettings) -> None:
        """Begin with the next request."""
        self._settings = settings
        self._patches.replace(FastAPI, "__call__", self._traced_call)
        self._patches.replace(FastAPI, "build_middleware_stack", replacement(self._observed_build))
        for module in (_FASTAPI, _ASGI):
            wrapt.register_post_import_hook(self._on_contrib, module)
        if settings.fastapi == "native":
            self._load()

    def uninstrument(self) -> None:
        """Leave the class and every app as they were found; middleware that was built meanwhile is built anew."""
        self._settings = None
        self._patches.undo()
        if self._serving is not None:
            self._serving.leave()
            self._serving = self._call = None

    def _on_contrib(self, module: ModuleType) -> None:
        # A thread that imports `serving` imports contrib's modules too, and loads it itself.
        if not is_being_imported(_SERVING) and (module.__name__ == _FASTAPI or not is_being_imported(_FASTAPI)):
            self._load()

    def _load(self) -> "serving.Serving | None":
        """Load what serves requests; None if that fails."""
        with guarded("loading what traces FastAPI"):
            with importing_contrib():  # not within the lock, which a thread that imports contrib's modules may await
                create = serving.Serving
            with self._lock:
                settings, self._settings = self._settings, None
                if settings is not None:
                    self._serving = create(settings, self._patches)
        return self._serving

    def _traced_call(self, patch: Patch) -> Callable[..., Awaitable[None]]:
        original = patch.original

        @functools.wraps(original)
        async def call(app: FastAPI, scope: Scope, receive: Receive, send: Send) -> None:
            await self._loaded_call(patch)(app, scope, receive, send)

        return call

    def _loaded_call(self, patch: Patch) -> Callable[..., Awaitable[None]]:
        """Return the function that serves requests, and put it in the place of the one that calls this."""
        loaded = (self._serving or self._load()) if patch.active else None
        if loaded is None:
            return patch.original
        if self._call is None:
            self._call = patch.become(loaded.traced_call)
        return self._call

    def _observed_build(self, original: Original, app: FastAPI) -> ASGIApp:
        loaded = self._serving or self._load()
        stack: ASGIApp = original(app) if loaded is None else loaded.build(original, app)
        return stack
