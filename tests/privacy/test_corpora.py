"""Tests of the policy with two corpora that its author has not written, and later cases, by the entry of their place.

Through a running application: :mod:`tests.privacy.test_planted_corpora`.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest

from brain_otel.privacy import Policy
from brain_otel.privacy.attributes import masked_attributes
from brain_otel.privacy.sql import sql_without_literals
from brain_otel.privacy.statements import redis_without_values
from brain_otel.runtime.safe_repr import plain, variables
from brain_otel.sentry.before_send import mask
from tests.privacy.corpora import (
    NAMED_PLACES,
    LookAlike,
    Secret,
    ferry,
    ferry_look_alikes,
    harbour,
    tram,
    tram_look_alikes,
)
from tests.privacy.corpora import look_alikes as harmless
from tests.privacy.corpora import secrets as planted
from tests.privacy.corpora.clinic import CLINIC
from tests.privacy.corpora.later import LATER_LOOK_ALIKES, LATER_SECRETS

POLICY = Policy()

_ATTRIBUTES = {place for place in NAMED_PLACES if place.endswith((" attribute", " metadata", " statement"))} | {
    "process.command_args"
}
_HEADERS = {place for place in NAMED_PLACES if place.endswith(" header")}


def _logged(given: tuple[Any, ...]) -> str:
    template, *arguments = given
    return str(template % (arguments[0] if isinstance(arguments[0], dict) else tuple(arguments)))


ENTRIES: dict[str, Callable[[Any], Any]] = {
    **dict.fromkeys(_ATTRIBUTES, lambda given: masked_attributes(POLICY, given)),
    **dict.fromkeys(_HEADERS, POLICY.headers),
    **dict.fromkeys(("query string", "doubly encoded query string"), POLICY.query),
    **dict.fromkeys(("url", "called url", "fragment", "path segment", "websocket query"), POLICY.url),
    **dict.fromkeys(("sql statement", "sql comment"), sql_without_literals),
    "log template": lambda given: POLICY.text(_logged(given)),
    "redis command": lambda given: redis_without_values(given.split(), POLICY.text),
    "traceback text": POLICY.stacktrace,
    "source line": POLICY.source,
    "local variable": lambda given: POLICY.value(variables(given)),
    "user": lambda given: mask({"user": given}, POLICY)["user"],
}
"""What masks a case, by its place; others are masked as a text, or as an event's plain data."""


def shown(case: Secret | LookAlike) -> Any:
    """What leaves of a case."""
    entry = ENTRIES.get(case.where)
    if entry is not None:
        return entry(case.text)
    return POLICY.text(case.text) if isinstance(case.text, str) else POLICY.value(plain(case.text))


def as_given(case: LookAlike) -> Any:
    if case.where == "log template":
        return _logged(case.text)
    return variables(case.text) if case.where == "local variable" else plain(case.text)


def omitted(cases: Any, removed: tuple[tuple[str, str], ...]) -> list[Any]:
    texts = {text for text, _ in removed}
    return [case for case in cases if str(case.text) not in texts]


def written(value: Any) -> str:
    return json.dumps(value, default=str)


def forms(value: Any) -> str:
    """A value in the forms in which it may be sent."""
    return f"{value!s}\n{value!r}\n{json.dumps(value, default=str, ensure_ascii=False)}"


SECRETS = [
    *omitted(planted.SECRETS, planted.REMOVED),
    *LATER_SECRETS,
    *CLINIC,
    *omitted(ferry.FERRY, ferry.REMOVED),
    *omitted(tram.TRAM, tram.REMOVED),
    *omitted(harbour.HARBOUR, harbour.REMOVED),
]
LOOK_ALIKES = [
    *omitted(harmless.LOOK_ALIKES, harmless.REMOVED),
    *LATER_LOOK_ALIKES,
    *omitted(ferry_look_alikes.FERRY_LOOK_ALIKES, ferry_look_alikes.REMOVED),
    *omitted(tram_look_alikes.TRAM_LOOK_ALIKES, tram_look_alikes.REMOVED),
    *omitted(harbour.HARBOUR_LOOK_ALIKES, harbour.REMOVED),
]


def kind_of(case: Secret | LookAlike) -> str:
    return case.kind if case in LATER_SECRETS else case.kind.partition(":")[0]


@pytest.mark.parametrize("kind", sorted(set(map(kind_of, SECRETS))))
def test_no_part_of_a_secret_stays(kind: str) -> None:
    sent = [(case, forms(shown(case))) for case in SECRETS if kind_of(case) == kind]
    assert [(case.where, part, text) for case, text in sent for part in case.parts if part in text] == []


@pytest.mark.parametrize("kind", sorted(set(map(kind_of, LOOK_ALIKES))))
def test_a_look_alike_stays(kind: str) -> None:
    sent = [(case, shown(case), as_given(case)) for case in LOOK_ALIKES if kind_of(case) == kind]
    changed = [(case.where, text, given) for case, text, given in sent if written(text) != written(given)]
    assert changed == []


def test_the_corpora_are_large_and_few_cases_are_left_out() -> None:
    """Each case that is left out has a reason, and is in the corpus."""
    assert len(SECRETS) >= 1100
    assert len({case.where for case in planted.SECRETS}) >= 40
    assert len(LOOK_ALIKES) >= 840
    secrets = [*planted.SECRETS, *ferry.FERRY, *tram.TRAM]
    look_alikes = [*harmless.LOOK_ALIKES, *ferry_look_alikes.FERRY_LOOK_ALIKES, *tram_look_alikes.TRAM_LOOK_ALIKES]
    known = {str(case.text) for case in secrets} | {str(case.text) for case in look_alikes}
    assert [
        text
        for text, reason in (*planted.REMOVED, *harmless.REMOVED, *ferry.REMOVED, *ferry_look_alikes.REMOVED)
        if text not in known or not reason
    ] == []
