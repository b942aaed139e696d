"""The Starlette application: routes and nothing else."""

import sqlite3
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, RedirectResponse, Response
from starlette.routing import Mount, Route
from starlette.staticfiles import StaticFiles

from brain_otel.viewer.alerts.rules import AlertSettings
from brain_otel.viewer.ingest.bodies import BodyError
from brain_otel.viewer.ingest.endpoints import Ingest, answer_to
from brain_otel.viewer.live import Live
from brain_otel.viewer.rendering import Renderer
from brain_otel.viewer.screens import NAVIGATION, SCREENS, Screen
from brain_otel.viewer.security import SecurityMiddleware
from brain_otel.viewer.store.queries.filters import PERIODS, FilterError, Query, choices, read_filters
from brain_otel.viewer.store.queries.foot import read_foot
from brain_otel.viewer.store.queries.issues import change_state
from brain_otel.viewer.store.schema import open_reader
from brain_otel.viewer.store.writer import FullError, Writer, run_now

PATIENCE = 10.0
"""Seconds after which a question to the store is given up."""

STATES = {"resolve": "resolved", "ignore": "ignored", "reopen": "open"}


@dataclass(frozen=True, kw_only=True)
class ViewSettings:
    """What ``brain-otel view`` is told."""

    path: Path
    max_bytes: int = 1 << 30
    apdex: int = 500_000
    """Apdex's threshold in microseconds."""
    alerts: AlertSettings | None = None


class Viewer:
    """The application, its writer and its stream of changes."""

    def __init__(self, settings: ViewSettings) -> None:
        self.settings = settings
        self.writer = Writer(settings.path, settings.max_bytes)
        self.live = Live(settings.path)
        self._renderer = Renderer()
        self.app = Starlette(
            routes=self._routes(),
            middleware=[Middleware(SecurityMiddleware)],
            exception_handlers={
                BodyError: answer_to,
                FilterError: _told(400),
                sqlite3.OperationalError: _told(503, "the store does not answer: "),
            },
        )

    def close(self) -> None:
        """Write what waits."""
        self.writer.close()

    def _routes(self) -> list[Route | Mount]:
        pages = [
            Route(f"{screen.path}{suffix}", partial(self._answer, screen, suffix), methods=["GET"])
            for suffix in (".json", ".md", "")  # the bare address would match those with a suffix, too
            for screen in SCREENS
        ]
        return [
            *Ingest(self.writer).routes(),
            Route("/", lambda _: RedirectResponse("/issues"), methods=["GET"]),
            Route("/live", self.live.stream, methods=["GET"]),
            Route("/issues/{issue:int}/{action}", self._change_issue, methods=["POST"]),
            *pages,
            Mount("/static", StaticFiles(packages=[("brain_otel.viewer", "static")])),
        ]

    def _answer(self, screen: Screen, suffix: str, request: Request) -> Response:
        with closing(open_reader(self.settings.path)) as connection:
            _bound_time(connection)
            return self._shown(screen, suffix, request, connection, time.time())

    def _shown(
        self, screen: Screen, suffix: str, request: Request, connection: sqlite3.Connection, now: float
    ) -> Response:
        filters = read_filters(request.query_params, now)
        query = Query(
            connection=connection,
            filters=filters,
            parameters=request.query_params,
            place=request.path_params,
            apdex=self.settings.apdex,
        )
        data = screen.read(query)
        if data is None:
            return PlainTextResponse("there is no such page, or no longer", 404)
        if suffix == ".json":
            return JSONResponse(data)
        link = str(request.url)
        if suffix == ".md":
            text = self._renderer.markdown(screen.template, data=data, link=link.replace(".md", "", 1), now=now)
            return PlainTextResponse(text, media_type="text/markdown")
        page = self._renderer.page(
            screen.template,
            data=data,
            screen=screen,
            filters=filters,
            keep=filters.kept(),
            periods=PERIODS,
            choices=choices(connection),
            foot=read_foot(connection, now),
            navigation=NAVIGATION,
            now=now,
            path=request.url.path,
            query=request.url.query,
        )
        return HTMLResponse(page, headers={"Cache-Control": "no-store"})

    async def _change_issue(self, request: Request) -> Response:
        issue, action = request.path_params["issue"], request.path_params["action"]
        if action not in STATES:
            return PlainTextResponse(f"allowed: {', '.join(STATES)}", 404)
        at = int(time.time() * 1e6)
        try:
            await run_in_threadpool(
                run_now, self.writer, lambda connection: change_state(connection, issue, STATES[action], at)
            )
        except (sqlite3.Error, FullError) as error:
            return PlainTextResponse(f"the viewer cannot write its file: {error}", 503)
        return RedirectResponse(f"/issues/{issue}", 303)


def _told(status: int, words: str = "") -> Callable[[Request, Exception], Response]:
    return lambda _, error: PlainTextResponse(f"{words}{error}", status)


def _bound_time(connection: sqlite3.Connection) -> None:
    deadline = time.monotonic() + PATIENCE
    connection.set_progress_handler(lambda: time.monotonic() > deadline, 100_000)
