"""YARN as a place that machines come from."""
