"""Clusters of `rayhpc up` whose machines are jobs of a batch system: their start and end."""
