"""Tests of where the value of a name stands in a text: behind a dash, a bar, a gap, a type, a user, a preposition."""

import pytest

from brain_otel.privacy import FILTERED, Policy

POLICY = Policy()
SECRET = "Hun7er!x"

APART = """
password -- {}
password - {}
password — {}
password → {}
password :: {}
password ..... {}
password  {}
token\t{}
user\tanna\tpassword\t{}\tok
| password | {} |
│ password │ {} │
| API key | {} | 3 |
 password | {}
secret   = {}
-[ RECORD 1 ]-\npassword | {}
Key       Value\n---       -----\npassword  {}
""".strip().splitlines()

NAMED = """
mot de passe : {}
Mot de passe: {}
contraseña={}
clave secreta: {}
clave de acceso = {}
chave de API: {}
chiave segreta: {}
codice segreto: {}
parola d'ordine: {}
palavra-passe: {}
clé d'API : {}
API-Schlüssel: {}
Kennwort -- {}
Zugangscode: {}
geheime sleutel: {}
signed in with password {}
using the API key {}
Anmeldung mit Passwort {}
con la contraseña {}
password was changed to {}
set the password to {}
ALTER SYSTEM SET ssl_passphrase TO '{}'
SET app.token TO '{}'
SET LOCAL app.api_key TO "{}"
password: str = "{}"
api_key: str | None = '{}'
token: Optional[str] = b"{}"
const password: string = "{}"
password: SecretStr = SecretStr("{}")
[('deck', '3'), ('password\t', '{}')]
(('password\\t', '{}'))
["api_key", "{}"]
('password', '{}')
A_B=1\nMY_PASSWORD={} and more\nC=2
export MY_PASSWORD={} and more\nexport C=2
""".strip().splitlines()  # fmt: skip

HARMLESS = """
password - required
password -- must have 8 characters
token -- see below
token -- expired -- sign in again
session -- 12:30 -- hall B2
INFO - token - 2026-11-29 started
echo token | base64 -d
cat password | sha256sum
| password | required |
| token | expired | 3 |
| password | varchar(255) | NO |
Token       Type      Count
Password    Required
password\ttoken\temail
with password of 8 characters
using token type2
with session 42abc
sent the token to 'anna'
set the timeout to '30'
gave the password to 'anna'
SET app.deck TO '3'
mot de passe : obligatoire
clave: Berlin
code postal: 80012
password: SecretStr
password: str = Field(..., min_length=8)
password: models.CharField(max_length=128)
token: Optional[str] = None
api_key: str | None = os.environ.get(NAME)
signature: (deck: int, *, berth: str = 'A') -> Booking
("password", "required")
["password", "token"]
mutation { login(password: $password) { token } }
tokens: prompt=12 completion=7
private_key=/etc/ssl/private/a.key
openssl dgst -signature a.sig a.bin
sig=SIGTERM, sid: S-1-5-21-3623811015-1013
helm upgrade a --set auth.existingSecret=ferry-db
routing_key=orders.created
password_hashers=argon2 token_scopes=read
""".strip().splitlines()


@pytest.mark.parametrize("form", [each.replace("\\n", "\n").replace("\\t", "\t") for each in APART])
def test_a_value_that_is_set_apart_is_masked(form: str) -> None:
    assert POLICY.text(form.format(SECRET)) == form.format(FILTERED)


@pytest.mark.parametrize("form", [each.replace("\\n", "\n") for each in NAMED])
def test_a_value_of_a_longer_name_or_declaration_is_masked(form: str) -> None:
    assert SECRET not in POLICY.text(form.replace("{}", SECRET))
    assert form.partition("{}")[0] in POLICY.text(form.replace("{}", SECRET))


@pytest.mark.parametrize("text", [each.replace("\\t", "\t") for each in HARMLESS])
def test_what_resembles_such_a_value_stays(text: str) -> None:
    assert POLICY.text(text) == text


def test_words_that_are_a_key_are_masked() -> None:
    """Those of a wallet, and what stands beside a user; a sentence stays."""
    words = "abandon ability able about above absent absorb abstract absurd abuse access accident"
    assert POLICY.text(f"seed phrase: {words}") == f"seed phrase: {FILTERED}"
    assert POLICY.text(f"mnemonic: {words}.") == f"mnemonic: {FILTERED}."
    assert SECRET not in POLICY.text(f"credentials: anna / {SECRET}")
    assert POLICY.text("recovery phrase: to be entered by the user") == "recovery phrase: to be entered by the user"


def test_a_pair_is_a_name_and_its_value() -> None:
    """As an argument or a value; two names or words are none."""
    assert POLICY.value(("password", SECRET)) == ("password", FILTERED)
    assert POLICY.value({"args": ["api_key", SECRET]}) == {"args": ["api_key", FILTERED]}
    assert POLICY.value([("deck", "3"), ("password\t", SECRET)]) == [("deck", "3"), ("password\t", FILTERED)]
    for pair in (("password", "required"), ["password", "token"], ("deck", "A7"), ("token", "email", "id7")):
        assert POLICY.value(pair) == pair
