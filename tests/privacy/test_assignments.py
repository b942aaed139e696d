"""Tests of values that a text gives to a sensitive name."""

import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_otel.privacy import FILTERED, Policy
from brain_otel.privacy.names import create_text_check, is_sensitive

POLICY = Policy()
NAMES = st.sampled_from(["password", "API_KEY", "clientSecret", "db.token", "x" * 300 + "_password", "creds"])
VALUES = st.text(string.ascii_letters + string.digits + "!#$%^*_+-./|~", min_size=4, max_size=400).map("zq7{}".format)
BEFORE = st.sampled_from(["", "login failed, ", "a: b, ", "\n", "it's ", "(", "{", "[", "a=1&", "--x y "])
FORMS = (
    "{name}={value}",
    "{name} = '{value}'",
    "{name}: {value}",
    '"{name}": "{value}"',
    "{name} := {value}",
    "{name} => '{value}'",
    "{name}:\n  {value}\n",
    "{name}:\n  - {value}\n  - {value}\n",
    "{name}=\\\n{value}",
    "'{name}':\n    '{value}'",
    "--{name} {value}",
    "--{name}\n{value}",
    "{name}{spaces}= {value}",
)


@given(name=NAMES, value=VALUES, form=st.sampled_from(FORMS), before=BEFORE)
def test_no_value_of_a_sensitive_name_stays(name: str, value: str, form: str, before: str) -> None:
    shown = POLICY.text(before + form.format(name=name, value=value, spaces=" " * 100))
    assert "zq7" not in shown


WORDS = st.sampled_from(["expired", "too_short", "not-found", "Required", "invalid_grant", "missing", "null", "%s"])


@given(name=NAMES, word=WORDS, form=st.sampled_from(["{name}: {word}", "{name}:\n  {word}", "{name}: {word}, b"]))
def test_a_word_about_a_name_stays(name: str, word: str, form: str) -> None:
    text = form.format(name=name, word=word)
    assert POLICY.text(text) == text


@given(
    name=st.sampled_from(["town", "author", "cache_key", "monkey", "secret_name", "access_key_id", "token_issuer"]),
    value=VALUES,
    form=st.sampled_from(FORMS),
)
def test_the_value_of_another_name_stays(name: str, value: str, form: str) -> None:
    text = form.format(name=name, value=value.replace("/", "").replace("$", "")[:12], spaces=" ")
    assert POLICY.text(text) == text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("API key: zq77abc", f"API key: {FILTERED}"),
        ("verification code: 839201", f"verification code: {FILTERED}"),
        ("Secret access key: zq77abc", f"Secret access key: {FILTERED}"),
        ("your one-time code is zq8392", f"your one-time code is {FILTERED}"),
        ("password changed to zq77abc", f"password changed to {FILTERED}"),
        ("connect with password 'zq77'", f"connect with password '{FILTERED}'"),
        ('{"kind": "Secret", "data": {"a": "zq"}}', f'{{"kind": "Secret", "data": {FILTERED}}}'),
        ("tokens:\n  - zq77\n  - zq78\nx: y", f"tokens:\n  - {FILTERED}\nx: y"),
        ("secret_id=9c5b94b1-35ad-49bb-b118-8e8fc24abf80", f"secret_id={FILTERED}"),
        ("secret_id=shop/db", None),
        ("routing_key: 9c5b94b135ad49bbb1188e8fc24abf80", f"routing_key: {FILTERED}"),
        ("routing_key: orders.created", None),
        ("status code: 404", None),
        ("Primary key: id7", None),
        ('secret "shop-db" not found', None),
        ("unexpected token 'x'", None),
        ("password:\n  secretKeyRef:\n    name: x", None),
        ("usage: tool [--password PASSWORD]", None),
        ("session:42:cart", None),
        ("auth:login:ok", None),
        ("Cookie: none", None),
        ("tokens: 512/4096", None),
    ],
)
def test_assignments_by_example(given: str, shown: str | None) -> None:
    assert POLICY.text(given) == (given if shown is None else shown)


SENSITIVE = """
authorization bearer pwd db_pw passcode jwt creds credential dsn connection_string connectionString clientsecret
PGPASSWORD authtoken passphrase passwd cookies api_key private-key fernet_keys cookie csrf xsrf remember_me wpa_psk
session sid PHPSESSID jsessionid signature sig otp totp pin ssn social_security security_code security_answer
captcha_response requirepass masterauth card_number pan_number cvv cvc2 cvn mnemonic saml_response seed_phrase
recovery_words code_verifier client_assertion magic_link backup_code passwort kennwort contrasena senha wachtwoord
mot_de_passe
clave_secreta chiave_privata codice_di_sicurezza mdp toegangscode hmac_sha256
parola heslo haslo adgangskode salasana пароль 密码 smtp_pass password_hash rootpw
"""


@pytest.mark.parametrize("name", SENSITIVE.split())
def test_a_text_with_a_sensitive_name_is_looked_at(name: str) -> None:
    """A quick look tells whether a text may hold one."""
    assert is_sensitive(name)
    assert create_text_check()(f"a {name}=b")
    assert POLICY.text(f"a {name}=zq77!x") == f"a {name}={FILTERED}"


def test_a_quick_look_knows_names_of_the_settings() -> None:
    assert not create_text_check()("a patient=b")
    assert create_text_check(["Patient-Number"])("a patient.number=b")
