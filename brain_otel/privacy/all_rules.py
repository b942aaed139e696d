"""Every rule by which the policy masks a text or a value; the policy imports this module with its first text."""

from collections.abc import Callable

from brain_otel.privacy.addresses import is_one_time, mask_address_credentials, mask_protocols
from brain_otel.privacy.assignments import create_assignment_mask
from brain_otel.privacy.cards import mask_card_of
from brain_otel.privacy.commands import create_command_mask
from brain_otel.privacy.documents import create_document_mask
from brain_otel.privacy.errors import database_error_without_values, validation_error_without_input
from brain_otel.privacy.names import create_text_check
from brain_otel.privacy.patterns import create_pattern_mask
from brain_otel.privacy.percent_encoded import mask_with_encoded
from brain_otel.privacy.plain_texts import is_plain
from brain_otel.privacy.queries import mask_query
from brain_otel.privacy.settings import PrivacySettings
from brain_otel.privacy.source_lines import mask_source_line
from brain_otel.privacy.statements import redis_error_without_values
from brain_otel.privacy.values import Walk

__all__ = [
    "Masks",
    "Walk",
    "database_error_without_values",
    "is_one_time",
    "is_plain",
    "mask_address_credentials",
    "mask_card_of",
    "mask_protocols",
    "mask_query",
    "mask_source_line",
    "mask_with_encoded",
    "redis_error_without_values",
    "validation_error_without_input",
]


class Masks:
    """The masks of one policy.

    Args:
        settings: Names and rules.
        is_sensitive: Whether the value of a name is a secret.
        rejects_input: Whether what a validator rejected is masked.
    """

    def __init__(
        self, settings: PrivacySettings, is_sensitive: Callable[[str], bool], *, rejects_input: bool
    ) -> None:
        self.by_look = create_pattern_mask(settings.rules)
        """Masks what looks like a secret, whatever its name."""
        may_hold_names = create_text_check(settings.sensitive_names)
        self.assignments = create_assignment_mask(is_sensitive, may_hold_names, rejects_input=rejects_input)
        """Masks what a text assigns to a sensitive name."""
        self.of_names = (
            (create_command_mask(is_sensitive), create_document_mask(is_sensitive), self.assignments)
            if settings.rules.assignments
            else ()
        )
        """Masks what stands beside sensitive names."""
