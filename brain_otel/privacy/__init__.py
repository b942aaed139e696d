"""Masks what is private, by one policy for every destination. Start reading in :mod:`brain_otel.privacy.policy`."""

from brain_otel.privacy.names import is_sensitive
from brain_otel.privacy.policy import Policy, configure_privacy, masked_url, policy
from brain_otel.privacy.settings import FILTERED, PrivacySettings

__all__ = ["FILTERED", "Policy", "PrivacySettings", "configure_privacy", "is_sensitive", "masked_url", "policy"]
