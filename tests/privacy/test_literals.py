"""Tests of where a value in a text ends."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_otel.privacy import FILTERED, Policy
from brain_otel.privacy.literals import OPENING, bracket_end, opened, quote_end, unquoted_end

POLICY = Policy()
TEXTS = st.text("zq19 '\"\\}])({[,;&=:-", min_size=1, max_size=12)
NESTED = st.recursive(
    TEXTS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.just("a"), inner) | st.tuples(inner, inner)
)


@given(value=TEXTS, levels=st.integers(0, 3), after=st.sampled_from(["", ", 'b': \"c\"}", " it's"]))
def test_a_quoted_text_ends_at_its_own_quote(value: str, levels: int, after: str) -> None:
    """However often it is escaped, and whatever quotes and backslashes it holds."""
    text = json.dumps(value)
    for _ in range(levels):
        text = json.dumps(text)[1:-1]
    opening = OPENING.match(text)
    assert opening is not None
    end = quote_end(text + after, opening.end(), opened(opening.groups()))
    assert end + len(opening[0]) == len(text)


@given(value=NESTED.filter(lambda value: type(value) is not str), after=st.sampled_from(["", " b", ")]}", "'x']"]))
def test_a_bracket_ends_behind_quoted_brackets(value: object, after: str) -> None:
    for text in (repr(value), json.dumps(value)):
        assert bracket_end(text + after, 0) == len(text)


@given(value=NESTED, form=st.sampled_from(["{{'password': {0!r}}}", "password={0!r}, b=1", "Login(password={0!r})"]))
def test_no_part_of_a_repr_stays(value: object, form: str) -> None:
    shown = POLICY.text(form.format(value))
    assert "z" not in shown.replace(FILTERED, "")
    assert "q" not in shown.replace(FILTERED, "")


@given(
    value=st.from_regex(r"zq[a-z0-9]{2,6}([),;\]}>&.!'\"]zq[a-z0-9]{2,6}){0,3}", fullmatch=True),
    after=st.sampled_from(
        ["", " next", "\nb=c", ")", "), b", ", b", "; b", "' failed", '", "b"', "&b=c", ",b=c", "]}"]
    ),
)
def test_an_unquoted_value_ends_with_its_word(value: str, after: str) -> None:
    """A sign that closes or separates ends it only before a space, the end, or another pair."""
    assert unquoted_end(value + after, 0) == len(value)
    assert POLICY.text(f"password={value}{after}") == f"password={FILTERED}{after}"


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("password='it''s zq' b", f"password='{FILTERED}' b"),
        ('password="ab""zq" b', f'password="{FILTERED}" b'),
        ("User(password=SecretStr('zq'), id=3)", f"User(password={FILTERED}, id=3)"),
        ("token=Token(value='zq', kind='x') ok", f"token={FILTERED} ok"),
        ("credentials={'a': 'x}zq'} ok", f"credentials={FILTERED} ok"),
        ("auth=('joe', 'pa)zq', 3) failed", f"auth={FILTERED} failed"),
        ('{\\"password\\": \\"a\\\\\\"zq\\"}', f'{{\\"password\\": \\"{FILTERED}\\"}}'),
        ("password=a\\zq b", f"password={FILTERED} b"),
        ("pass=3,fail=0", None),
        ("(pass=3)", None),
        ("password=None, token=None", None),
        ("password=[REDACTED]", None),
        ("password: Optional[str] = None", None),
        ("f(password={self.password})", None),
    ],
)
def test_values_by_example(given: str, shown: str | None) -> None:
    assert POLICY.text(given) == (given if shown is None else shown)
