"""Everything that ``setup()`` needs to know. A field's default is defined here or in its section, and nowhere else.

:mod:`brain_otel.configuration.loading` makes :class:`Settings` from a file and the environment. The settings of each
block of ``distribution.brain_otel`` are in :mod:`brain_otel.configuration.sections`.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from brain_otel.configuration.identity import Identity
from brain_otel.configuration.options import Options
from brain_otel.configuration.sections.delivery import DeliverySettings
from brain_otel.configuration.sections.errors import ErrorSettings
from brain_otel.configuration.sections.instrumentation import InstrumentationSettings, read_instrumentation
from brain_otel.configuration.sections.propagation import PropagationSettings
from brain_otel.configuration.sections.sampling import SamplingSettings
from brain_otel.configuration.sections.sentry import SentrySettings, read_sentry, shown_without
from brain_otel.configuration.values import Derived, list_of, read_fields, text
from brain_otel.privacy.settings import PrivacySettings
from brain_otel.runtime.named_tuple import NamedTuple

_NAMES = list_of(
    text(lambda name: any(map(str.isalnum, name)), "a name such as api_key"), "a list of names such as api_key"
)


def _read_privacy(given: Any) -> PrivacySettings:
    """Read ``distribution.brain_otel.privacy``, whose class is in a lower layer, which cannot import readers."""
    return PrivacySettings(**read_fields(PrivacySettings, given, {"sensitive_names": _NAMES, "safe_names": _NAMES}))


class Settings(NamedTuple):
    """Everything that ``setup()`` needs to know. Fields that are not derived are keys of our block in the file."""

    environment: Derived[str]
    source: Derived[str]
    """The file, for messages."""
    document: Derived[Mapping[str, Any]]
    """OpenTelemetry's own part of the file, with variables filled in and without the destinations."""
    identity: Derived[Identity] = Identity()
    """The service and its release."""
    simple_form: Derived[bool] = False
    """Whether :mod:`brain_otel.configuration.simple_form` describes all of the file."""
    destinations: Derived[tuple["Options", ...]] = ()
    """Each destination of the file, once for each signal, with its options."""
    sentry: Annotated[SentrySettings | None, read_sentry] = None
    """None: Sentry is off, as there is no DSN."""
    instrumentation: Annotated[InstrumentationSettings, read_instrumentation] = InstrumentationSettings()
    errors: ErrorSettings = ErrorSettings()
    privacy: Annotated[PrivacySettings, _read_privacy] = PrivacySettings()
    propagation: PropagationSettings = PropagationSettings()
    sampling: SamplingSettings = SamplingSettings()
    delivery: DeliverySettings = DeliverySettings()
    fast_paths: bool = True
    """Whether this package's fast paths replace slower ways of OpenTelemetry and sentry-sdk."""
    script: bool = False
    """Whether a process under the launcher is one transaction, from its start to its end."""
    freeze_gc: bool = False
    """Whether the objects that exist when the application has started are kept out of garbage collections."""
    disabled: Derived[bool] = False
    send_default_pii: Derived[bool] = False
    """Whether data that identifies a person, such as the client's address, may leave the process."""
    notices: Derived[tuple[str, ...]] = ()
    """Warnings that ``setup()`` logs, one line each."""

    def __repr__(self) -> str:
        """Leave out ``document``, which may hold secrets in clear text."""
        return shown_without(self, "document")
