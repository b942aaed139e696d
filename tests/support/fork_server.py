"""A process that has imported the libraries of the tests' applications, and forks for each Python to be run.

`tests/support/forked.py` starts it and talks to it. A child is what a new interpreter would be: one thread, the given
arguments, environment, folder and streams, no module imported but those of a bare interpreter, an end as any other.
It runs on Linux only, runs nothing of `brain_otel`, and imports nothing but the standard library itself.
"""

import builtins
import ctypes
import gc
import importlib
import json
import linecache
import os
import runpy
import select
import socket
import sys
import warnings
from contextlib import suppress
from importlib.machinery import BuiltinImporter, SourceFileLoader
from pathlib import Path
from types import CodeType, ModuleType
from typing import Any

from tests.support import ROOT
from tests.support.warm_modules import recorded_imports

LIMIT = 100_000
"""Bytes of a request. The kernel takes a little more in one piece."""

LIBRARIES = [
    *("asyncio", "concurrent.futures.thread", "http.server", "logging.config", "multiprocessing.spawn", "ssl"),
    *(f"sentry_sdk.integrations.{name}" for name in ("fastapi", "logging", "opentelemetry")),
    *("opentelemetry.sdk.trace.export", "opentelemetry.sdk.metrics.export", "opentelemetry.sdk._logs.export"),
    *(f"opentelemetry.exporter.otlp.proto.http.{name}_exporter" for name in ("_log", "metric", "trace")),
    *("fastapi", "httpx", "starlette.middleware.cors", "unittest.mock"),
    *("uvicorn.main", "uvicorn.lifespan.on", "uvicorn.loops.auto", "uvicorn.protocols.http.auto"),
    *("aiosqlite", "redis.asyncio", "sqlalchemy.dialects.sqlite", "sqlalchemy.ext.asyncio"),
    *(f"opentelemetry.instrumentation.{name}" for name in ("fastapi", "httpx", "redis", "sqlalchemy")),
    *("jsonschema", "packaging.requirements", "rich.console", "rich.table", "typer", "yaml"),
]
"""What the tests' applications import, directly or through `brain_otel`."""

FOLDERS = [("multiprocessing.process", "ORIGINAL_DIR"), ("rich", "_IMPORT_CWD")]
"""Where libraries keep the working directory in which they were imported."""


def main(channel: socket.socket) -> None:
    """Serve until the other end closes; in a child, run what was asked for and end as an interpreter does."""
    path = sys.path[1:]
    at_start = [*warnings.filters]
    with recorded_imports() as warm:
        # As brain_otel imports them.
        for name, missing in (("sentry_sdk", "httpcore"), ("opentelemetry.sdk.resources", "psutil")):
            sys.modules[missing] = None  # type: ignore[assignment]
            importlib.import_module(name)
            del sys.modules[missing]
        for name in LIBRARIES:
            importlib.import_module(name)
        importlib.import_module("sentry_sdk.utils")._get_installed_modules()  # 200 files, for a child's first error
    warm.hide()
    for name in [each for each in sys.modules if each.partition(".")[0] == "tests"]:
        del sys.modules[name]
    # A child ends faster if it neither looks through these modules for garbage nor frees them.
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(warm))
    gc.collect()
    gc.freeze()
    frozen = gc.get_freeze_count()
    gc.get_freeze_count = lambda: frozen  # counting takes a child a tenth of its start
    keep_code(ROOT / "brain_otel")
    packages = sorted({name.partition(".")[0] for name in warm.modules})
    channel.send(json.dumps({"variables": sorted(warm.variables), "packages": packages}).encode())
    request = serve(channel)
    if request is not None:
        filter_warnings(at_start[len(sys.warnoptions) :], [each for each in warnings.filters if each not in at_start])
        for name, attribute in FOLDERS:
            setattr(warm.modules[name], attribute, str(Path.cwd()))
        if any(any(Path(folder).glob("*.dist-info")) for folder in given_path()):
            warm.modules["opentelemetry.util._importlib_metadata"]._original_entry_points_cached.cache_clear()
            vars(warm.modules["sentry_sdk.utils"])["_installed_modules"] = None
        run(request, path)


def keep_code(package: Path) -> None:
    """Read the code of a package, which each child runs for itself; a tenth of its start is reading."""
    codes = {}
    for file in package.rglob("*.py"):
        name = ".".join(file.relative_to(package.parent).with_suffix("").parts).removesuffix(".__init__")
        codes[str(file)] = SourceFileLoader(name, str(file)).get_code(name)
    read = SourceFileLoader.get_code

    def get_code(loader: SourceFileLoader, name: str) -> CodeType | None:
        return codes.get(loader.path) or read(loader, name)

    SourceFileLoader.get_code = get_code  # type: ignore[assignment, method-assign]


