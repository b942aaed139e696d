"""Instruments redis-py."""
