"""Task queues: a task is a local root below the request that sent it, and sending it is a span of the sender."""
