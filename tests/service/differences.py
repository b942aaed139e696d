"""Every permitted difference between what sentry-sdk's own integrations and brain_otel send about one request.

A place is `<kind>.<field>`; `*` stands for anything. ``uv run python -m tests.service.differences`` writes the table
into `docs/migrating.md`.
"""

from tests.support import ROOT
from tests.support.event_diff import ABSENT, Difference

PAGE = ROOT / "docs" / "migrating.md"
BEGIN, END = "<!-- differences -->\n", "<!-- /differences -->"

NAMES = "OpenTelemetry's attributes of the span; the old names stay where Sentry reads them"
MASKED = "Values are masked by the policy, and literals in SQL and Redis commands are never sent"
ONCE = "One failure is one event"
CALLER = "Addresses, cookies and bodies are sent with `SENTRY_SEND_DEFAULT_PII` alone"
LIBRARY = "OpenTelemetry's instrumentation made it"
NO_NEWS = "sentry-sdk sends the field without a value"
ROOT_THREAD = "The thread in which the request began, not that of its sync endpoint"
ENDED = "The span of the command has ended when its error leaves the request"
NESTED = "`start_transaction` inside of a request continues the request's trace"
CRUMB = "The names that Sentry documents for breadcrumbs"
HANDSHAKE = "A WebSocket has the status of its handshake"
OWN_TAGS = "sentry-sdk repeats data of a span in its tags, for compatibility"


def _same(places: str, native: str, ours: str, reason: str) -> tuple[Difference, ...]:
    return tuple(Difference(place, native, ours, reason) for place in places.split(", "))


