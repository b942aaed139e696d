"""Instruments SQLAlchemy."""
