"""Tests of values whose names stand beside them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from brain_otel.privacy import FILTERED, Policy

POLICY = Policy()
MEMBERS = st.sampled_from(
    [
        ("name", "value"),
        ("Name", "Value"),
        ("NAME", "VALUE"),
        ("key", "value"),
        ("ParameterKey", "ParameterValue"),
        ("OptionName", "Value"),
        ("field", "newValue"),
        ("header", "value"),
    ]
)
SECRETS = st.sampled_from(["DbPassword", "/shop/db/password", "X-Api-Key", "CLIENT_SECRET", "auth-token"])
OTHERS = st.sampled_from(["Region", "DbHost", "author", "token_type", "cookie_domain"])
VALUES = st.from_regex(r"zq[a-z]{4,9}", fullmatch=True)
FORMS = (
    '{{"{label}": "{name}", "{member}": "{value}"}}',
    "[{{'a': 1}}, {{'{label}': '{name}', '{member}': '{value}'}}]",
    '{{"{member}": "{value}", "x": {{"y": 1}}, "{label}": "{name}"}}',
    '"{{\\"{label}\\": \\"{name}\\", \\"{member}\\": \\"{value}\\"}}"',
    "Item({label}='{name}', {member}='{value}')",
    "{label}={name} {member}={value}",
)
DOCUMENTS = (
    "<{label}>{name}</{label}><{member}>{value}</{member}>",
    "<property>\n  <{label}>{name}</{label}>\n  <{member}>{value}</{member}>\n</property>",
    "- {label}: {name}\n  {member}: {value}\n",
    "env:\n  - {member}: {value}\n    {label}: {name}\n",
)


@given(members=MEMBERS, name=SECRETS, value=VALUES, form=st.sampled_from(FORMS))
def test_no_value_beside_a_sensitive_name_stays(members: tuple[str, str], name: str, value: str, form: str) -> None:
    label, member = members
    assert value not in POLICY.text(form.format(label=label, member=member, name=name, value=value))
    assert POLICY.value({label: name, member: value}) == {label: name, member: FILTERED}


@given(members=MEMBERS, name=OTHERS, value=VALUES, form=st.sampled_from((*FORMS, *DOCUMENTS)))
def test_a_value_beside_another_name_stays(members: tuple[str, str], name: str, value: str, form: str) -> None:
    label, member = members
    text = form.format(label=label, member=member, name=name, value=value)
    assert POLICY.text(text) == text
    assert POLICY.value({label: name, member: value}) == {label: name, member: value}


@given(members=MEMBERS, name=SECRETS, value=VALUES, form=st.sampled_from(DOCUMENTS))
def test_no_value_in_a_document_stays(members: tuple[str, str], name: str, value: str, form: str) -> None:
    label, member = members
    assert value not in POLICY.text(form.format(label=label, member=member, name=name, value=value))


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("<key>password</key>\n<string>zq</string>", f"<key>password</key>\n<string>{FILTERED}</string>"),
        ('variable "db_password" {\n  default = "zq"\n}', f'variable "db_password" {{\n  default = "{FILTERED}"\n}}'),
        ('[{"name":"A_TOKEN","value":"zq"},{"name":"B","value":"c"}]', None),
        ('{"field": "password", "message": "too short"}', '{"field": "password", "message": "too short"}'),
        ('{"name": "password", "in": "query"}', '{"name": "password", "in": "query"}'),
    ],
)
def test_labels_by_example(given: str, shown: str | None) -> None:
    assert POLICY.text(given) == (given.replace('"zq"', f'"{FILTERED}"') if shown is None else shown)
