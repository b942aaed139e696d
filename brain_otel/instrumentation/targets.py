"""Which servers get trace headers: ``distribution.brain_otel.propagation.targets``."""

import functools
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import urlsplit

from brain_otel.configuration.sections.propagation import DEFAULT_PORTS, Target
from brain_otel.sampling.client_calls import Call
from brain_otel.sampling.rules import pattern


class TargetMatcher:
    """Tells whether a server gets trace headers. A target matches a whole host."""

    def __init__(self, targets: Iterable[Target]) -> None:
        patterns = [tuple(map(pattern, each)) for each in targets]

        @functools.lru_cache(maxsize=1_024)
        def matches(scheme: str, host: str, port: str) -> bool:
            return any(
                all(part.fullmatch(value) for part, value in zip(each, (scheme, host, port), strict=True))
                for each in patterns
            )

        self._matches = matches

    def matches(self, scheme: str, names: Iterable[str], port: int | None) -> bool:
        """Whether a server matches that has these ``names``; both forms of an international name, for example."""
        number = str(port or DEFAULT_PORTS.get(scheme) or "")
        # The dot at the end of an absolute name is no part of the host.
        return any(self._matches(scheme, each.lower().removesuffix("."), number) for each in names)

    def matches_url(self, url: str) -> bool:
        """Whether the server of ``url`` matches; False if it names none."""
        try:
            parts = urlsplit(url)
            host, port = parts.hostname, parts.port
        except ValueError:  # the brackets of an address, or the port
            return False
        return bool(host) and self.matches(parts.scheme, _names(host or ""), port)

    def matches_call(self, call: Call) -> bool:
        """Whether the server that the span of a call names matches; False if it names none."""
        url = call.get("url.full") or call.get("http.url")
        if url:
            return self.matches_url(str(url))
        host = call.get("server.address") or call.get("net.peer.name")
        port = call.get("server.port") or call.get("net.peer.port")
        return bool(host) and self.matches(str(call.get("url.scheme") or ""), _names(str(host)), port)


def _names(host: str) -> set[str]:
    """Both forms of an international name."""
    names = {host}
    with suppress(UnicodeError):
        names.add(host.encode("ascii").decode("idna"))
    with suppress(UnicodeError):
        names.add(host.encode("idna").decode("ascii"))
    return names
