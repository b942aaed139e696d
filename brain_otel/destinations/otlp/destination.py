"""Sends traces, logs and metrics to a collector, or any backend that takes OTLP, over HTTP (protobuf) or gRPC.

OpenTelemetry's exporters do the sending, in batches on a thread of their own. See the
`specification <https://opentelemetry.io/docs/specs/otel/protocol/exporter/>`_.
"""

from __future__ import annotations

import importlib
import re
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry.util.re import parse_env_headers

from brain_otel.configuration.error import ConfigurationError
from brain_otel.configuration.options import Options, Signal
from brain_otel.configuration.sections.delivery import DeliverySettings
from brain_otel.configuration.sections.sentry import is_address
from brain_otel.configuration.settings import Settings
from brain_otel.destinations.batching import batch_options, create_batched
from brain_otel.destinations.destination import Destination, UnsupportedReleaseError
from brain_otel.privacy import masked_url
from brain_otel.runtime.lazy_regex import expression

if TYPE_CHECKING:
    from brain_otel.destinations.otlp.session import Session

SIGNALS = ("traces", "logs", "metrics")

HTTP, GRPC = "http/protobuf", "grpc"
DEFAULT_ENDPOINT = "default"
"""The word in a file for the default address of the protocol, as when there is no endpoint."""

DEFAULT_ENDPOINTS = {HTTP: "http://localhost:4318", GRPC: "http://localhost:4317"}

_COMPRESSIONS = {"gzip": "Gzip", "deflate": "Deflate", "none": "NoCompression"}
"""Option -> member of the enumerations of both exporters."""

_PAIR = r"\s*[!#$%&'*+.^_`|~0-9A-Za-z-]+\s*=[^,\x00-\x1f\x7f]*"
_HEADER = expression(r"[!#$%&'*+.^_`|~0-9a-z-]+:[^\x00-\x08\x0a-\x1f\x7f]*")
_HEADERS = expression(rf"(?:{_PAIR})(?:,(?:{_PAIR}|\s*))*")

_EXPORTERS = {
    "traces": ("trace_exporter", "OTLPSpanExporter"),
    "logs": ("_log_exporter", "OTLPLogExporter"),
    "metrics": ("metric_exporter", "OTLPMetricExporter"),
}
_PACKAGES = {
    HTTP: ("opentelemetry.exporter.otlp.proto.http", "opentelemetry-exporter-otlp-proto-http"),
    GRPC: ("opentelemetry.exporter.otlp.proto.grpc", "brain-otel[grpc]"),
}


def create_destination(options: Options, settings: Settings) -> Destination | None:
    """Create the destination; None if the file gives an empty ``endpoint``.

    The endpoint ``default`` is port 4318 of localhost for HTTP and 4317 for gRPC.

    The options are those of OpenTelemetry's ``otlp_http`` and ``otlp_grpc`` exporters and ``batch`` processor, times
    in milliseconds. Missing options come from the standard variables (``OTEL_EXPORTER_OTLP_*``), except headers: only
    those in the options are sent.
    """
    arguments, batch = _arguments(options), batch_options(options)
    if arguments is None:
        return None
    compress = arguments["compression"] != "none"
    delivery = settings.delivery if _protocol(options) == HTTP else DeliverySettings()
    session = open_session(arguments["headers"], delivery, options.signal, compress=compress)
    exporter = _create_exporter(options, arguments, session)
    return flushing_spool(session, create_batched("otlp", options.signal, exporter, batch))


def describe(options: Options, settings: Settings) -> str:  # noqa: ARG001
    """The protocol and the address."""
    arguments = _arguments(options)
    if arguments is None:
        return "off: no endpoint (OTEL_EXPORTER_OTLP_ENDPOINT)"
    return f"{_protocol(options)} to {masked_url(str(arguments['endpoint']))}"


def probe(options: Options, settings: Settings, timeout: float) -> str | None:
    """Send one test span, log record or metric and return what was delivered; None if the destination is off."""
    arguments = _arguments(options)
    if arguments is None:
        return None
    from brain_otel.destinations.otlp.session import Session
    from brain_otel.destinations.probe import RETRY_TIME, send_probe

    session = Session(arguments["headers"])
    exporter = _create_exporter(options, {**arguments, "timeout": timeout + RETRY_TIME}, session)
    return send_probe(exporter, options.signal, settings, timeout)


def _protocol(options: Options) -> str:
    return options.choice("protocol", (HTTP, GRPC), HTTP)


def _arguments(options: Options) -> dict[str, Any] | None:
    """The arguments of the exporter; None if the file gives an empty endpoint."""
    protocol = _protocol(options)
    endpoint, url = options.text("endpoint"), options.text("url")
    arguments: dict[str, Any] = {
        "headers": _headers(options),
        "timeout": options.number("timeout", 0.0, 0.0, 3_600_000.0) / 1000 or None,
        "compression": options.choice("compression", ("", *_COMPRESSIONS), ""),
        **{name: _readable(options, name) for name in ("certificate", "client_key", "client_certificate")},
    }
    if not endpoint and not url:
        if options.has("endpoint"):
            return None
        endpoint = DEFAULT_ENDPOINT
    if endpoint == DEFAULT_ENDPOINT:
        endpoint = DEFAULT_ENDPOINTS[protocol]
    for name, value in (("endpoint", endpoint), ("url", url)):
        if value and not _is_address(value, protocol, with_query=name == "url"):
            allowed = f"an address such as {DEFAULT_ENDPOINTS[protocol]}, without user, password or key (see headers)"
            raise options.error(name, allowed)
    if protocol == HTTP:
        arguments["endpoint"] = url or f"{endpoint.rstrip('/')}/v1/{options.signal}"
    else:
        arguments["endpoint"] = url or endpoint
    return arguments


