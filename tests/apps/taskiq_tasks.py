"""Tasks of taskiq, and a sender: `python taskiq_tasks.py` makes one transaction for each case."""

import asyncio
import os
import sys
from typing import Any

from redis.asyncio import Redis
from taskiq import Context, SimpleRetryMiddleware, TaskiqDepends
from taskiq_redis import ListQueueBroker, RedisAsyncResultBackend

import brain_otel

if os.environ.get("SETUP") != "launcher":
    brain_otel.setup()

ADDRESS = os.environ["BROKER"]

broker = (
    ListQueueBroker(ADDRESS, queue_name="taskiq-tasks")
    .with_result_backend(RedisAsyncResultBackend(ADDRESS, result_ex_time=60))
    .with_middlewares(SimpleRetryMiddleware(default_retry_count=3))
)


@broker.task(task_name="tasks.add")
async def add(first: int, second: int) -> int:
    await asyncio.sleep(0)
    return first + second


@broker.task(task_name="tasks.add_in_thread")
def add_in_thread(first: int, second: int) -> int:
    return first + second


@broker.task(task_name="tasks.send_mail")
async def send_mail(to: str, password: str) -> None:
    raise RuntimeError(f"no mail for {to}")


@broker.task(task_name="tasks.send_mail_in_thread")
def send_mail_in_thread(to: str, password: str) -> None:
    raise RuntimeError(f"no mail for {to}")


@broker.task(task_name="tasks.flaky", retry_on_error=True)
async def flaky(succeeds: bool, context: Context = TaskiqDepends()) -> int:  # noqa: B008 - taskiq's way
    retries = int(context.message.labels.get("_retries", 0))
    if retries == 0 or not succeeds:
        raise ValueError("still flaky")
    return retries


@broker.task(task_name="tasks.rejected")
async def rejected(context: Context = TaskiqDepends()) -> None:  # noqa: B008
    context.reject()


@broker.task(task_name="tasks.counted")
async def counted() -> int:
    async with Redis.from_url(ADDRESS) as client:
        return int(await client.incr("taskiq_tasks.counted"))


@broker.task(task_name="tasks.forwards")
async def forwards() -> None:
    await add.kiq(1, 2)


CASES: dict[str, Any] = {
    "add": (add, 1, 2),
    "thread": (add_in_thread, 1, 2),
    "fails": (send_mail, "bob", "hunter2"),
    "fails in a thread": (send_mail_in_thread, "bob", "hunter2"),
    "flaky": (flaky, True),
    "flaky for good": (flaky, False),
    "rejected": (rejected,),
    "counted": (counted,),
    "forwards": (forwards,),
}


async def main(names: list[str]) -> None:
    await broker.startup()
    for name in names or list(CASES):
        task, *given = CASES[name]
        async with brain_otel.start_transaction(name, op="http.server"):
            sent = await task.kiq(*given)
            await sent.wait_result(timeout=60, check_interval=0.02)
    await broker.shutdown()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
