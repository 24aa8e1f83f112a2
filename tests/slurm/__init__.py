"""Tests on SLURM: a real one in the lab, and one made of fake programs."""
