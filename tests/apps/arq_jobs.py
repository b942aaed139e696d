"""Jobs of arq, and a sender: `python arq_jobs.py` makes one transaction for each case."""

import asyncio
import contextlib
import os
import sys
from typing import Any, ClassVar

from arq import Retry, create_pool, cron
from arq.connections import ArqRedis, RedisSettings
from redis.asyncio import Redis

import brain_otel

if os.environ.get("SETUP") != "launcher":
    brain_otel.setup()

SETTINGS = RedisSettings.from_dsn(os.environ["BROKER"])
QUEUE = "arq:jobs"


async def add(ctx: Any, first: int, second: int) -> int:
    await asyncio.sleep(0)
    return first + second


async def send_mail(ctx: Any, to: str, password: str) -> None:
    raise RuntimeError(f"no mail for {to}")


async def flaky(ctx: Any) -> int:
    if ctx["job_try"] < 2:
        raise Retry(defer=0.01)
    return int(ctx["job_try"])


async def counted(ctx: Any) -> int:
    async with Redis.from_url(os.environ["BROKER"]) as client:
        return int(await client.incr("arq_jobs.counted"))


async def forwards(ctx: Any) -> None:
    await ctx["redis"].enqueue_job("add", 1, 2, _queue_name=QUEUE)


async def patient(ctx: Any) -> None:
    if ctx["job_try"] == 1:
        print("waiting", flush=True)
        await asyncio.sleep(60)


async def every_second(ctx: Any) -> None:
    pass


class WorkerSettings:
    functions: ClassVar[Any] = [add, send_mail, flaky, counted, forwards, patient]
    cron_jobs: ClassVar[Any] = [cron(every_second, second=set(range(60)))]
    redis_settings = SETTINGS
    queue_name = QUEUE
    poll_delay = 0.02
    handle_signals = True


CASES: dict[str, Any] = {
    "add": ("add", 1, 2),
    "fails": ("send_mail", "bob", "hunter2"),
    "flaky": ("flaky",),
    "counted": ("counted",),
    "forwards": ("forwards",),
    "interrupted": ("patient",),
}


async def send(pool: ArqRedis, case: str) -> None:
    name, *given = CASES[case]
    job = await pool.enqueue_job(name, *given, _queue_name=QUEUE)
    assert job is not None
    with contextlib.suppress(RuntimeError):  # of `send_mail`
        await job.result(timeout=60, poll_delay=0.02)


async def main(names: list[str]) -> None:
    pool = await create_pool(SETTINGS)
    for name in names or list(CASES):
        async with brain_otel.start_transaction(name, op="http.server"):
            await send(pool, name)
    await pool.aclose()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
