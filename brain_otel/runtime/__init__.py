"""Living in another program's process: guards, exits, forks, patches, threads and text."""
