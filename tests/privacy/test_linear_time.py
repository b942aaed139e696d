"""Masking takes time linear in the length of the text, whatever the text is.

The texts repeat near-matches of every expression in the package, made from the expression's own parts, and parts of
two expressions one after the other. CPU time is compared, the least of several measurements of each text.

The quick tier reads a third of a group of parts and a few pairs, the thorough tier all groups and ten seeds of pairs,
in about 80 seconds of CPU. The shape of every expression is checked in the quick tier.
"""

import gc
import pkgutil
import random
import re
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from functools import cache, partial
from importlib import import_module
from statistics import median
from typing import Any

import pytest

import brain_otel.privacy
from brain_otel.privacy import Policy
from brain_otel.privacy.source_lines import mask_source_line
from brain_otel.privacy.sql import sql_without_literals
from brain_otel.privacy.statements import json_without_values, redis_lines_without_values
from brain_otel.runtime import lazy_regex
from tests.support.tiers import quick_first

parser: Any = import_module("re._parser")
"""The parser of the standard library's expressions; it has no public name."""

POLICY = Policy()
UNBOUNDED = int(parser.MAXREPEAT)
SHORT, LONG = 2_048, 16_384
"""Characters of the texts, about; beyond what is cached, and below what is cut."""

MOST = 12
"""Times that eight times the text may take; while others use the machine, a linear rule takes up to 11."""

GROUPS = 32
PAIRS = 30
BENIGN = "GET /orders/17 took 12 ms for shop=berlin; "

OPENS = "the 'password' of \"x\" = <a> -b: select | where\n"
"""Lets every rule look at the text behind it; some look for a certain word or sign first."""

MASKS: dict[str, Callable[[str], Any]] = {
    "text": POLICY._mask_text,
    "text that every rule reads": lambda text: POLICY._mask_text(OPENS + text),
    "source": lambda line: mask_source_line(line, POLICY.is_sensitive, str),
    "JSON": json_without_values,
    "query": POLICY.query,
    "stacktrace": POLICY.stacktrace,
    "sql": lambda text: sql_without_literals.__wrapped__(text, "mysql"),
    "redis": lambda text: redis_lines_without_values(text, POLICY.text),
    "name": Policy().is_sensitive.__wrapped__,  # type: ignore[attr-defined]  # a cached function has it
}


NO_MASKS = tuple(f"brain_otel.{room}" for room in ("delivery", "destinations", "sampling", "traces"))
"""Rooms whose expressions read headers, answers and names of files, and mask nothing."""


def expressions() -> list[tuple[str, int]]:
    """Every expression that a module of the other rooms has made, those in closures too."""
    for module in pkgutil.walk_packages(brain_otel.privacy.__path__, "brain_otel.privacy."):
        import_module(module.name)
    rooms = [vars(module) for name, module in [*sys.modules.items()] if name.startswith(NO_MASKS)]
    others = {id(each) for names in rooms for each in names.values()}
    made = [each for each in gc.get_objects() if type(each) is lazy_regex._LazyPattern and id(each) not in others]
    return sorted({each._arguments for each in made})


PATTERNS = expressions()


def sample(parsed: Iterable[Any]) -> str:
    """A text that a parsed expression matches, roughly; assertions are left out."""
    return "".join(samples(parsed)[-1:])


def samples(parsed: Iterable[Any]) -> list[str]:
    """The beginnings of such a text, one for each part of the expression; a word is one part."""
    found = [""]
    is_word = False
    for operator, argument in parsed:
        text = found[-1] + part_sample(str(operator), argument)
        if is_word and str(operator) == "LITERAL":
            found[-1] = text
        else:
            found.append(text)
        is_word = str(operator) == "LITERAL"
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


@cache
def all_parts() -> list[str]:
    return sorted({part for pattern in PATTERNS for part in parts(parser.parse(*pattern))} - {""})


@cache
def near_matches() -> list[str]:
    """What an expression matches, and all of it but the last part."""
    return sorted({part for pattern in PATTERNS for part in samples(parser.parse(*pattern))[-2:]} - {""})


def texts(part: str, length: int) -> list[tuple[str, str]]:
    """A part again and again, alone and with others: about ``length`` characters, and eight times as many."""
    units = [("", part), ("", f"{part}\n"), ("", f"{part} "), (part, part[-1]), (part, BENIGN)]
    return [pair(before, unit, length) for before, unit in units]


