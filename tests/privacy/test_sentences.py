"""Tests of secrets that a sentence tells, with other words between the name and the value."""

import pytest

from brain_otel.privacy import FILTERED, Policy

POLICY = Policy()

MASKED = {
    "Password for ida: kettle77": "Password for ida: {}",
    "[sudo] password for ida: kettle77": "[sudo] password for ida: {}",
    "Enter passphrase for key '/home/ida/.ssh/id_ed25519': kettle77": (
        "Enter passphrase for key '/home/ida/.ssh/id_ed25519': {}"
    ),
    "Password for 'https://ida@git.shop.test': kettle77, then": "Password for 'https://ida@git.shop.test': {}, then",
    "Passwort für Benutzer ida: kettle77": "Passwort für Benutzer ida: {}",
    "mot de passe pour ida: kettle77": "mot de passe pour ida: {}",
    "password for role shop: correct horse battery1": "password for role shop: {}",
    "pass hunter2": "pass {}",
    "login with pass hunter2 failed": "login with pass {} failed",
    "user ida pass kettle77, host db": "user ida pass {}, host db",
    "pw hunter2": "pw {}",
    "pw kettle77 abgelehnt": "pw {} abgelehnt",
    "credentials ida kettle77": "credentials ida {}",
    "credentials were ida / kettle77": "credentials were ida / {}",
    "creds ida:kettle77 rejected": "creds ida:{} rejected",
    "Invalid length for parameter Password, value: kettle": "Invalid length for parameter Password, value: {}",
    "Invalid type for parameter SecretString, value: a b, type: <class 'int'>, valid types: <class 'str'>": (
        "Invalid type for parameter SecretString, value: {}, type: <class 'int'>, valid types: <class 'str'>"
    ),
    "PIN 482917 abgelehnt": "PIN {} abgelehnt",
    "otp 482917 rejected": "otp {} rejected",
    "wrong pin 4829": "wrong pin {}",
    "CVV 737 was declined": "CVV {} was declined",
    "the mfa code 482 917 has expired": "the mfa code {} has expired",
    '<setting name="Password" serializeAs="String">\n  <value>x</value>\n</setting>': (
        '<setting name="Password" serializeAs="String">\n  <value>{}</value>\n</setting>'
    ),
    '<data name="ApiKey" xml:space="preserve"><value>kettle</value></data>': (
        '<data name="ApiKey" xml:space="preserve"><value>{}</value></data>'
    ),
}
KEPT = (
    "Password for ida: required",
    "password for user 7: 3 attempts left",
    "Password for ida: ",
    "password for ida: ${DB_PASSWORD}",
    "PIN for terminal: unknown",
    "pass the test",
    "pass user4242 through",
    "to pass config42 on",
    "second pass kernels12 done",
    "pass test42",
    "pass sha256",
    "pw field2",
    "credentials for ida",
    "credentials provider oauth2client missing",
    "credentials of ida expired",
    "credentials file config2024",
    "Invalid length for parameter Password, value: 5, valid min length: 8",
    "Invalid type for parameter Bucket, value: kettle77, type: <class 'int'>",
    "pin 4 of the chip",
    "gpio pin 4829 toggled",
    "Bengaluru, PIN 560001",
    "otp 26.2 was used",
    "order 482917 rejected",
    "password reset email",
    "password protected1 zip",
    "password oauth2 grant",
    '<setting name="Theme"><value>dark77</value></setting>',
    '<setting name="Password"><value></value></setting>',
    '<data name="PasswordHint"><note>kettle77</note></data>',
)


@pytest.mark.parametrize("text", MASKED)
def test_a_secret_in_a_sentence_is_masked(text: str) -> None:
    assert POLICY.text(text) == MASKED[text].replace("{}", FILTERED)


@pytest.mark.parametrize("text", KEPT)
def test_other_sentences_stay(text: str) -> None:
    assert POLICY.text(text) == text
