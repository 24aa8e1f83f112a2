"""SLURM: its commands, its vocabulary, and why a job waits."""
