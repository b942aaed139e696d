"""Tests of brain_otel."""
