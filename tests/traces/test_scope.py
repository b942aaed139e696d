"""The instrumentation scope of what this package emits itself."""

from importlib.metadata import version as installed

from opentelemetry.semconv.schemas import Schemas

from brain_otel.runtime.version import __version__
from brain_otel.traces.scope import SCHEMA_URL


def test_the_scope_has_the_version_that_is_installed() -> None:
    """As `pip` knows it."""
    assert __version__ == installed("brain-otel")


def test_the_schema_is_a_release_of_the_conventions() -> None:
    """The address is one that the package of the conventions knows."""
    assert SCHEMA_URL in {each.value for each in Schemas}
