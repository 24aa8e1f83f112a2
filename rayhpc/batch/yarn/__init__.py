"""YARN: what its containers are told, and the applications that they belong to."""