PERMITTED: tuple[Difference, ...] = (
    # events
    *_same("error BrokenError", ABSENT, "sent", "A handler that answers with a 5xx has a failure to show"),
    *_same("message Failed: %s (%s)", "sent", ABSENT, f"{ONCE}: the log line has its event id"),
    *_same("error DeclinedError 2", "sent", ABSENT, f"{ONCE}, in a mounted app too"),
    # names
    *_same("*.transaction", "/*", "* /*", "A transaction's name begins with the method, on errors too"),
    *_same("*.transaction", "*http://*", "* /*", "An unmatched path is named without the host"),
    *_same("*.transaction", "/named", "nightly", "The name given to `set_transaction_name()` is kept"),
    *_same("transaction.transaction", "generic Starlette request", "GET /raw/*", "A mounted app's route is known"),
    *_same("transaction.transaction_info.source", "url", "route", "A path that a mounted app does not know"),
    *_same("*.transaction_info.source", "route", "task", "The source given to `set_transaction_name()` is kept"),
    *_same("*.contexts.trace.origin, span*.origin", "auto.*", "auto.*.otel.*", LIBRARY),
    *_same("error.exception.values[].mechanism.type", "starlette", "fastapi", "It names the framework"),
    # what a span is
    *_same("transaction.contexts.trace.data.*, span*.data.*", ABSENT, "*", NAMES),
    *_same("*.contexts.otel.resource.*", ABSENT, "*", "OpenTelemetry's resource"),
    *_same("span http.data.http.method, span http.data.url", "*", ABSENT, NAMES),
    *_same("span http.data.http.query, span http.data.http.fragment", "*", ABSENT, "`url.full` has it, masked"),
    *_same("span http.data.reason", "*", ABSENT, "It follows from the status code"),
    *_same("span*.data.db.driver.name", "*", ABSENT, NAMES),
    *_same("*.contexts.trace.op", "websocket.server", "websocket", "The op of Sentry's conventions"),
    *_same("span db.data.db.executemany", "True", ABSENT, NAMES),
    *_same("span redis.data.redis.commands.*", "*", ABSENT, "The description has the commands"),
    *_same("span*.same_process_as_parent", "True", ABSENT, "Sentry does not read it any more"),
    *_same("span*.status, transaction.contexts.trace.status", ABSENT, "ok", "What did not fail is `ok`"),
    *_same("span*.tags.*", "*", ABSENT, OWN_TAGS),
    *_same("span other", ABSENT, "*BackgroundTask*", "Background tasks are spans"),
    *_same("span redis", ABSENT, "db.redis: LPUSH*", "A failing command is a span too"),
    *_same("*.contexts.trace.data.thread.name", "AnyIO worker thread", "MainThread", ROOT_THREAD),
    *_same("*.contexts.trace.description", "*", ABSENT, "The span's own entry has it"),
    *_same("error.contexts.trace.data.http.response.status_code", "*", ABSENT, "The transaction has it"),
    *_same("error.contexts.trace.status", "ok", "internal_error", "What failed after its response is no success"),
    *_same("error.contexts.trace.status", ABSENT, "internal_error", "The exception has left the request"),
    *_same("error.contexts.trace.op", "db.redis", "http.server", ENDED),
    *_same("check_in.contexts.trace.*", "*", ABSENT, "Sentry reads the ids of a check-in alone"),
    # transactions inside of a request
    *_same("*.contexts.trace.trace_id", "an id", "the trace", NESTED),
    *_same("*.contexts.trace.parent_span_id", "None", "an id", NESTED),
    *_same("message.tags.kind", ABSENT, "nightly", "Events of a transaction have its tags"),
    # breadcrumbs
    *_same("*.breadcrumbs", "[]", ABSENT, NO_NEWS),
    *_same("*.breadcrumbs[].data", "{}", ABSENT, NO_NEWS),
    *_same("*.breadcrumbs[].type", "default", "query", "Sentry's type for statements"),
    *_same("*.breadcrumbs[].data.http.*", "*", ABSENT, CRUMB),
    *_same("*.breadcrumbs[].data.reason", "*", ABSENT, CRUMB),
    *_same("*.breadcrumbs[].data.method, *.breadcrumbs[].data.status_code", ABSENT, "*", CRUMB),
    *_same("*.breadcrumbs[].data.redis.is_cluster", "False", ABSENT, "Spans do not tell a cluster"),
    *_same("*.breadcrumbs[].data.redis.transaction", "True", ABSENT, "The message begins with `MULTI`"),
    *_same("*.breadcrumbs[].data.db.executemany", "True", ABSENT, "The statement is the same"),
    *_same("*.breadcrumbs[].level", ABSENT, "error", "A failed call shows as one"),
    *_same("error.breadcrumbs[].*", ABSENT, "*", "A call that was refused is part of the trail"),
    # privacy
    *_same("*.breadcrumbs[].message, span*.description", "*", "*?*", MASKED),
    *_same("*.breadcrumbs[].message, span redis.description", "* '*", "*", "Redis keys are shown without quotes"),
    *_same("*.query_string", "*token=abc*", "*token=[Filtered]*", MASKED),
    *_same("error.exception.values[].value", "*IntegrityError*", "*IntegrityError*", MASKED),
    *_same("*.vars.*", "*", "*", f"{CALLER}; {MASKED}"),
    *_same("transaction.request.data*", "*", ABSENT, CALLER),
    *_same("*._meta.*", "*", ABSENT, "Masks leave no remark of what they removed"),
    *_same("*.extra.sys.argv[]", "*", ABSENT, "Arguments of the command line may be secret"),
    *_same("*.extra", ABSENT, "{}", NO_NEWS),
    # requests
    *_same("transaction.tags.asgi.type", "*", ABSENT, "The op says it"),
    *_same("*.request.method", "None", "GET", "The handshake of a WebSocket is a GET"),
    *_same("*.request.headers.sec-websocket-key", "*", "*", "A random number of the client's"),
    *_same("transaction.tags.http.status_code, transaction.contexts.response.status_code", ABSENT, "*", HANDSHAKE),
)


def table() -> str:
    """The page's table: differences with one reason are one row."""
    rows: dict[tuple[str, str, str], list[str]] = {}
    for each in PERMITTED:
        rows.setdefault((each.native, each.ours, each.reason), []).append(f"`{each.place}`")
    lines = ["| field | sentry-sdk | brain_otel | why |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {', '.join(places)} | {_cell(native)} | {_cell(ours)} | {reason} |"
        for (native, ours, reason), places in rows.items()
    ]
    return "\n".join(lines) + "\n"


def _cell(pattern: str) -> str:
    return {ABSENT: ABSENT, "*": "any"}.get(pattern, f"`{pattern}`")


def main() -> None:
    """Write the table into the page."""
    before, rest = PAGE.read_text().split(BEGIN)
    _, after = rest.split(END)
    PAGE.write_text(before + BEGIN + table() + END + after)


if __name__ == "__main__":
    main()
