"""A search finds each text in each form, wherever it stands, and no other."""

import json

import pytest

from tests.support.leaks import Search, encodings

TEXTS = ["hunter2-4Zq", 'a "quoted" secret', "two words of it", "kürzer als", "a,b;c=d", "line\nbreak here"]
AROUND = ["{}", '{{"a": "{}"}}', "xyz{}xyz", '"a b"{}"a b"', "{} {}"]


@pytest.mark.parametrize("around", AROUND)
def test_each_form_of_a_text_is_found(around: str) -> None:
    """And a form that lacks its last character is not."""
    for text in TEXTS:
        for name, form in encodings(text).items():
            search, others = Search(TEXTS), " ".join(["something"] * 50)
            assert text in search.found((others + around.format(form, form)).encode()), (text, name)
            assert search.found((others + around.format(form[:-1] + "|", "")).encode()) == {}, (text, name)


def test_a_text_is_found_whatever_its_case() -> None:
    """Headers are lower-cased on their way."""
    assert Search(TEXTS).found(json.dumps(TEXTS).upper().encode()).keys() == set(TEXTS)