def serve(channel: socket.socket) -> dict[str, Any] | None:
    """Fork for each request, and write each child's exit status; return the request in a child."""
    waiting = select.poll()
    waiting.register(channel, select.POLLIN)
    children: dict[int, tuple[int, int]] = {}
    while True:
        for ready, _ in waiting.poll():
            if ready in children:
                waiting.unregister(ready)
                pid, status = children.pop(ready)
                os.write(status, os.waitpid(pid, 0)[1].to_bytes(4, "little"))
                os.close(ready)
                os.close(status)
                continue
            text, descriptors, _, _ = socket.recv_fds(channel, LIMIT, 4)
            if not text:
                return None
            request: dict[str, Any] = json.loads(text)
            pid = os.fork()
            if pid == 0:
                channel.detach()
                become(request, descriptors)
                return request
            with suppress(OSError):
                set_group(pid, request)
            *streams, status = descriptors
            for stream in streams:
                os.close(stream)
            child = os.pidfd_open(pid)
            children[child] = pid, status
            waiting.register(child, select.POLLIN)
            channel.send(pid.to_bytes(4, "little"))


def set_group(pid: int, request: dict[str, Any]) -> None:
    if request["group"] is not None:
        os.setpgid(pid, request["group"])


def become(request: dict[str, Any], descriptors: list[int]) -> None:
    """Take the streams, the session, the process group, the folder and the environment that were asked for."""
    if request["session"]:
        os.setsid()
    for number, descriptor in enumerate(descriptors[:3]):
        os.dup2(descriptor, number)
    os.closerange(3, os.sysconf("SC_OPEN_MAX"))
    set_group(0, request)
    os.chdir(request["folder"])
    os.environ.clear()
    os.environ.update(request["environment"])
    if not any(os.environ.get(name) for name in ("LC_ALL", "LC_CTYPE", "LANG")):
        os.environ["LC_CTYPE"] = "C.UTF-8"  # as a new interpreter does: https://peps.python.org/pep-0538/


def filter_warnings(plain: list[Any], added: list[Any]) -> None:
    """Filter as the variable says, and as the libraries do; the server's own imports take warnings for errors."""
    sys.warnoptions[:] = [each for each in os.environ.get("PYTHONWARNINGS", "").split(",") if each]
    warnings.resetwarnings()
    filters: list[Any] = warnings.filters  # type: ignore[assignment]  # whose type promises less
    filters += plain
    warnings._processoptions(sys.warnoptions)  # type: ignore[attr-defined]  # as `warnings` does when it is imported
    filters[:0] = added


def given_path() -> list[str]:
    return [each for each in os.environ.get("PYTHONPATH", "").split(os.pathsep) if each]


def run(request: dict[str, Any], path: list[str]) -> None:
    """Run the code, the module or the script as `__main__`."""
    module = ModuleType("__main__")
    vars(module)["__builtins__"] = builtins
    if sys.version_info < (3, 14):
        vars(module)["__annotations__"] = {}
    sys.modules["__main__"] = module
    sys.orig_argv = [sys.executable, *request["arguments"]]
    first, *_ = sys.argv = request["arguments"]
    try:
        # As `site`, which leaves out what comes a second time.
        given = [*given_path(), *path]
        if first == "-m":
            sys.path[:] = [str(Path.cwd()), *dict.fromkeys(given)]
            runpy._run_module_as_main(sys.argv.pop(1))  # type: ignore[attr-defined]  # as the interpreter does
            return
        source: str | bytes
        if first == "-c":
            source, name = sys.argv.pop(1), "<string>"
            if sys.version_info >= (3, 13):  # tracebacks show the code
                linecache.cache[name] = len(source), None, source.splitlines(keepends=True), name
            vars(module)["__loader__"] = BuiltinImporter
        else:
            source, name = Path(first).read_bytes(), str(Path(first).absolute())
            loader = SourceFileLoader("__main__", name)
            vars(module).update(__loader__=loader, __file__=name, __cached__=None)
        folder = "" if first == "-c" else str(Path(first).resolve().parent)
        sys.path[:] = [folder, *dict.fromkeys(given)]
        exec(compile(source, name, "exec", dont_inherit=True), vars(module))
    except SystemExit:
        raise
    except BaseException as error:
        # Without the frame of this function: what cannot be compiled has no other.
        error.__traceback__ = error.__traceback__ and error.__traceback__.tb_next
        sys.excepthook(type(error), error, error.__traceback__)
        if isinstance(error, KeyboardInterrupt):
            sys.excepthook = lambda *_: None
            raise  # the interpreter ends by the signal
        sys.exit(1)


if __name__ == "__main__":
    main(socket.socket(fileno=int(sys.argv[1])))
