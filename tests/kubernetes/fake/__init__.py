"""A strict API server in Python, with the controllers that matter here."""
