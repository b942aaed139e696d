"""Forked children behave as new interpreters, and what could not is a new interpreter."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import ROOT, forked
from tests.support.process import environment
from tests.support.waiting import until

FACTS = """
import atexit, gc, os, signal, sys, threading, warnings
atexit.register(lambda: print("at the end", file=sys.stderr))
print(sys.argv, sys.orig_argv, sys.path, sys.flags, sys.warnoptions, sys.executable, sys.prefix)
print(os.getcwd(), sorted(os.environ.items()), os.getpgid(0) == os.getpid(), os.getsid(0), os.umask(0o22))
print(sorted(os.listdir("/proc/self/fd")), threading.active_count(), threading.current_thread().name)
print([signal.getsignal(each) for each in (signal.SIGINT, signal.SIGTERM, signal.SIGCHLD, signal.SIGPIPE)])
print(signal.pthread_sigmask(signal.SIG_BLOCK, []), gc.isenabled(), gc.get_threshold(), sys.getrecursionlimit())
print([(each.encoding, each.errors, each.line_buffering) for each in (sys.stdin, sys.stdout, sys.stderr)])
main = sys.modules["__main__"]
own = {name: str(value) for name, value in vars(main).items() if name not in {"__builtins__", "__loader__"}}
print(sorted((name, value.partition(" at 0x")[0]) for name, value in own.items()))
print(getattr(__loader__, "__name__", type(__loader__)), type(__builtins__))
print(os.pread(0, 9, 0), globals() is vars(main), len(warnings.filters) > 0)
"""

LOADED = """
import sys
names = {names}
for name in names: __import__(name)
import multiprocessing.spawn
print(*sorted(name for name in sys.modules if name.partition(".")[0] in {packages}), sep="\\n")
print(sys.modules["__mp_main__"] is sys.modules["__main__"])
"""

RENAMED = """
import sys
from importlib import import_module
from tests.support.private_names import rename

rename({package!r}, {identifier!r})
for name in {names}: import_module(name)
loaded = sys.__dict__["modules"]
modules = {{name: vars(each) for name, each in loaded.items() if name.startswith({packages})}}
print(*sorted(modules))
for name, variables in sorted(modules.items()):
    for variable, value in sorted(variables.items()):
        place, text = getattr(value, "__module__", None), getattr(value, "__qualname__", None)
        twin = modules.get(place, {{}}).get(text, value) if isinstance(text, str) else value
        if isinstance(value, type(sys)):
            twin = loaded.get(value.__name__, value)
        if twin is not value:
            print(name, variable, value)
        if variable.endswith("renamed_upstream"):
            print(name, variable)
"""

ENDS = {
    "at its end": "print('a')",
    "with a code": "print('a'); raise SystemExit(3)",
    "with a message": "import sys; sys.exit('why')",
    "with an error": "def f(): raise ValueError('é')\ntry: f()\nexcept ValueError as e: raise KeyError(1) from e",
    "with Ctrl-C": "import os, signal; os.kill(os.getpid(), signal.SIGINT); import time; time.sleep(9)",
    "with a signal": "import os, signal; os.kill(os.getpid(), signal.SIGTERM)",
    "at once": "import os; print('a', flush=True); os._exit(5)",
    "with code that is none": "a b",
    "with a thread": "import threading as t; t.Timer(0.2, print, ['late']).start()",
    "with its own hook": "import sys; sys.excepthook = lambda *a: print('hook', a[1], a[2].tb_lineno); raise OSError",
}


def both_ways(code: str | Path, *arguments: str, **options: object) -> list[tuple[int, str, str]]:
    return both_ways_of([str(code)] if isinstance(code, Path) else ["-c", code], *arguments, **options)


def both_ways_of(script: list[str], *arguments: str, **options: object) -> list[tuple[int, str, str]]:
    command = [sys.executable, *script, *arguments]
    given = {"env": environment({"A": "1"}, pythonpath=[ROOT]), **options}
    done = [forked.run(command, fresh=fresh, timeout=60, **given) for fresh in (False, True)]  # type: ignore[arg-type]
    return [(each.returncode, each.stdout, each.stderr) for each in done]


def is_forked(command: list[str], env: dict[str, str], cwd: Path | None = None) -> bool:
    with forked.start(command, env=env, cwd=cwd, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        process.kill()
    return type(process) is not subprocess.Popen


@pytest.mark.parametrize("form", ["code", "module", "script"])
def test_a_child_sees_what_a_new_interpreter_sees(tmp_path: Path, form: str) -> None:
    """Arguments, variables, paths, streams, descriptors, signals, the main module."""
    script = tmp_path / "facts.py"
    script.write_text(FACTS.replace('sys.modules["__main__"]', 'sys.__dict__["modules"]["__main__"]'))
    given = {"code": ["-c", script.read_text()], "module": ["-m", "facts"], "script": [str(script)]}[form]
    (tmp_path / "in").write_text("given")
    with (tmp_path / "in").open() as file:
        found, expected = both_ways_of(given, "an argument", cwd=tmp_path, stdin=file, process_group=0)
    assert found[1].splitlines() == expected[1].splitlines()
    assert found == expected


@pytest.mark.parametrize("how", ENDS)
def test_a_child_ends_as_a_new_interpreter(tmp_path: Path, how: str) -> None:
    """The exit code, the traceback, threads that still run, the exception hook."""
    (tmp_path / "script.py").write_text(ENDS[how])
    for code in (ENDS[how], tmp_path / "script.py"):
        found, expected = both_ways(code)
        assert found == expected


@pytest.mark.parametrize(
    "first", ["fastapi", "httpx", "redis", "sentry_sdk", "opentelemetry.sdk.trace", "uvicorn.main"]
)
def test_an_import_loads_what_it_loads_in_a_new_interpreter(first: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A library that nobody imports is not loaded."""
    monkeypatch.setattr(forked, "_may_be_forked", lambda _: True)
    packages = {"fastapi", "starlette", "httpx", "redis", "sqlalchemy", "sentry_sdk", "opentelemetry", "uvicorn"}
    found, expected = both_ways(LOADED.format(names=[first], packages=packages))
    assert found == expected
    assert first in found[1]


