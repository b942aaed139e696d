"""Finds the name, the version and the release of the service, and where each came from.

A release is the same at every destination: Sentry's ``release`` and OpenTelemetry's ``service.version``. The fallback
is Sentry's alone: elsewhere no version is better than a wrong one.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

from brain_otel.runtime.named_tuple import NamedTuple

if TYPE_CHECKING:
    from brain_otel.configuration.document import Document

FALLBACK_RELEASE = "0.3.0"
"""The documented default of the service that this package replaces."""

PLATFORM_VARIABLES = (
    "HEROKU_BUILD_COMMIT",
    "HEROKU_SLUG_COMMIT",
    "SOURCE_VERSION",
    "CODEBUILD_RESOLVED_SOURCE_VERSION",
    "CIRCLE_SHA1",
    "GAE_DEPLOYMENT_ID",
    "K_REVISION",
)
"""Variables in which a CI or hosting platform gives the version, as sentry-sdk reads them."""

_GIT_TIMEOUT = 2.0
"""Seconds that set-up waits for git."""


class Known(NamedTuple):
    """A value, and the variable, file or default that gave it."""

    value: str
    origin: str


class Identity(NamedTuple):
    """The service's name, version and release, as the file and the variables give them; None: not given."""

    service: Known | None = None
    """The resource's ``service.name``."""
    version: Known | None = None
    """The resource's ``service.version``."""
    release: Known | None = None
    platform: Known | None = None
    """The release that the CI or hosting platform gives."""


def read_identity(
    document: "Document", environ: Mapping[str, str], release: Known | None, option: Known | None = None
) -> Identity:
    """Read the identity; ``release`` is the file's, and ``option`` the one in the options of ``sentry``."""
    variables = [Known(environ[name], name) for name in ("SENTRY_RELEASE",) if name in environ]
    platform = [Known(environ[name], name) for name in PLATFORM_VARIABLES if name in environ]
    return Identity(
        service=resource_attribute(document, environ, "service.name"),
        version=resource_attribute(document, environ, "service.version"),
        release=next((each for each in (option, release, *variables) if each is not None), None),
        platform=next(iter(platform), None),
    )


def find_release(identity: Identity) -> Known:
    """The first that is known: the setting, the git commit, the platform's variable, the service version."""
    known = identity.release or _git_commit(_directory()) or identity.platform or identity.version
    return known or Known(FALLBACK_RELEASE, "the default")


def find_version(identity: Identity) -> Known | None:
    """The resource's ``service.version``: the one that is given, else the release; None if no release is known."""
    if identity.version is not None:
        return identity.version
    release = find_release(identity)
    return None if is_default(release) else release


def find_service(identity: Identity) -> Known:
    """The name of the service; without one, OpenTelemetry's ``unknown_service``."""
    return identity.service or Known(unknown_service(), "the default")


def is_default(release: Known) -> bool:
    """Whether nothing gave the ``release``."""
    return release.origin == "the default"


def unknown_service() -> str:
    """The name that OpenTelemetry's specification wants for a service without one."""
    program = os.path.basename(sys.executable or "")  # noqa: PTH119 - as OpenTelemetry does
    return f"unknown_service:{program}" if program else "unknown_service"


def resource_attribute(document: "Document", environ: Mapping[str, str], name: str) -> Known | None:
    """The value that the file gives the resource attribute ``name``; an empty one counts as none."""
    found = None
    place = ("resource", "attributes_list")
    for pair in str(document.get(*place) or "").split(","):
        key, _, value = pair.partition("=")
        if key.strip() == name and value.strip():
            given = [each for each in document.variables(place) if pair in environ.get(each, "").split(",")]
            found = Known(unquote(value.strip()), ", ".join(given) or "file")
    for index, attribute in enumerate(document.get("resource", "attributes") or ()):
        value = attribute.get("value")
        if attribute.get("name") == name and value not in (None, ""):
            variables = document.variables(("resource", "attributes", index, "value"))
            found = Known(str(value), origin_of(variables, value, environ))
    return found


def origin_of(variables: Sequence[str], value: Any, environ: Mapping[str, str]) -> str:
    """Describe in words where a ``value`` of the file that refers to ``variables`` comes from."""
    if not variables:
        return "file"
    if given := [name for name in variables if name in environ]:
        return ", ".join(given)
    return f"{'not set' if value in (None, '') else 'default in file'} ({', '.join(variables)})"


def _directory() -> str:
    with suppress(OSError):  # somebody has removed it
        return os.getcwd()  # noqa: PTH109 - the key of a cache
    return ""


@lru_cache(maxsize=4)
def _git_commit(directory: str) -> Known | None:
    """The commit that is checked out in ``directory``; None outside of a repository, and without git."""
    import subprocess

    if not directory:
        return None
    options: dict[str, Any] = {"creationflags": getattr(subprocess, "CREATE_NO_WINDOW", 0)}
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"],  # noqa: S607 - wherever it is installed
            cwd=directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            timeout=_GIT_TIMEOUT,
            check=False,
            **options,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    commit = done.stdout.decode("ascii", "replace").strip()
    return Known(commit, "the git commit") if done.returncode == 0 and commit else None
