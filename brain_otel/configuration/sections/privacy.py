"""``distribution.brain_otel.privacy``: what is masked."""

from typing import Any

from brain_otel.configuration.values import list_of, read_fields, text
from brain_otel.privacy.settings import PrivacySettings

_NAMES = list_of(
    text(lambda name: any(map(str.isalnum, name)), "a name such as api_key"), "a list of names such as api_key"
)


def read_privacy(given: Any) -> PrivacySettings:
    """Read the block. Its settings class is in a lower layer, which cannot import readers."""
    return PrivacySettings(**read_fields(PrivacySettings, given, {"sensitive_names": _NAMES, "safe_names": _NAMES}))
