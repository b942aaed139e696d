"""What the tests run against: a Sentry that listens, real databases, real server processes."""
