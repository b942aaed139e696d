"""A cut leaves no part of a word, and says how much is missing."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_otel.runtime.text import beginning, encodable, shortened

WORDS = "one two,three;four 'five' "


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("short", 5, "short"),
        ("one two", 5, "one "),
        ("one two", 3, "one"[:3]),
        ("one,two", 6, "one,"),
        ('{"a":"postgresql://app:hunter2@db"}', 30, '{"a":"'),
        ("x" * 9_000, 8_000, "x" * 8_000),
        ("a " + "x" * 9_000, 8_000, "a " + "x" * 7_998),
    ],
)
def test_the_beginning_of_a_text(text: str, limit: int, expected: str) -> None:
    """A torn word is left out, unless the text is hardly more than that word."""
    assert beginning(text, limit) == expected


@pytest.mark.parametrize("gap", [" ", "\n"])
def test_no_part_of_a_line_stays_after_the_cut(gap: str) -> None:
    """Wherever the cuts fall: the value of a name is known by the name before it."""
    filler = f"word{gap}" * 1_000
    for position in range(0, 900, 7):
        text = f"{filler[: 4_100 + position]}\npassword = 'correct horse battery staple'\n{filler}{filler}"
        for limit in (8_200, 8_800, 2 * (len(text) - 4_400 - position)):
            cut = shortened(text, limit)
            end = cut.partition("left out ...")[2]
            assert ("battery" in end) == ("password" in end), (position, limit)
        assert len(cut) <= limit + 60


@given(
    st.lists(st.sampled_from(["a", "bb", " ", "\n", "é", WORDS, "=", "x" * 50]), max_size=200), st.integers(40, 3_000)
)
def test_a_shortened_text_adds_up(parts: list[str], limit: int) -> None:
    """Both ends are the text's own, and the number is the length of what is between them."""
    text = "".join(parts)
    cut = shortened(text, limit)
    if len(text) <= limit:
        assert cut is text
        return
    begin, _, rest = cut.partition(" ... ")
    count, _, end = rest.partition(" characters left out ...")
    assert text.startswith(begin)
    assert text.endswith(end)
    assert not end or end[0] == "\n"
    assert len(begin) + len(end) + int(count) == len(text)
    assert len(cut) <= limit + 40


def test_a_text_of_one_line_keeps_its_beginning() -> None:
    """The end of a line may be the end of a secret; that of a traceback is its message."""
    assert encodable("eyJ" + "x" * 100_000) == "eyJ" + "x" * 32_765 + " ... 67235 characters left out ..."
    trace = encodable("Traceback\n" + "  File 'a.py'\n" * 10_000 + "ValueError: 7\n")
    assert trace.startswith("Traceback\n  File 'a.py'\n")
    assert trace.endswith("  File 'a.py'\nValueError: 7\n")
