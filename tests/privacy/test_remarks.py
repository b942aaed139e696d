"""Tests of what is said about a secret."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_otel.privacy import FILTERED, Policy
from brain_otel.privacy.remarks import is_class, is_placeholder, is_remark

POLICY = Policy()
REMARKS = (
    "This field is required.",
    "This field may not be blank.",
    "Ensure this field has at least 8 characters.",
    "can't be blank",
    "is too short (minimum is 8 characters)",
    "Field required",
    "String should have at least 8 characters",
    "must contain at least one uppercase letter, one digit and one special character",
    "The two password fields didn't match.".replace("didn't", "don't"),
    "This password is too common.",
    "This password is entirely numeric.",
    "Invalid token.",
    "Token has expired",
    "invalid_token",
    "too_short",
    "not_found",
    "required",
    "string",
    "Dieses Feld ist erforderlich.",
    "Ce champ est obligatoire.",
    "Este campo es obligatorio.",
)
SECRETS = (
    "correct horse battery staple",
    "my invalid cat",
    "required7",
    "this must be hunter",
    "token",
    "the password is hunter2",
    "Hunter",
)


@pytest.mark.parametrize("remark", REMARKS)
def test_what_a_validator_says_stays(remark: str) -> None:
    """In JSON, in values, in errors of Django, Rails, zod and pydantic."""
    assert is_remark(remark)
    values: list[Any] = [{"password": remark}, {"password": [remark]}, {"errors": {"token": [remark, "blank"]}}]
    values += [{"password": {"_errors": [remark]}}, {"api_key": {"message": remark, "code": 400}}]
    for value in values:
        assert POLICY.value(value) == value
        assert POLICY.text(str(value)) == str(value)
    text = f"{{'password2': [ErrorDetail(string={remark!r}, code='blank')]}}"
    assert POLICY.text(text) == text


@pytest.mark.parametrize("secret", SECRETS)
def test_a_passphrase_is_no_remark(secret: str) -> None:
    assert not is_remark(secret)
    for value in ({"password": secret}, {"password": [secret]}, {"password": {"message": secret}}):
        assert secret not in str(POLICY.value(value))
        assert secret not in POLICY.text(str(value)).replace("{'password'", "").replace("{'message'", "")


@given(st.lists(st.from_regex(r"[a-z]{3,8}", fullmatch=True), min_size=4, max_size=6).map(" ".join))
def test_random_words_are_masked(words: str) -> None:
    assert POLICY.value({"password": words}) == {"password": FILTERED}


def test_a_schema_stays_but_for_its_examples() -> None:
    schema = {"type": "string", "minLength": 8, "format": "password", "title": "Password"}
    assert POLICY.value({"properties": {"password": schema}}) == {"properties": {"password": schema}}
    assert POLICY.value({"token": {"$ref": "#/a/Token"}}) == {"token": {"$ref": "#/a/Token"}}
    shown = POLICY.value({"password": {**schema, "default": "zq7", "examples": ["zq8"], "enum": ["zq9"]}})
    assert "zq" not in str(shown)
    assert shown["password"]["type"] == "string"
    for other in ({"type": "zq7"}, {"type": "string", "value": "zq7"}, {"type": "string", "minLength": {"zq7": 1}}):
        assert "zq7" not in str(POLICY.value({"password": other}))
    for text in ('{"token": {"type": "string"}}', '{"api_key": {"$ref": "#/a/Key"}}', "{'token': 'string'}"):
        assert POLICY.text(text) == text
    for text in ('{"token": {"type": "string", "default": "zq7"}}', '{"token": {"type": "zq7"}}', '{"pin": ["zq7"]}'):
        assert "zq7" not in POLICY.text(text)


def test_a_class_and_a_placeholder_stay() -> None:
    assert all(map(is_class, ("SecretStr", "pydantic.SecretStr", "models.CharField(max_length=128)", "EmailStr")))
    assert not any(map(is_class, ("Hunter", "HunterTwo", "Field(hunter2x)", "hunter")))
    assert is_placeholder("$password", "password")
    assert is_placeholder("$DB_PASSWORD", "password")
    assert not is_placeholder("$ecret", "password")
    for text in ("password='${DB_PASSWORD}'", '{"token": "{{ vault_token }}"}', "api_key: '{key}'"):
        assert POLICY.text(text) == text
