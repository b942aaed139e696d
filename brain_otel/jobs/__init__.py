"""Jobs that no queue runs: monitored ones, and whole scripts."""
