"""YARN: what its containers are told, and the applications they belong to."""