def _headers(options: Options) -> dict[str, str] | None:
    value = options.raw("headers")
    if value is None:
        return None
    if isinstance(value, dict):
        headers = {str(name).lower(): str(text).strip() for name, text in value.items()}
    elif isinstance(value, list) and all(isinstance(each, dict) and each.get("name") for each in value):
        headers = {str(each["name"]).lower(): str(each.get("value") or "").strip() for each in value}
    else:
        text = str(value).strip()
        # Checked first: OpenTelemetry's parser logs text that it cannot parse, which may be a secret.
        headers = dict(parse_env_headers(text, liberal=True)) if _HEADERS.fullmatch(text) else {}
    if not headers or not all(map(_HEADER.fullmatch, (f"{name}:{text}" for name, text in headers.items()))):
        raise options.error("headers", "a mapping, or pairs as in api-key=...,tenant=...")
    return headers


def _readable(options: Options, name: str) -> str:
    path = options.text(name)
    if path:
        try:
            Path(path).read_bytes()
        except OSError as error:
            raise options.error(name, f"a file that can be read ({error.strerror})") from None
    return path


def _is_address(value: str, protocol: str, *, with_query: bool) -> bool:
    if re.search(r"\s|#" if with_query else r"\s|[?#]", value):
        return False
    address = value if "://" in value or protocol == HTTP else f"http://{value}"
    return is_address(address) and "@" not in urlsplit(address).netloc


def open_session(
    headers: Mapping[str, str] | None, delivery: DeliverySettings, signal: Signal, *, compress: bool = True
) -> Session:
    """The session of an HTTP exporter: it writes to the spool if ``delivery`` has one, else it sends."""
    from brain_otel.destinations.otlp.session import Session

    if delivery.spool is None:
        return Session(headers)
    from brain_otel.destinations.otlp.spooling_session import SpoolingSession

    return SpoolingSession(headers, delivery, signal, compress=compress)


def flushing_spool(session: Session, destination: Destination) -> Destination:
    """``destination`` with a flush that also waits until the spool is sent, if ``session`` spools in this process."""
    if not session.is_spooling:
        return destination

    def flush(timeout: float) -> bool:
        deadline = time.monotonic() + timeout
        complete = destination.flush(timeout)
        session.wait(max(0.0, deadline - time.monotonic()))
        return complete

    return destination._replace(flush=flush, pause=session.pause, end=session.end)


def _create_exporter(options: Options, arguments: dict[str, Any], session: Session) -> Any:
    protocol = _protocol(options)
    package, requirement = _PACKAGES[protocol]
    module, name = _EXPORTERS[options.signal]
    try:
        exporter = getattr(importlib.import_module(f"{package}.{module}"), name)
    except ImportError as error:
        if error.name == f"{package}.{module}" and module.startswith("_"):
            raise UnsupportedReleaseError(f"the installed {requirement} is not supported ({error})") from None
        raise ConfigurationError(
            f"{options.place}: the protocol {protocol} needs a package that is not installed; "
            f"allowed: pip install '{requirement}'"
        ) from error
    given = {key: arguments[key] for key in ("endpoint", "headers", "timeout")}
    try:
        if protocol == HTTP:
            return exporter(**given, **_http_only(arguments, session))
        created = exporter(**given, **_grpc_only(arguments))
        from brain_otel.destinations.otlp.grpc_answers import read_answers

        read_answers(created)
        return created
    except Exception as error:
        raise options.failure(error, "what OpenTelemetry's exporter takes, from here and from variables") from None


def _http_only(arguments: dict[str, Any], session: Session) -> dict[str, Any]:
    from opentelemetry.exporter.otlp.proto.http import Compression

    # The shipper compresses what has been spooled.
    compression = "none" if session.is_spooling else arguments["compression"]
    return {
        "compression": getattr(Compression, _COMPRESSIONS[compression]) if compression else None,
        "certificate_file": arguments["certificate"] or None,
        "client_key_file": arguments["client_key"] or None,
        "client_certificate_file": arguments["client_certificate"] or None,
        "session": session,
    }


_SMALL_ANSWERS = (("grpc.max_receive_message_length", 131_072), ("grpc.max_metadata_size", 16_384))
"""Options of a gRPC channel; an answer is a few bytes."""


def _grpc_only(arguments: dict[str, Any]) -> dict[str, Any]:
    import grpc  # type: ignore[import-untyped]

    files = [arguments[name] for name in ("certificate", "client_key", "client_certificate")]
    credentials = None
    if any(files):
        credentials = grpc.ssl_channel_credentials(*(Path(path).read_bytes() if path else None for path in files))
    compression = arguments["compression"]
    return {
        "compression": getattr(grpc.Compression, _COMPRESSIONS[compression]) if compression else None,
        "credentials": credentials,
        "channel_options": _SMALL_ANSWERS,
    }
