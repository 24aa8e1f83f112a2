"""A small client of the Kubernetes API: a library that knows nothing of rayhpc."""
