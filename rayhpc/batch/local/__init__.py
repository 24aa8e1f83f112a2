"""This machine as a batch system, for when there is no other."""
