"""Which environment, and which file for it; the packaged files are found here."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from brain_otel.configuration.error import ConfigurationError, configuration_error

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_ENVIRONMENT = "development"
FALLBACK_ENVIRONMENT = "production"
"""Whose file an environment without a file of its own uses: the careful one."""

_ENVIRONMENT = re.compile(r"(?!\.)[^\s/\\]{1,64}")
"""What Sentry takes for an environment, and a file's name can be made of."""


class Choice(NamedTuple):
    """Which file is read for which environment, and why."""

    environment: str
    environment_from: str
    """The variable or argument that gave the environment."""
    path: Path
    path_from: str
    """The variable or argument that gave the file."""
    packaged: bool
    """Whether the file is one of this package's, whose destinations ``OTEL_*_EXPORTER`` may replace."""
    notices: tuple[str, ...] = ()


def choose_file(
    environ: Mapping[str, str],
    *,
    environment: str | None = None,
    config_file: str | os.PathLike[str] | None = None,
) -> Choice:
    """The environment and its file.

    Raises:
        ConfigurationError: the environment is no plain name.
    """
    name, origin = environment or "", "setup(environment=...)"
    for variable in ("SENTRY_ENVIRONMENT", "ENVIRONMENT"):
        if not name and environ.get(variable):
            name, origin = environ[variable], variable
    if not name:
        name, origin = DEFAULT_ENVIRONMENT, "the default"
    if not _ENVIRONMENT.fullmatch(name) or not name.isprintable() or name == "None":
        raise configuration_error(
            origin, name, "a plain name such as staging: up to 64 characters, no spaces, no slashes"
        )
    if config_file or environ.get("OTEL_CONFIG_FILE"):
        return Choice(
            environment=name,
            environment_from=origin,
            path=Path(config_file or environ["OTEL_CONFIG_FILE"]),
            path_from="setup(config_file=...)" if config_file else "OTEL_CONFIG_FILE",
            packaged=False,
        )
    path, path_from, notices = _file_of(name, environ)
    return Choice(
        environment=name,
        environment_from=origin,
        path=path,
        path_from=path_from,
        packaged=path.parent == packaged_files(),
        notices=notices,
    )


def _file_of(environment: str, environ: Mapping[str, str]) -> tuple[Path, str, tuple[str, ...]]:
    folders = [(packaged_files(), "this package")]
    if own := environ.get("BRAIN_OTEL_CONFIG_DIR"):
        if not os.path.isdir(own) or not os.access(own, os.R_OK | os.X_OK):  # noqa: PTH112 - it never raises
            raise configuration_error("BRAIN_OTEL_CONFIG_DIR", own, "a folder that can be read")
        folders.insert(0, (Path(own), "BRAIN_OTEL_CONFIG_DIR"))
    for folder, origin in folders:
        if (folder / f"{environment}.yaml").is_file():
            return folder / f"{environment}.yaml", origin, ()
    for folder, origin in folders:
        fallback = folder / f"{FALLBACK_ENVIRONMENT}.yaml"
        if fallback.is_file():
            notice = f"There is no file for the environment {environment!r}; using {fallback}"
            return fallback, origin, (notice,)
    raise ConfigurationError(f"{folders[-1][0]} holds no {FALLBACK_ENVIRONMENT}.yaml; allowed: an intact package")


def packaged_files() -> Path:
    """The folder of the environment files that come with the package.

    The wheel carries them in ``brain_otel/environments``. In a checkout they are in ``config/`` beside it,
    which is told from an application's own folder of that name by the project file next to it.
    """
    package = Path(__file__).parents[1]
    packaged = package / "environments"
    if not packaged.is_dir() and (package.parent / "pyproject.toml").is_file():
        return package.parent / "config"
    return packaged
