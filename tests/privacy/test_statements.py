"""Tests of statements of Redis and of stores whose queries are JSON."""

import json

import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st
from redis.client import Pipeline

from brain_otel.privacy import Policy
from brain_otel.privacy.attributes import masked_attributes
from brain_otel.privacy.statements import json_without_values, redis_error_without_values, redis_without_values
from tests.support.tiers import searched

POLICY = Policy()
VALUES = st.text(min_size=1, max_size=20).map(lambda text: f"zq{text}zq")
COMMANDS = st.sampled_from(
    [("SET", "k"), ("HSET", "k"), ("LPUSH", "k"), ("SETEX", "k"), ("PUBLISH", "k"), ("AUTH",), ("EVAL",)]
)


@given(command=COMMANDS, values=st.lists(VALUES, min_size=1, max_size=4))
def test_no_value_of_a_command_stays(command: tuple[str, ...], values: list[str]) -> None:
    assert "zq" not in redis_without_values((*command, *values), str)
    statement = " ".join((*command, *values))
    shown = masked_attributes(POLICY, {"db.system": "redis", "db.statement": statement})["db.statement"]
    assert "zq" not in shown.lower()


@given(command=COMMANDS, values=st.lists(VALUES, min_size=1, max_size=4))
def test_no_value_in_an_error_of_a_pipeline_stays(command: tuple[str, ...], values: list[str]) -> None:
    """As redis-py writes it."""
    error = redis.ResponseError("WRONGTYPE Operation")
    Pipeline.annotate_exception(None, error, 1, (*command, *values))  # type: ignore[arg-type,no-untyped-call]  # reads no self
    shown = redis_error_without_values(str(error))
    assert "zq" not in shown.replace(str(error.args[0])[-30:], "")
    assert shown.endswith(") of pipeline caused error: WRONGTYPE Operation")


@given(keys=st.lists(st.from_regex(r"[a-z:]{1,9}", fullmatch=True), min_size=1, max_size=5))
def test_keys_and_commands_stay(keys: list[str]) -> None:
    text = "\n".join(f"GET {key}" for key in keys)
    assert masked_attributes(POLICY, {"db.system": "redis", "db.statement": text})["db.statement"] == text
    assert redis_error_without_values(f"no error of {text}") == f"no error of {text}"


QUERIES = st.recursive(
    VALUES | st.integers(10**6),
    lambda inner: st.lists(inner) | st.dictionaries(st.from_regex(r"[$a-m_]{1,9}", fullmatch=True), inner),
)


@searched(30, 100, query=st.dictionaries(st.sampled_from(["filter", "query", "email"]), QUERIES, min_size=1))
def test_no_value_of_a_query_in_json_stays(query: object) -> None:
    for text in (json.dumps(query), repr(query)):
        shown = json_without_values(text)
        assert "zq" not in shown
        assert not any(map(str.isdigit, shown))


@given(
    query=st.dictionaries(st.sampled_from(["filter", "query", "match_all"]), st.just({}) | st.just("?") | st.none())
)
def test_a_query_without_values_stays(query: object) -> None:
    assert json_without_values(json.dumps(query)) == json.dumps(query)


@pytest.mark.parametrize(
    ("system", "statement", "shown"),
    [
        ("mongodb", '{"find": "users", "filter": {"email": "zq"}}', '{"find": "users", "filter": {"email": ?}}'),
        ("mongodb", 'db.users.find({email: "zq", n: 5})', "db.users.find({email: ?, n: ?})"),
        ("elasticsearch", '{"query": {"match": {"a": "zq"}}}', '{"query": {"match": {"a": ?}}}'),
        ("", "{'selector': {'a': 'zq'}}", "{'selector': {'a': ?}}"),
        ("neo4j", 'MATCH (n:User {email: "zq"}) RETURN n', "MATCH (n:User {email: ?}) RETURN n"),
        ("memcached", "set key 0 0 5 zq", "SET key ? ? ? ?"),
        ("redis", "SET a line1\nzq zq2 zq3", "SET a ?"),
        ("redis", "SET k v\nget zq", "SET k ?"),
        ("redis", "GET ?\nSET ? ?", "GET ?\nSET ? ?"),
    ],
)
def test_statements_by_system(system: str, statement: str, shown: str) -> None:
    assert masked_attributes(POLICY, {"db.system": system, "db.statement": statement})["db.statement"] == shown


def test_the_arguments_of_an_unknown_command_are_masked() -> None:
    error = "unknown command 'FOO', with args beginning with: 'zq' 'zq' "
    assert POLICY.text(error) == "unknown command 'FOO', with args beginning with: ?"
