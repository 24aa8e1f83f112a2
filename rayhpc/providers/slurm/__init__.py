"""Machines from SLURM: one job array for each node type, whose throttle is the tap."""
