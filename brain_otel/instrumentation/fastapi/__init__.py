"""Instruments FastAPI."""