def pair(before: str, unit: str, length: int) -> tuple[str, str]:
    """``unit`` again and again after ``before``, and eight times as often; a cut one might be another word."""
    count = max(1, (length - len(before)) // len(unit))
    return before + unit * count, before + unit * count * 8


def seconds(mask: Callable[[str], Any], *texts: str) -> float:
    """The time of all texts. What is made of them stays until the end, as it does of one long text."""
    started = time.thread_time()
    made = [mask(text) for text in texts]
    took = time.thread_time() - started
    del made
    return took


def copies(text: str) -> list[str]:
    """Eight texts that are alike and share no memory: caches hold one better than eight."""
    return [f"{text} "[:-1] for _ in range(8)]


def benign_as(text: str) -> str:
    """A benign text with as many lines, each as long."""
    return "\n".join((BENIGN * (len(line) // len(BENIGN) + 1))[: len(line)] for line in text.split("\n"))


def ratio(mask: Callable[[str], Any], short: str, long: str) -> float:
    """How much longer the long text takes. Others use the machine too, so it is measured until that is certain.

    The least times tell it, or, where something disturbs all of them, the median of the pairs: what disturbs one of a
    pair disturbs the other, which takes as long and comes at once. A benign text of such lines tells what eight times
    the length costs beyond eight times the time, while others use the processor's caches.
    """
    least_long = least_short = float("inf")
    least_benign = [float("inf")] * 2
    pairs: list[float] = []
    shorts, benign_shorts, benign_long = copies(short), copies(benign_as(short)), benign_as(long)
    for number in range(120):
        took, took_short = seconds(mask, long), max(seconds(mask, *shorts) / 8, 1e-7)
        least_long, least_short = min(least_long, took), min(least_short, took_short)
        pairs.append(took / took_short)
        found = least_long / least_short
        if number > 10:
            found = min(found, median(pairs))
            of_benign = seconds(mask, benign_long), max(seconds(mask, *benign_shorts) / 8, 1e-7)
            least_benign = list(map(min, least_benign, of_benign))
            found /= max(1.0, least_benign[0] / least_benign[1] / 8)
        if found <= MOST or (number > 5 and found > 24) or (number > 60 and found > 14):
            break
        time.sleep(number / 10_000)  # what disturbs a measurement may last for some of them
    return found


@contextmanager
def no_garbage_collection() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@cache
def limits() -> dict[str, float]:
    """The time from which a text is suspect: that of a benign one, thrice."""
    benign = (BENIGN * LONG)[:LONG]
    return {name: 3 * min(seconds(mask, benign) for _ in range(5)) + 4e-4 for name, mask in MASKS.items()}


@no_garbage_collection()
def check(made: Iterable[tuple[str, str, str]]) -> None:
    """Compare each long text that takes longer than a benign one with its short form; both have a name."""
    slow = {}
    limit = limits()
    for name, short, long in made:
        for kind, mask in MASKS.items():
            is_suspect = all(seconds(mask, long) > limit[kind] for _ in range(3))
            if is_suspect and (found := ratio(mask, short, long)) > MOST:
                slow[kind, name[:80]] = found
    assert slow == {}


def repeated(group: int, groups: int) -> Iterator[tuple[str, str, str]]:
    """Texts of the parts of a group, each with its name: short and long; neighbours take different forms."""
    for number, part in enumerate(all_parts()[group::groups], group):
        made = texts(part, SHORT)
        form = number % len(made)
        yield f"{part!r} {form}", *made[form]


def combined(seed: int, pairs: int) -> Iterator[tuple[str, str, str]]:
    """Texts of parts of two expressions: both again and again, and the second again and again behind the first."""
    dice = random.Random(seed)
    for _ in range(pairs):
        first, second = dice.choice(near_matches()), dice.choice(all_parts())
        yield f"{first!r} and {second!r}", *pair("", first + second, SHORT)
        yield f"{second!r} behind {first!r}", *pair(first, second, SHORT)


@pytest.mark.parametrize(
    ("group", "groups"), quick_first([(0, 3 * GROUPS), *((each, GROUPS) for each in range(GROUPS))])
)
def test_masking_near_matches_takes_linear_time(group: int, groups: int) -> None:
    """Eight times the text takes at most twelve times the time; a quadratic rule takes 64 times."""
    check(repeated(group, groups))


@pytest.mark.parametrize(("seed", "pairs"), quick_first([(10, PAIRS // 3), *((each, PAIRS) for each in range(10))]))
def test_masking_parts_of_two_expressions_takes_linear_time(seed: int, pairs: int) -> None:
    """Each run takes the same pairs for each seed."""
    check(combined(seed, pairs))


def test_every_repetition_is_possessive_bounded_or_last() -> None:
    """So no expression tries a text again in another way, whatever follows. The page promises it."""
    loose = {text: list(retried(parser.parse(text, flags), is_last=True)) for text, flags in PATTERNS}
    assert {text: found for text, found in loose.items() if found} == {}
    assert list(retried(parser.parse(r"a(?:b[^c]*|d)+c"), is_last=True))


def retried(parsed: Iterable[Any], *, is_last: bool) -> Iterator[Any]:
    """The repetitions without bound that are retried with fewer if what follows them does not match."""
    items = list(parsed)
    for number, (operator, argument) in enumerate(items):
        name, ends = str(operator), is_last and number == len(items) - 1
        is_loop = name in ("MAX_REPEAT", "MIN_REPEAT")
        if is_loop and int(argument[1]) == UNBOUNDED and not ends:
            yield argument
        is_apart = name in ("POSSESSIVE_REPEAT", "ATOMIC_GROUP", "ASSERT", "ASSERT_NOT")
        inner = [each for each in argument[1:] if each] if name == "GROUPREF_EXISTS" else inner_parts(name, argument)
        for each in inner:
            yield from retried(each, is_last=is_apart or (ends and not is_loop))


def test_no_repetition_without_bound_repeats_another() -> None:
    """Neither can be bounded nor possessive otherwise: ``(?:a+)+`` takes exponential time."""
    found = {text: list(nested(parser.parse(text, flags), inside=False)) for text, flags in PATTERNS}
    assert {text: repeated for text, repeated in found.items() if repeated} == {}
    assert list(nested(parser.parse("(?:a+)+"), inside=False))


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
            for short, long in texts(part, 512)
        ), text
