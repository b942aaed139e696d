"""Whether this package may use its fast paths: ``distribution.brain_otel.fast_paths``.

A fast path replaces a slower public way of OpenTelemetry or sentry-sdk and may rely on their private names. One
switch turns all of them off, for the day an upstream release breaks one.
"""


class _Current:
    enabled = True


def fast_paths_enabled() -> bool:
    """Whether fast paths may be used; they are on unless the configuration says otherwise."""
    return _Current.enabled


def configure_fast_paths(enabled: bool) -> None:
    """Turn all fast paths on or off."""
    _Current.enabled = enabled
