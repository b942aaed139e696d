"""Tests of one-time codes in sentences."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_otel.privacy import FILTERED, Policy
from brain_otel.privacy.one_time_codes import mask_one_time_codes

POLICY = Policy()
FORMS = (
    "Your code is {}.",
    "your login code is: {}",
    "Your Ferry verification code: {}. Do not share it",
    "The code is {}",
    "sms: {} is your code",
    "{} is your Google verification code",
    "Use {} to sign in",
    "Enter the code {} to verify your account",
    "your one-time password is {}",
    "OTP: {}",
    "Dein Bestätigungscode lautet {}",
    "Ihr Sicherheitscode ist {}",
    "Votre code de vérification est {}",
    "Tu código de verificación es {}",
    "Seu código é {}",
    "Il tuo codice è {}",
    "Je code is {}",
)


@given(st.sampled_from(FORMS), st.from_regex(r"[0-9]{4,8}|[0-9]{3}[ -][0-9]{3}|[A-Z]-[0-9]{6}", fullmatch=True))
def test_a_code_for_the_reader_is_masked(form: str, code: str) -> None:
    assert code not in POLICY.text(form.format(code))
    assert POLICY.text(form.format(code)).startswith(form.partition("{}")[0])


@pytest.mark.parametrize(
    "text",
    [
        "exit code is 104512",
        "status code is 404, error code: 1045",
        "your order code is 918273",
        "your ZIP code is 80012",
        "Your Booking code is 918273",
        "your code is invalid",
        "your code has expired",
        "use 918273 to find the order",
        "order 918273 is your third",
        "918273 is the total",
        "code: 918273 rows",
        "le code postal est 80012",
        "Ihr Code ist falsch",
    ],
)
def test_another_number_stays(text: str) -> None:
    assert mask_one_time_codes(text) == text
    assert FILTERED not in POLICY.text(text)
