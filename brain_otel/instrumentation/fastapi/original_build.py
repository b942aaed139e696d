"""How an app builds its middleware without contrib, and how it is put back."""

from typing import Any

from fastapi.applications import FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor
from starlette.background import BackgroundTask
from starlette.types import ASGIApp

from brain_otel.runtime.patch import INHERITED

_INSTRUMENTED = "_is_instrumented_by_opentelemetry"
"""Contrib's mark on an app that it traces."""

CONTRIBS_ORIGINAL, _CONTRIBS_CALL = "_original_build_middleware_stack", "_otel_original_call"
"""Where contrib keeps what it replaces of an app, and of ``BackgroundTask``."""

BUILD = "build_middleware_stack"


def is_traced_by_contrib(app: FastAPI) -> bool:
    """Whether contrib traces ``app``, for us or for the application."""
    return bool(getattr(app, _INSTRUMENTED, False))


def restore_build(app: FastAPI) -> None:
    """Give ``app`` its own function back, after the application has removed contrib, which leaves ours."""
    left: Any = vars(app).get(BUILD)
    if isinstance(left, OriginalBuild):
        left.restore(app)


class OriginalBuild:
    """What an app had as ``build_middleware_stack``; contrib wraps what it returns.

    A stack that was built already stays as it is, so that no middleware is created twice.
    """

    def __init__(self, app: FastAPI, built: ASGIApp | None) -> None:
        self._own = vars(app).get(BUILD, INHERITED)
        self._build = app.build_middleware_stack
        self._built = built
        self._calls = vars(BackgroundTask).get(_CONTRIBS_CALL)
        """Set if somebody else's contrib traces background tasks."""

    def __call__(self) -> ASGIApp:
        """Build the stack, unless it is built."""
        return self._build() if self._built is None else self._built

    def put_back(self, app: FastAPI) -> None:
        """Remove contrib from ``app``, and only from ``app``."""
        if is_traced_by_contrib(app):
            call = BackgroundTask.__call__
            setattr(app, CONTRIBS_ORIGINAL, lambda: None)  # contrib builds a stack, for which nobody asks
            FastAPIInstrumentor.uninstrument_app(app)
            if self._calls is not None:
                setattr(BackgroundTask, _CONTRIBS_CALL, self._calls)
                BackgroundTask.__call__ = call  # type: ignore[method-assign]
        self.restore(app)
        app.middleware_stack = self._built

    def restore(self, app: FastAPI) -> None:
        """Give ``app`` the function back that it had."""
        if self._own is INHERITED:
            del app.build_middleware_stack
        else:
            app.build_middleware_stack = self._own  # type: ignore[method-assign]
