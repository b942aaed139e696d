"""A decorator's context surrounds each call, sync or async; calls overlap, and errors pass."""

import asyncio
from typing import Self

import pytest

from brain_otel.runtime.context_decorator import ContextDecorator


class Recorded(ContextDecorator[int]):
    def __init__(self, seen: list[str], number: int = 0) -> None:
        self.seen, self.number = seen, number

    def __enter__(self) -> int:
        self.seen.append(f"enter {self.number}")
        return self.number

    def __exit__(self, kind: object, error: BaseException | None, where: object) -> None:
        self.seen.append("exit" if error is None else type(error).__name__)

    def _fresh(self) -> Self:
        return type(self)(self.seen, self.number + 1)


def test_each_call_is_in_a_context_of_its_own() -> None:
    seen: list[str] = []
    decorate = Recorded(seen)

    @decorate
    def add(a: int, b: int) -> int:
        seen.append("call")
        return a + b

    @decorate
    async def wait() -> str:
        """Wait for a turn of the loop."""
        await asyncio.sleep(0)
        seen.append("awaited")
        return "done"

    async def both() -> list[str]:
        return list(await asyncio.gather(wait(), wait()))

    assert add(1, b=2) == 3
    assert seen == ["enter 1", "call", "exit"]
    seen.clear()
    assert asyncio.run(both()) == ["done", "done"]
    assert seen == ["enter 1", "enter 1", "awaited", "exit", "awaited", "exit"]
    assert (wait.__name__, wait.__doc__) == ("wait", "Wait for a turn of the loop.")


def test_an_error_passes_through() -> None:
    seen: list[str] = []
    error = KeyError("a")

    async def block() -> None:
        async with Recorded(seen, 7) as number:
            assert number == 7
            raise error

    with pytest.raises(KeyError) as raised:
        asyncio.run(block())
    assert raised.value is error
    assert seen == ["enter 7", "KeyError"]
