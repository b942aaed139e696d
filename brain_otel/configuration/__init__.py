"""Reads the environment and the configuration file into ``Settings``."""
