"""Tests of reading values by the fields of a settings class."""

from typing import Annotated, Any, Literal, NamedTuple

import pytest

from brain_otel.configuration.options import Options
from brain_otel.configuration.settings import Settings
from brain_otel.configuration.values import (
    BadValueError,
    Derived,
    boolean,
    choice,
    list_of,
    mapping_of,
    number,
    read_fields,
)


class Inner(NamedTuple):
    deep: Annotated[int, number(1, 9, whole=True)] = 5


class Outer(NamedTuple):
    source: Derived[str] = "code"
    flag: bool = False
    word: Literal["thread", "off"] = "thread"
    inner: Inner | None = None
    rates: Annotated[tuple[float, ...], list_of(number(0, 1), "a list of rates")] = ()
    named: Annotated[dict[str, float], mapping_of(number(above=0), "a mapping to numbers")] = {}  # noqa: RUF012


def test_each_field_is_read_by_its_type_or_its_annotation() -> None:
    """A boolean word, a choice, a settings class, a list, a mapping; a number may be text."""
    given = {"flag": "Yes", "word": "off", "inner": {"deep": "7"}, "rates": [0, "0.5"], "named": {"a": 2}}
    assert Outer(**read_fields(Outer, given)) == Outer(
        flag=True, word="off", inner=Inner(deep=7), rates=(0.0, 0.5), named={"a": 2.0}
    )


def test_a_key_without_a_value_leaves_the_default() -> None:
    """As if the key were not there."""
    assert read_fields(Outer, dict.fromkeys(["flag", "word", "inner", "rates", "named"])) == {}


@pytest.mark.parametrize(
    ("given", "path", "value", "allowed"),
    [
        ([], (), [], "a mapping with flag, word, inner, rates, named"),
        ({"source": "file"}, ("source",), "file", "the keys flag, word, inner, rates, named"),
        ({"flag": "perhaps"}, ("flag",), "perhaps", "true, yes, on, 1, false, no, off, 0"),
        ({"word": "process"}, ("word",), "process", "thread, off"),
        ({"inner": {"deep": 10}}, ("inner", "deep"), 10, "a whole number from 1 to 9"),
        ({"inner": {"depth": 1}}, ("inner", "depth"), 1, "the keys deep"),
        ({"rates": [1, 2]}, ("rates", 1), 2, "a number from 0 to 1"),
        ({"rates": 1}, ("rates",), 1, "a list of rates"),
        ({"named": {"a": 1, 2: 0}}, ("named", "2"), 0, "a number above 0"),
        ({"named": [1]}, ("named",), [1], "a mapping to numbers"),
    ],
)
def test_an_error_has_the_path_the_value_and_what_is_allowed(
    given: Any, path: tuple[str | int, ...], value: Any, allowed: str
) -> None:
    """Also of a value deep inside, and of a field that the file cannot give."""
    with pytest.raises(BadValueError) as rejected:
        read_fields(Outer, given)
    assert (rejected.value.path, rejected.value.value, rejected.value.allowed) == (path, value, allowed)


@pytest.mark.parametrize("value", [True, None, "", "one", "0x1", [1], {}, float("nan"), "inf", 10**400, -1, 1.5])
def test_a_number_is_finite_and_within_its_bounds(value: Any) -> None:
    """An integer too large for a float is rejected like any other."""
    with pytest.raises(BadValueError):
        number(0, 1_000, whole=True)(value)


@pytest.mark.parametrize(
    ("reader", "allowed"),
    [
        (number(0, 0.5), "a number from 0 to 0.5"),
        (number(1, 9, whole=True, unit="bytes"), "a whole number of bytes from 1 to 9"),
        (number(above=0, high=3_600, unit="seconds"), "a number of seconds above 0, up to 3600"),
    ],
)
def test_the_bounds_of_a_number_make_its_text(reader: Any, allowed: str) -> None:
    """They stand once."""
    with pytest.raises(BadValueError, match=f"^{allowed}$"):
        reader("x")


def test_a_number_without_an_upper_bound_has_one() -> None:
    """So that no sum or product of settings overflows."""
    assert number(above=0)(1_000_000_000) == 1e9
    with pytest.raises(BadValueError):
        number(above=0)(1_000_000_001)


def test_false_is_the_word_off_where_that_is_a_choice() -> None:
    """YAML reads an unquoted `off` as false."""
    assert choice(("on", "off"))(False) == "off"
    with pytest.raises(BadValueError, match=r"^on$"):
        choice(("on",))(False)


def test_options_of_destinations_are_read_the_same_way() -> None:
    """An option and a field of our block take the same values."""
    options = Options({"flag": " ON ", "count": "7", "share": "0.5", "word": "b", "empty": ""})
    assert options.boolean("flag", False) is boolean("on") is True
    assert (options.integer("count", 1, 0, 9), options.number("share", 0, 0, 1)) == (7, 0.5)
    assert options.choice("word", ("a", "b"), "a") == "b"
    assert options.number("empty", 3, 0, 9) == 3


def test_the_keys_of_our_block_are_the_fields_that_are_not_derived() -> None:
    """In the order in which an error lists them."""
    with pytest.raises(BadValueError) as rejected:
        read_fields(Settings, {"environment": "production"})
    assert rejected.value.allowed == (
        "the keys sentry, instrumentation, errors, privacy, propagation, sampling, delivery, fast_paths, script, "
        "freeze_gc"
    )
