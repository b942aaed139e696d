"""One module a screen; each query returns plain values that are JSON."""
