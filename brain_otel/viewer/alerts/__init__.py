"""Alerts of the viewer: rules over its file, and receivers that are told when an alert starts and ends."""
