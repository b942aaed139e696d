"""Which events are one issue."""

from typing import Any

import pytest

from brain_otel.viewer.grouping import group_of, title_of

Json = dict[str, Any]


def raised(kind: str, value: str, *places: str, **more: Any) -> Json:
    """An event whose frames are `file:function`, with a `~` before a library's."""
    frames = [
        {"filename": place.strip("~").split(":")[0], "function": place.split(":")[1], "in_app": place[0] != "~"}
        for place in places
    ]
    return {"exception": {"values": [{"type": kind, "value": value, "stacktrace": {"frames": frames}}]}, **more}


APP = ("~lib/server.py:serve", "app/main.py:work")


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        (raised("KeyError", "'a'", *APP), raised("KeyError", "'b'", *APP), True),
        (raised("KeyError", "'a'", *APP), raised("ValueError", "'a'", *APP), False),
        (raised("KeyError", "'a'", *APP), raised("KeyError", "'a'", "app/main.py:rest"), False),
        (raised("KeyError", "'a'", *APP), raised("KeyError", "'a'", "~lib/other.py:run", "app/main.py:work"), True),
        (raised("E", "x", "a.py:f", "a.py:f", "a.py:f"), raised("E", "x", "a.py:f"), True),
        (raised("E", "order 1 failed"), raised("E", "order 22 failed"), True),
        (raised("E", "order failed"), raised("E", "payment failed"), False),
        (raised("E", "x", *APP, fingerprint=["mine"]), raised("F", "y", fingerprint=["mine"]), True),
        (raised("E", "x", *APP, fingerprint=["mine"]), raised("E", "x", *APP), False),
        (raised("E", "x", *APP, fingerprint=["{{ default }}"]), raised("E", "x", *APP), True),
        (raised("E", "x", *APP, fingerprint=["{{default}}", "eu"]), raised("E", "x", *APP), False),
        (
            raised("E", "x", *APP, fingerprint=["{{default}}", "eu"]),
            raised("F", "x", fingerprint=["{{ default }}", "eu"]),
            False,
        ),
        ({"message": "user 7 is gone"}, {"message": "user 9 is gone"}, True),
        ({"message": "user 7 is gone"}, {"message": "user 7 is back"}, False),
        (
            {"logentry": {"message": "took %s", "params": [1]}},
            {"logentry": {"message": "took %s", "formatted": "took x"}},
            True,
        ),
        ({"message": f"job {'0f' * 16} failed"}, {"message": f"job {'1e' * 16} failed"}, True),
        ({"message": "a"}, raised("E", "a"), False),
    ],
)
def test_events_are_one_issue(one: Json, other: Json, same: bool) -> None:
    """By fingerprint, else type and in-app frames, else the message's template."""
    assert (group_of(one) == group_of(other)) is same


@pytest.mark.parametrize(
    ("event", "title"),
    [
        (raised("KeyError", "'a'\nmore"), "KeyError: 'a'"),
        (raised("KeyError", ""), "KeyError"),
        ({"logentry": {"message": "took %s", "formatted": "took 3"}}, "took 3"),
        ({"message": {"formatted": "a"}}, "a"),
        ({"exception": {"values": "?"}, "message": None}, "(no message)"),
    ],
)
def test_an_event_has_a_title(event: Json, title: str) -> None:
    assert title_of(event) == title
