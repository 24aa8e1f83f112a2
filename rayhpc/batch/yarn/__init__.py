"""YARN: what its containers are told."""
