"""Masking takes time linear in the length of the text, whatever the text is.

The texts repeat near-matches of every expression in the package, made from the expression's own parts.
"""

import gc
import pkgutil
import re
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any

import pytest

import brain_otel.privacy
from brain_otel.privacy import Policy
from brain_otel.privacy.sql import sql_without_literals
from brain_otel.privacy.statements import redis_without_values
from brain_otel.runtime import lazy_regex
from tests.support.tiers import thorough

parser: Any = import_module("re._parser")
"""The parser of the standard library's expressions; it has no public name."""

POLICY = Policy()
UNBOUNDED = int(parser.MAXREPEAT)
SHORT, LONG = 512, 4_096
BENIGN = "GET /orders/17 took 12 ms for shop=berlin; "

MASKS: dict[str, Callable[[str], Any]] = {
    "text": POLICY._mask_text,
    "query": POLICY.query,
    "stacktrace": POLICY.stacktrace,
    "sql": lambda text: sql_without_literals.__wrapped__(text, "mysql"),
    "redis": lambda text: redis_without_values(text.split(" "), POLICY.text),
    "name": Policy().is_sensitive.__wrapped__,  # type: ignore[attr-defined]  # a cached function has it
}


def expressions() -> list[tuple[str, int]]:
    """Every expression that a module of the package has made, those in closures too."""
    for module in pkgutil.walk_packages(brain_otel.privacy.__path__, "brain_otel.privacy."):
        import_module(module.name)
    made = [each for each in gc.get_objects() if type(each) is lazy_regex._LazyPattern]
    return sorted({each._arguments for each in made})


PATTERNS = expressions()


def sample(parsed: Iterable[Any]) -> str:
    """A text that a parsed expression matches, roughly; assertions are left out."""
    return "".join(samples(parsed)[-1:])


def samples(parsed: Iterable[Any]) -> list[str]:
    """The beginnings of such a text, one for each part of the expression."""
    found = [""]
    for operator, argument in parsed:
        found.append(found[-1] + part_sample(str(operator), argument))
    return found


def part_sample(operator: str, argument: Any) -> str:
    if operator == "LITERAL":
        return chr(argument)
    if operator == "NOT_LITERAL":
        return "a" if argument != ord("a") else "b"
    if operator == "ANY":
        return "a"
    if operator == "IN":
        return set_sample(argument)
    if operator == "BRANCH":
        return sample(argument[1][0])
    if operator in ("SUBPATTERN", "ATOMIC_GROUP"):
        return sample(argument[-1] if operator == "SUBPATTERN" else argument)
    if operator.endswith("REPEAT"):
        low, high, inner = argument
        return sample(inner) * max(int(low), min(int(high), 2))
    return ""


def set_sample(items: list[Any]) -> str:
    negated = str(items[0][0]) == "NEGATE"
    pattern = re.compile("[" + ("^" if negated else "") + "".join(map(set_item, items[negated:])) + "]")
    return next((each for each in "a1A -_.'\"=:/@\\{" if pattern.match(each)), "")


def set_item(item: Any) -> str:
    operator, argument = str(item[0]), item[1]
    if operator == "RANGE":
        return f"{re.escape(chr(argument[0]))}-{re.escape(chr(argument[1]))}"
    if operator == "CATEGORY":
        names = {
            "DIGIT": r"\d",
            "NOT_DIGIT": r"\D",
            "WORD": r"\w",
            "SPACE": r"\s",
            "NOT_SPACE": r"\S",
            "NOT_WORD": r"\W",
        }
        return names[str(argument).removeprefix("CATEGORY_")]
    return re.escape(chr(argument))


def parts(parsed: Iterable[Any]) -> Iterator[str]:
    """The beginnings of what an expression matches, and those of each of its alternatives and groups."""
    items = list(parsed)
    yield from samples(items)
    for operator, argument in items:
        for inner in inner_parts(str(operator), argument):
            yield from parts(inner)


def inner_parts(operator: str, argument: Any) -> list[Any]:
    if operator == "BRANCH":
        return list(argument[1])
    if operator in ("SUBPATTERN", "ASSERT", "ASSERT_NOT"):
        return [argument[-1]]
    if operator.endswith("REPEAT"):
        return [argument[2]]
    return [argument] if operator == "ATOMIC_GROUP" else []


