"""Finds the release that Sentry shows on issues and performance."""

from sentry_sdk.utils import get_default_release

from brain_otel.configuration.settings import SentrySettings

FALLBACK_RELEASE = "0.3.0"
"""The documented default of the service that this package replaces."""


def find_release(settings: SentrySettings) -> str:
    """The first that is known: the setting, the git commit, the CI platform's variable, the service version."""
    return settings.release or get_default_release() or settings.service_version or FALLBACK_RELEASE
