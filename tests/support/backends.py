"""A gRPC server and moto's server for AWS, in this process."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any


@dataclass
class GrpcServer:
    """Echoes a request; `missing` is not found. Keeps the metadata of each request by its body."""

    address: str = ""
    metadata: dict[bytes, dict[str, str]] = field(default_factory=dict)

    def answer(self, body: bytes, context: Any) -> bytes:
        self.metadata[body] = dict(context.invocation_metadata())
        if body == b"missing":
            import grpc  # type: ignore[import-untyped]  # ships no types

            context.abort(grpc.StatusCode.NOT_FOUND, "no such thing")
        return body


@contextmanager
def start_grpc_server() -> Iterator[GrpcServer]:
    """Serve `/shop.Shop/Buy` on a free port for as long as the block lasts."""
    import grpc  # each set-up of a process that has it takes longer

    served = GrpcServer()
    handlers = {"Buy": grpc.unary_unary_rpc_method_handler(served.answer)}
    server = grpc.server(ThreadPoolExecutor(2))
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("shop.Shop", handlers),))
    served.address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield served
    finally:
        server.stop(None).wait()


@contextmanager
def start_aws() -> Iterator[str]:
    """Serve AWS's API on a free port for as long as the block lasts; yields the address."""
    from moto.server import ThreadedMotoServer  # takes a third of a second to import, in each worker

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    try:
        host, port = server.get_host_and_port()
        yield f"http://{host}:{port}"
    finally:
        server.stop()
