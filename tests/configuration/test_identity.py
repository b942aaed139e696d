"""The service and its release: where each comes from, and the same release at every destination."""

import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest
from sentry_sdk.utils import get_default_release

from brain_otel.configuration import identity as module
from brain_otel.configuration.identity import (
    FALLBACK_RELEASE,
    PLATFORM_VARIABLES,
    Identity,
    find_release,
    find_service,
    find_version,
)
from brain_otel.configuration.loading import read_settings

FILE = """
file_format: "1.1"
tracer_provider: {processors: [{sentry: {%s}}, {otlp: {endpoint: "http://localhost:4318"}}]}
resource:
  attributes_list: "%s"
distribution: {brain_otel: {sentry: {dsn: "http://key@127.0.0.1:9/1"%s}}}
"""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run outside of a repository, and without the variables of a platform."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    for name in ("SENTRY_RELEASE", *PLATFORM_VARIABLES):
        monkeypatch.delenv(name, raising=False)
    module._git_commit.cache_clear()


def identity(environ: Mapping[str, str] | None = None, **options: str) -> Identity:
    return read_settings(dict(environ or {}), environment="production", **options).identity


def commit(folder: Path) -> str:
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run([*git, "init", "-q", "."], check=True, cwd=folder)
    subprocess.run([*git, "commit", "-q", "--allow-empty", "-m", "x"], check=True, cwd=folder)
    module._git_commit.cache_clear()
    head = subprocess.run([*git, "rev-parse", "HEAD"], check=True, cwd=folder, capture_output=True, text=True)
    return head.stdout.strip()


def test_the_release_comes_from_the_nearest_source(tmp_path: Path) -> None:
    """The variable, the git commit, the platform's variable, the service's version, 0.3.0."""
    version = {"OTEL_RESOURCE_ATTRIBUTES": "service.version=1.2"}
    platform = {**version, "SOURCE_VERSION": "c1"}
    assert find_release(identity()) == (FALLBACK_RELEASE, "the default")
    assert find_release(identity(version)) == ("1.2", "OTEL_RESOURCE_ATTRIBUTES")
    assert find_release(identity(platform)) == ("c1", "SOURCE_VERSION")
    head = commit(tmp_path)
    assert find_release(identity(platform)) == (head, "the git commit")
    assert find_release(identity({**platform, "SENTRY_RELEASE": "shop@2"})) == ("shop@2", "SENTRY_RELEASE")


def test_a_repository_without_a_commit_gives_no_release(tmp_path: Path) -> None:
    """`git rev-parse HEAD` prints "HEAD" there."""
    subprocess.run(["git", "init", "-q", "."], check=True, cwd=tmp_path)
    assert find_release(identity()).value == FALLBACK_RELEASE


@pytest.mark.parametrize("variable", PLATFORM_VARIABLES)
def test_the_variables_of_platforms_are_those_of_sentry_sdk(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, "c1")
    assert get_default_release() == "c1"
    assert find_release(identity({variable: "c1"})) == ("c1", variable)


def test_without_git_the_other_sources_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a slim container."""
    monkeypatch.setenv("PATH", "")
    assert find_release(identity({"OTEL_RESOURCE_ATTRIBUTES": "service.version=1.2"})).value == "1.2"


def test_a_given_version_stays_beside_the_release() -> None:
    """Otherwise the release is the version; the default release is none."""
    given = {"SENTRY_RELEASE": "shop@2", "OTEL_RESOURCE_ATTRIBUTES": "service.version=1.2"}
    assert find_version(identity(given)) == ("1.2", "OTEL_RESOURCE_ATTRIBUTES")
    assert find_version(identity({"SENTRY_RELEASE": "shop@2"})) == ("shop@2", "SENTRY_RELEASE")
    assert find_version(identity()) is None


@pytest.mark.parametrize(
    ("option", "pairs", "key", "release", "version"),
    [
        ("", "", "", "env@1", "env@1"),
        ("", "", ", release: file@1", "file@1", "file@1"),
        ("release: option@1", "", ", release: file@1", "option@1", "option@1"),
        ("", "service.version=a%2Bb", "", "env@1", "a+b"),
        ("", "service.version=", "", "env@1", "env@1"),
    ],
)
def test_a_file_of_the_users(tmp_path: Path, option: str, pairs: str, key: str, release: str, version: str) -> None:
    """An option of sentry-sdk comes first; a file that does not read SENTRY_RELEASE does not hide it."""
    file = tmp_path / "own.yaml"
    file.write_text(FILE % (option, pairs, key))
    found = read_settings({"SENTRY_RELEASE": "env@1"}, config_file=file).identity
    known = find_version(found)
    assert (find_release(found).value, known and known.value) == (release, version)


def test_the_service_name_has_its_origin(tmp_path: Path) -> None:
    """A variable, the file, or OpenTelemetry's default."""
    file = tmp_path / "own.yaml"
    file.write_text(FILE % ("", "", ""))
    assert find_service(identity()) == ("brain", "file")
    assert find_service(identity({"OTEL_SERVICE_NAME": "shop"})) == ("shop", "OTEL_SERVICE_NAME")
    pairs = {"OTEL_RESOURCE_ATTRIBUTES": "team=a,service.name=shop"}
    assert find_service(identity(pairs)) == ("shop", "OTEL_RESOURCE_ATTRIBUTES")
    unknown = find_service(read_settings({}, config_file=file).identity)
    assert unknown.value.startswith("unknown_service:")
