"""Which Redis commands are calls to a cache, and what is recorded of them."""

from typing import Any

import pytest

from brain_otel.instrumentation.redis.caches import Caches, record_answer

PREFIX = "brain_otel.cache."


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (("GET", "cart:1"), {"operation": "get", "key": ["cart:1"]}),
        (("GET", b"cart:\xff"), {"operation": "get", "key": ["cart:\\xff"]}),
        (("MGET", "other", "cart:2"), {"operation": "get", "key": ["other", "cart:2"]}),
        (("SET", "cart:1", "äb", "EX", 5), {"operation": "put", "key": ["cart:1"], "item_size": 3}),
        (("SETEX", "cart:1", 60, b"abcd"), {"operation": "put", "key": ["cart:1"], "item_size": 4}),
        (("MSET", "cart:1", 12, "cart:2", 1.5), {"operation": "put", "key": ["cart:1", "cart:2"], "item_size": 5}),
        (("DEL", "cart:1", "cart:2"), {"operation": "remove", "key": ["cart:1", "cart:2"]}),
        (("UNLINK", "cart:1"), {"operation": "remove", "key": ["cart:1"]}),
        (("GET", "page:1"), {}),
        (("GET",), {}),
        (("LPUSH", "cart:1", 1), {}),
        (("GET", "cart:" + "x" * 500), {"operation": "get", "key": ["cart:" + "x" * 123]}),
    ],
)
def test_a_call_to_a_cache_is_told_by_its_keys(args: tuple[Any, ...], expected: dict[str, Any]) -> None:
    """Reads, writes and removals of keys that begin with a prefix."""
    found = Caches(["cart:", "session:"]).describe(args[0], args)
    assert found == {PREFIX + name: value for name, value in expected.items()}


class Recorded:
    """A span that keeps its attributes."""

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}

    def set_attribute(self, name: str, value: Any) -> None:
        self.found[name.removeprefix(PREFIX)] = value


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (None, {"hit": False}),
        (b"abc", {"hit": True, "item_size": 3}),
        ("äb", {"hit": True, "item_size": 3}),
        ("", {"hit": True, "item_size": 0}),
        ([None, b"ab", b"c"], {"hit": True, "item_size": 3}),
        ([None, None], {"hit": False}),
        (object(), {"hit": True, "item_size": 0}),
    ],
)
def test_an_answer_is_a_hit_or_a_miss(answer: Any, expected: dict[str, Any]) -> None:
    """With its size in bytes."""
    span: Any = Recorded()
    record_answer(span, answer)
    assert span.found == expected
