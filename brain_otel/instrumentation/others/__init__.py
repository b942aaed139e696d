"""OpenTelemetry's instrumentors of other libraries: what is installed is used.

An instrumentor is imported when its library is, so a library that the process does not use costs nothing.
"""
