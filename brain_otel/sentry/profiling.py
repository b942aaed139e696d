"""Transaction profiles under OpenTelemetry.

sentry-sdk starts a profile when its own ``Transaction`` is entered, which never happens when spans come from
OpenTelemetry (https://github.com/getsentry/sentry-python/issues/5922). So a profile is started with the local
root here, and goes into the envelope with the transaction.
"""

from __future__ import annotations

import random
import threading
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import sentry_sdk
from sentry_sdk.profiler.transaction_profiler import Profile
from sentry_sdk.utils import nanosecond_time

from brain_otel.privacy import policy

if TYPE_CHECKING:
    from brain_otel.traces.local_trace import LocalTrace

_KEPT = "sentry.profile"


class MaskedProfile(Profile):
    """A profile whose threads' names are masked; its transaction's name is, by then."""

    def to_json(self, event_opt: Any, options: Any) -> dict[str, Any]:
        """The profile as it is sent."""
        made: dict[str, Any] = super().to_json(event_opt, options)
        for thread in made["profile"]["thread_metadata"].values():
            thread["name"] = policy().text(str(thread.get("name")))
        return made


def start_profile(trace: LocalTrace) -> None:
    """Begin to profile ``trace``, whose root is recorded, if the dice say so."""
    rate = sentry_sdk.get_client().options.get("profiles_sample_rate")
    if not rate or random.random() >= rate:  # noqa: S311 - a sample, not a secret
        return
    profile = MaskedProfile(sampled=True, start_ns=nanosecond_time())
    if profile.scheduler is not None:
        trace.extras[_KEPT] = profile
        profile.start()


def follow_thread(trace: LocalTrace) -> None:
    """A span of ``trace`` starts on this thread: show this one, where the work is done."""
    profile = trace.extras.get(_KEPT)
    if isinstance(profile, Profile) and profile.active_thread_id is None:
        here = threading.get_ident()
        if here != profile._default_active_thread_id:
            profile.active_thread_id = here


def stop_profile(trace: LocalTrace) -> None:
    """The root of ``trace`` has ended."""
    profile = trace.extras.get(_KEPT)
    if isinstance(profile, Profile):
        profile.stop()


def attach_profile(trace: LocalTrace, event: dict[str, Any]) -> None:
    """Put the profile of ``trace`` into its transaction ``event`` if it saw enough to be of use."""
    profile = trace.extras.pop(_KEPT, None)
    if isinstance(profile, Profile) and profile.valid():
        # sentry-sdk copies this time into the profile, where Relay takes RFC 3339 text alone and no number.
        event["start_timestamp"] = datetime.fromtimestamp(event["start_timestamp"], UTC)
        event["profile"] = profile
        event["contexts"]["profile"] = {"profile_id": profile.event_id}
