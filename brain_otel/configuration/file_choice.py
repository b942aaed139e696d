"""Chooses the environment and its configuration file, and finds the packaged files."""

import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from brain_otel.configuration.error import ConfigurationError, configuration_error
from brain_otel.runtime.named_tuple import NamedTuple

DEFAULT_ENVIRONMENT = "development"
FALLBACK_ENVIRONMENT = "production"
"""An environment without a file of its own uses the file of this one, which is the most careful."""

PACKAGED = ("development", "production", "staging", "test")
"""The environments with a packaged file. In a checkout, files of other programs stand beside them."""

_MAX_LENGTH = 64
"""Characters of an environment's name that Sentry accepts."""


class Choice(NamedTuple):
    """The environment and its file, and what chose them."""

    environment: str
    environment_from: str
    """The variable or argument that gave the environment."""
    path: Path
    path_from: str
    """The variable or argument that gave the file."""
    packaged: bool
    """Whether the file is packaged: ``OTEL_*_EXPORTER`` may replace the destinations of those only."""
    notices: tuple[str, ...] = ()


def choose_file(
    environ: Mapping[str, str], *, environment: str | None = None, config_file: str | os.PathLike[str] | None = None
) -> Choice:
    """Choose the environment and its file.

    Raises:
        ConfigurationError: the environment is no plain name, or the folder of files cannot be read.
    """
    name, origin = _environment(environ, environment)
    given = config_file or environ.get("OTEL_CONFIG_FILE")
    if given:
        source = "setup(config_file=...)" if config_file else "OTEL_CONFIG_FILE"
        return Choice(name, origin, Path(given), source, packaged=False)
    path, path_from, notices = _file_of(name, environ)
    return Choice(name, origin, path, path_from, packaged=path.parent == packaged_files(), notices=notices)


def _environment(environ: Mapping[str, str], argument: str | None) -> tuple[str, str]:
    variables = [(environ.get(variable), variable) for variable in ("SENTRY_ENVIRONMENT", "ENVIRONMENT")]
    given = [(argument, "setup(environment=...)"), *variables]
    name, origin = next(((name, origin) for name, origin in given if name), (DEFAULT_ENVIRONMENT, "the default"))
    if not _is_plain_name(name) or name == "None":
        allowed = "a plain name such as staging: up to 64 characters, no spaces, no slashes"
        raise configuration_error(origin, name, allowed)
    return name, origin


def _is_plain_name(name: str) -> bool:
    """Whether Sentry accepts it for an environment, and it can be part of a file name."""
    is_printable = name.isprintable() and not any(each in name for each in " /\\")
    return is_printable and 1 <= len(name) <= _MAX_LENGTH and not name.startswith(".")


def _file_of(environment: str, environ: Mapping[str, str]) -> tuple[Path, str, tuple[str, ...]]:
    folders = [(packaged_files(), "this package")]
    if own := environ.get("BRAIN_OTEL_CONFIG_DIR"):
        if not os.path.isdir(own) or not os.access(own, os.R_OK | os.X_OK):  # noqa: PTH112 - never raises
            raise configuration_error("BRAIN_OTEL_CONFIG_DIR", own, "a folder that can be read")
        folders.insert(0, (Path(own), "BRAIN_OTEL_CONFIG_DIR"))
    for folder, origin in folders:
        is_offered = folder != packaged_files() or environment in PACKAGED
        if is_offered and (folder / f"{environment}.yaml").is_file():
            return folder / f"{environment}.yaml", origin, ()
    for folder, origin in folders:
        fallback = folder / f"{FALLBACK_ENVIRONMENT}.yaml"
        if fallback.is_file():
            notice = f"There is no file for the environment {environment!r}; using {fallback}"
            return fallback, origin, (notice,)
    raise ConfigurationError(f"{folders[-1][0]} holds no {FALLBACK_ENVIRONMENT}.yaml; allowed: an intact package")


@cache
def packaged_files() -> Path:
    """The folder of the packaged files.

    The wheel has them in ``brain_otel/environments``, a checkout in ``config/`` beside ``brain_otel``. The project
    file next to ``config/`` tells it from an application's own folder of that name.
    """
    package = Path(__file__).parents[1]
    packaged = package / "environments"
    if not packaged.is_dir() and (package.parent / "pyproject.toml").is_file():
        return package.parent / "config"
    return packaged
