"""Tests of lines of Python's source."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_otel.privacy import FILTERED, Policy

POLICY = Policy()
NAMES = st.sampled_from(["password", "API_KEY", "self.client_secret", "auth_token", "settings.secret_key"])
QUOTES = st.sampled_from(['"{}"', "'{}'", '"""{}"""', "'''{}'''", 'f"{}{{x}}"', "b'{}'", 'rb"{}"', '"a" "{}"', '"{}'])
VALUES = st.text("zq19 ,;)(:=#", max_size=9).map("zq{}".format)
GIVING = (
    "{name} = {literal}",
    "    {name}: str = {literal}",
    "{name}: Annotated[str, Field(min_length=3)] = {literal}",
    "if {name} == {literal}",
    "assert {name} != {literal}",
    "connect(host, {last}={literal}",
    "{name} = SecretStr({literal}",
    "{name} = os.environ.get('X', {literal}",
    "{name} = x or {literal}",
    "{name} in ({literal}",
    "os.getenv('{last}', default={literal}",
    "monkeypatch.setenv('{last}', {literal}",
    "conf['{last}'] = {literal}",
    "x = {{'a': 1, '{last}': {literal}",
    "set_password({literal}",
)


@given(name=NAMES, value=VALUES, quotes=QUOTES, form=st.sampled_from(GIVING))
def test_no_text_that_a_line_gives_to_a_sensitive_name_stays(name: str, value: str, quotes: str, form: str) -> None:
    line = form.format(name=name, last=name.rpartition(".")[2], literal=quotes.format(value))
    assert "zq" not in POLICY.source(line)


@given(
    name=st.sampled_from(["town", "author", "token_type", "cache_key", "self.name"]), value=VALUES, quotes=QUOTES,
    form=st.sampled_from([each for each in GIVING if "Secret" not in each and "set_" not in each]),
)  # fmt: skip
def test_a_text_that_a_line_gives_to_another_name_stays(name: str, value: str, quotes: str, form: str) -> None:
    line = form.format(
        name=name, last=name.rpartition(".")[2], literal=quotes.format(value.replace("=", "").replace(":", ""))
    )
    assert POLICY.source(line) == line


@given(st.text("ab'\"\\=:()[]{},# fr\n", max_size=30))
def test_any_line_can_be_read(line: str) -> None:
    assert isinstance(POLICY.source(f"password = {line}"), str)
    assert POLICY.source(line.replace("'", "").replace('"', "")) == line.replace("'", "").replace('"', "")


@pytest.mark.parametrize(
    "line",
    [
        "    token = request.headers.get('authorization')",
        "    password = getpass.getpass('Password: ')",
        "    fields = ['password', 'email']",
        "    user.pop('password', None)",
        "    password: str = Field(alias='passWord', min_length=8)",
        "    token: Annotated[str, Header(alias='X-Token')]",
        "    secret = settings['secret_key']",
        "    headers['Authorization'] = f'Bearer {token}'",
        "    return {'token': token, 'kind': 'x'}",
        "    session = Session('shop')",
        "    auth = OAuth2PasswordBearer(tokenUrl='token')",
        "    assert user.password, 'no password'",
        "    Index('ix_token', 'user_id')",
        "    url = f'/reset?token={token}'",
        '    password = ""',
        '    """Check the password."""',
        "    assert response.json()['token_type'] == 'bearer'",
    ],
)
def test_a_line_without_a_secret_stays(line: str) -> None:
    assert POLICY.source(line) == line


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        ('if "zq" == password:', f'if "{FILTERED}" == password:'),
        ("login('joe', password='zq', town='Bern')", f"login('joe', password='{FILTERED}', town='Bern')"),
        ('connect("host=db password=zq user=x")', f'connect("host=db password={FILTERED} user=x")'),
        ("x = 1  # password: zq7", f"x = 1  # password: {FILTERED}"),
        ('user, password = "joe", "zq"', f'user, password = "{FILTERED}", "{FILTERED}"'),
        (
            'headers = [("X-Api-Key", "zq"), ("Accept", "a/b")]',
            f'headers = [("X-Api-Key", "{FILTERED}"), ("Accept", "a/b")]',
        ),
    ],
)
def test_lines_by_example(line: str, shown: str) -> None:
    assert POLICY.source(line) == shown


CALLS = (
    "token = jwt.encode({{'sub': 7}}, {}, algorithm='HS256')",
    "jwt.encode(p, key={})",
    "jwt.decode(token, {}, algorithms=['HS256'])",
    "hmac.new({}, body, hashlib.sha256)",
    "server.login('app@shop.test', {})",
    "bcrypt.hashpw({}, salt)",
    "pyotp.TOTP({}).now()",
    "AES.new({}, AES.MODE_GCM)",
    "page.fill('#password', {})",
    "page.fill('input[name=password]', {})",
    "page.locator('#api-key').fill({})",
    "page.get_by_label('Password').fill({})",
    "driver.find_element(By.ID, 'password').send_keys({})",
)
OTHER_CALLS = (
    "page.fill('#deck', {})",
    "page.locator('#email').fill({})",
    "driver.find_element(By.ID, 'town').send_keys({})",
    "json.encode(payload, {})",
    "page.wait_for('#password', {})",
    "find('token').count({})",
    "hmac.new(key, {}, hashlib.sha256)",
)


@pytest.mark.parametrize("form", CALLS)
def test_an_argument_that_is_a_secret_by_its_place_is_masked(form: str) -> None:
    """The page's field decides what is typed there."""
    assert POLICY.source(form.format("'zq7'")) == form.format("'[Filtered]'")


@pytest.mark.parametrize("form", OTHER_CALLS)
def test_another_argument_stays(form: str) -> None:
    assert POLICY.source(form.format("'zq7'")) == form.format("'zq7'")
