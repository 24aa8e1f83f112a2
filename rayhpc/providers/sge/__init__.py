"""Machines from Grid Engine: one array job for each node type, whose `-tc` is the tap."""
