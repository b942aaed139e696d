"""The spans of gRPC's clients name the server of their channel."""

import pytest

from brain_otel.instrumentation.others.grpc_servers import name_server

SERVERS = {
    "127.0.0.1:5": {"server.address": "127.0.0.1", "server.port": 5},
    b"dns:///api.internal:5": {"server.address": "api.internal", "server.port": 5},
    "dns://8.8.8.8/api.internal:5": {"server.address": "api.internal", "server.port": 5},
    "api.internal": {"server.address": "api.internal", "server.port": 443},
    "ipv6:[::1]:5": {"server.address": "::1", "server.port": 5},
    "[::1]": {"server.address": "::1", "server.port": 443},
    "ipv4:10.0.0.1:5,10.0.0.2:5": {},
    "unix:/run/api.sock": {},
    "xds:///api.internal": {},
}


@pytest.mark.parametrize("target", SERVERS, ids=str)
def test_the_spans_of_a_channel_name_its_server(target: str | bytes) -> None:
    """A target that is not the name of one host names none."""
    from opentelemetry.instrumentation.grpc import aio_client_interceptors

    (interceptor, *_) = interceptors = aio_client_interceptors()  # type: ignore[no-untyped-call]
    name_server(target, interceptors)
    name_server(target, interceptors)
    assert interceptor._tracer.server == SERVERS[target]


def test_interceptors_that_serve_two_servers_name_none() -> None:
    from opentelemetry.instrumentation.grpc import aio_client_interceptors

    interceptors = aio_client_interceptors()  # type: ignore[no-untyped-call]
    for target in ("a.internal:5", "b.internal:5", "a.internal:5"):
        name_server(target, interceptors)
    assert [each._tracer.server for each in interceptors] == [{}] * 4