PARTS = sorted({part for pattern in PATTERNS for part in parts(parser.parse(*pattern))} - {""})


def texts(part: str, length: int, *, is_thorough: bool) -> dict[str, str]:
    """A part of an expression again and again, and its last character after it; ``length`` characters."""
    units = {part: part, f"{part} in lines": f"{part}\n"}
    if is_thorough:
        units[f"{part} with spaces"] = f"{part} "
    made = {name: (unit * (length // len(unit) + 1))[:length] for name, unit in units.items()}
    made[f"{part} and its end"] = (part + part[-1] * length)[:length]
    if is_thorough:
        made[f"{part} and text"] = (part + BENIGN * length)[:length]
    return made


def seconds(mask: Callable[[str], Any], text: str, times: int = 1) -> float:
    started = time.thread_time()
    for _ in range(times):
        mask(text)
    return time.thread_time() - started


def ratio(mask: Callable[[str], Any], short: str, long: str) -> float:
    """How much longer the long text takes, at best: others use the machine too. Both measurements last as long."""
    best = float("inf")
    for number in range(20):
        best = min(best, 8 * seconds(mask, long) / max(seconds(mask, short, 8), 1e-6))
        if best <= 9 or (number > 1 and best > 20):
            break
    return best


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@no_garbage_collection()
def check(chosen: Iterable[str], scale: int, *, is_thorough: bool) -> None:
    """Compare texts that take longer than a benign one of the same length with an eighth of them."""
    limits = {
        name: 3 * min(seconds(mask, (BENIGN * LONG)[: scale * LONG]) for _ in range(5)) + scale * 1e-4
        for name, mask in MASKS.items()
    }
    slow = {}
    for part in chosen:
        short = texts(part, scale * SHORT, is_thorough=is_thorough)
        for name, text in texts(part, scale * LONG, is_thorough=is_thorough).items():
            for kind, mask in MASKS.items():
                if seconds(mask, text) > limits[kind] and (found := ratio(mask, short[name], text)) > 10:
                    slow[kind, name[:80]] = found
    assert slow == {}


@pytest.mark.parametrize("group", range(8))
def test_masking_near_matches_takes_linear_time(group: int) -> None:
    """Eight times the text takes at most nine times the time, or ten by bad luck."""
    check(PARTS[group::8], 1, is_thorough=False)


@thorough
@pytest.mark.parametrize("group", range(32))
def test_masking_longer_near_matches_takes_linear_time(group: int) -> None:
    """Four times as long as in the quick test, and in more combinations."""
    check(PARTS[group::32], 4, is_thorough=True)


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern[0][:40])
def test_no_repetition_without_bound_repeats_another(pattern: tuple[str, int]) -> None:
    """Neither can be bounded nor possessive otherwise: ``(?:a+)+`` takes exponential time."""
    assert list(nested(parser.parse(*pattern), inside=False)) == []


def nested(parsed: Iterable[Any], *, inside: bool) -> Iterator[Any]:
    for operator, argument in parsed:
        is_unbounded = str(operator) in ("MAX_REPEAT", "MIN_REPEAT") and int(argument[1]) == UNBOUNDED
        if inside and is_unbounded:
            yield argument
        is_atomic = str(operator) in ("POSSESSIVE_REPEAT", "ATOMIC_GROUP")
        for each in inner_parts(str(operator), argument):
            yield from nested(each, inside=is_unbounded or (inside and not is_atomic))


def test_the_test_finds_an_expression_that_is_not_linear() -> None:
    """The one that masked MySQL's duplicate keys, and three others that were tried."""
    for text in (r"(Duplicate entry )'[^\n]*?'(?= for key)", r"a[^b]*b", r"'(?:[^']|'')*'!", r"Key \(.*\)=\("):
        mask = partial(re.compile(text).sub, "")
        assert any(
            ratio(mask, short, long) > 20
            for part in set(parts(parser.parse(text))) - {""}
            for short, long in zip(
                texts(part, SHORT, is_thorough=True).values(),
                texts(part, LONG, is_thorough=True).values(),
                strict=True,
            )
        ), text
