"""Errors, messages, users and tags on their way to the destinations."""
