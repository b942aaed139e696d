"""Transaction profiles under OpenTelemetry.

sentry-sdk starts a profile when its own ``Transaction`` is entered, which never happens with OpenTelemetry's spans
(https://github.com/getsentry/sentry-python/issues/5922). So the local root starts one here, and it is sent in the
envelope of the transaction.
"""

import functools
import gc
import random
import threading
from datetime import UTC, datetime
from typing import Any

import sentry_sdk
from sentry_sdk.profiler.transaction_profiler import Profile
from sentry_sdk.utils import nanosecond_time

from brain_otel.runtime.guard import guarded
from brain_otel.traces.local_trace import LocalTrace

_EXTRAS_KEY = "sentry.profile"


class TraceProfile(Profile):
    """The profile of a local trace, which knows the thread that it was started on."""

    def __init__(self) -> None:
        super().__init__(sampled=True, start_ns=nanosecond_time())
        self.started_on = threading.get_ident()


def start_profile(trace: LocalTrace) -> None:
    """Start to profile ``trace``, whose root is recorded, at the configured rate."""
    rate = sentry_sdk.get_client().options.get("profiles_sample_rate")
    if not rate or random.random() >= rate:  # noqa: S311 - a sample, not a secret
        return
    profile = TraceProfile()
    if profile.scheduler is not None:
        _keep_collections_out(profile.scheduler)
        trace.extras[_EXTRAS_KEY] = profile
        profile.start()


def _keep_collections_out(scheduler: Any) -> None:
    """Let no garbage collection begin while ``scheduler`` reads the threads' frames.

    ``sys._current_frames()`` holds a lock of the interpreter, and a collection that ends a thread waits for it for
    ever in some versions of Python 3.11 and 3.12: https://github.com/python/cpython/issues/106883.
    """
    sampler = scheduler.sampler
    if hasattr(sampler, "__wrapped__"):
        return

    @functools.wraps(sampler)
    def sample(*args: Any) -> None:
        was_enabled = gc.isenabled()
        gc.disable()
        try:
            sampler(*args)
        finally:
            if was_enabled:
                gc.enable()

    scheduler.sampler = sample


def follow_thread(trace: LocalTrace) -> None:
    """Let the profile show this thread, where a span of ``trace`` starts, if it is another than the root's."""
    profile = trace.extras.get(_EXTRAS_KEY)
    if isinstance(profile, TraceProfile) and profile.active_thread_id is None:
        here = threading.get_ident()
        if here != profile.started_on:
            profile.active_thread_id = here


def stop_profile(trace: LocalTrace) -> None:
    """Stop the profile of ``trace``, whose root has ended."""
    profile = trace.extras.get(_EXTRAS_KEY)
    if isinstance(profile, Profile):
        with guarded("stopping a profile"):
            profile.stop()


def has_profile(trace: LocalTrace) -> bool:
    """Whether there is a profile of ``trace`` to attach."""
    return _EXTRAS_KEY in trace.extras


def attach_profile(trace: LocalTrace, event: dict[str, Any]) -> None:
    """Put the profile of ``trace`` into its transaction ``event`` if it has enough samples."""
    profile = trace.extras.pop(_EXTRAS_KEY, None)
    with guarded("attaching a profile"):
        if isinstance(profile, Profile) and profile.valid():
            # sentry-sdk copies this time into the profile, where Relay accepts only RFC 3339 text.
            event["start_timestamp"] = datetime.fromtimestamp(event["start_timestamp"], UTC)
            event["contexts"]["profile"] = {"profile_id": profile.event_id}
            event["profile"] = profile
