"""Amazon EC2's API on one machine, for tests: moto, what moto lacks, and real machines behind it.

Needs root and Linux; calls nobody outside.  See README.md.
"""
