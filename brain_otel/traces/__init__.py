"""The local trace: one request, task or transaction and its spans."""
