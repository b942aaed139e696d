"""Tests of values that documents give to sensitive names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_otel.privacy import Policy

POLICY = Policy()
FORMS = (
    "database:\n  {name}: |\n    {value}\n    {value}\n  host: db\n",
    "{name}: >-\n  {value}\n",
    "- name: {name}\n  value: {value}\n- name: LANG\n  value: C\n",
    "<a><b:{name} c='d'>{value}</b:{name}></a>",
    "<{name}><![CDATA[{value}]]></{name}>",
    '<add key="{name}" value="{value}" />',
    "<input type='text' name='{name}' value='{value}'>",
    '--x\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n--x--',
    "id,{name},town\n1,{value},Bern\n2,{value},Basel",
    "{{'{name}': {{'a': '{value}'}}}}",
    "{name}={value}",
    '{{"{name}": "{value}"}}',
    "&quot;{name}&quot;:&quot;{value}&quot;",
    "--{name} {value}",
)
SECRET_NAMES = st.sampled_from(["password", "api_key", "clientSecret", "DB_PASSWORD", "authtoken", "private-key"])
OTHER_NAMES = st.sampled_from(["town", "author", "token_type", "max_tokens", "has_password", "cookie_domain", "key"])
VALUES = st.from_regex(r"zq[a-z]{4,9}", fullmatch=True)


@given(
    form=st.sampled_from(FORMS), name=SECRET_NAMES, value=VALUES, before=st.sampled_from(["", "read:\n", "got\n\n"])
)
def test_no_value_of_a_sensitive_name_stays(form: str, name: str, value: str, before: str) -> None:
    text = form.format(name=name, value=value)
    assert value not in POLICY.text(text if "," in form.partition("\n")[0] else before + text)


@given(form=st.sampled_from(FORMS), name=OTHER_NAMES, value=VALUES)
def test_the_value_of_another_name_stays(form: str, name: str, value: str) -> None:
    text = form.format(name=name, value=value)
    assert POLICY.text(text) == text


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("machine a login b password zq\nmachine c", "machine a login b password [Filtered]\nmachine c"),
        ("app:$apr1$CXl4tHiW$dlr2Qmp3LI6XMfGG2ACQ2W", "app:[Filtered]"),
        ("$2b$12$abcdefghijklmnopqrstuvABCDEFGHIJKLMNOPQRSTUVWXYZ01234", "[Filtered]"),
        ("pbkdf2_sha256$600000$salt$aGFzaGhhc2hoYXNo", "[Filtered]"),
        ("kind: Secret\ndata:\n  a: enF6\ntype: x", "kind: Secret\ndata:\n  a: [Filtered]\ntype: x"),
        ("kind: ConfigMap\ndata:\n  a: enF6cQ==\n", None),
        ("password: ${DB_PASSWORD}", None),
        ("<label for='password'>Password</label>", None),
        ("id,tokens\n7,512", None),
        ("cost: $5,000 and $1$ more", None),
    ],
)  # fmt: skip
def test_documents_by_example(given: str, shown: str | None) -> None:
    assert POLICY.text(given) == (given if shown is None else shown)
