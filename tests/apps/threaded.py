"""An application whose requests work in threads, each in another way; every one makes three statements."""

import asyncio
import functools
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.dummy import Process
from multiprocessing.pool import ThreadPool
from typing import Any

import anyio.from_thread
import anyio.to_thread
from fastapi import BackgroundTasks, FastAPI
from sqlalchemy import create_engine, text
from sqlalchemy.pool import StaticPool

import brain_otel

engine = create_engine("sqlite://", poolclass=StaticPool, connect_args={"check_same_thread": False})
lock = threading.Lock()
shared = ThreadPoolExecutor(2)
made_in_a_request: list[ThreadPool] = []


def work(number: Any = 0) -> int:
    with lock, engine.connect() as connection:
        connection.execute(text("select 1"))
    return 1


async def statement() -> None:
    work()


class Overriding(threading.Thread):
    def run(self) -> None:
        work()


class Pool(ThreadPoolExecutor):
    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Any:
        return super().submit(functools.partial(fn, *args, **kwargs))


def joined(*threads: Any) -> None:
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def thread() -> None:
    joined(*(threading.Thread(target=work) for _ in range(3)))


def daemon() -> None:
    joined(*(threading.Thread(target=functools.partial(work, 1), daemon=True) for _ in range(3)))


def overriding() -> None:
    joined(*(Overriding() for _ in range(3)))


def timer() -> None:
    joined(*(threading.Timer(0.01, work, (1,)) for _ in range(3)))


def process_of_threads() -> None:
    joined(*(Process(target=work) for _ in range(3)))


def nested() -> None:
    def inner() -> None:
        work()
        joined(threading.Thread(target=work))
        shared.submit(work).result()

    joined(threading.Thread(target=inner))


def submit() -> None:
    assert sum(each.result() for each in [shared.submit(work, number) for number in range(3)]) == 3


def executor_map() -> None:
    with Pool() as pool:
        assert list(pool.map(work, range(3))) == [1, 1, 1]


def thread_pool() -> None:
    with ThreadPool(2) as pool:
        assert pool.map(work, [1]) == [1]
        assert pool.apply(work) == 1
        assert list(pool.imap_unordered(func=work, iterable=[1])) == [1]


def later_thread_pool() -> None:
    """The pool belongs to whichever request came first."""
    if not made_in_a_request:
        made_in_a_request.append(ThreadPool(2))
    done = threading.Event()
    made_in_a_request[0].starmap(work, [(1,), (2,)])

    def called_back(_: int) -> None:
        work()
        done.set()

    made_in_a_request[0].apply_async(int, callback=called_back)
    done.wait(5)


async def run_in_executor() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.gather(*(loop.run_in_executor(pool, work) for pool in (None, None, shared)))


async def to_thread() -> None:
    await asyncio.gather(*(asyncio.to_thread(work) for _ in range(3)))


async def anyio_threads() -> None:
    await anyio.to_thread.run_sync(work)
    await anyio.to_thread.run_sync(work, abandon_on_cancel=True)
    await anyio.to_thread.run_sync(anyio.from_thread.run, statement)


def background(tasks: BackgroundTasks) -> None:
    tasks.add_task(submit)


_THREADS = (thread, daemon, overriding, timer, process_of_threads, nested)
_JOBS = (submit, executor_map, thread_pool, later_thread_pool, run_in_executor, to_thread, anyio_threads, background)
WAYS: dict[str, Callable[..., Any]] = {each.__name__: each for each in (*_THREADS, *_JOBS)}


def failing() -> None:
    brain_otel.set_tag("by", "thread")
    raise ZeroDivisionError("in a thread")


def fails() -> None:
    joined(threading.Thread(target=failing, daemon=True))


def captured_in_pool() -> None:
    def capture() -> None:
        try:
            raise KeyError("in a pool")
        except KeyError as error:
            brain_otel.capture_exception(error)

    brain_otel.set_user_context(user_id="u1")
    with ThreadPool(1) as pool:
        pool.apply(capture)


def outlives() -> None:
    def long() -> None:
        work()
        time.sleep(0.5)
        work()

    threading.Thread(target=long).start()


def create_app() -> FastAPI:
    app = FastAPI()
    for endpoint in (*WAYS.values(), fails, captured_in_pool, outlives):
        app.get(f"/{endpoint.__name__}")(endpoint)
    return app
