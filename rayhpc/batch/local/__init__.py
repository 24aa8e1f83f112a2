"""This machine as a batch system of its own, where there is no other."""
