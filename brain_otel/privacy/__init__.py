"""What is private and how it is masked: one policy for every destination, for errors, spans, logs and breadcrumbs."""

from brain_otel.privacy.names import is_sensitive
from brain_otel.privacy.policy import Policy, configure_privacy, masked_url, policy
from brain_otel.privacy.settings import FILTERED, PrivacySettings

__all__ = ["FILTERED", "Policy", "PrivacySettings", "configure_privacy", "is_sensitive", "masked_url", "policy"]
