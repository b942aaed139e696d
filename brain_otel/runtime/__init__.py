"""What it takes to live in somebody else's process: guards, exits, forks, patches, threads, texts."""
