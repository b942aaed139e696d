"""Tests of patches: undoing one restores what it replaced."""

import asyncio
import importlib
import inspect
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

from brain_otel.runtime.patch import Original, Patches, replace, replacement, surrounding
from tests.instrumentation.target import start_target
from tests.support import ROOT
from tests.support.process import run_python


def test_an_inherited_method_is_inherited_again_after_undo() -> None:
    """A static method of the base class stays static."""

    class Above:
        @staticmethod
        def named() -> str:
            return "above"

    class Below(Above):
        pass

    patch = replace(Below, "named", lambda _: staticmethod(lambda: "replaced"))
    assert Below().named() == "replaced"
    patch.undo()
    assert "named" not in vars(Below)
    assert Below().named() == "above"


def test_a_methods_raw_attribute_is_restored() -> None:
    """The class gets its static method object back, not the function that `getattr` returns."""

    class Own:
        @staticmethod
        def named() -> str:
            return "own"

    held = inspect.getattr_static(Own, "named")
    replace(Own, "named", lambda _: staticmethod(lambda: "replaced")).undo()
    assert inspect.getattr_static(Own, "named") is held


class Calls:
    """Methods whose keyword arguments are named like those of a replacement."""

    def call(self, **kwargs: Any) -> Any:
        return kwargs

    async def call_async(self, **kwargs: Any) -> Any:
        return kwargs


@replacement
def _marked(original: Original, /, *args: Any, **kwargs: Any) -> Any:
    return {**original(*args, **kwargs), "ours": True}


@replacement
async def _marked_async(original: Original, /, *args: Any, **kwargs: Any) -> Any:
    return {**await original(*args, **kwargs), "ours": True}


def test_a_replacement_gets_the_original_until_the_patch_is_undone() -> None:
    """Somebody who has kept it, or wrapped it, calls the original then; a coroutine function stays one."""
    patches = Patches()
    patches.replace(Calls, "call", _marked)
    patches.replace(Calls, "call_async", _marked_async)
    kept, kept_async = Calls.call, Calls.call_async
    given = {"original": 1, "patch": 2, "around": 3, "self_": 4}
    ours = {**given, "ours": True}
    assert kept(Calls(), **given) == ours == asyncio.run(kept_async(Calls(), **given))
    assert inspect.iscoroutinefunction(kept_async)
    assert not inspect.iscoroutinefunction(kept)
    assert kept.__name__ == "call"
    patches.undo()
    assert kept(Calls(), **given) == given == asyncio.run(kept_async(Calls(), **given))
    assert Calls.call is not kept


def test_the_original_runs_in_a_block_of_its_arguments_until_the_patch_is_undone() -> None:
    """A function and a coroutine function: the block has the error of the call, which passes through."""
    seen: list[Any] = []

    @contextmanager
    def block(_: Calls, /, **kwargs: Any) -> Iterator[None]:
        try:
            yield
        finally:
            seen.append(kwargs)

    patches = Patches()
    patches.replace(Calls, "call", surrounding(block))
    patches.replace(Calls, "call_async", surrounding(block))
    kept, kept_async = Calls.call, Calls.call_async
    given = {"original": 1, "block": 2}
    assert kept(Calls(), **given) == given == asyncio.run(kept_async(Calls(), **given))
    with pytest.raises(TypeError):
        kept(Calls(), 1)  # type: ignore[call-arg]
    assert seen == [given, given]
    assert inspect.iscoroutinefunction(kept_async)
    assert not inspect.iscoroutinefunction(kept)
    patches.undo()
    assert kept(Calls(), **given) == given == asyncio.run(kept_async(Calls(), **given))
    assert seen == [given, given]


LATER = "from contextlib import suppress\n\n\nclass Job:\n    def run(self):\n        return 'own'\n"


def test_a_module_is_patched_when_it_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Once, however often everything was undone before; what it lacks does not reach who imports it."""
    for name in ("patched_later", "never_patched"):
        (tmp_path / f"{name}.py").write_text(LATER)
    monkeypatch.syspath_prepend(tmp_path)
    patches = Patches()
    for _ in range(3):
        patches.undo()
        for owner, name in (("Job", "run"), ("Job", "gone"), ("Gone", "run"), ("", "suppress")):
            patches.replace_when_imported("patched_later", owner, name, lambda patch: lambda *_: ["ours", patch.name])
    module = importlib.import_module("patched_later")
    assert module.Job().run() == ["ours", "run"]
    assert module.suppress() == ["ours", "suppress"]
    patches.replace_when_imported("never_patched", "Job", "run", lambda _: lambda _: "ours")
    patches.undo()
    assert module.Job().run() == "own"
    assert module.suppress is suppress
    assert importlib.import_module("never_patched").Job().run() == "own"


SCRIPT = """
import os
import brain_otel, httpx
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
brain_otel.setup()
brain_otel.shutdown()
exporter, provider = InMemorySpanExporter(), TracerProvider(shutdown_on_exit=False)
provider.add_span_processor(SimpleSpanProcessor(exporter))
HTTPXClientInstrumentor().instrument(tracer_provider=provider)
with httpx.Client(trust_env=False, verify=False) as client:
    print(client.get(os.environ["TARGET"]).status_code, [span.name for span in exporter.get_finished_spans()])
"""


def test_contrib_traces_httpx_after_shutdown() -> None:
    """Our patches of its wrappers are undone."""
    assert isinstance(inspect.getattr_static(HTTPXClientInstrumentor, "_handle_request_wrapper"), staticmethod)
    with start_target() as target:
        done = run_python(SCRIPT, {"TARGET": target.url, "ENVIRONMENT": "test"}, pythonpath=[ROOT])
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "200 ['GET']"


def test_a_patch_is_undone_that_a_signal_interrupted() -> None:
    """The exception of its handler may come right after the method was replaced."""

    class Interrupting(type):
        def __setattr__(cls, name: str, value: object) -> None:
            super().__setattr__(name, value)
            if value is not original:
                raise KeyboardInterrupt

    class Owner(metaclass=Interrupting):
        def method(self) -> None: ...

    original, patches = vars(Owner)["method"], Patches()
    with pytest.raises(KeyboardInterrupt):
        patches.replace(Owner, "method", lambda _: lambda _: None)
    patches.undo()
    assert vars(Owner)["method"] is original
