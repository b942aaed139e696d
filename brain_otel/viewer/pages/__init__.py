"""One module a screen: what the screen asks the store, and what it makes of it."""
