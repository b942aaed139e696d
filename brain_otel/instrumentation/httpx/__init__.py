"""Instruments HTTPX."""
