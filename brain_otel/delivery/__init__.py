"""How what was observed leaves the process without holding the request up."""
