"""The one switch of the fast paths."""

import pytest

from brain_otel.configuration.loading import read_settings
from brain_otel.runtime.fast_paths import configure_fast_paths, fast_paths_enabled
from brain_otel.testing import captured_telemetry


@pytest.mark.parametrize("environment", ["development", "test", "staging", "production"])
@pytest.mark.parametrize(("word", "expected"), [("", True), ("true", True), ("off", False), ("0", False)])
def test_a_variable_sets_the_switch_in_every_packaged_file(environment: str, word: str, expected: bool) -> None:
    """`BRAIN_OTEL_FAST_PATHS` takes the words for a boolean; unset, fast paths are on."""
    assert read_settings({"BRAIN_OTEL_FAST_PATHS": word}, environment=environment).fast_paths is expected


def test_setup_applies_the_switch_until_telemetry_is_forgotten() -> None:
    """Code that runs after `setup()` sees the configured value; the next set-up starts from the default."""
    configure_fast_paths(True)
    with captured_telemetry({"BRAIN_OTEL_FAST_PATHS": "false"}):
        assert not fast_paths_enabled()
    assert fast_paths_enabled()
