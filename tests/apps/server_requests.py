"""Requests for an app under contrib's middleware and under ours, as ASGI scopes."""

from collections.abc import Callable
from functools import partial
from typing import Any

Json = dict[str, Any]

HOST = [(b"host", b"shop.test")]
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT, UNSAMPLED = f"00-{TRACE}-{SPAN}-01", f"00-{TRACE}-{SPAN}-00"


def scope(path: str = "/items/7", method: str = "GET", headers: Any = HOST, **changes: Any) -> Json:
    made = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": method,
        "scheme": "http",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "root_path": "",
        "headers": list(headers),
        "client": ("10.0.0.9", 4711),
        "server": ("127.0.0.1", 8000),
        **changes,
    }
    return {name: value for name, value in made.items() if value is not LEFT_OUT}


LEFT_OUT = object()


def paths() -> dict[str, Callable[[], Json]]:
    plain = (
        "/items/7 /sub/items/7 /api/inner/items/7 /sub/nowhere /nowhere /status/200 /status/302 /status/404 "
        "/status/500 /status/599 /named-status /refused/403 /refused/422 /refused/503 /boom /boom-in-thread "
        "/stream/false /stream/true /background/false /background/true /no-body /context /sub/context"
    )
    found: dict[str, Callable[[], Json]] = {f"GET {path}": partial(scope, path) for path in plain.split()}
    for method, path in (
        ("POST", "/items/7"),
        ("POST", "/only-post"),
        ("HEAD", "/head"),
        ("HEAD", "/items/7"),
        ("BREW", "/items/7"),
        ("get", "/items/7"),
        ("QUERY", "/nowhere"),
    ):
        found[f"{method} {path}"] = partial(scope, path, method)
    return found


SCOPES: dict[str, Json] = {
    "query": {"query_string": b"a=1&b=%20c&token=secret"},
    "query as text": {"query_string": "a=1"},
    "ipv6 server": {"server": ("::1", 8000)},
    "port 80": {"server": ("shop", 80)},
    "port 443": {"server": ("shop", 443), "scheme": "https"},
    "no server": {"server": None},
    "server left out": {"server": LEFT_OUT},
    "no client": {"client": None},
    "client left out": {"client": LEFT_OUT},
    "client of a socket": {"client": ("", 0)},
    "http 2": {"http_version": "2"},
    "no version": {"http_version": LEFT_OUT},
    "root path": {"root_path": "/api", "path": "/api/items/7"},
    "unicode path": {"path": "/items/é"},
}

HEADERS: dict[str, list[tuple[bytes, bytes]]] = {
    "no headers": [],
    "browser": [(b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64) Firefox/140.0")],
    "bot": [(b"user-agent", b"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)")],
    "synthetic test": [(b"user-agent", b"AlwaysOn")],
    "two agents": [(b"user-agent", b"first"), (b"user-agent", b"second")],
    "empty agent": [(b"user-agent", b"")],
    "latin-1 agent": [(b"user-agent", "Café/1".encode("latin-1"))],
    "upper-case names": [(b"User-Agent", b"curl/8"), (b"Traceparent", PARENT.encode())],
    "latin-1 name": [(b"x-\xe9", b"1"), (b"user-agent", b"curl/8")],
    "traceparent": [(b"traceparent", PARENT.encode())],
    "traceparent, unsampled": [(b"traceparent", UNSAMPLED.encode())],
    "tracestate": [(b"traceparent", PARENT.encode()), (b"tracestate", b"a=1,b=2")],
    "tracestate twice": [(b"traceparent", PARENT.encode()), (b"tracestate", b"a=1"), (b"tracestate", b"b=2")],
    "tracestate alone": [(b"tracestate", b"a=1")],
    "random flag": [(b"traceparent", PARENT[:-2].encode() + b"03")],
    "traceparent, malformed": [(b"traceparent", b"00-zz-1-01")],
    "traceparent, zeroes": [(b"traceparent", f"00-{'0' * 32}-{SPAN}-01".encode())],
    "baggage": [(b"baggage", b"user=7,plan=gold")],
    "baggage, malformed": [(b"baggage", b"=,;;,a")],
    "baggage and traceparent": [(b"traceparent", PARENT.encode()), (b"baggage", b"user=7")],
    "sentry": [(b"sentry-trace", f"{TRACE}-{SPAN}-1".encode()), (b"baggage", b"sentry-sample_rand=0.25,a=b")],
    "sentry, unsampled": [(b"sentry-trace", f"{TRACE}-{SPAN}-0".encode())],
    "sentry, deferred": [(b"sentry-trace", f"{TRACE}-{SPAN}".encode())],
    "sentry, malformed": [(b"sentry-trace", b"nonsense")],
    "both, of one mind": [(b"traceparent", PARENT.encode()), (b"sentry-trace", f"{TRACE}-{SPAN}-1".encode())],
    "both, at odds": [(b"traceparent", PARENT.encode()), (b"sentry-trace", f"{TRACE}-{SPAN}-0".encode())],
    "both, two traces": [(b"traceparent", PARENT.encode()), (b"sentry-trace", f"{'a' * 32}-{SPAN}-1".encode())],
}


def usual() -> dict[str, Callable[[], Json]]:
    found = paths()
    for name, changes in SCOPES.items():
        found[name] = partial(scope, **changes)
    for name, headers in HEADERS.items():
        hosts = [] if name == "no headers" else HOST
        found[name] = partial(scope, "/context", headers=[*hosts, *headers])
    return found


def differing() -> dict[str, Callable[[], Json]]:
    return {
        "unix socket": lambda: scope(server=("/run/shop.sock", None)),
        "undecodable query": lambda: scope(query_string=b"a=\xff\xfe"),
    }


def unusual() -> dict[str, Callable[[], Json]]:
    headers = [*HOST, (b"x-shop", b"1"), (b"content-length", b"12")]
    found: dict[str, Callable[[], Json]] = {
        path: partial(scope, path, headers=headers, query_string=b"a=1")
        for path in ("/items/7", "/context", "/boom", "/nowhere", "/background/false", "/stream/true")
    }
    found["websocket"] = lambda: {
        **scope("/rooms/blue", type="websocket", scheme="ws", subprotocols=[]),
        "messages": [{"type": "websocket.connect"}],
    }
    return found
