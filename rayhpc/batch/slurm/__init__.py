"""SLURM: its commands, its words, and why a job waits."""
