"""Whole clusters under fire: programs with known answers while their processes are killed."""
