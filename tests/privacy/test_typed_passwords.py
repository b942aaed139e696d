"""Tests of passwords that stand behind their name without a sign, or have several words."""

import pytest

from brain_otel.privacy import FILTERED, Policy

POLICY = Policy()

MASKED = {
    "passwort hunter2": "passwort {}",
    "Password hunter2!": "Password {}",
    "the password hunter2 was rejected": "the password {} was rejected",
    "wachtwoord geheim12 geweigerd": "wachtwoord {} geweigerd",
    "contraseña caracola7": "contraseña {}",
    "parola d'ordine segreto99": "parola d'ordine {}",
    "password: correct horse battery1, user: ida": "password: {}, user: ida",
    '{"msg": "password: correct horse battery1"}': '{"msg": "password: {}"}',
    "kennwort: blauer himmel99; host: db": "kennwort: {}; host: db",
    "Das Passwort lautet Bello77": "Das Passwort lautet {}",
    "passwort ist hunter2": "passwort ist {}",
    "votre mot de passe est soleil99": "votre mot de passe est {}",
    "session cx7ih9wHyXwBluiSme0Mvi9J closed": "session {} closed",
    "signature cx7ih9wHyXwBluiSme0Mvi9J is wrong": "signature {} is wrong",
    'token "cx7ih9wHyXwBluiSme0Mvi9J" rejected': 'token "{}" rejected',
    "secret 'cx7ih9wHyXwBluiSme0Mvi9J' rejected": "secret '{}' rejected",
    "token cx7ih9wHyXwBluiSme0Mvi9J rejected": "token {} rejected",
    "api key 4f9aB27cDd81Xy03Qz rejected": "api key {} rejected",
}
KEPT = (
    "password field2 is required",
    "password sha256 mismatch",
    "password argon2id hash",
    "password step12 shown",
    "password 30days policy",
    "password django4.2 hasher",
    "password SEC-1234 reported",
    "password user123 not found",
    "password a/b1234 opened",
    "password: 12 characters at least1",
    "password: hashing with argon2id",
    "password: set by admin1 in the console",
    "password: one two three four five six seven eight nine10",
    "passwort regel7 verletzt",
    "das Passwort ist falsch",
    "session user-42-of-the-depot closed",
    "token 'shop-db-2026-11-production' missing",
    "session 9c5b94b1-35ad-49bb-b118-8e8fc24abf80 closed",
    "token: bucket refill every2",
    "token abc12345 expired",
    "key 9c5b94b1-35ad-49bb-b118-8e8fc24abf80 evicted",
    "secret shop-db-v2 rotated",
    "key stage2-Users-Table-Index1 missing",
)


@pytest.mark.parametrize("text", MASKED)
def test_a_typed_password_is_masked(text: str) -> None:
    assert POLICY.text(text) == MASKED[text].replace("{}", FILTERED)


@pytest.mark.parametrize("text", KEPT)
def test_words_about_a_password_stay(text: str) -> None:
    assert POLICY.text(text) == text
