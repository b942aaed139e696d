"""One SQLite file: its schema, its only writer, its queries and its bound."""
