"""Builds a Dockerfile of one stage in a folder, without Docker: its instructions run in a virtual environment."""

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.waiting import PATIENCE


@dataclass(frozen=True, kw_only=True)
class Image:
    """What a Dockerfile makes: ``command`` runs in ``directory``, its program in ``programs``."""

    directory: Path
    programs: Path
    command: list[str]


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """The instructions with their arguments, without comments."""
    lines = dockerfile.read_text().replace("\\\n", " ").splitlines()
    pairs = [line.partition(" ") for line in lines if line.strip() and not line.startswith("#")]
    return [(name.upper(), argument.strip()) for name, _, argument in pairs]


def build(dockerfile: Path, context: Path, root: Path) -> Image:
    """Run the instructions; an instruction that is not known fails, since it would not be checked."""
    programs, directory, command = _environment(root / "venv"), root, list[str]()
    for name, argument in instructions(dockerfile):
        match name:
            case "FROM":
                assert argument.startswith("python:"), argument
            case "WORKDIR":
                directory = root / argument.lstrip("/")
                directory.mkdir(parents=True, exist_ok=True)
            case "COPY":
                _copy(context, directory, argument.split())
            case "RUN":
                path = os.pathsep.join([str(programs), os.environ["PATH"]])
                env = {**os.environ, "PATH": path, "VIRTUAL_ENV": str(programs.parent)}
                subprocess.run(["sh", "-c", argument], cwd=directory, env=env, check=True, timeout=PATIENCE)
            case "CMD":
                command = json.loads(argument)
            case "USER" | "EXPOSE":
                pass
            case _:
                raise AssertionError(f"{name} is not known here")
    return Image(directory=directory, programs=programs, command=command)


def _environment(path: Path) -> Path:
    """A virtual environment whose ``pip`` is uv's, which has most packages in its cache."""
    subprocess.run(["uv", "venv", "--quiet", "--python", sys.executable, str(path)], check=True, timeout=PATIENCE)
    pip = path / "bin" / "pip"
    pip.write_text('#!/bin/bash\nexec uv pip "${@/--no-cache-dir/--quiet}"\n')
    pip.chmod(0o755)
    return path / "bin"


def _copy(context: Path, directory: Path, paths: list[str]) -> None:
    *sources, target = paths
    for source in sources:
        found = context / source
        if found.is_dir():
            shutil.copytree(found, directory / target, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(found, directory / target)
