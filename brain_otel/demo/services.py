"""The demo's two services: BRAiN Core (missions and agents) and the LLM API that it calls.

They are ordinary FastAPI services. Only the job creates its spans by hand, because no request surrounds it.
"""

import asyncio
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import httpx
from fastapi import APIRouter, BackgroundTasks, Depends, FastAPI, HTTPException, Request
from redis.asyncio import Redis
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

import brain_otel

MISSIONS = (
    "Map the reef",
    "Count the cranes",
    "Sort the archive",
    "Water the roof",
    "Mend the radio",
    "Chart the bay",
)

SCHEMA = """
CREATE TABLE missions (id INTEGER PRIMARY KEY, name TEXT NOT NULL, agents INTEGER NOT NULL DEFAULT 0);
CREATE TABLE steps (id INTEGER PRIMARY KEY, mission_id INTEGER NOT NULL, name TEXT NOT NULL);
"""

FIND_MISSION = text("SELECT id, name, agents FROM missions WHERE id = :id")
ALL_MISSIONS = text("SELECT id, name FROM missions ORDER BY id LIMIT 6")
STEPS_OF_MISSION = text("SELECT name FROM steps WHERE mission_id = :id")
ADD_MISSION = text("INSERT INTO missions (name) VALUES (:name)")
SLOW_REPORT = text(
    "WITH RECURSIVE minutes(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM minutes WHERE n < :minutes) "
    "SELECT sum(n) FROM minutes"
)


@dataclass(frozen=True, kw_only=True)
class Resources:
    """The database, the cache, the LLM API and the job queue of BRAiN Core."""

    database: AsyncEngine
    cache: Redis
    llm: httpx.AsyncClient
    jobs: asyncio.Queue[int] = field(default_factory=asyncio.Queue)

    async def rows(self, statement: Any, **parameters: Any) -> list[Any]:
        """Run one statement."""
        async with self.database.begin() as connection:
            result = await connection.execute(statement, parameters)
            return list(result) if result.returns_rows else []

    async def ask(self, prompt: str) -> str:
        """Ask the LLM API."""
        response = await self.llm.post("/v1/completions", json={"prompt": prompt})
        response.raise_for_status()
        return str(response.json()["text"])


async def resources_of(request: Request) -> Resources:
    """The resources of the app that serves ``request``."""
    resources: Resources = request.app.state.resources
    return resources


Core = Annotated[Resources, Depends(resources_of)]
routes = APIRouter()


@routes.get("/missions/{mission_id}")
async def read_mission(mission_id: int, core: Core) -> dict[str, Any]:
    """One mission, from the cache or from the database."""
    brain_otel.set_user_context(user_id="ada", subscription_tier="premium")
    key = f"mission:{mission_id}"
    cached = await core.cache.get(key)
    if cached is not None:
        return {"id": mission_id, "name": cached}
    rows = await core.rows(FIND_MISSION, id=mission_id)
    if not rows:
        raise HTTPException(404, "no such mission")
    await core.cache.set(key, rows[0].name, ex=60)
    return {"id": mission_id, "name": rows[0].name}


@routes.get("/missions")
async def list_missions(core: Core) -> list[dict[str, Any]]:
    """All missions with their steps; one query for each mission is the mistake called N+1."""
    missions = await core.rows(ALL_MISSIONS)
    return [
        {"name": each.name, "steps": [step.name for step in await core.rows(STEPS_OF_MISSION, id=each.id)]}
        for each in missions
    ]


@routes.post("/missions", status_code=202)
async def add_mission(name: str, core: Core, background: BackgroundTasks) -> dict[str, str]:
    """Add a mission; a background task announces it, and a job processes it."""
    await core.rows(ADD_MISSION, name=name)
    background.add_task(announce, core, name)
    core.jobs.put_nowait(2)
    return {"status": "accepted"}


async def announce(core: Resources, name: str) -> None:
    """Tell the other agents; runs after the response."""
    await core.cache.publish("missions", name)


