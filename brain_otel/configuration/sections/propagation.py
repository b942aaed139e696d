"""``distribution.brain_otel.propagation``: whose trace headers are continued, and which hosts get ours."""

from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import Annotated, Any

from brain_otel.configuration.sections.sentry import Secret
from brain_otel.configuration.values import BadValueError, Reader, list_of, read_fields, read_item, text
from brain_otel.runtime.lazy_regex import expression
from brain_otel.runtime.named_tuple import NamedTuple

_HEADER_NAME = expression(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
_TARGET = expression(
    r"(?:(?P<scheme>[a-z*]++)://)?(?:\[(?P<address>[0-9a-f:.]++)\]|(?P<host>[\w.*-]++))(?::(?P<port>[0-9]{1,5}|\*))?"
)

DEFAULT_PORTS = {"http": 80, "https": 443}

_CALLERS_ALLOWED = (
    "all, none, networks such as 10.0.0.0/8 separated by commas, or a list of networks and of header: {name, value}"
)
_TARGETS_ALLOWED = "all, none, or a list of hosts such as api.internal, *.internal and https://api.example:8443"


def _header_value(value: Any) -> Secret:
    if not isinstance(value, str) or not value.isascii() or not value.isprintable() or value.strip() != value:
        raise BadValueError(value, "text in quotes, of printable ASCII characters")
    if not value:
        raise BadValueError(value, "a value that only trusted callers know")
    return Secret(value)


class TrustedHeader(NamedTuple):
    """A header that only trusted callers send."""

    name: Annotated[str, text(lambda name: _HEADER_NAME.fullmatch(name), "a header's name such as x-internal")]
    value: Annotated[Secret, _header_value]


Network = IPv4Network | IPv6Network
Caller = Network | TrustedHeader


class Target(NamedTuple):
    """Hosts that get trace headers; in each field ``*`` stands for anything."""

    scheme: str
    host: str
    port: str


def _header(given: Any) -> TrustedHeader:
    values = read_fields(TrustedHeader, given)
    for name in TrustedHeader._fields:
        if name not in values:
            raise BadValueError(None, "text", name)
    return TrustedHeader(name=values["name"].lower(), value=values["value"])


def _caller(given: Any) -> Caller:
    if isinstance(given, dict) and given.keys() == {"header"}:
        header: TrustedHeader = read_item("header", given["header"], _header)
        return header
    try:
        network = ip_network(given.strip())
        if network.version == 6 and network.prefixlen >= 96 and network.network_address.ipv4_mapped is not None:
            return ip_network((network.network_address.ipv4_mapped, network.prefixlen - 96))
        return network
    except (AttributeError, ValueError):
        raise BadValueError(given, "a network such as 10.0.0.0/8 or fd00::/8, or header: {name, value}") from None


def _some(read_one: Reader, allowed: str) -> Reader:
    """Read a list of what ``read_one`` reads: None for ``all`` or an unset variable, nothing for ``none``.

    A variable gives the list as text with commas.
    """
    read_list = list_of(read_one, allowed)

    def read(given: Any) -> tuple[Any, ...] | None:
        if given in ("all", ""):
            return None
        if given == "none":
            return ()
        found: tuple[Any, ...] = read_list(given.split(",") if isinstance(given, str) else given)
        return found

    return read


def _target(given: Any) -> Target:
    found = _TARGET.fullmatch(given.strip().lower()) if isinstance(given, str) else None
    if found is None:
        raise BadValueError(given, "[scheme://]host[:port], in which * stands for anything")
    port = found["port"] or str(DEFAULT_PORTS.get(found["scheme"], "*"))
    return Target(scheme=found["scheme"] or "*", host=found["address"] or found["host"], port=port)


class PropagationSettings(NamedTuple):
    """Whose trace headers are continued, and which hosts get ours."""

    trust_incoming: Annotated[tuple[Caller, ...] | None, _some(_caller, _CALLERS_ALLOWED)] = None
    """The callers whose traces are continued; None: all of them."""
    targets: Annotated[tuple[Target, ...] | None, _some(_target, _TARGETS_ALLOWED)] = None
    """The hosts that get trace headers; None: all of them."""

    @property
    def header_names(self) -> tuple[str, ...]:
        """The names of the headers that trusted callers send; their values are secrets."""
        return tuple(each.name for each in self.trust_incoming or () if isinstance(each, TrustedHeader))