@pytest.mark.thorough
@pytest.mark.parametrize(
    ("package", "identifier"),
    [
        ("opentelemetry", "_SPAN_KEY"),
        ("opentelemetry", "_semconv"),
        ("sentry_sdk", "serialize_frame"),
        ("fastapi", "_asgi"),
    ],
)
def test_a_renamed_module_and_all_that_import_it_are_loaded_again(package: str, identifier: str) -> None:
    """A child has the modules of a new interpreter, and none of them has anything of a module of before."""
    names = ["sentry_sdk.integrations.opentelemetry", "opentelemetry.sdk.trace.export", "opentelemetry.propagate"]
    names += [f"opentelemetry.instrumentation.{each}" for each in ("asgi", "redis", "sqlalchemy")]
    packages = ("opentelemetry", "sentry_sdk", "fastapi", "sqlalchemy")
    names += [*packages, "fastapi.telemetry"]
    code = RENAMED.format(package=package, identifier=identifier, names=names, packages=packages)
    found, expected = both_ways(code)
    assert found[1].splitlines() == expected[1].splitlines()
    assert found == expected
    assert f"{identifier}_renamed_upstream" in found[1]


@pytest.mark.parametrize("asked", ["", "error", "error,ignore::UserWarning", "default::DeprecationWarning"])
def test_a_child_warns_as_it_is_asked_to(asked: str) -> None:
    code = "import sys, warnings as w\nprint(sys.warnoptions)\nw.warn('a')\nw.warn('b', ResourceWarning)\nlen('')"
    code += "\nimport fastapi, httpx, sqlalchemy, uvicorn\nexec('w.warn(1, DeprecationWarning)', {'w': w})"
    found, expected = both_ways(code, env=environment({"PYTHONWARNINGS": asked} if asked else {}))
    assert found == expected


def test_children_draw_different_random_numbers() -> None:
    """Trace ids come from `random`."""
    code = "import random, uuid, secrets; print(random.getrandbits(64), uuid.uuid4(), secrets.token_hex())"
    assert len({both_ways(code)[0][1] for _ in range(2)}) == 2


def test_a_child_may_lead_a_session() -> None:
    """As with `Popen`, so that its group can be killed."""
    code = "import os; print(os.getsid(0) == os.getpgid(0) == os.getpid())"
    assert [out for _, out, _ in both_ways(code, start_new_session=True)] == ["True\n", "True\n"]


def test_a_child_can_be_waited_for_and_killed() -> None:
    """`poll`, `wait` with a time limit, `send_signal` and `communicate` are those of `Popen`."""
    command = [sys.executable, "-c", "import time; print('a', flush=True); time.sleep(60)"]
    with forked.start(command, env=environment(), stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "a\n"
        assert process.poll() is None
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(0.05)
        process.send_signal(signal.SIGTERM)
        assert process.wait(30) == process.poll() == -signal.SIGTERM
        process.send_signal(signal.SIGTERM)
    until(lambda: not Path(f"/proc/{process.pid}").exists())


def test_what_could_differ_is_a_new_interpreter(tmp_path: Path) -> None:
    """A variable that a library reads while it is imported, another library in its place, code that asks."""
    plain = [sys.executable, "-c", "import time; time.sleep(60)"]
    assert is_forked(plain, environment()) is (sys.platform == "linux")
    for variable in ("OTEL_PROPAGATORS", "PYTHONHASHSEED", "LC_ALL", "OTEL_PYTHON_FASTAPI_EXCLUDED_URLS"):
        assert not is_forked(plain, environment({variable: "1"}))
    assert not is_forked([sys.executable, "-c", "import sys; sys.modules"], environment())
    assert not is_forked([str(forked.PROGRAMS / "opentelemetry-instrument"), *plain], environment())
    for name in ("httpx.py", "sitecustomize.py", "httpx-1.dist-info/METADATA", "plugin-1.dist-info/entry_points.txt"):
        folder = tmp_path / name.partition(".")[0]
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text("[pydantic]\na = b\n")
        assert not is_forked(plain, environment(pythonpath=[folder]))
        assert not is_forked(plain, environment(), cwd=folder)
    assert os.environ["PATH"]


def test_a_child_finds_what_set_up_looks_for(tmp_path: Path) -> None:
    """An entry point of a group that no library looks for while it is imported, and what sentry-sdk sends of it."""
    info = tmp_path / "plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text("[opentelemetry_instrumentor]\nplanted = a:b\n")
    code = "import fastapi, opentelemetry.util._importlib_metadata as all, sentry_sdk.utils as sentry\n"
    code += "print(all.entry_points(name='planted'), sorted(sentry._get_installed_modules().items()))"
    env = environment(pythonpath=[tmp_path])
    assert is_forked([sys.executable, "-c", code], env)
    found, expected = both_ways(code, env=env)
    assert found == expected
    assert "a:b" in found[1]
    assert "('plugin', '1')" in found[1]
