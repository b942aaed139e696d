"""The ``console`` destination: local traces as trees in the terminal."""
