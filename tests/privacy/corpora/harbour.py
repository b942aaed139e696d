# ruff: noqa: E501  a line is a case
"""Secrets and look-alikes of a harbour's services, written by an attacker who knew the kinds that issue 15 names.

None of these forms stood in another corpus. :mod:`tests.privacy.corpora` explains how to read a case.
"""

from typing import Any

from tests.privacy.corpora import LookAlike, Secret
from tests.privacy.corpora.planting import planted

Cases = tuple[tuple[str, Any], ...]

_SECRETS: Cases = (
    ("exception message", "asyncpg.exceptions.DataError: invalid input for query argument $2 in element #4 of executemany() sequence: '«pass»' ('str' object cannot be interpreted as an integer)"),
    ("exception message", "psycopg.errors.InvalidTextRepresentation: invalid input syntax for type bigint: \"«pass»\"\nCONTEXT:  unnamed portal parameter $1 = '«pass»'"),
    ("exception message", "psycopg.errors.ExclusionViolation: conflicting key value violates exclusion constraint \"berths\"\nDETAIL:  Key (code, span)=(«pass», [2026-01-01,2026-02-01)) conflicts with existing key (code, span)=(«pass», [2026-01-02,2026-01-09))."),
    ("exception message", "(pymysql.err.ProgrammingError) (1064, \"You have an error in your SQL syntax; check the manual for the right syntax to use near 'kel' AND pin='«pass»'' at line 1\")"),
    ("exception message", "sqlite3.OperationalError: near \"«pass»\": syntax error"),
    ("exception message", "(1062, \"Duplicate entry 'ida-«pass»' for key 'pilots.badge'\")"),
    ("exception message", "pydantic_core._pydantic_core.ValidationError: 1 validation error for Berth\nbody.gate_password\n  String should have at least 12 characters [type=string_too_short, input_value='«pass»', input_type=str]"),
    ("exception message", "botocore.exceptions.ParamValidationError: Parameter validation failed:\nInvalid type for parameter MasterUserPassword, value: «pass», type: <class 'int'>, valid types: <class 'str'>"),
    ("exception message", "Enter passphrase for key '/srv/harbour/id_ed25519': «pass»"),
    ("exception message", "kinit: Password for crane@HARBOUR.EXAMPLE: «pass»"),
    ("exception message", "ftplib.error_perm: 530 Login incorrect for user crane pass «pass»"),
    ("log message", "crane logged in with credentials crane/«pass»"),
    ("log message", "sms otp «digits 6» was rejected for crane"),
    ("log message", "eingegebene PIN «digits 6» abgelehnt"),
    ("log message", "connecting to crane:«pass»@tcp(db:3306)/harbour?parseTime=true"),
    ("log message", "GET /callback?state=4&code=«url 40» 302"),
    ("log message", "redirect to https://harbour.example/oauth#access_token=«url 32»&expires_in=3600"),
    ("log message", "curl -sS -u crane:«pass» https://feed.harbour.example/tides"),
    ("log message", "sshpass -p «pass» ssh crane@gate"),
    ("log message", "mysqldump -ucrane -p«pass» harbour"),
    ("log message", "HARBOURDBPASSWORD=«pass» ./manage.py check"),
    ("log message", "env: GATESECRETKEY=«alnum 32» TZ=UTC"),
    ("log message", "docker login -u crane -p «pass» registry.harbour.example"),
    ("log message", "set-cookie: __Host-harbour_session=«url 40»; Path=/; Secure"),
    ("log message", "https://harbour.example/invite/«alnum 36»"),
    ("log message", "HTTP 401 for {'X-Vault-Token': 'hvs.«alnum 24»'}"),
    ("local variable", {"argv": ["crane", "--gate-password", "«pass»"]}),
    ("local variable", {"settings": {"smtp": {"host": "mail", "auth": ["crane", "«pass»"]}}}),
    ("local variable", {"gatewayauthtoken": "«alnum 28»"}),
    ("span attribute", {"harbour.clientsecret": "«alnum 32»"}),
    ("span attribute", {"process.command_args": ["crane", "--token=«alnum 24»"]}),
    ("json body", {"loginName": "ida", "userPassword": "«pass»"}),
    ("tag", {"RABBITMQ_DEFAULT_PASS": "«pass»"}),
    ("context", {"gate": {"ParameterKey": "GatePassword", "ParameterValue": "«pass»"}}),
    ("breadcrumb message", "PATCH https://crane:«pass»/9#x@feed.harbour.example/v1"),
    ("breadcrumb data", {"headers": {"Proxy-Authorization": "Basic «b64 24»"}}),
    ("exception note", "while signing in as crane with password '«pass»'"),
    ("xml element", "<configuration><setting name=\"GatePassword\" serializeAs=\"String\">\n  <value>«pass»</value>\n</setting></configuration>"),
    ("yaml block", "gate:\n  client_secret: |\n    «alnum 32»\n  port: 8080\n"),
    ("ini file", "[gate]\nuser = crane\npasswd = «pass»\n"),
    ("sql statement", "SELECT 1 FROM pilots WHERE badge LIKE'«pass»%' AND note = N'«pass»'"),
    ("sql comment", "SELECT id FROM berths /* asked by «pass» */ WHERE id = 7"),
    ("redis command", "AUTH crane «pass»"),
    ("thread name", "sync token=«alnum 24»"),
    ("query string", "berth=7&gate_pin=«digits 6»"),
    ("request header", {"X-Harbour-Api-Key": "«hex 32»"}),
    ("source line", "    gate = connect('crane', password=\"«pass»\")"),
)  # fmt: skip
_LOOK_ALIKES: Cases = (
    ("exception message", "asyncpg.exceptions.UndefinedColumnError: column \"gate_password\" does not exist"),
    ("exception message", "psycopg.errors.NotNullViolation: null value in column \"pin\" of relation \"pilots\" violates not-null constraint"),
    ("exception message", "password for crane: expired"),
    ("exception message", "passphrase for key is required"),
    ("exception message", "ValueError: invalid literal for int() with base 10: 'berth'"),
    ("exception message", "credentials provider chain exhausted"),
    ("exception message", "Invalid length for parameter GatePassword, value: 5, valid min length: 8"),
    ("exception message", "Invalid type for parameter Bucket, value: harbour-logs, type: <class 'list'>, valid types: <class 'str'>"),
    ("log message", "second pass over berth42 done"),
    ("log message", "boarding pass issued for pilot7"),
    ("log message", "pass config2026 to the crane"),
    ("log message", "gpio pin 1042 went high"),
    ("log message", "PIN 560001 Bengaluru"),
    ("log message", "container MSKU 907032-3 left at gate 12"),
    ("log message", "IMO 9321483, MMSI 219018271, draught 14.5 m"),
    ("log message", "seal 4539148803436467 checked"),
    ("log message", "tokens: 512, cookies=2, pass=3 fail=0"),
    ("log message", "ship 3fa85f64-5717-4562-b3fc-2c963f66afa6 moored"),
    ("log message", "commit 9fceb02d0ae598e95dc970b74767f19372d61af8 deployed"),
    ("log message", "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08 pulled"),
    ("log message", "order 4000123412341234 weighs 22 t"),
    ("log message", "call +49 40 3770 2900, extension 12"),
    ("log message", "password protected zip skipped"),
    ("log message", "auth_time=1753 session_replay=off cookie_domain=harbour.example"),
    ("log message", "ISBN 978-3-16-148410-0, ISSN 2049-3630"),
    ("log message", "unlock code path is dead, exit code 137"),
    ("log message", "login form rendered in 12 ms"),
    ("log message", "git clone ssh://git@code.harbour.example/crane.git"),
    ("log message", "cron 0 4 * * * rotates keys"),
    ("log message", "selected from the list 'berths' where 'north' is first"),
    ("local variable", {"token_ids": [101, 2054, 102], "sig_level": 0.05}),
    ("local variable", {"password_policy": "min 12 characters", "max_tokens": 512}),
    ("local variable", {"passengers": 42, "compass": "NNW", "keyboard": "de"}),
    ("span attribute", {"harbour.author": "crane", "harbour.monkey": "7"}),
    ("span attribute", {"harbour.berth": "N-42", "harbour.draught": 14.5}),
    ("json body", {"stowage": "B12", "pinned": True, "secretary": "ida"}),
    ("tag", {"tide": "spring", "cookie_policy": "strict"}),
    ("context", {"gate": {"name": "north", "value": "open"}}),
    ("breadcrumb message", "GET https://feed.harbour.example/tides?station=42&page=2 [200]"),
    ("breadcrumb data", {"key": "berth:42", "ttl": 60}),
    ("exception note", "while mooring at berth 42"),
    ("xml element", "<setting name=\"Theme\"><value>dark42</value></setting>"),
    ("yaml block", "gate:\n  replicas: 3\n  image: harbour/gate:1.42.0\n"),
    ("ini file", "[gate]\nport = 8080\ntimeout = 30\n"),
    ("thread name", "pass-planner-2"),
    ("query string", "berth=42&state=open&code=404"),
    ("source line", "    assert token == expected_token"),
)  # fmt: skip

HARBOUR: tuple[Secret, ...] = tuple(planted("harbour", where, value) for where, value in _SECRETS)
"""What must not leave."""

HARBOUR_LOOK_ALIKES: tuple[LookAlike, ...] = tuple(LookAlike("harbour", text, where) for where, text in _LOOK_ALIKES)
"""What it is to see."""

REMOVED: tuple[tuple[str, str], ...] = ()
"""Cases that were wrong: the text, and why it is no secret, or may be masked after all."""
