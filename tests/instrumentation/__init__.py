"""Tests of the instrumentations, each in a process that sends what it observed to a Sentry that listens."""