@routes.post("/missions/{mission_id}/plan")
async def plan_mission(mission_id: int, core: Core) -> dict[str, str]:
    """Let the LLM plan the mission."""
    rows = await core.rows(FIND_MISSION, id=mission_id)
    return {"plan": await core.ask(f"Plan: {rows[0].name}")}


@routes.post("/missions/{mission_id}/review")
async def review_mission(mission_id: int, core: Core) -> dict[str, str]:
    """Let the LLM review the mission; it has no capacity, so the error is handled and reported."""
    try:
        return {"review": await core.ask("overload")}
    except httpx.HTTPStatusError as error:
        event_id = brain_otel.capture_exception(error, mission_id=mission_id, agent_type="reviewer")
        return {"review": "later", "event_id": event_id or ""}


@routes.get("/missions/{mission_id}/budget")
async def mission_budget(mission_id: int, core: Core) -> dict[str, float]:
    """The budget of each agent; fails because the mission has no agents."""
    brain_otel.set_tag("agent_type", "finance")
    rows = await core.rows(FIND_MISSION, id=mission_id)
    return {"budget": 1_000 / rows[0].agents}


@routes.get("/api/missions/info")
async def missions_info(core: Core) -> dict[str, int]:
    """How many missions there are; for those who try a set-up out."""
    return {"missions": len(await core.rows(ALL_MISSIONS))}


@routes.get("/api/test-error")
async def test_error() -> None:
    """Fails, so that an error can be seen where it should arrive."""
    raise RuntimeError("This is a test error")


@routes.get("/reports/usage")
async def usage_report(core: Core, minutes: int = 900_000) -> dict[str, int]:
    """A report whose query is slow."""
    rows = await core.rows(SLOW_REPORT, minutes=minutes)
    return {"minutes": rows[0][0]}


async def process_missions(core: Resources) -> None:
    """Process one mission after the other."""
    while True:
        mission_id = await core.jobs.get()
        with brain_otel.start_transaction(name="process_mission", op="task.run") as transaction:
            transaction.set_tag("mission_id", mission_id)
            brain_otel.add_breadcrumb("Mission accepted", category="mission")
            with brain_otel.start_span(op="mission.validate", description="Validate the mission"):
                await core.rows(FIND_MISSION, id=mission_id)
            brain_otel.add_breadcrumb("Mission is valid", category="validation", data={"steps": 1})
            with brain_otel.start_span(op="agent.run", description="Run the planner"):
                await core.ask("Plan")
            brain_otel.capture_message("Mission processed without a review", level="warning", mission_id=mission_id)


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Run the worker; stop it and close the resources."""
    core: Resources = app.state.resources
    worker = asyncio.create_task(process_missions(core))
    try:
        yield
    finally:
        worker.cancel()
        with suppress(asyncio.CancelledError):
            await worker
        await core.llm.aclose()
        await core.cache.aclose()
        await core.database.dispose()


def create_database(path: Path) -> None:
    """Create the database file with some missions."""
    with closing(sqlite3.connect(path)) as connection:
        connection.executescript(SCHEMA)
        connection.executemany("INSERT INTO missions (name) VALUES (?)", [(name,) for name in MISSIONS])
        connection.execute("INSERT INTO steps (mission_id, name) SELECT id, 'survey' FROM missions")
        connection.commit()


def create_core(*, database_url: str, cache_url: str, llm_url: str) -> FastAPI:
    """Create the FastAPI app of BRAiN Core."""
    app = FastAPI(title="BRAiN Core", lifespan=lifespan)
    app.state.resources = Resources(
        database=create_async_engine(database_url),
        cache=Redis.from_url(cache_url, decode_responses=True),
        llm=httpx.AsyncClient(base_url=llm_url, trust_env=False),
    )
    app.include_router(routes)
    return app


def create_llm_api() -> FastAPI:
    """Create the LLM API, which answers any prompt except ``overload``."""
    app = FastAPI(title="LLM API")

    @app.post("/v1/completions")
    async def complete(request: Request) -> dict[str, str]:
        body = await request.json()
        if body["prompt"] == "overload":
            raise HTTPException(429, "no capacity")
        await asyncio.sleep(0.02)
        return {"text": f"{body['prompt']}: first look, then act."}

    return app
